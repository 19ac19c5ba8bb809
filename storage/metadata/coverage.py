"""What data cover in time and space, found in the datasets themselves: by CF's coordinates, or MSv4's and FITS's words.

CF conventions 1.11, sections 4 and 7.1 (bounds); ACDD 1.3 where there is no axis of time; MSv4 field and source.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from terp.storage.archive.catalog.coverage import LATITUDE, LONGITUDE, box

if TYPE_CHECKING:
    import xarray as xr

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PERIOD = re.compile(r"(\d{4}(?:-\d{2}){0,2}) to (\d{4}(?:-\d{2}){0,2})")  # as in terp's climatologies
_MIDNIGHT = "00:00:00"


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


def _words(variable: "xr.Variable", name: str) -> set[str]:
    """Return by what a coordinate is known: what CF says of it, and its name where CF says nothing."""
    said = {
        str(variable.attrs.get(one) or variable.encoding.get(one) or "").lower() for one in ("standard_name", "units")
    }
    return said if variable.attrs.get("standard_name") else {*said, name.lower()}


def _times(dataset: "xr.Dataset") -> Iterator[tuple[str, str]]:
    for name, variable in dataset.variables.items():
        if ("time" in _words(variable, str(name)) or variable.attrs.get("axis") == "T") and str(name) in dataset.coords:
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


def _degrees(dataset: "xr.Dataset", words: frozenset[str]) -> Iterator[tuple[float, float]]:
    for name, variable in dataset.variables.items():
        if words & _words(variable, str(name)) and str(name) in dataset.coords and variable.dtype.kind in "iuf":
            bounds = _bounds(dataset, variable)
            values = [one.values.ravel() for one in (variable, bounds) if one is not None]
            known = np.concatenate(values).astype(np.float64)
            if len(known := known[np.isfinite(known)]):
                yield float(known.min()), float(known.max())


def _directions(dataset: "xr.Dataset") -> Iterator[Direction]:
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
