"""Read a package in place: a Zarr store that knows where each member's data begin, and reads nothing else.

zarr's own ZipStore reads a whole member to give a part of it; here one inner chunk of a shard costs two small reads.
A chunk that is not in the package raises, whatever `zarr.config` says: zarr reads `array.read_missing_chunks` when an
array is opened and would else put the fill value where data were lost.
"""

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from isal import isal_zlib
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from terp.storage.errors import BadPackage, Damaged, Missing
from terp.storage.files import disk, read_at
from terp.storage.package.packing import read_directory
from terp.storage.package.zip64 import Entry

if TYPE_CHECKING:
    import xarray as xr

_DOCUMENTS = frozenset({"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})  # zarr asks whether they are there


class PackageStore(Store):
    """A read-only Zarr v3 store over a package; may be pickled, and opens the package again where it arrives.

    Raises BadPackage when the file is not a whole package, Missing for a chunk that is not in it, Damaged for a
    member read whole whose CRC-32 is not the recorded one, DiskTrouble where the file cannot be read.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, path: Path | str) -> None:
        super().__init__(read_only=True)
        self.path = Path(path).absolute()
        with disk(self.path):
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            self._close = weakref.finalize(self, os.close, self._descriptor)
            self._members = _members(self.path, _identity(self._descriptor))
        self._is_open = True

    def __reduce__(self) -> tuple[type["PackageStore"], tuple[Path]]:
        return type(self), (self.path,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PackageStore) and self.path == other.path

    __hash__ = None  # type: ignore[assignment]  # as every Zarr store

    def __repr__(self) -> str:
        return f"PackageStore({str(self.path)!r})"

    def with_read_only(self, read_only: bool = False) -> "PackageStore":
        """Return the same store; there is none that could be written."""
        if not read_only:
            self._check_writable()
        return type(self)(self.path)

    def close(self) -> None:
        """Give the file back; the store cannot be used after it."""
        self._descriptor = -1
        self._close()
        super().close()

    # reading

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a member, or the part asked for."""
        entry = self._members.get(key)
        if entry is None:
            if key.rpartition("/")[2] in _DOCUMENTS:
                return None
            raise Missing(f"{self.path} lacks {key}; restore the package from a copy")
        start, stop = _span(entry.size, byte_range)
        data = self._read(entry, start, stop)
        if byte_range is None and isal_zlib.crc32(data) != entry.crc32:
            raise Damaged(f"{self.path}: {key} is not what was packed; restore the package from a copy")
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    def _read(self, entry: Entry, start: int, stop: int) -> bytes:
        with disk(self.path):
            data = read_at(self._descriptor, entry.offset + start, stop - start)
        if len(data) < stop - start:
            raise Damaged(f"{self.path} ends within {entry.name}; restore the package from a copy")
        return data

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the bytes of a member, or the part asked for, without holding up other readers."""
        return await asyncio.to_thread(self.get_sync, key, prototype=prototype, byte_range=byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of members, in the order asked for."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Say whether there is such a member."""
        return key in self._members

    async def getsize(self, key: str) -> int:
        """Return the size of a member in bytes, or raise FileNotFoundError."""
        if key not in self._members:
            raise FileNotFoundError(key)
        return self._members[key].size

    def demand_group(self, group: str) -> None:
        """Raise BadPackage, with what there is, where there is no such group."""
        if group and f"{group}/zarr.json" not in self._members:
            inside = sorted(name.removesuffix("/zarr.json") for name in self.names() if name.endswith("/zarr.json"))
            holds = ", ".join(inside) or "only its root"
            raise BadPackage(f"{self.path} holds no group {group!r}; it holds {holds}")

    # listing

    def names(self) -> Iterable[str]:
        """Return all names."""
        return self._members

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield all names that begin with `prefix`."""
        for name in self._members:
            if name.startswith(prefix):
                yield name

    def list(self) -> AsyncIterator[str]:
        """Yield all names."""
        return self.list_prefix("")

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield what is directly in a folder."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        inside = (name[len(folder) :].partition("/")[0] for name in self._members if name.startswith(folder))
        for name in dict.fromkeys(inside):
            yield name

    # never writing; zarr reads without an event loop only where all three are there

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse."""
        self._check_writable()

    def set_sync(self, key: str, value: Buffer) -> None:
        """Refuse."""
        self._check_writable()

    def delete_sync(self, key: str) -> None:
        """Refuse."""
        self._check_writable()


def open_zip(path: Path | str, group: str = "") -> "xr.Dataset":
    """Open a group of a package as a Dataset whose values are read when they are asked for.

    Raises BadPackage when the file is not a package or holds no such group; reading raises as PackageStore does.
    """
    import xarray as xr

    store, group = PackageStore(path), group.strip("/")
    store.demand_group(group)
    found: xr.Dataset = xr.open_zarr(store, group=group, consolidated=False, zarr_format=3, chunks=None)
    return found


Identity = tuple[int, int, int, int]


def _identity(descriptor: int) -> Identity:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=64)
def _members(path: Path, identity: Identity) -> dict[str, Entry]:  # noqa: ARG001
    """Return the members by name; read once in a process for as long as the file stays the same."""
    return {entry.name: entry for entry in read_directory(path)}


def _span(size: int, part: ByteRequest | None) -> tuple[int, int]:
    """Return where a part of a value of `size` bytes starts and stops."""
    match part:
        case None:
            return 0, size
        case RangeByteRequest(start, end):
            return min(start, size), max(min(end, size), min(start, size))
        case OffsetByteRequest(offset):
            return min(offset, size), size
        case SuffixByteRequest(suffix):
            return max(0, size - suffix), size
    raise TypeError(f"no such part of a value: {part!r}")
