"""Visibilities to images, on plain arrays: weights, dirty images, the beam, CLEAN, and restoring.

Conventions, kept by every function here:

- A point source of flux S at direction cosines (l, m) is V = S exp(+2 pi i (u l + v m + w (n - 1))), with (u, v, w) the
  baseline in wavelengths and n = sqrt(1 - l^2 - m^2): so an image is the sum of V exp(-2 pi i (...)).
- Images are arrays (m, l). m grows to the north with the row, l to the east against the column, so that east is left;
  the pixel of the phase centre is (N/2, N/2). This is the order of a FITS image with CDELT1 < 0.
- Work is in float64 and in one thread: the same arrays give the same bytes.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terp.storage.errors import BadInput
from terp.workflows.errors import Unavailable

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

LIGHT = 299_792_458.0
FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))  # in standard deviations
_EPSILON = 1e-8  # of the gridder; far under the noise of any array


class Beam(NamedTuple):
    """A Gaussian by its full widths at half maximum and the angle of its major axis east of north, all in radians."""

    major: float
    minor: float
    angle: float


class Samples(NamedTuple):
    """Visibilities of one polarization: uvw (row, 3) in metres, frequency (channel) in Hz, the rest (row, channel)."""

    uvw: Floats
    frequency: Floats
    visibility: Complexes
    weight: Floats


def stokes_i(
    visibility: NDArray[np.complexfloating[Any]], weight: NDArray[Any], flag: NDArray[np.bool_], hands: list[str]
) -> tuple[Complexes, Floats]:
    """Total intensity and its weight, from the correlations `hands` in the last axis, which goes.

    It is I itself, (RR + LL) / 2, (XX + YY) / 2, or one hand alone. Where both hands are in the file a sample needs
    both: what is left of one would show polarization as structure. The weight is that of the mean of two values of
    variance 1/weight. What is flagged becomes 0, with weight 0.
    """
    sets: tuple[tuple[str, ...], ...] = (("I",), ("RR", "LL"), ("XX", "YY"))
    used = next(([hands.index(hand) for hand in one if hand in hands] for one in sets if set(one) & set(hands)), [])
    if not used:
        raise BadInput(
            f"there is no total intensity in the correlations {', '.join(hands)}: it takes RR, LL, XX, YY or I."
        )
    weights = weight[..., used].astype(np.float64)
    good = np.all((weights > 0) & ~flag[..., used], axis=-1)
    every = good[..., np.newaxis]
    variance = np.divide(1.0, weights, where=every, out=np.ones_like(weights)).mean(axis=-1)
    mean = np.where(every, visibility[..., used], 0).astype(np.complex128).mean(axis=-1)
    return mean, np.where(good, len(used) / variance, 0.0)


def density(samples: Samples, pixels: int, cell: float) -> Floats:
    """Weight in each cell of the uv plane, shape (pixels, pixels), cells 1 / (pixels * cell) wavelengths wide.

    Each sample counts with its mirror image (-u, -v), which a real sky makes the same measurement.
    """
    row, column, inside = _cells(samples, pixels, cell)
    counts = np.where(inside, samples.weight, 0.0).ravel()
    place = (np.where(inside, row, 0) * pixels + np.where(inside, column, 0)).ravel()
    half = np.bincount(place, counts, pixels * pixels).astype(np.float64).reshape(pixels, pixels)
    return half + _mirrored(half)


def uniform(samples: Samples, densities: Floats, cell: float) -> Floats:
    """Weights (row, channel) under which every cell of the uv plane counts the same; 0 outside the plane's grid."""
    local = _local(samples, densities, cell)
    return np.divide(samples.weight, local, where=local > 0, out=np.zeros_like(samples.weight))


def briggs(samples: Samples, densities: Floats, cell: float, robust: float) -> Floats:
    """Robust weights (row, channel): about natural at `robust` 2, about uniform at -2.

    Source: Briggs, "High fidelity deconvolution of moderately resolved sources" (1995), section 3.2; f^2 as in CASA.
    """
    local = _local(samples, densities, cell)
    power = float((densities**2).sum())
    scale = (5.0 * 10.0**-robust) ** 2 * float(densities.sum()) / power if power > 0 else 0.0
    return np.where(local > 0, samples.weight / (1.0 + local * scale), 0.0)


def dirty_image(samples: Samples, pixels: int, cell: float) -> Floats:
    """Sum over samples of weight * V exp(-2 pi i (u l + v m + w (n - 1))), shape (pixels, pixels), by w-gridding.

    Not normalised: divide by the sum of the weights for Jy/beam. `pixels` is even, at least 32; `cell` in radians.

    Source: Arras et al., "Efficient wide-field radio interferometry response", A&A 646 A58 (2021), as ducc0 has it.
    """
    image: Floats = _gridder().vis2dirty(
        uvw=np.ascontiguousarray(samples.uvw),
        freq=samples.frequency,
        vis=np.ascontiguousarray(samples.visibility),
        wgt=np.ascontiguousarray(samples.weight),
        npix_x=pixels,
        npix_y=pixels,
        **_geometry(cell),
    )
    return np.ascontiguousarray(image.T)


def predicted(model: Floats, uvw: Floats, frequency: Floats, cell: float) -> Complexes:
    """The visibilities (row, channel) that an image of point sources (Jy/pixel) would have given."""
    image = np.ascontiguousarray(model.T)
    vis = _gridder().dirty2vis(uvw=np.ascontiguousarray(uvw), freq=frequency, dirty=image, **_geometry(cell))
    return np.asarray(vis, np.complex128)


def fitted_beam(psf: Floats, cell: float) -> Beam:
    """The Gaussian under the central peak of a point spread function (m, l), by least squares on its logarithm.

    Fitted to the pixels above half of the peak that hang together with it, weighted by their squares.
    A peak narrower than the pixels is given a round beam of the area that it fills.
    """
    from scipy.ndimage import label

    centre = psf.shape[0] // 2
    peak = float(psf[centre, centre])
    lobes, _ = label(psf > 0.5 * peak)
    rows, columns = np.nonzero((lobes == lobes[centre, centre]) & (lobes > 0))
    north, east = (rows - centre) * cell, (centre - columns) * cell
    level = psf[rows, columns] / peak if rows.size else np.ones(0)
    terms = np.stack([east * east, 2.0 * east * north, north * north], axis=1) * level[:, None]
    if np.linalg.matrix_rank(terms / cell**2) < 3:
        return _round_beam(rows.size, cell)
    solution = np.linalg.lstsq(terms / cell**2, -2.0 * np.log(level) * level, rcond=None)[0] / cell**2
    return _beam_of(*solution.tolist()) or _round_beam(rows.size, cell)


def clean(
    residual: Floats, model: Floats, psf: Floats, *, gain: float, iterations: int, threshold: float
) -> tuple[Floats, Floats, int]:
    """Hogbom's CLEAN: take `gain` times the highest peak out of the residual, as a point source, again and again.

    `residual` (N, N) in Jy/beam and `model` (N, N) in Jy/pixel are left as they are; `psf` (2N, 2N) is 1 at (N, N).
    Stops after `iterations`, or when no pixel is above `threshold` (Jy/beam). Returns residual, model, iterations done.

    Source: Hogbom, "Aperture synthesis with a non-regular distribution of interferometer baselines", A&AS 15 (1974).
    """
    left, found = residual.copy(), model.copy()
    done = _compiled()(left, found, np.ascontiguousarray(psf), gain, iterations, threshold)
    return left, found, int(done)


def clean_reference(
    residual: Floats, model: Floats, psf: Floats, *, gain: float, iterations: int, threshold: float
) -> tuple[Floats, Floats, int]:
    """What `clean` does, to be read: the compiled loop must agree with it to the last bit."""
    left, found, size = residual.copy(), model.copy(), residual.shape[0]
    for done in range(iterations):
        row, column = np.unravel_index(np.argmax(np.abs(left)), left.shape)
        if not abs(left[row, column]) > threshold:
            return left, found, done
        flux = gain * left[row, column]
        found[row, column] += flux
        left -= flux * psf[size - row : 2 * size - row, size - column : 2 * size - column]
    return left, found, iterations


def restored(model: Floats, beam: Beam, cell: float) -> Floats:
    """The model (Jy/pixel) seen with a Gaussian beam of peak 1: Jy/beam, same shape. Nothing wraps round the edges."""
    size = model.shape[0]
    offset = (np.arange(2 * size) - size) * cell
    kernel = _gaussian(beam, east=-offset[None, :], north=offset[:, None])
    spectrum = np.fft.rfft2(model, s=kernel.shape) * np.fft.rfft2(kernel)
    seen: Floats = np.fft.irfft2(spectrum, s=kernel.shape)
    return np.ascontiguousarray(seen[size:, size:])


def noise(residual: Floats) -> float:
    """Standard deviation (Jy/beam) of a residual, from the median of its absolute values, which sources hardly move."""
    return float(1.4826 * np.median(np.abs(residual - np.median(residual))))


def _cells(
    samples: Samples, pixels: int, cell: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Row and column in the uv grid of each sample, and whether it is in the grid."""
    wavelengths = samples.frequency / LIGHT * (pixels * cell)
    row = np.rint(samples.uvw[:, 1, None] * wavelengths) + pixels // 2
    column = np.rint(samples.uvw[:, 0, None] * wavelengths) + pixels // 2
    inside = (row >= 1) & (row < pixels) & (column >= 1) & (column < pixels)
    return np.where(inside, row, 0).astype(np.int64), np.where(inside, column, 0).astype(np.int64), inside


def _mirrored(grid: Floats) -> Floats:
    """Cell (-u, -v) at the place of (u, v), around the middle; the first row and column are never filled."""
    return np.roll(grid[::-1, ::-1], 1, axis=(0, 1))


def _local(samples: Samples, densities: Floats, cell: float) -> Floats:
    row, column, inside = _cells(samples, densities.shape[0], cell)
    return np.where(inside, densities[row, column], 0.0)


def _beam_of(east: float, cross: float, north: float) -> Beam | None:
    """The beam exp(-(east l^2 + 2 cross l m + north m^2) / 2), or None where this has no peak."""
    values, vectors = np.linalg.eigh(np.array([[east, cross], [cross, north]]))
    if not values[0] > 0:
        return None
    along = vectors[:, 0]
    widths = FWHM / np.sqrt(values)
    angle = float(np.arctan2(along[0], along[1]))
    return Beam(float(widths[0]), float(widths[1]), (angle + np.pi / 2) % np.pi - np.pi / 2)


def _round_beam(area: int, cell: float) -> Beam:
    width = cell * 2.0 * float(np.sqrt(max(area, 1) / np.pi))
    return Beam(width, width, 0.0)


def _gaussian(beam: Beam, east: Floats, north: Floats) -> Floats:
    along = east * np.sin(beam.angle) + north * np.cos(beam.angle)
    across = east * np.cos(beam.angle) - north * np.sin(beam.angle)
    exponent: Floats = (along / beam.major) ** 2 + (across / beam.minor) ** 2
    return np.asarray(np.exp(-0.5 * FWHM**2 * exponent), np.float64)


def _geometry(cell: float) -> dict[str, Any]:
    """How the gridder is told our signs: its own are + for (u, v) and - for w, and its columns run to the west."""
    return {
        "pixsize_x": cell,
        "pixsize_y": cell,
        "epsilon": _EPSILON,
        "do_wgridding": True,
        "divide_by_n": False,
        "flip_v": True,
        "nthreads": 1,
    }


@cache
def _gridder() -> Any:
    try:
        from ducc0 import wgridder
    except ImportError as missing:
        raise Unavailable("imaging needs the radio extra: install terp[radio].") from missing
    return wgridder


@cache
def _compiled() -> Callable[[Floats, Floats, Floats, float, int, float], int]:
    try:
        from numba import njit
    except ImportError as missing:
        raise Unavailable("imaging needs the radio extra: install terp[radio].") from missing
    compiled: Callable[[Floats, Floats, Floats, float, int, float], int] = njit(_hogbom)
    return compiled


def _hogbom(left: Floats, found: Floats, psf: Floats, gain: float, iterations: int, threshold: float) -> int:
    """CLEAN in place; one pass over the residual both subtracts and finds the next peak."""
    size = left.shape[0]
    row, column, flux = 0, 0, 0.0
    for done in range(iterations + 1):
        best, best_row, best_column = -1.0, 0, 0
        for i in range(size):
            for j in range(size):
                if done > 0:
                    left[i, j] -= flux * psf[size + i - row, size + j - column]
                if abs(left[i, j]) > best:
                    best, best_row, best_column = abs(left[i, j]), i, j
        row, column = best_row, best_column
        if done == iterations or not best > threshold:
            return done
        flux = gain * left[row, column]
        found[row, column] += flux
    return iterations
