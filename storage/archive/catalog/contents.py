"""What is in a result: its variables and what its coordinates span, from its table of members and a few small reads."""

import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson

from terp.storage.archive.catalog.card import Variable, text
from terp.storage.files import read_at
from terp.storage.metadata.coverage import LATITUDE, LONGITUDE, TIME, Span, kinds, seconds

if TYPE_CHECKING:
    import numpy as np

_LARGEST = 64 << 20  # bytes of a coordinate that is looked at
_DOCUMENT = 1 << 20  # bytes of a zarr.json


class Contents:
    """The small files of one result, by the table of its packages; `where` tells where a package is.

    Each package is opened once, until the end of the `with`. Raises ValueError where the table is none.
    """

    def __init__(self, table: bytes, where: Callable[[str], str]) -> None:
        plain, self._where, self._open = orjson.loads(table), where, dict[str, int]()
        try:
            self._groups = [
                (str(one["path"]), [str(array["name"]) for array in one["arrays"]]) for one in plain["groups"]
            ]
            packages = plain["packages"] if "packages" in plain else [plain["package"]]
            self._packages = [str(one["name"]) for one in packages]
            small = int(plain.get("small", 0))  # the package that has the metadata and coordinates of all bands
            rows = sorted(plain["members"], key=lambda row: row.get("package", 0) != small)
            self._members: dict[str, Mapping[str, Any]] = {}
            for row in rows:
                self._members.setdefault(str(row["name"]), row)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError("it is no table of members") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def variables(self, result: str) -> Iterator[Variable]:
        """Yield the arrays that are cut, with what their attributes tell; raises OSError."""
        for group, names in self._groups:
            for name in names:
                path = f"{group}/{name}".strip("/")
                yield _variable(path, result, self._document(path))

    def spans(self) -> Iterator[tuple[str, Span]]:
        """Yield what coordinates span: ("time", seconds since 1970), ("latitude" or "longitude", degrees)."""
        large = {f"{group}/{name}".strip("/") for group, names in self._groups for name in names}
        for key in self._members:
            path, _, name = key.rpartition("/")
            if name == "zarr.json" and path and path not in large:
                yield from self._span(path)

    def _span(self, path: str) -> Iterator[tuple[str, Span]]:
        kind, said = _coordinate(path.rpartition("/")[2], self._document(path))
        if not kind:
            return
        with suppress(ValueError, TypeError, KeyError, OverflowError, AttributeError):
            ends = self._ends(path, said)
            found = ends if kind != TIME else _moments(ends, said.get("attributes", {}))
            if all(map(math.isfinite, found)):
                yield kind, found

    def _package_of(self, path: str) -> Path:
        return Path(self._where(self._packages[self._members[f"{path}/zarr.json"].get("package", 0)]))

    def _document(self, path: str) -> bytes:
        return self._read(f"{path}/zarr.json".lstrip("/"), _DOCUMENT)

    def _ends(self, path: str, said: Mapping[str, Any]) -> Span:
        """Return the least and greatest value of a small array; of one chunk as terp writes them, else by zarr."""
        shape = tuple(said["shape"])
        whole = tuple(said["chunk_grid"]["configuration"]["chunk_shape"]) == shape
        names = [codec["name"] for codec in said["codecs"]]
        if whole and names in (["bytes", "crc32c"], ["bytes", "zstd", "crc32c"]):
            data = self._read("/".join([path, "c", *("0" * len(shape))]), _LARGEST)
            return _of_chunk(data, said["data_type"], "zstd" in names)
        if math.prod(shape) * 8 > _LARGEST:
            raise ValueError("too large to be looked at")
        import numpy as np
        import zarr

        from terp.storage.package.zipstore import PackageStore

        return _ends(np.asarray(zarr.open_array(PackageStore(self._package_of(path)), path=path, mode="r")[...]))

    def _read(self, key: str, most: int) -> bytes:
        """Return a member; nothing where it is not there, too large, or not what was packed."""
        with suppress(KeyError, TypeError, ValueError, OverflowError, IndexError, AttributeError):
            member = self._members[key]
            offset, size, crc32 = int(member["offset"]), int(member["size"]), int(member["crc32"], 16)
            if 0 <= size <= most and offset >= 0:
                data = read_at(self._descriptor(self._packages[member.get("package", 0)]), offset, size)
                return data if zlib.crc32(data) == crc32 else b""
        return b""

    def _descriptor(self, package: str) -> int:
        if package not in self._open:
            self._open[package] = os.open(self._where(package), os.O_RDONLY | os.O_CLOEXEC)
        return self._open[package]


# results of one flow have the same coordinates: what is said of them, and what they hold, is looked at once


@lru_cache(maxsize=1024)
def _variable(path: str, result: str, document: bytes) -> Variable:
    said = _said(document).get("attributes") or {}
    return Variable(text(path), result, *(text(said.get(one)) for one in ("standard_name", "long_name", "units")))


@lru_cache(maxsize=1024)
def _coordinate(name: str, document: bytes) -> tuple[str, Mapping[str, Any]]:
    """Return of which kind an array is, time, latitude or longitude, "" for all else, and what its zarr.json says."""
    said = _said(document)
    attributes = said.get("attributes") or {}
    told = kinds(name, text(attributes.get("standard_name")), text(attributes.get("units")), attributes.get("axis"))
    found = (kind for kind in (LATITUDE, LONGITUDE, TIME) if kind in told and said.get("node_type") == "array")
    return next(found, ""), said


def _said(document: bytes) -> Mapping[str, Any]:
    with suppress(ValueError):
        found = orjson.loads(document)
        return found if isinstance(found, dict) and isinstance(found.get("attributes", {}), dict) else {}
    return {}


@lru_cache(maxsize=1024)
def _of_chunk(data: bytes, kind: str, packed: bool) -> Span:
    import numpy as np
    from numcodecs import Zstd

    plain = bytes(Zstd().decode(data[:-4])) if packed else data[:-4]
    return _ends(np.frombuffer(plain, np.dtype(kind).newbyteorder("<")))


def _ends(values: "np.ndarray[Any, Any]") -> Span:
    import numpy as np

    if values.dtype.kind not in "iuf" or not values.size:
        raise ValueError("no numbers")
    return float(np.nanmin(values)), float(np.nanmax(values))


def _moments(ends: Span, attributes: Mapping[str, Any]) -> Span:
    """Return times in seconds since 1970 UTC; dates of other calendars keep their year, month and day."""
    if attributes.get("type") == "time" and attributes.get("format") == "unix":
        return ends
    return seconds(ends, text(attributes["units"]), text(attributes.get("calendar")) or "standard")
