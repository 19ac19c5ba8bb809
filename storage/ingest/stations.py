"""Daily weather of KNMI's stations: one `etmgeg_NNN.txt` (or .gz), or a folder of them beside a `stations.csv`.

All stations lie on one axis of days, first to last, with NaN where a station has nothing. Names are KNMI's own;
units and standard names are CF. A code that stands for something else than a number never becomes one: it is taken
out and told in a variable of its own (`RH_trace`: rain was seen, less than 0.05 mm). Source: the header of the files.
"""

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from terp.storage.errors import BadInput
from terp.storage.ingest.columns import COLUMNS, FLAGS, STATION_COLUMNS
from terp.storage.lineage import Pieces

if TYPE_CHECKING:
    import pandas as pd

NAME = "knmi-daily"
CUT: tuple[str, ...] = ("station",)

_HEADER = b"# STN,YYYYMMDD,"
_HEADER_WITHIN = 1 << 16
_FILES = re.compile(r"etmgeg_\d+\.txt(\.gz)?")
_CREDIT = "Koninklijk Nederlands Meteorologisch Instituut (KNMI)"
_COMMENT = (
    "Inhomogeneous series (stations moved, methods changed): KNMI warns that they are not fit for trend analysis."
)
_UNVERIFIED = "unverified: from stations.csv beside the files, which does not come from KNMI"


@dataclass(frozen=True)
class _Station:
    """One file: the station's number, its days as datetime64[D], and a row of 39 numbers (NaN if absent) for each."""

    path: Path
    number: int
    days: np.ndarray[Any, Any]
    table: "pd.DataFrame"


def recognise(path: Path) -> bool:
    """Whether this is a KNMI daily file, or a folder with one: seen by the line that names the columns."""
    try:
        candidates = _files(path) if path.is_dir() else [path]
    except OSError:
        return False
    return any(_is_daily(file) for file in candidates)


def _is_daily(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(_HEADER_WITHIN)
        if start[:2] == b"\x1f\x8b":
            start = zlib.decompressobj(wbits=31).decompress(start, _HEADER_WITHIN)
    except (OSError, zlib.error):
        return False
    return _HEADER in start


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if _FILES.fullmatch(file.name))


def read(path: Path) -> dict[str, xr.Dataset]:
    """One dataset (station, time); BadInput naming file and line for anything that is not as KNMI writes it."""
    files = _files(path) if path.is_dir() else [path]
    stations = sorted((_station(file) for file in files), key=lambda s: s.number)
    for one, other in pairwise(stations):
        if one.number == other.number:
            raise BadInput(f"{one.path} and {other.path.name} are both of station {one.number}; keep one of them.")
    folder = path if path.is_dir() else path.parent
    data = _dataset(stations).assign_coords(_places(folder / "stations.csv", [s.number for s in stations]))
    data.encoding = {"files": [station.path.name for station in stations] if path.is_dir() else []}
    return {"": data}


def pieces(_: Path, groups: Mapping[str, xr.Dataset]) -> dict[str, list[Pieces]]:
    """Each station of a folder has its own file."""
    names = groups[""].encoding["files"]
    return {"": [Pieces(("station",), (1,), names=tuple(names))]} if names else {}


def _station(path: Path) -> _Station:
    lines = _Lines(path, _unzipped(path))
    table = _parsed(lines)
    numbers = table["STN"].unique()
    if len(numbers) != 1:
        raise BadInput(f"{path} has lines of stations {', '.join(map(str, numbers))}; KNMI gives each its own file.")
    days = _days(table["YYYYMMDD"].to_numpy(), lines)
    return _Station(path, int(numbers[0]), days, table)


def _unzipped(path: Path) -> bytes:
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path} can't be unzipped ({error}); fetch it again.") from error


class _Lines:
    """The text of a file, split where the numbers begin, so that any complaint can name its line."""

    def __init__(self, path: Path, text: bytes) -> None:
        self.path = path
        at = text.find(_HEADER)
        start = text.find(b"\n", at) + 1
        self.names = [name.strip("# \r\n") for name in text[at:start].decode("latin-1").split(",")]
        self.body, self._before = text[start:], text[:start].count(b"\n")

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """(line number, fields) of every line that is not blank."""
        for number, line in enumerate(self.body.decode("latin-1").splitlines(), start=self._before + 1):
            if line.strip():
                yield number, [field.strip() for field in line.split(",")]

    def bad(self, number: int, what: str) -> BadInput:
        return BadInput(f"{self.path}, line {number}: {what}; fetch the file again or mend that line.")


def _parsed(lines: _Lines) -> "pd.DataFrame":
    """All lines as numbers, in KNMI's columns."""
    import pandas as pd

    if lines.names != list(STATION_COLUMNS):
        odd = ", ".join(sorted(set(lines.names) ^ set(STATION_COLUMNS))) or "their order"
        raise BadInput(
            f"{lines.path} has other columns than KNMI's daily files ({odd}); this reader knows those 41 only."
        )
    options: dict[str, Any] = {
        "skipinitialspace": True,
        "keep_default_na": False,
        "na_values": [""],
        "low_memory": False,
    }
    try:
        table: pd.DataFrame = pd.read_csv(
            BytesIO(lines.body), header=None, names=lines.names, encoding="latin-1", **options
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise _explained(lines) from error
    if not _sound(table, lines.body):
        raise _explained(lines)
    return table


def _sound(table: "pd.DataFrame", body: bytes) -> bool:
    """Whether each line gave a number or nothing for every column; pandas itself fills a line that is too short."""
    whole = body.endswith(b"\n") and body.count(b",") == len(table) * (len(STATION_COLUMNS) - 1)
    keys = all(table[name].dtype.kind == "i" for name in STATION_COLUMNS[:2])
    numeric = all(dtype.kind in "if" for dtype in table.dtypes)
    return whole and keys and numeric and not np.isinf(table.to_numpy(dtype=float)).any()


def _explained(lines: _Lines) -> BadInput:
    """What is wrong, found the slow way: only when something is."""
    number = 0
    for number, fields in lines.rows():
        if len(fields) != len(lines.names):
            return lines.bad(number, f"{len(fields)} values where the columns are {len(lines.names)}")
        for name, field in zip(lines.names, fields, strict=True):
            if not re.fullmatch(r"-?\d+", field) and (field or name in STATION_COLUMNS[:2]):
                return lines.bad(number, f"{field!r} is no value of {name}")
    if not number:
        return BadInput(f"{lines.path} has no line of values; fetch it again.")
    return lines.bad(number, "the last line has no end, so the file is cut short")


def _days(dates: np.ndarray[Any, Any], lines: _Lines) -> np.ndarray[Any, Any]:
    """YYYYMMDD as days; each must exist in the calendar and occur once."""
    year, month, day = dates // 10000, dates // 100 % 100, dates % 100
    months = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (np.clip(month, 1, 12) - 1)
    days: np.ndarray[Any, Any] = months.astype("datetime64[D]") + (day - 1)
    wrong = (month != np.clip(month, 1, 12)) | (days.astype("datetime64[M]") != months)
    again = np.ones(len(days), dtype=bool)
    again[np.unique(days, return_index=True)[1]] = False
    for bad, what in ((wrong, "is no date"), (again, "is a day that the file already has")):
        if bad.any():
            number = [number for number, _ in lines.rows()][int(np.argmax(bad))]
            raise lines.bad(number, f"{dates[np.argmax(bad)]} {what}")
    return days


def _dataset(stations: list[_Station]) -> xr.Dataset:
    first, last = min(s.days.min() for s in stations), max(s.days.max() for s in stations)
    time = np.arange(first, last + 1)
    gather = partial(_gather, stations, first, (len(stations), len(time)))
    variables = {
        "observed": _variable(gather(lambda s: np.ones(len(s.days))) == 1, long_name="the file has a line for this day")
    }
    for name, column in COLUMNS.items():
        codes = gather(lambda s, name=name: s.table[name].to_numpy())
        for flag in FLAGS.get(name, ()):
            hit = codes == flag.code
            codes = np.where(hit, flag.value, codes)
            variables[f"{name}_{flag.word}"] = _variable(hit, long_name=flag.meaning)
        variables[name] = _variable((codes / column.per_unit).astype("float32"), **column.attrs())
    axes: dict[str, Any] = {
        "station": (
            "station",
            [s.number for s in stations],
            {"long_name": "KNMI station number", "cf_role": "timeseries_id"},
        )
    }
    axes["time"] = ("time", time.astype("datetime64[ns]"), {"standard_name": "time", "axis": "T"})
    attrs = {"Conventions": "CF-1.11", "featureType": "timeSeries", "source": _CREDIT, "comment": _COMMENT}
    return xr.Dataset(variables, axes, attrs)


def _variable(values: np.ndarray[Any, Any], **attrs: str) -> xr.Variable:
    return xr.Variable(("station", "time"), values, attrs)


def _gather(stations: list[_Station], first: Any, shape: tuple[int, int], take: Any) -> np.ndarray[Any, Any]:
    """Each station's values on its days, NaN on all others."""
    out = np.full(shape, np.nan)
    for row, station in zip(out, stations, strict=True):
        row[(station.days - first).astype(int)] = take(station)
    return out


def _places(path: Path, numbers: list[int]) -> dict[str, xr.Variable]:
    """Names and positions, where the table beside the files has them; "" and NaN where not."""
    known = _station_table(path) if path.is_file() else {}
    rows = [known.get(number, ("", np.nan, np.nan)) for number in numbers]
    name, lat, lon = (np.array(column) for column in zip(*rows, strict=True))
    return {
        "station_name": xr.Variable("station", name, {"long_name": "station name", "comment": _UNVERIFIED}),
        "lat": xr.Variable(
            "station", lat, {"standard_name": "latitude", "units": "degrees_north", "comment": _UNVERIFIED}
        ),
        "lon": xr.Variable(
            "station", lon, {"standard_name": "longitude", "units": "degrees_east", "comment": _UNVERIFIED}
        ),
    }


def _station_table(path: Path) -> dict[int, tuple[str, float, float]]:
    import csv

    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.DictReader(file)
        try:
            return {int(row["stn"]): (row["name"], float(row["lat"]), float(row["lon"])) for row in rows}
        except (KeyError, TypeError, ValueError) as error:
            message = f"{path}, line {rows.line_num}: not a row of stn,name,lat,lon; mend it, or take the file away."
            raise BadInput(message) from error
