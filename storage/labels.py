"""The labels of a dimension: as terp stores them they are read here, so that a question need not wait for xarray.

That is numbers, and dates of the calendar that everybody has. All else is left to xarray.
"""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from terp.storage.codec import Values
from terp.storage.grid import Group
from terp.storage.proven import Files
from terp.storage.small import META

if TYPE_CHECKING:
    import xarray as xr

_CODECS = ["bytes", "zstd", "crc32c"]
_CRC_BYTES = 4
_KEYS = {"configuration": {"separator": "/"}, "name": "default"}
_NAN = "AAAAAAAA+H8="  # as xarray writes it: then nothing is filled
_CHANGING = {"scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned", "dtype"}
_SINCE = re.compile(r"(\w+?)s? since (\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d:\d\d(?:\.\d{1,6})?)?)")
_UNITS = {"day": "D", "hour": "h", "minute": "m", "second": "s", "millisecond": "ms", "microsecond": "us"}
_CALENDARS = {"proleptic_gregorian", "standard", "gregorian"}
_FIRST, _LAST = np.datetime64("1582-10-15"), np.datetime64("2262-01-01")  # "standard" is another calendar before
_FAR = 2e16  # microseconds: farther from a moment than these are from each other


def labels(files: Files, group: Group, dim: str, frame: "Callable[[], xr.Dataset]") -> Values | None:
    """Return the labels of a dimension, or None where it has no coordinate; raises what `files` raise.

    `frame` loads the coordinates of the group by xarray, and is called where they are not plain.
    """
    path = f"{group.path}/{dim}" if group.path else dim
    size = files.size_of(f"{path}/{META}")
    if size is None or dim in {one.name for one in group.arrays}:
        return None
    said = json.loads(files.read(f"{path}/{META}", 0, size))
    found = _decoded(_stored(files, path, said), said["attributes"]) if _is_plain(said, dim) else None
    if found is not None:
        return found
    loaded = frame()
    return loaded[dim].to_numpy() if dim in loaded.indexes else None


def _is_plain(said: dict[str, Any], dim: str) -> bool:
    """Say whether an array is as terp stores a coordinate of numbers, and says nothing that changes these."""
    found = re.fullmatch(r"(u?int|float)(32|64)", str(said["data_type"]))
    attributes = {name: value for name, value in said["attributes"].items() if (name, value) != ("_FillValue", _NAN)}
    return (
        found is not None
        and said["shape"] != [0]
        and (said.get("dimension_names"), said["chunk_grid"]["name"]) == ([dim], "regular")
        and ([one["name"] for one in said["codecs"]], said["chunk_key_encoding"]) == (_CODECS, _KEYS)
        and not _CHANGING & attributes.keys()
        and (found[1] != "float" or "since" not in str(attributes.get("units")))
    )


def _stored(files: Files, path: str, said: dict[str, Any]) -> Values:
    """Return the values as they are stored; their files are proven, so the sums in them need not be."""
    from numcodecs import zstd

    [count], [length] = said["shape"], said["chunk_grid"]["configuration"]["chunk_shape"]
    keys = [f"{path}/c/{number}" for number in range(-(-count // length))]
    chunks = [zstd.decompress(files.read(key, 0, files.size_of(key) or 0)[:-_CRC_BYTES]) for key in keys]
    return np.frombuffer(b"".join(chunks), np.dtype(said["data_type"]).newbyteorder("<"))[:count]


def _decoded(values: Values, attributes: dict[str, Any]) -> Values | None:
    """Return dates for numbers since a moment (CF conventions, 4.4); numbers of anything else as they are."""
    units = str(attributes.get("units"))
    if "since" not in units:
        return values
    found = _SINCE.fullmatch(units)
    if not found or found[1] not in _UNITS or attributes.get("calendar", "standard") not in _CALENDARS:
        return None
    unit = np.array(1, f"m8[{_UNITS[found[1]]}]")
    if np.abs(values.astype("f8")).max() * (unit / np.timedelta64(1, "us")) > _FAR:
        return None
    moments: Values = np.datetime64(found[2].replace(" ", "T"), "us") + values.astype("i8") * unit
    return moments if moments.min() >= _FIRST and moments.max() < _LAST else None
