"""Read the small files of a package by the table of its members: each is proven, and no directory is gone through."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from terp.storage.errors import BadPackage, Damaged
from terp.storage.files import disk, read_at
from terp.storage.small import META


@dataclass(frozen=True)
class SmallFiles:
    """Some members of a package as Zarr keys, by their rows in the table; a file is read whole, for its BLAKE3.

    Raises Damaged where it is not the file that was packed, Missing where there is none, DiskTrouble.
    """

    package: Path
    rows: Mapping[str, Mapping[str, Any]] = field(compare=False)

    def __str__(self) -> str:
        return f"the package {self.package.name}"

    def names(self) -> Iterable[str]:
        """Return the names of the files."""
        return self.rows

    def size_of(self, key: str) -> int | None:
        """Return the size of a file in bytes, or None where there is none."""
        return int(self.rows[key]["size"]) if key in self.rows else None

    def read(self, key: str, start: int, length: int) -> bytes:
        """Return bytes of a file, after proving all of it."""
        row = self.rows[key]
        with disk(self.package):
            descriptor = os.open(self.package, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = read_at(descriptor, row["offset"], row["size"])
            finally:
                os.close(descriptor)
        if blake3(data).hexdigest() != row["blake3"]:
            raise Damaged(f"{self.package}: {key} is not what was packed; restore the package from a copy")
        return data[start : start + length]

    def document(self, path: str) -> bytes | None:
        """Return the metadata of a group or an array, or None where there is none."""
        key = f"{path}/{META}" if path else META
        size = self.size_of(key)
        return None if size is None else self.read(key, 0, size)

    def demand_group(self, group: str) -> None:
        """Raise BadPackage, with what there is, where there is no such group."""
        if group and f"{group}/{META}" not in self.rows:
            inside = sorted(name.removesuffix(f"/{META}") for name in self.rows if name.endswith(f"/{META}"))
            raise BadPackage(f"{self} holds no group {group!r}; it holds {', '.join(inside) or 'only its root'}")
