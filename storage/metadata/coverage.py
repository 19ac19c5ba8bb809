"""What data cover in time and space: by CF's coordinates, or MSv4's and FITS's words.

`covered` looks at whole datasets; who has only attributes and values of coordinates (the catalog, which reads little)
asks the same of them: `kinds`, `seconds`, `times`, `box`. CF conventions 1.11, sections 4 and 7.1 (bounds); ACDD 1.3
where there is no axis of time; MSv4 field and source. It imports no arrays until it is given some.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

TIME, LATITUDE, LONGITUDE = "time", "latitude", "longitude"
_WORDS = {
    TIME: frozenset({"time"}),
    LATITUDE: frozenset({"latitude", "lat", "degrees_north", "degree_north", "degrees_n"}),
    LONGITUDE: frozenset({"longitude", "lon", "degrees_east", "degree_east", "degrees_e"}),
}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PERIOD = re.compile(r"(\d{4}(?:-\d{2}){0,2}) to (\d{4}(?:-\d{2}){0,2})")  # as in terp's climatologies
_MIDNIGHT = "00:00:00"

type Span = tuple[float, float]


# coordinates


def kinds(name: str, standard_name: str, units: str, axis: Any = None) -> set[str]:
    """Return of which kinds a coordinate is: time, latitude, longitude; by its name only if it has no standard_name."""
    said = {standard_name.lower(), units.lower()} | (set() if standard_name else {name.lower()})
    return {kind for kind, words in _WORDS.items() if said & words} | ({TIME} if axis == "T" else set())


@lru_cache(maxsize=1024)
def seconds(ends: Span, units: str, calendar: str) -> Span:
    """Return times as CF writes them in seconds since 1970 UTC.

    Dates of other calendars keep their year, month and day. Raises ValueError for what is no unit or calendar of time.
    """
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


# what spans cover together


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


# datasets


@dataclass(frozen=True)
class Direction:
    """A direction on the sky: what is there, and degrees in a frame."""

    name: str
    frame: str
    longitude: float
    latitude: float


@dataclass(frozen=True)
class Coverage:
    """What data are about: from and up to which day (xsd:date), where on Earth (degrees) or on the sky, and of what."""

    begin: str = ""
    end: str = ""
    west: float | None = None
    south: float | None = None
    east: float | None = None
    north: float | None = None
    directions: tuple[Direction, ...] = ()
    variables: tuple[str, ...] = ()

    @property
    def is_on_earth(self) -> bool:
        """Whether a box on Earth is known."""
        return self.west is not None


def covered(datasets: "Iterable[xr.Dataset]") -> Coverage:
    """Return what datasets cover together; coordinates are read, and no data."""
    every = list(datasets)
    spans = [span for one in every for span in (list(_times(one)) or list(_told_times(one)))]
    found: dict[str, Any] = {}
    if spans:
        found |= {"begin": min(begin for begin, _ in spans), "end": max(end for _, end in spans)}
    found |= box(
        [span for one in every for span in _degrees(one, LATITUDE)],
        [span for one in every for span in _degrees(one, LONGITUDE)],
    )
    directions = dict.fromkeys(found for one in every for found in _directions(one))
    variables = dict.fromkeys(name for one in every for name in _variables(one))
    return Coverage(**found, directions=tuple(directions), variables=tuple(variables))


def _kinds(variable: "xr.Variable", name: str) -> set[str]:
    standard_name, units = (
        str(variable.attrs.get(one) or variable.encoding.get(one) or "") for one in ("standard_name", "units")
    )
    found = kinds(name, standard_name, units, variable.attrs.get("axis"))
    return found if variable.attrs.get("standard_name") else found | kinds(name, "", "")


def _times(dataset: "xr.Dataset") -> Iterator[tuple[str, str]]:
    for name, variable in dataset.variables.items():
        if TIME in _kinds(variable, str(name)) and str(name) in dataset.coords:
            moments = _moments(variable)
            if len(moments):
                first, last = moments[0], moments[-1]
                bounds = _bounds(dataset, variable)
                if bounds is not None and len(edges := _moments(bounds)):
                    first, last = edges[0], max(last, _before_midnight(edges[-1]))
                begin, end = _day(first), _day(last)
                if begin and end:
                    yield begin, end


def _bounds(dataset: "xr.Dataset", variable: "xr.Variable") -> "xr.Variable | None":
    name = variable.attrs.get("bounds") or variable.encoding.get("bounds")
    return dataset.variables.get(name)


def _moments(variable: "xr.Variable") -> list[Any]:
    """Return the times of an axis, sorted: datetimes in UTC or dates of another calendar."""
    import numpy as np

    values = variable.values.ravel()
    if values.dtype.kind == "M":
        known = np.unique(values[~np.isnat(values)])
        return [datetime.fromtimestamp(int(one), UTC) for one in _ends(known.astype("datetime64[s]").astype(np.int64))]
    if values.dtype.kind == "O":  # cftime
        return sorted(one for one in values if hasattr(one, "timetuple"))
    if variable.attrs.get("type") == "time" and variable.attrs.get("format") == "unix" and values.dtype.kind in "iuf":
        return [datetime.fromtimestamp(float(one), UTC) for one in _ends(np.unique(values[np.isfinite(values)]))]
    return []


def _ends(values: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return the first and the last of sorted values; years that no calendar of Python has are left out."""
    within = values[(values > -62_135_596_800) & (values < 253_402_300_800)]
    return within[[0, -1]] if len(within) else within


def _before_midnight(moment: Any) -> Any:
    """Return the last moment within a bound: one that ends at midnight ends with the day before."""
    return moment - timedelta(days=1) if moment.strftime("%H:%M:%S") == _MIDNIGHT else moment


def _day(moment: Any) -> str:
    """Return the day as xsd:date, or the month where the calendar has days that ours has not; "" before year 1."""
    if not 0 < moment.year < 10_000:
        return ""
    month = f"{moment.year:04}-{moment.month:02}"
    try:
        datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    except ValueError:
        return month
    return f"{month}-{moment.day:02}"


def _told_times(dataset: "xr.Dataset") -> Iterator[tuple[str, str]]:
    """Return the span that attributes tell of, where there is no axis."""
    told = [str(dataset.attrs.get(f"time_coverage_{end}", ""))[:10] for end in ("start", "end")]
    if all(map(_DAY.fullmatch, told)):
        yield told[0], told[1]
    if found := _PERIOD.fullmatch(str(dataset.attrs.get("reference_period", ""))):
        yield found[1], found[2]


def _degrees(dataset: "xr.Dataset", kind: str) -> Iterator[Span]:
    import numpy as np

    for name, variable in dataset.variables.items():
        if kind in _kinds(variable, str(name)) and str(name) in dataset.coords and variable.dtype.kind in "iuf":
            bounds = _bounds(dataset, variable)
            values = [one.values.ravel() for one in (variable, bounds) if one is not None]
            known = np.concatenate(values).astype(np.float64)
            if len(known := known[np.isfinite(known)]):
                yield float(known.min()), float(known.max())


def _directions(dataset: "xr.Dataset") -> Iterator[Direction]:
    import numpy as np

    said = dataset.attrs
    field = said.get("field_and_source_base_xds")
    if isinstance(field, dict) and isinstance(centre := field.get("FIELD_PHASE_CENTER_DIRECTION"), dict):
        longitude, latitude = np.degrees(np.asarray(centre["data"], np.float64))
        yield _direction(field.get("field_name", ""), centre.get("attrs", {}).get("frame", ""), longitude, latitude)
    if str(said.get("CTYPE1", "")).startswith("RA") and "CRVAL1" in said and "CRVAL2" in said:
        yield _direction(said.get("OBJECT", ""), said.get("RADESYS", ""), said["CRVAL1"], said["CRVAL2"])


def _direction(name: Any, frame: Any, longitude: Any, latitude: Any) -> Direction:
    return Direction(str(name), str(frame).upper(), round(float(longitude) % 360, 6), round(float(latitude), 6))


def _variables(dataset: "xr.Dataset") -> Iterator[str]:
    bounds = {one.attrs.get("bounds") or one.encoding.get("bounds") for one in dataset.variables.values()}
    for name, variable in dataset.data_vars.items():
        if name not in bounds and "grid_mapping_name" not in variable.attrs:
            yield str(variable.attrs.get("standard_name") or variable.attrs.get("long_name") or name)
