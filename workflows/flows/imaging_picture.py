"""What an image shows: a picture of it, and the few numbers that one looks for first."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from terp.workflows.flows.gridding import noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAS = np.pi / 180 / 3600 / 1000
_UNITS = ((1.0, "mas"), (1e3, "arcsec"), (6e4, "arcmin"), (3.6e6, "deg"))  # in mas


def facts(image: xr.Dataset) -> dict[str, float]:
    """Peak and noise (Jy/beam), flux that CLEAN found (Jy), dynamic range, beam, and where the jet points.

    The jet's position angle is that of the flux-weighted centroid of the clean components further than one beam from
    the peak, in degrees east of north; NaN where there are none.
    """
    peak, level = float(image["SKY"].max()), noise(image["RESIDUAL"].values)
    major, minor, angle = image["BEAM_FIT_PARAMS"].values.tolist()
    return {
        "peak_jy_per_beam": peak,
        "flux_jy": float(image["MODEL"].sum()),
        "noise_jy_per_beam": level,
        "dynamic_range": peak / level if level > 0 else float("inf"),
        "beam_major_mas": major / _MAS,
        "beam_minor_mas": minor / _MAS,
        "beam_angle_deg": float(np.degrees(angle)),
        "jet_angle_deg": _jet_angle(image, major),
    }


def draw(dataset: xr.Dataset, target: Path) -> None:
    """Write a PNG of the image; the same image gives the same bytes.

    East is left. Brightness is stretched so that the noise and the core can both be seen; contours double from five
    times the noise upward.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    own: dict[Any, Any] = {name: value for name, value in mpl.rcParamsDefault.items() if "backend" not in name}
    with mpl.rc_context(own):
        figure = Figure(figsize=(7.6, 6.8), dpi=140, layout="constrained", facecolor="white")
        _paint(figure.add_subplot(), dataset)
        figure.savefig(target, format="png", metadata={"Software": None})


def _paint(axes: "Axes", dataset: xr.Dataset) -> None:
    known, (scale, unit) = facts(dataset), _unit(dataset)
    _show(axes, dataset, scale, known["noise_jy_per_beam"])
    _add_beam(axes, dataset, scale)
    axes.set_xlabel(f"Right ascension offset ({unit})")
    axes.set_ylabel(f"Declination offset ({unit})")
    axes.set_title(_headline(dataset), loc="left", fontsize=13, fontweight="bold", pad=24)
    axes.text(0, 1.015, _subtitle(known), transform=axes.transAxes, fontsize=9.5, color="0.35", va="bottom")


def _jet_angle(image: xr.Dataset, major: float) -> float:
    sky, model = image["SKY"].values, image["MODEL"].values
    row, column = np.unravel_index(np.argmax(sky), sky.shape)
    north = image["m"].values[:, None] - float(image["m"][row])
    east = image["l"].values[None, :] - float(image["l"][column])
    outside = np.where(np.hypot(north, east) > major, model, 0.0)
    if not outside.any():
        return float("nan")
    return float(np.degrees(np.arctan2((outside * east).sum(), (outside * north).sum())) % 360)


def _unit(dataset: xr.Dataset) -> tuple[float, str]:
    """The largest unit of angle that leaves the image more than a few wide: radians in it, and its name."""
    half = float(dataset["m"].max()) / _MAS
    size, name = next(((size, name) for size, name in reversed(_UNITS) if half > 2 * size), _UNITS[0])
    return size * _MAS, name


def _show(axes: "Axes", dataset: xr.Dataset, scale: float, level: float) -> None:
    from matplotlib.colors import AsinhNorm
    from matplotlib.ticker import FuncFormatter

    sky = dataset["SKY"].values
    east, north = dataset["l"].values / scale, dataset["m"].values / scale
    half = abs(north[1] - north[0]) / 2
    extent = (east[0] + half, east[-1] - half, north[0] - half, north[-1] + half)
    peak = float(sky.max())
    stretch = AsinhNorm(linear_width=max(4 * level, peak * 1e-6) or 1.0, vmin=-3 * level, vmax=peak or 1.0)
    shown = axes.imshow(sky, norm=stretch, cmap="inferno", origin="lower", extent=extent, interpolation="bilinear")
    if 0 < 5 * level < peak:
        steps = 5 * level * 2.0 ** np.arange(np.floor(np.log2(peak / (5 * level))) + 1)
        axes.contour(east, north, sky, levels=steps, colors="white", linewidths=0.5, alpha=0.55)
    marks = _marks(level, peak)
    bar = axes.figure.colorbar(shown, ax=axes, pad=0.02, fraction=0.046, ticks=marks)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 1e3:g}"))
    bar.ax.minorticks_off()
    bar.set_label("mJy / beam")
    bar.outline.set_visible(False)


def _marks(level: float, peak: float) -> NDArray[np.float64]:
    """Round values for the colour bar: 0 and 1, 3, 10, 30 ... from the noise to the peak."""
    decades = np.arange(-9, 6)
    steps = np.sort(np.concatenate([10.0**decades, 3 * 10.0**decades]))
    return np.concatenate([[0.0], steps[(steps > 2 * level) & (steps <= peak)]])


def _add_beam(axes: "Axes", dataset: xr.Dataset, scale: float) -> None:
    from matplotlib.patches import Ellipse

    major, minor, angle = dataset["BEAM_FIT_PARAMS"].values
    east, south = axes.get_xlim()[0], axes.get_ylim()[0]
    reach = max(0.75 * major / scale, 0.035 * abs(2 * south))
    place = (east - 1.2 * reach, south + 1.2 * reach)
    turn = float(np.degrees(angle))  # east of north: against the clock, on a sky that has east at the left
    mark = Ellipse(place, minor / scale, major / scale, angle=-turn, facecolor="0.85", edgecolor="white", lw=0.8)
    axes.add_patch(mark)


def _headline(dataset: xr.Dataset) -> str:
    frequency = float(dataset["FREQUENCY"])
    tuned = f"{frequency / 1e9:.3g} GHz" if frequency >= 1e9 else f"{frequency / 1e6:.4g} MHz"
    return f"{dataset.attrs.get('OBJECT', 'image')}   {tuned}"


def _subtitle(known: dict[str, float]) -> str:
    size, unit = next((s, u) for s, u in reversed(_UNITS) if known["beam_major_mas"] >= s or s == 1.0)
    widths = " \N{MULTIPLICATION SIGN} ".join(f"{known[f'beam_{axis}_mas'] / size:.2f}" for axis in ("major", "minor"))
    angle = f"{known['beam_angle_deg']:.0f}".replace("-", "\N{MINUS SIGN}")
    return (
        f"peak {known['peak_jy_per_beam']:.3f} Jy/beam,  {known['flux_jy']:.2f} Jy in all,  "
        f"dynamic range {known['dynamic_range']:.0f},  beam {widths} {unit} at {angle}\N{DEGREE SIGN}"
    )
