"""Pictures of a climatology: where it was most unusual and how that came and went, zonal means, or a year at stations.

Drawn without a display and from matplotlib's own defaults, so that the same results give the same bytes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from terp.workflows.flows.boxes import BOXES, axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Results = Mapping[str, xr.Dataset]

_WARM, _COLD, _WIND, _WET, _INK, _LAND, _FAINT = (
    "#b2182b",
    "#2166ac",
    "#5e4b8b",
    "#1b7f79",
    "#22272e",
    "#d9d4ca",
    "#dfe2e6",
)
_RECORDS = {"hottest": (_WARM, "°C"), "coldest": (_COLD, "°C"), "windiest": (_WIND, "m/s"), "wettest": (_WET, "mm")}
_UNITS = {"degC": "°C", "m s-1": "m/s", "m**2 s**-2": "m²/s²", "m s**-1": "m/s"}
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_FIRSTS = [1, 32, 61, 92, 122, 153, 183, 214, 245, 275, 306, 336]  # days of a leap year
_STYLE = {
    "font.size": 10.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.edgecolor": "#9aa2ab",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 12.5,
    "axes.titlepad": 10,
    "legend.frameon": False,
}


def draw(results: Results, target: Path) -> bool:
    """Write a PNG of the results of `climatology` to `target`; False, and no file, if there is nothing it can show."""
    painter = _painter(results)
    if painter is None:
        return False
    import matplotlib as mpl
    from matplotlib.figure import Figure

    own: dict[Any, Any] = {name: value for name, value in mpl.rcParamsDefault.items() if "backend" not in name}
    with mpl.rc_context(own | _STYLE):
        figure = Figure(figsize=(11, 7), dpi=150, layout="constrained", facecolor="white")
        painter(results, figure)
        figure.savefig(target, format="png", metadata={"Software": None})
    return True


def facts(results: Results) -> dict[str, tuple[Any, ...]]:
    """The numbers that the picture shows; empty for results that have none.

    A grid: the warmest and coldest month of its area mean as (month, anomaly). Stations: each record as (station, day,
    value).
    """
    if "records" in results:
        present = [name for name in _RECORDS if name in results["records"]]
        return {name: found for name in present if (found := _record(results["records"], name))}
    series = _series(results)
    if series is None:
        return {}
    extremes = {"warmest": int(series.argmax("time")), "coldest": int(series.argmin("time"))}
    return {name: (_month(series.time[at]), float(series[at])) for name, at in extremes.items()}


def _record(records: xr.Dataset, name: str) -> tuple[int, str, float] | None:
    values = records[name].where(records[f"{name}_date"].notnull()).dropna("station")
    if not values.size:
        return None
    most = values[int(values.argmin("station") if name == "coldest" else values.argmax("station"))]
    return int(most.station), _day(records[f"{name}_date"].sel(station=most.station)), round(float(most), 1)


def _series(results: Results) -> xr.DataArray | None:
    """The area mean in time, if there is one and it has a date and a number at all."""
    found = _first(results["index"]) if "index" in results else None
    if found is None or found.dims != ("time",) or found.time.dtype.kind != "M" or not found.notnull().any():
        return None
    return found.dropna("time").assign_attrs(box=results["index"].attrs.get("box"))


def _painter(results: Results) -> "Callable[[Results, Figure], None] | None":
    if "gaps" in results and "records" in results and facts(results):
        return _draw_stations
    if "anomalies" in results and _series(results) is not None:
        return _draw_grid
    return _draw_zonal if "zonal" in results and "mean" in results else None


def _draw_grid(results: Results, figure: "Figure") -> None:
    index, anomaly = _series(results), _first(results["anomalies"])
    assert index is not None
    at = index.time[int(index.argmax("time"))]
    over, under = figure.subplots(2, 1, height_ratios=(1, 1.5))
    _map(over, anomaly.sel(time=at), _unit(index))
    over.set_title(f"{_title(anomaly)}, {_words(_month(at))}")
    if index.attrs["box"] is not None:
        _outline(over, *index.attrs["box"])
    _course(under, index)


def _map(axes: "Axes", field: xr.DataArray, unit: str) -> None:
    latitude, longitude = (str(axis(field, which).name) for which in ("latitude", "longitude"))
    most = float(np.ceil(np.nanpercentile(np.abs(field), 99.5) * 2) / 2) or 1.0
    axes.set_facecolor(_LAND)
    values = field.transpose(latitude, longitude)
    drawn = axes.pcolormesh(field[longitude], field[latitude], values, cmap="RdBu_r", vmin=-most, vmax=most)
    axes.set_xticks(np.arange(-180, 361, 30), [_degrees((x + 180) % 360 - 180, "EW") for x in range(-180, 361, 30)])
    axes.set_xlim(float(field[longitude].min()), float(field[longitude].max()))
    axes.yaxis.set_major_formatter(lambda y, _: _degrees(y, "NS"))
    axes.figure.colorbar(drawn, ax=axes, pad=0.012, aspect=12, extend="both", label=unit)


def _outline(axes: "Axes", west: float, east: float, south: float, north: float) -> None:
    (left, _), (low, high) = axes.get_xlim(), axes.get_ylim()
    start = left + (west - left) % 360
    x, y = [start, start + east - west], [max(south, low), min(north, high)]
    axes.plot([x[0], x[1], x[1], x[0], x[0]], [y[0], y[0], y[1], y[1], y[0]], color=_INK, linewidth=2, clip_on=False)


def _course(axes: "Axes", index: xr.DataArray) -> None:
    """The index in time, red above and blue below what is usual, its two extremes told."""
    time, values = index.time.to_numpy(), index.to_numpy()
    for sign, colour in ((1, _WARM), (-1, _COLD)):
        shown: dict[str, Any] = {"color": colour, "alpha": 0.88, "linewidth": 0}
        axes.fill_between(time, values, 0, where=values * sign >= 0, interpolate=True, **shown)
    axes.plot(time, values, color=_INK, linewidth=1.1)
    axes.axhline(0, color=_INK, linewidth=0.8)
    for at in (int(values.argmax()), int(values.argmin())):
        _tell(axes, index[at])
    axes.margins(x=0.015, y=0.3)
    axes.grid(axis="y", color=_FAINT)
    axes.set_ylabel(_unit(index))
    axes.set_title(_over(index.attrs["box"]))


def _tell(axes: "Axes", extreme: xr.DataArray) -> None:
    value = float(extreme)
    event = ("El Niño, " if value > 0 else "La Niña, ") if _is_enso(extreme) else ""
    text = f"{event}{_words(_month(extreme.time))}\n{value:+.2f} {_unit(extreme)}".replace("-", "\N{MINUS SIGN}")
    where: dict[str, Any] = {"xytext": (0, 11 if value > 0 else -11), "textcoords": "offset points", "ha": "center"}
    side: dict[str, Any] = {
        "va": "bottom" if value > 0 else "top",
        "color": _WARM if value > 0 else _COLD,
        "fontweight": "bold",
    }
    axes.plot(extreme.time.to_numpy(), value, "o", color="white", markeredgecolor=_INK, markersize=6, zorder=4)
    axes.annotate(text, (extreme.time.to_numpy(), value), **where, **side)


def _is_enso(extreme: xr.DataArray) -> bool:
    """Whether it is of the Niño 3.4 box, and beyond the half degree that NOAA calls an event."""
    return list(extreme.attrs["box"] or ()) == list(BOXES["nino3.4"]) and abs(float(extreme)) > 0.5


def _over(box: Any) -> str:
    if box is None:
        return "Mean over the whole area"
    west, east, south, north = ((x + 180) % 360 - 180 if number < 2 else x for number, x in enumerate(box))
    name = next((name for name, known in BOXES.items() if list(known) == list(box)), "")
    area = f"{_degrees(west, 'EW')} to {_degrees(east, 'EW')}, {_degrees(south, 'NS')} to {_degrees(north, 'NS')}"
    return f"Mean over {name.replace('nino', 'Niño ') + ': ' if name else ''}{area}"


def _draw_zonal(results: Results, figure: "Figure") -> None:
    """A panel a variable: its zonal mean against latitude, a line for each of what else it depends on."""
    variables = _values(results["zonal"])[:3]
    for axes, values in zip(np.atleast_1d(figure.subplots(1, len(variables))), variables, strict=True):
        latitude = str(axis(values, "latitude").name)
        others = [str(dim) for dim in values.dims if dim != latitude]
        for at in list(np.ndindex(*(values.sizes[dim] for dim in others)))[:12]:
            line = values[dict(zip(others, at, strict=True))]
            words = ", ".join(f"{dim} {line[dim].item()}" for dim in others if dim in line.coords)
            axes.plot(line, line[latitude], linewidth=1.6, label=words)
        axes.set_title(_title(values))
        axes.set_xlabel(_unit(values))
        axes.yaxis.set_major_formatter(lambda y, _: _degrees(y, "NS"))
        axes.grid(color=_FAINT)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)


def _draw_stations(results: Results, figure: "Figure") -> None:
    grid = figure.add_gridspec(2, 4, height_ratios=(1, 1.15))
    _year(figure.add_subplot(grid[0, :]), results["normals"])
    first = None
    for column, (name, (colour, unit)) in enumerate(_RECORDS.items()):
        if name in results["records"]:
            first = figure.add_subplot(grid[1, column], sharey=first)
            _lollipops(first, results["records"], name, colour)
            first.set_title(f"{name.capitalize()} day ({unit})")
            first.tick_params(labelleft=column == 0, length=0)


def _year(axes: "Axes", normals: xr.Dataset) -> None:
    """The normal of each station through the year, and their mean."""
    normal = _first(normals)
    by = next(str(dim) for dim in normal.dims if dim in ("month", "dayofyear"))
    for station in normal.transpose("station", by):
        axes.plot(normal[by], station, color="#9fb3c8", linewidth=0.9)
    mean = normal.dropna("station", how="all").mean("station")
    axes.plot(normal[by], mean, color=_WARM, linewidth=2.4, label="mean of the stations")
    axes.set_xticks(range(1, 13) if by == "month" else _FIRSTS, _MONTHS)
    axes.margins(x=0.01)
    axes.grid(color=_FAINT)
    axes.set_ylabel(_unit(normal))
    years = normals.attrs.get("reference_period", "all")
    axes.set_title(f"{_title(normal)}: the normal of {'all years' if years == 'all' else years}, a line a station")
    axes.legend()


def _lollipops(axes: "Axes", records: xr.Dataset, name: str, colour: str) -> None:
    """A line a station, the longer the more extreme, with the value and the day; the record of all is filled."""
    values, dates = records[name].to_numpy(), records[f"{name}_date"]
    rows, order = np.arange(len(values))[::-1], sorted(values[np.isfinite(values)], reverse=name == "coldest")
    mildest, best = float(order[0]), float(order[-1])
    start = mildest - 0.35 * ((best - mildest) or 1)
    axes.hlines(rows, start, values, color=colour, alpha=0.35, linewidth=2)
    axes.scatter(values, rows, c=[colour if v == best else "white" for v in values], edgecolors=colour, zorder=3)
    for row, value, date in zip(rows, values, dates, strict=True):
        if np.isfinite(value):
            text = f"{value:.1f}".replace("-", "\N{MINUS SIGN}") + f"  {_day(date)}"
            where: dict[str, Any] = {"xytext": (7, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
            weight = "bold" if value == best else "normal"
            axes.annotate(text, (value, row), **where, fontweight=weight).set_in_layout(False)
    axes.set_yticks(rows, _station_names(records), fontsize=8.5)
    axes.set_xticks([])
    axes.set_xlim(start, best + 1.25 * (best - start))
    axes.spines[["left", "bottom"]].set_visible(False)


def _station_names(records: xr.Dataset) -> list[str]:
    numbers = [str(number) for number in records["station"].to_numpy()]
    names = records["station_name"].to_numpy() if "station_name" in records else [""] * len(numbers)
    return [f"{name or 'station'} {number}" for name, number in zip(names, numbers, strict=True)]


def _values(dataset: xr.Dataset) -> list[xr.DataArray]:
    """The variables that are no counts, by name: a store lists them in any order."""
    return [dataset[name] for name in sorted(map(str, dataset.data_vars)) if not name.endswith("_count")]


def _first(dataset: xr.Dataset) -> xr.DataArray:
    return _values(dataset)[0]


def _title(values: xr.DataArray) -> str:
    name = str(values.attrs.get("long_name") or values.attrs.get("standard_name") or values.name).replace("_", " ")
    return name[:1].upper() + name[1:]


def _unit(values: xr.DataArray) -> str:
    unit = str(values.attrs.get("units", ""))
    return _UNITS.get(unit, unit)


def _month(time: xr.DataArray) -> str:
    return str(time.dt.strftime("%Y-%m").item())


def _day(time: xr.DataArray) -> str:
    return str(time.dt.strftime("%Y-%m-%d").item())


def _words(month: str) -> str:
    return f"{_MONTHS[int(month[5:]) - 1]} {month[:4]}"


def _degrees(value: float, sides: str) -> str:
    size = f"{abs(value):g}°"
    return size if value in (0, 180, -180) else size + sides[0 if value > 0 else 1]
