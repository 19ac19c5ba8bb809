"""Variables of a result, and what it covers in time and space, from its table of members and a few small reads.

Coordinates are known by CF (axis, standard_name, units) or by their usual names; times also as MSv4 writes them.
"""

import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from terp.storage.archive.catalog.card import Variable, text
from terp.storage.files import read_at

if TYPE_CHECKING:
    import numpy as np

_LARGEST = 64 << 20  # bytes of a coordinate that is looked at
_DOCUMENT = 1 << 20  # bytes of a zarr.json
LATITUDE = frozenset({"latitude", "lat", "degrees_north", "degree_north", "degrees_n"})
LONGITUDE = frozenset({"longitude", "lon", "degrees_east", "degree_east", "degrees_e"})

type Span = tuple[float, float]


class Contents:
    """The small files of one result, by the table of its packages; `where` tells where a package is.

    Raises ValueError where the table is none.
    """

    def __init__(self, table: bytes, where: Callable[[str], Path]) -> None:
        plain, self._where = orjson.loads(table), where
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

    def variables(self, result: str) -> Iterator[Variable]:
        """Yield the arrays that are cut, with what their attributes tell; raises OSError."""
        for group, names in self._groups:
            for name in names:
                path = f"{group}/{name}".strip("/")
                said = self._document(path).get("attributes") or {}
                told = (text(said.get(one)) for one in ("standard_name", "long_name", "units"))
                yield Variable(text(path), result, *told)

    def spans(self) -> Iterator[tuple[str, Span]]:
        """Yield what coordinates span: ("time", seconds since 1970), ("latitude" or "longitude", degrees)."""
        large = {f"{group}/{name}".strip("/") for group, names in self._groups for name in names}
        for key in self._members:
            path, _, name = key.rpartition("/")
            if name == "zarr.json" and path and path not in large:
                yield from self._span(path)

    def _span(self, path: str) -> Iterator[tuple[str, Span]]:
        said = self._document(path)
        attributes = said.get("attributes") or {}
        kind = _kind(path.rpartition("/")[2], attributes)
        if said.get("node_type") != "array" or not kind:
            return
        with suppress(ValueError, TypeError, KeyError, OverflowError, AttributeError):
            ends = self._ends(path, said)
            found = ends if kind != "time" else _moments(ends, attributes)
            if all(map(math.isfinite, found)):
                yield kind, found

    def _package_of(self, path: str) -> Path:
        return self._where(self._packages[self._members[f"{path}/zarr.json"].get("package", 0)])

    def _document(self, path: str) -> dict[str, Any]:
        data = self._read(f"{path}/zarr.json".lstrip("/"), _DOCUMENT)
        with suppress(ValueError):
            found = orjson.loads(data)
            return found if isinstance(found, dict) and isinstance(found.get("attributes", {}), dict) else {}
        return {}

    def _ends(self, path: str, said: dict[str, Any]) -> Span:
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
                data = _part(self._where(self._packages[member.get("package", 0)]), offset, size)
                return data if zlib.crc32(data) == crc32 else b""
        return b""


def _part(path: Path, offset: int, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_at(descriptor, offset, size)
    finally:
        os.close(descriptor)


@lru_cache(maxsize=1024)  # results of one flow have the same coordinates
def _of_chunk(data: bytes, kind: str, packed: bool) -> Span:
    import numpy as np
    from numcodecs import Zstd

    plain = bytes(Zstd().decode(data[:-4])) if packed else data[:-4]
    return _ends(np.frombuffer(plain, np.dtype(kind).newbyteorder("<")))


def _kind(name: str, attributes: Mapping[str, Any]) -> str:
    """Say whether an array is a coordinate of time, latitude or longitude; "" for all else."""
    said = {text(attributes.get(one)).casefold() for one in ("standard_name", "units")} - {""}
    usual = {*said, name.casefold()} if not attributes.get("standard_name") else said
    for kind, words in (("latitude", LATITUDE), ("longitude", LONGITUDE)):
        if usual & words:
            return kind
    return "time" if "time" in usual or attributes.get("axis") == "T" else ""


def _ends(values: "np.ndarray[Any, Any]") -> Span:
    import numpy as np

    if values.dtype.kind not in "iuf" or not values.size:
        raise ValueError("no numbers")
    return float(np.nanmin(values)), float(np.nanmax(values))


def _moments(ends: Span, attributes: Mapping[str, Any]) -> Span:
    """Return times in seconds since 1970 UTC; dates of other calendars keep their year, month and day."""
    if attributes.get("type") == "time" and attributes.get("format") == "unix":
        return ends
    return _since(ends, text(attributes["units"]), text(attributes.get("calendar")) or "standard")


@lru_cache(maxsize=1024)
def _since(ends: Span, units: str, calendar: str) -> Span:
    import cftime

    first, last = (_seconds(cftime.num2date(end, units, calendar)) for end in ends)
    return first, last


def _seconds(moment: Any) -> float:
    day = min(moment.day, 28) if moment.day > 28 and not _is_a_day(moment) else moment.day
    return datetime(moment.year, moment.month, day, moment.hour, moment.minute, moment.second, tzinfo=UTC).timestamp()


def _is_a_day(moment: Any) -> bool:
    with suppress(ValueError):
        datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
        return True
    return False


# what all packages of an object cover


def moment(seconds: float) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC; "" outside of the years 1 to 9999."""
    with suppress(ValueError, OverflowError, OSError):
        found = datetime.fromtimestamp(seconds, UTC)
        return found.isoformat(timespec="seconds").replace("+00:00", "Z").rjust(20, "0")
    return ""


def times(spans: list[Span]) -> dict[str, str]:
    """Return `begin` and `end` of all spans."""
    if not spans:
        return {}
    return {"begin": moment(min(span[0] for span in spans)), "end": moment(max(span[1] for span in spans))}


def box(latitudes: list[Span], longitudes: list[Span]) -> dict[str, float]:
    """Return `west`, `south`, `east`, `north` of all spans in degrees, longitudes from -180 to 180."""
    if not latitudes or not longitudes:
        return {}
    south, north = min(span[0] for span in latitudes), max(span[1] for span in latitudes)
    west, east = min(span[0] for span in longitudes), max(span[1] for span in longitudes)
    if not (-90 <= south <= north <= 90 and -360 <= west <= east <= 720):
        return {}
    if east - west >= 350:  # a global grid does not repeat its first meridian
        west, east = -180.0, 180.0
    west, east = _turned(west), _turned(east)
    return {
        one: round(value, 6)
        for one, value in zip(("west", "south", "east", "north"), (west, south, east, north), strict=True)
    }


def _turned(longitude: float) -> float:
    return longitude if -180 <= longitude <= 180 else (longitude + 180) % 360 - 180
