"""Visibilities to a cleaned image of total intensity, with its beam and its place on the sky.

    ingest ── uv_density ─┐
       ├───── dirty ◄─────┤ image and point spread function, summed over time
       │        └─ start ─ clean ◄┐  until the highest peak is under the threshold
       │                     └────┘
       └───── unexplained ── restore ── image

CLEAN subtracts with a point spread function that is the same everywhere. What it found is then predicted for every
visibility and subtracted there, w-term and all; the residual in the image is what that leaves, not what CLEAN believes.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from prefect import flow

from terp.storage.errors import BadInput
from terp.workflows import Product, ingest, iterate, stage
from terp.workflows.errors import Usage
from terp.workflows.flows import gridding, imaging_picture

MAS = np.pi / 180 / 3600 / 1000  # radians in a milliarcsecond
WEIGHTINGS = ("natural", "uniform", "briggs")
CYCLES = 10  # of CLEAN, each down to what the noise was when it began


@flow
def imaging(
    source: str,
    field: str | None = None,
    pixels: int = 256,
    cell_mas: float | None = None,
    weighting: str = "uniform",
    robust: float = 0.0,
    niter: int = 20_000,
    gain: float = 0.05,
    threshold: float = 0.0,
    sigma: float = 2.0,
) -> dict[str, Product]:
    """Image what a radio interferometer saw (UVFITS, UVH5, a MeasurementSet), all spectral windows together.

    `field` is needed only where the source holds several. The image is `pixels` square, with cells of `cell_mas`
    milliarcseconds: a fifth of the finest fringe if not given. `weighting` is "natural", "uniform" or "briggs", which
    goes from about uniform (`robust` -2) to about natural (2).
    CLEAN takes `gain` of the highest peak at a time, at most `niter` times, until nothing stands out above
    `threshold` (Jy/beam) or `sigma` times the noise, whichever is higher.
    """
    data = ingest(source)
    windows = windows_of(data, field)
    fringe = finest_fringe([window.schema for window in windows], data["antenna_xds"].schema)
    grid: dict[str, Any] = {"pixels": pixels, "cell_mas": cell_mas or fine_cell(fringe)}
    weights = {**grid, "weighting": weighting, "robust": robust}
    check_request(fringe, pixels, grid["cell_mas"], weighting)
    plane = summed(*(uv_density(window, **grid) for window in windows))
    seen = summed(*(dirty(window, plane, **weights) for window in windows))
    until = {"gain": gain, "niter": -(-niter // CYCLES), "threshold": threshold, "sigma": sigma}
    found = iterate(clean, start(seen), seen, limit=CYCLES, until=converged, **until)
    left = summed(*(unexplained(window, plane, found, **weights) for window in windows))
    return {"visibilities": data, "image": restore(found, seen, left)}


def _plus(one: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    return (one + other).assign_attrs(one.attrs)


@stage(over=("time",))
def uv_density(block: xr.Dataset, *, pixels: int, cell_mas: float) -> xr.Dataset:
    """Sum of weights in each cell of the uv plane (v, u)."""
    counts = gridding.density(_samples(block), pixels, cell_mas * MAS)
    axis = (np.arange(pixels) - pixels // 2) / (pixels * cell_mas * MAS)
    return xr.Dataset({"DENSITY": (("v", "u"), counts)}, {"v": axis, "u": axis})


@stage(over=("time",), libraries=("ducc0",), overhead=1.0)
def dirty(
    block: xr.Dataset, plane: xr.Dataset, *, pixels: int, cell_mas: float, weighting: str, robust: float
) -> xr.Dataset:
    """Weighted sums over visibilities: dirty image (m, l), point spread function on twice its size, weight."""
    samples = _weighted(_samples(block), plane, cell_mas, weighting, robust)
    ones = samples._replace(visibility=np.ones_like(samples.visibility))
    image = _sky_frame(block, pixels, cell_mas)
    image["DIRTY"] = (("m", "l"), gridding.dirty_image(samples, pixels, cell_mas * MAS))
    image["PSF"] = (("m_wide", "l_wide"), gridding.dirty_image(ones, 2 * pixels, cell_mas * MAS))
    image["WEIGHT"] = float(samples.weight.sum())
    image["FREQUENCY"] = float((samples.weight * samples.frequency).sum())
    return image


@stage(over=("time",), libraries=("ducc0",), overhead=2.0)
def unexplained(
    block: xr.Dataset,
    plane: xr.Dataset,
    found: xr.Dataset,
    *,
    pixels: int,
    cell_mas: float,
    weighting: str,
    robust: float,
) -> xr.Dataset:
    """The weighted sum over visibilities of what the model does not explain, as a dirty image (m, l)."""
    cell = cell_mas * MAS
    samples = _weighted(_samples(block), plane, cell_mas, weighting, robust)
    model = gridding.predicted(found["MODEL"].values, samples.uvw, samples.frequency, cell)
    image = _sky_frame(block, pixels, cell_mas)
    rest = samples._replace(visibility=samples.visibility - model)
    image["RESIDUAL"] = (("m", "l"), gridding.dirty_image(rest, pixels, cell))
    return image


@stage(cut=())
def summed(*windows: xr.Dataset) -> xr.Dataset:
    """What was summed over time in each spectral window, summed over them."""
    return reduce(_plus, windows)


@stage(cut=())
def start(seen: xr.Dataset) -> xr.Dataset:
    """Nothing found yet: the residual is the dirty image, in Jy/beam."""
    residual = seen["DIRTY"] / _weight(seen)
    state = xr.Dataset({"RESIDUAL": residual, "MODEL": xr.zeros_like(residual)}, attrs=seen.attrs)
    return state.assign(PEAK=np.abs(residual).max(), STOP=0.0)


@stage(cut=(), libraries=("numba",))
def clean(
    state: xr.Dataset, seen: xr.Dataset, *, gain: float, niter: int, threshold: float, sigma: float
) -> xr.Dataset:
    """One cycle of CLEAN, down to the noise as it was when the cycle began."""
    residual, psf = state["RESIDUAL"].values, (seen["PSF"] / _weight(seen)).values
    stop = max(threshold, sigma * gridding.noise(residual))
    left, model, _ = gridding.clean(residual, state["MODEL"].values, psf, gain=gain, iterations=niter, threshold=stop)
    stop = max(threshold, sigma * gridding.noise(left))
    cleaned = state.assign(RESIDUAL=(("m", "l"), left), MODEL=(("m", "l"), model))
    return cleaned.assign(PEAK=float(np.abs(left).max()), STOP=stop)


def converged(state: xr.Dataset) -> bool:
    """Whether no peak is left that CLEAN should still take."""
    return bool(state["PEAK"] <= state["STOP"])


@stage(cut=(), libraries=("ducc0",))
def restore(found: xr.Dataset, seen: xr.Dataset, left: xr.Dataset) -> xr.Dataset:
    """What CLEAN found, seen with the beam, on what the visibilities still hold: SKY in Jy/beam, and its parts."""
    cell = float(seen["m"][1] - seen["m"][0])
    psf = (seen["PSF"] / _weight(seen)).values
    beam = gridding.fitted_beam(psf, cell)
    residual = (left["RESIDUAL"] / _weight(seen)).values
    model = found["MODEL"].values
    quarter = model.shape[0] // 2
    middle = slice(quarter, quarter + model.shape[0])
    jansky = {"units": "Jy/beam"}
    image = xr.Dataset(coords={name: seen[name] for name in ("m", "l")}, attrs=seen.attrs)
    image["SKY"] = (("m", "l"), gridding.restored(model, beam, cell) + residual, jansky)
    image["MODEL"] = (("m", "l"), model, {"units": "Jy/pixel"})
    image["RESIDUAL"] = (("m", "l"), residual, jansky)
    image["POINT_SPREAD_FUNCTION"] = (("m", "l"), np.ascontiguousarray(psf[middle, middle]))
    image["BEAM_FIT_PARAMS"] = ("beam_params_label", list(beam), {"units": "rad"})
    image["FREQUENCY"] = (seen["FREQUENCY"] / _weight(seen)).assign_attrs(units="Hz")
    return image.assign_coords(beam_params_label=["major", "minor", "pa"])


def picture(results: Mapping[str, xr.Dataset], target: Path) -> None:
    """Draw the image into a PNG."""
    imaging_picture.draw(results["image"], target)


def facts(results: Mapping[str, xr.Dataset]) -> dict[str, float]:
    """The numbers that one looks for first in the image."""
    return imaging_picture.facts(results["image"])


def windows_of(data: Product, field: str | None) -> list[Product]:
    """The spectral windows of a field; Usage where it must be told which one, or there is none such."""
    windows = [data[name] for name in data.groups if name.startswith("spw_")]
    if not windows:
        raise BadInput("the source holds no visibilities: imaging takes UVFITS, UVH5 or a MeasurementSet.")
    names = [str(window.schema.attrs["field_and_source_base_xds"]["field_name"]) for window in windows]
    fields = sorted(set(names))
    if field not in fields and (field or len(fields) > 1):
        wrong = f"there is no field '{field}'" if field else "the source has several fields"
        raise Usage(f"{wrong}: set field to one of {', '.join(fields)}.")
    chosen = [window for window, name in zip(windows, names, strict=True) if name == (field or fields[0])]
    if len({str(window.schema.attrs["field_and_source_base_xds"]) for window in chosen}) > 1:
        raise Usage(f"field {field or fields[0]} has several phase centres: split them into files of their own.")
    return chosen


def finest_fringe(windows: Sequence[xr.Dataset], antennas: xr.Dataset) -> float:
    """Wavelength over the longest baseline between antennas that observed, in mas.

    By where the antennas stand and how the receivers were tuned, not by what was measured: known before the run.
    """
    place = antennas["ANTENNA_POSITION"]
    ends = [(place.sel(antenna_name=w[f"baseline_antenna{end}_name"].values).values for end in (1, 2)) for w in windows]
    longest = max(float(np.linalg.norm(two - one, axis=1).max()) for one, two in ends)
    if not longest > 0:
        raise BadInput("there are no baselines between antennas: an image needs two antennas or more.")
    return gridding.LIGHT / max(float(window["frequency"].max()) for window in windows) / longest / MAS


def fine_cell(fringe: float) -> float:
    """A fifth of the finest fringe, to two figures: enough pixels across any beam."""
    digits = 1 - int(np.floor(np.log10(fringe / 5)))
    return float(round(fringe / 5, digits))


def check_request(fringe: float, pixels: int, cell_mas: float, weighting: str) -> None:
    """Raise Usage for an image that can't be made: of odd size, too coarse for its baselines, too wide for the sky."""
    if weighting not in WEIGHTINGS:
        raise Usage(f"weighting '{weighting}' is not known: take one of {', '.join(WEIGHTINGS)}.")
    if pixels < 32 or pixels % 2:
        raise Usage(f"an image of {pixels} pixels can't be gridded: take an even number, 32 or more.")
    if not 0 < cell_mas <= fringe / 2:
        raise Usage(
            f"cells of {cell_mas:g} mas do not sample fringes of {fringe:.3g} mas: take {fringe / 2:.2g} or less."
        )
    if pixels * cell_mas * MAS >= 0.7:
        raise Usage(f"{pixels} pixels of {cell_mas:g} mas are wider than the sky: take fewer or smaller ones.")


def _samples(block: xr.Dataset) -> gridding.Samples:
    """Total intensity of a block as rows of (time, baseline)."""
    visibility, weight = gridding.stokes_i(
        block["VISIBILITY"].values, block["WEIGHT"].values, block["FLAG"].values, block["polarization"].values.tolist()
    )
    channels = block.sizes["frequency"]
    return gridding.Samples(
        np.ascontiguousarray(block["UVW"].values.reshape(-1, 3), np.float64),
        np.asarray(block["frequency"].values, np.float64),
        visibility.reshape(-1, channels),
        weight.reshape(-1, channels),
    )


def _weighted(
    samples: gridding.Samples, plane: xr.Dataset, cell_mas: float, weighting: str, robust: float
) -> gridding.Samples:
    density, cell = plane["DENSITY"].values, cell_mas * MAS
    if weighting == "uniform":
        return samples._replace(weight=gridding.uniform(samples, density, cell))
    if weighting == "briggs":
        return samples._replace(weight=gridding.briggs(samples, density, cell, robust))
    return samples


def _weight(seen: xr.Dataset) -> xr.DataArray:
    """The sum of weights, or 1 where there is none: an image of nothing is 0."""
    return seen["WEIGHT"].where(seen["WEIGHT"] > 0, 1.0)


def _sky_frame(block: xr.Dataset, pixels: int, cell_mas: float) -> xr.Dataset:
    """An empty image with its axes: direction cosines, and FITS keywords (Calabretta & Greisen, A&A 395 1077, 2002)."""
    field = block.attrs["field_and_source_base_xds"]
    centre = field["FIELD_PHASE_CENTER_DIRECTION"]
    frame, (ra, dec) = centre["attrs"]["frame"], np.degrees(centre["data"])
    if frame == "altaz":
        raise BadInput("the visibilities follow no direction on the sky (a drift scan): phase them to one, then image.")
    axes: dict[str, Any] = {}
    for factor, suffix in ((1, ""), (2, "_wide")):
        step = (np.arange(factor * pixels) - factor * pixels // 2) * (cell_mas * MAS)
        axes |= {f"m{suffix}": step, f"l{suffix}": -step}
    degrees = cell_mas / 3_600_000
    place = {"CRPIX": pixels / 2 + 1, "CUNIT": "deg"}
    keywords: dict[str, Any] = {"RADESYS": frame.upper(), "OBJECT": field["field_name"], "BUNIT": "Jy/beam"}
    keywords |= {f"{key}{axis}": value for key, value in place.items() for axis in (1, 2)}
    keywords |= {"CTYPE1": "RA---SIN", "CRVAL1": float(ra % 360), "CDELT1": -degrees}
    keywords |= {"CTYPE2": "DEC--SIN", "CRVAL2": float(dec), "CDELT2": degrees}
    return xr.Dataset(coords=axes, attrs=keywords)
