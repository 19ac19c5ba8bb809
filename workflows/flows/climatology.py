"""How a month or a day usually is at a place, how far each one was from it, and what the extremes were.

For a grid: normals, anomalies, and the area mean of a box (Niño 3.4: Trenberth 1997, Bull. Am. Met. Soc. 78, 2771). For
stations: normals, anomalies, records and gaps. Nothing here is a trend: station series are not homogeneous.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from prefect import flow

from terp.storage.errors import BadInput
from terp.workflows import Product, ingest, stage
from terp.workflows.errors import Usage
from terp.workflows.flows.boxes import BOXES, Box, axis, within
from terp.workflows.flows.pictures import draw as picture
from terp.workflows.flows.pictures import facts

__all__ = ["BOXES", "axis", "climatology", "facts", "picture"]  # the last two are shown with the results

Period = tuple[str, str]

CALENDARS = {"month": 12, "dayofyear": 366}
RECORDS = {"hottest": ("TX", 1), "coldest": ("TN", -1), "windiest": ("FXX", 1), "wettest": ("RH", 1)}

_NAMED_ANOMALIES = {"air_temperature", "surface_temperature", "geopotential_height", "air_pressure"}
_LEAP_MONTHS = np.cumsum([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30])


@flow
def climatology(
    source: str = "ostia",
    variable: str | None = None,
    box: str | Box | None = "nino3.4",
    period: Period | None = None,
    by: str = "month",
) -> dict[str, Product]:
    """Normals of a source and what departs from them.

    `variable`: one of the source's (default: all of a grid; TG of stations). `box`: a name of BOXES or (west, east,
    south, north) in degrees, for the area means; None is the whole area. `period`: the first and last year (month, day)
    of the normals, as ("1991", "2020"); None is all there is. `by`: "month" or "dayofyear" (of a leap year: 1 March is
    day 61).

    A grid without a time axis is taken as it is: its area and zonal means are given.
    """
    data = ingest(source)
    _check_calendar(by, period, data.schema)
    if "station" in data.dims:
        return _of_stations(data, _known(variable or "TG", data.variables), period, by)
    _known(variable, data.variables)
    where = _box(box, data.schema)
    latitude, longitude = (str(axis(data.schema, which).name) for which in ("latitude", "longitude"))
    if "time" not in data.dims:
        mean = mean_over(data, latitude, longitude, variable=variable, box=where)
        return {"mean": mean, "zonal": mean_over(data, longitude, variable=variable)}
    normal = normals(data, variable=variable, by=by, period=period)
    anomaly = anomalies(data, normal, variable=variable)
    index = mean_over(anomaly, latitude, longitude, variable=variable, box=where)
    zonal = mean_over(normal, longitude, variable=variable)
    return {"normals": normal, "anomalies": anomaly, "index": index, "zonal": zonal}


def _of_stations(data: Product, variable: str, period: Period | None, by: str) -> dict[str, Product]:
    normal = normals(data, variable=variable, by=by, period=period)
    anomaly = anomalies(data, normal, variable=variable)
    found = {"normals": normal, "anomalies": anomaly, "gaps": gaps(data, variable=variable)}
    return found | ({"records": records(data)} if any(name in data.variables for name, _ in RECORDS.values()) else {})


@stage(whole=("time",))
def normals(
    block: xr.Dataset, *, variable: str | None = None, by: str = "month", period: Period | None = None
) -> xr.Dataset:
    """Mean of each calendar month or day over the years of the period, float64, and how many values it is of.

    (time, ...) -> <name> and <name>_count of (month or dayofyear, ...). NaN is skipped; NaN where there is no value.
    """
    when = _when(block)
    slots = np.where(_inside(when, period), _slots(when, by), -1)
    found = {}
    for name, values in _chosen(block, variable):
        dims = [by if dim == "time" else dim for dim in values.dims]
        axes: dict[str, Any] = {"input_core_dims": [["time"]], "output_core_dims": [[by], [by]]}
        mean, count = xr.apply_ufunc(_means, values, kwargs={"slots": slots, "size": CALENDARS[by]}, **axes)
        found[name] = mean.transpose(*dims).assign_attrs(values.attrs)
        counted = {"long_name": f"number of values in the normal of {name}", "units": "1"}
        found[f"{name}_count"] = count.transpose(*dims).assign_attrs(counted)
    years = " to ".join(period) if period else "all"
    return xr.Dataset(found, {by: np.arange(1, CALENDARS[by] + 1)}, {**block.attrs, "reference_period": years})


@stage(whole=("time",))
def anomalies(block: xr.Dataset, normal: xr.Dataset, *, variable: str | None = None) -> xr.Dataset:
    """Each value minus the normal of its month or day, in the values' own precision; same dimensions as the block."""
    by = next(name for name in CALENDARS if name in normal.dims)
    slots = xr.DataArray(_slots(_when(block), by), dims="time")
    found = {}
    for name, values in _chosen(block, variable):
        usual = normal[name].isel({by: slots}).drop_vars(by).transpose(*values.dims)
        kind = values.dtype if values.dtype.kind == "f" else np.float64
        found[name] = (values - usual).astype(kind).assign_attrs(_as_anomaly(values.attrs))
    return xr.Dataset(found, attrs={**block.attrs, "reference_period": normal.attrs.get("reference_period", "")})


def _as_anomaly(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a difference: CF has a standard name for few, and CF 1.11 (3.1.2) marks its temperatures."""
    name = attrs.get("standard_name", "")
    kept = {key: value for key, value in attrs.items() if key != "standard_name"}
    kept |= {"standard_name": f"{name}_anomaly"} if name in _NAMED_ANOMALIES else {}
    kept |= {"units_metadata": "temperature: difference"} if attrs.get("units") in ("K", "degC") else {}
    return kept | {"long_name": f"anomaly of {attrs.get('long_name', name) or 'the value'}"}


def mean_over[Data: (Product, xr.Dataset)](
    data: Data, *axes: str, variable: str | None = None, box: Box | None = None
) -> Data:
    """Mean over the cells of the box (west, east, south, north), by the cosine of latitude, float64; NaN is skipped.

    (..., latitude, longitude) -> what is left without the axes; NaN where there is no value.
    """
    reduction = stage(over=axes)(area_mean)
    reduction.finish(quotients)
    return reduction(data, axes=axes, variable=variable, box=box)


def area_mean(
    block: xr.Dataset, *, axes: tuple[str, ...], variable: str | None = None, box: Box | None = None
) -> xr.Dataset:
    """What a mean over axes is made of: sums of weight times value, and of the weights of known values, float64."""
    latitude, longitude = axis(block, "latitude"), axis(block, "longitude")
    weights = np.cos(np.deg2rad(latitude.astype("f8"))).clip(min=0) * within(latitude, longitude, box)
    found = {}
    for name, values in _chosen(block, variable):
        known = values.notnull() & (weights > 0)
        found[name] = (values.where(known, 0).astype("f8") * weights).sum(axes).assign_attrs(values.attrs)
        found[f"{name}_weight"] = (known * weights).sum(axes)
    return xr.Dataset(found, attrs=block.attrs)


def quotients(partial: xr.Dataset, *, box: Box | None = None, **_: Any) -> xr.Dataset:
    """Means of the sums over all blocks; the box is kept as an attribute."""
    found = {}
    for name in (name for name in partial.data_vars if f"{name}_weight" in partial):
        weight = partial[f"{name}_weight"]
        found[name] = (partial[name] / weight.where(weight > 0)).assign_attrs(partial[name].attrs)
    return xr.Dataset(found, attrs=partial.attrs | ({"box": list(box)} if box else {}))


@stage(whole=("time",))
def records(block: xr.Dataset) -> xr.Dataset:
    """The hottest, coldest, windiest and wettest day of each station: value and <name>_date, the first of equals."""
    found = {}
    for record, (name, sign) in RECORDS.items():
        if name in block:
            values = block[name].transpose(..., "time")
            at = (values * sign).fillna(-np.inf).argmax("time")
            none = values.isnull().all("time")
            found[record] = values.isel(time=at).drop_vars("time").assign_attrs(values.attrs)
            date = block["time"].isel(time=at).drop_vars("time").where(~none)
            found[f"{record}_date"] = date.assign_attrs(long_name=f"day of {record}")
    return xr.Dataset(found, attrs=block.attrs)


@stage(whole=("time",))
def gaps(block: xr.Dataset, *, variable: str = "TG") -> xr.Dataset:
    """First and last day on which a station has a value (NaT: none), and how many days between them have none."""
    known = block[variable].notnull().transpose(..., "time")
    first, behind = known.argmax("time"), known.isel(time=slice(None, None, -1)).argmax("time")
    last, any_value = known.sizes["time"] - 1 - behind, known.any("time")
    days = (last - first + 1).where(any_value, 0)
    found = {"known": known.sum("time"), "missing": days - known.sum("time")}
    for name, at in {"first": first, "last": last}.items():
        found[name] = block["time"].isel(time=at).drop_vars("time").where(any_value)
    words = {
        name: {"long_name": f"{name} {'day' if name in ('first', 'last') else 'days'} of {variable}"} for name in found
    }
    return xr.Dataset({name: value.assign_attrs(words[name]) for name, value in found.items()}, attrs=block.attrs)


def _means(values: NDArray[Any], slots: NDArray[Any], size: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and count of (..., time) for each slot, -1 for none.

    Added day by day: the sum of a cell is then the same to the bit in whatever block it lies, as numpy's own is not.
    """
    total, count = np.zeros((size, *values.shape[:-1])), np.zeros((size, *values.shape[:-1]), dtype=np.int32)
    with np.errstate(invalid="ignore", over="ignore"):
        for slot, step in zip(slots, np.moveaxis(values, -1, 0), strict=True):
            if slot >= 0:
                known = ~np.isnan(step)
                total[slot] += np.where(known, step, 0)
                count[slot] += known
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return np.moveaxis(mean, 0, -1), np.moveaxis(count, 0, -1)


def _when(block: xr.Dataset) -> xr.DataArray:
    """The time axis as dates; those of another calendar (360_day, noleap) are stored as numbers."""
    if "time" not in block.indexes:
        raise BadInput(f"Normals need an axis 'time' with dates; the axes are {', '.join(map(str, block.dims))}.")
    time = block["time"]
    if "since" in str(time.attrs.get("units", "")):
        time = xr.DataArray(xr.conventions.decode_cf_variable("time", time.variable), dims="time")
    if not hasattr(time, "dt"):
        raise BadInput(
            "The axis 'time' has numbers without `units` as in 'days since 1850-01-01', so its dates are not known."
        )
    return time


def _slots(when: xr.DataArray, by: str) -> NDArray[Any]:
    """Which calendar month (0 to 11), or day (0 to 365, as in a leap year), each time is of."""
    month = when.dt.month.to_numpy() - 1
    return month if by == "month" else _LEAP_MONTHS[month] + when.dt.day.to_numpy() - 1


def _inside(when: xr.DataArray, period: Period | None) -> NDArray[Any]:
    if period is None:
        return np.ones(when.size, dtype=bool)
    day = (when.dt.year * 100 + when.dt.month) * 100 + when.dt.day
    first, last = (int(text.replace("-", "").ljust(8, pad)) for text, pad in zip(period, "09", strict=True))
    return ((day >= first) & (day <= last)).to_numpy()


def _chosen(block: xr.Dataset, variable: str | None) -> Iterator[tuple[str, xr.DataArray]]:
    """The variable, or all that are real numbers and no counts of another."""
    _known(variable, map(str, block.data_vars))
    counts = {f"{name}_count" for name in block.data_vars}
    for name, values in block.data_vars.items():
        if name == variable or (variable is None and values.dtype.kind in "iuf" and name not in counts):
            yield str(name), values


def _known(variable: str | None, names: Iterable[str]) -> str:
    names = list(names)
    if variable is not None and variable not in names:
        raise BadInput(f"The source has no variable '{variable}'; it has {', '.join(names)}.")
    return variable or ""


def _check_calendar(by: str, period: Period | None, schema: xr.Dataset) -> None:
    if by not in CALENDARS:
        raise Usage(f"by='{by}' is not known; it is one of {', '.join(CALENDARS)}.")
    if period is None:
        return
    try:
        inside = _inside(_when(schema), period)
    except ValueError as error:
        raise Usage(f"period={period} is not two dates as ('1991', '2020') or ('1991-05', '2020-04').") from error
    if not inside.any():
        raise Usage(f"The source has nothing in the period {' to '.join(period)}; give one that it covers.")


def _box(box: str | Box | None, schema: xr.Dataset) -> Box | None:
    """The box in numbers, after a look whether it holds any cell."""
    if isinstance(box, str) and box not in BOXES:
        raise Usage(f"There is no box named '{box}'; there are {', '.join(BOXES)}, or give west, east, south, north.")
    where = BOXES[box] if isinstance(box, str) else box
    latitude, longitude = axis(schema, "latitude"), axis(schema, "longitude")
    if not within(latitude, longitude, where).any():
        spans = [f"{float(a.min()):g} to {float(a.max()):g} in {a.name}" for a in (latitude, longitude)]
        raise Usage(
            f"The box {box} has no cell of the source, which spans {' and '.join(spans)}; give another, or None."
        )
    return where
