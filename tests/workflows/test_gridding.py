"""Images come out the right way round, in the right units, and as a direct Fourier transform would make them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terp.storage.errors import BadInput
from terp.workflows.flows import gridding
from terp.workflows.flows.gridding import Beam, Complexes, Floats, Samples

pytest.importorskip("ducc0", reason="imaging needs the radio extra")
pytest.importorskip("numba", reason="imaging needs the radio extra")

PIXELS, CELL = 64, 2e-3
FREQUENCY = np.array([1.0e8, 1.2e8])


def baselines(seed: int = 3, depth: float = 120) -> Floats:
    """Of an array with a w-term that matters, if its `depth` (m) is not 0: the field is 0.13 rad wide."""
    return np.random.default_rng(seed).normal(0, 1, (400, 3)) * [120, 120, depth]


def samples(visibility: Complexes | None = None, seed: int = 3, depth: float = 120) -> Samples:
    random = np.random.default_rng(seed + 1)
    uvw = baselines(seed, depth)
    if visibility is None:
        visibility = random.normal(size=(len(uvw), 2)) + 1j * random.normal(size=(len(uvw), 2))
    return Samples(uvw, FREQUENCY, visibility, random.uniform(0.5, 2, visibility.shape))


def axes() -> tuple[Floats, Floats, Floats]:
    """North, east and n - 1 of every pixel (m, l)."""
    step = (np.arange(PIXELS) - PIXELS // 2) * CELL
    north, east = np.meshgrid(step, -step, indexing="ij")
    return north, east, np.sqrt(1 - north**2 - east**2) - 1


def turns(uvw: Floats, frequency: float, east: Floats, north: Floats, depth: Floats) -> Floats:
    u, v, w = uvw.T[:, :, None] * frequency / gridding.LIGHT
    return np.asarray(u * east.ravel() + v * north.ravel() + w * depth.ravel())


def source(flux: float, east: int, north: int, depth: float = 120) -> Complexes:
    """The visibilities of a point source so many pixels east and north of the phase centre."""
    at = np.array([north * CELL]), np.array([east * CELL])
    sphere = np.sqrt(1 - at[0] ** 2 - at[1] ** 2) - 1
    phases = [turns(baselines(depth=depth), f, at[1], at[0], sphere)[:, 0] for f in FREQUENCY]
    return flux * np.exp(2j * np.pi * np.stack(phases, axis=1))


def test_the_dirty_image_is_the_direct_fourier_transform() -> None:
    given_ = samples()
    north, east, depth = axes()
    direct = np.zeros(PIXELS * PIXELS)
    for channel, frequency in enumerate(FREQUENCY):
        kernel = np.exp(-2j * np.pi * turns(given_.uvw, frequency, east, north, depth))
        direct += ((given_.weight * given_.visibility)[:, channel, None] * kernel).sum(0).real
    image = gridding.dirty_image(given_, PIXELS, CELL)
    np.testing.assert_allclose(image.ravel(), direct, atol=1e-6 * np.abs(direct).max())


@pytest.mark.parametrize(("east", "north"), [(10, 0), (0, 7), (-5, 12)])
def test_a_source_is_where_it_is_on_the_sky_with_east_to_the_left(east: int, north: int) -> None:
    seen = samples(source(2.5, east, north))
    image = gridding.dirty_image(seen, PIXELS, CELL) / seen.weight.sum()
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert (row, column) == (PIXELS // 2 + north, PIXELS // 2 - east)
    assert image.max() == pytest.approx(2.5, rel=1e-6)


def test_a_model_gives_the_visibilities_of_its_sources() -> None:
    model = np.zeros((PIXELS, PIXELS))
    model[PIXELS // 2 + 7, PIXELS // 2 - 10] = 2.5
    predicted = gridding.predicted(model, baselines(), FREQUENCY, CELL)
    np.testing.assert_allclose(predicted, source(2.5, 10, 7), atol=1e-6)


def test_the_same_visibilities_give_the_same_bytes() -> None:
    one, other = (gridding.dirty_image(samples(), PIXELS, CELL).tobytes() for _ in range(2))
    assert one == other


def test_every_sample_counts_in_the_uv_plane_with_its_mirror_image() -> None:
    seen = samples()
    plane = gridding.density(seen, 256, CELL)
    assert plane.sum() == pytest.approx(2 * seen.weight.sum())
    np.testing.assert_array_equal(plane[1:, 1:], plane[:0:-1, :0:-1])


def test_samples_outside_the_uv_plane_of_the_image_have_no_uniform_weight() -> None:
    seen = samples()
    coarse = 0.02  # 25 wavelengths at most; the baselines reach further
    far = np.abs(seen.uvw[:, :2]).max(1) * FREQUENCY[0] / gridding.LIGHT > 26
    weights = gridding.uniform(seen, gridding.density(seen, PIXELS, coarse), coarse)
    assert far.any()
    assert not weights[far].any()


def test_uniform_weights_make_every_cell_count_the_same() -> None:
    seen = samples()
    plane = gridding.density(seen, PIXELS, CELL)
    again = gridding.density(seen._replace(weight=gridding.uniform(seen, plane, CELL)), PIXELS, CELL)
    np.testing.assert_allclose(again[again > 0], 1)


def test_robust_weights_go_from_uniform_to_natural() -> None:
    seen = samples()
    plane = gridding.density(seen, PIXELS, CELL)
    uniform = gridding.uniform(seen, plane, CELL)
    for robust, like in ((-4.0, uniform), (4.0, seen.weight)):
        weights = gridding.briggs(seen, plane, CELL, robust)
        np.testing.assert_allclose(weights / weights.sum(), like / like.sum(), rtol=0.01)


def test_total_intensity_needs_both_hands_and_falls_back_on_none() -> None:
    visibility = np.array([[1 + 1j, 9, 9, 3 + 1j]] * 3)
    weight = np.array([[1.0, 1, 1, 3]] * 3)
    flag = np.zeros((3, 4), bool)
    flag[1, 3] = True
    weight[2, 0] = 0
    value, weights = gridding.stokes_i(visibility, weight, flag, ["RR", "RL", "LR", "LL"])
    np.testing.assert_allclose(value, [2 + 1j, 0, 0])
    np.testing.assert_allclose(weights, [4 / (1 / 1 + 1 / 3), 0, 0])  # the mean of two has variance (s1 + s2) / 4
    alone, weights = gridding.stokes_i(visibility, weight, flag, ["XX", "a", "b", "c"])
    np.testing.assert_allclose(alone, [1 + 1j, 1 + 1j, 0])
    np.testing.assert_allclose(weights, [1, 1, 0])
    with pytest.raises(BadInput, match="no total intensity in the correlations Q, U"):
        gridding.stokes_i(visibility[:, :2], weight[:, :2], flag[:, :2], ["Q", "U"])


def test_weights_of_lofar_do_not_vanish() -> None:
    weight = np.full((5, 2), 1e-38, np.float32)
    _, weights = gridding.stokes_i(np.ones((5, 2), np.complex64), weight, np.zeros((5, 2), bool), ["XX", "YY"])
    np.testing.assert_allclose(weights, 2e-38, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(major=st.floats(6, 10), ratio=st.floats(0.5, 0.95), degrees=st.floats(-89, 89))
def test_a_beam_is_fitted_as_it_was_drawn(major: float, ratio: float, degrees: float) -> None:
    drawn = Beam(major * CELL, major * ratio * CELL, np.radians(degrees))
    point = np.zeros((PIXELS, PIXELS))
    point[PIXELS // 2, PIXELS // 2] = 1.0
    fitted = gridding.fitted_beam(gridding.restored(point, drawn, CELL), CELL)
    assert fitted.major == pytest.approx(drawn.major, rel=1e-6)
    assert fitted.minor == pytest.approx(drawn.minor, rel=1e-6)
    assert np.cos(2 * (fitted.angle - drawn.angle)) == pytest.approx(1, abs=1e-6)


def test_a_beam_that_points_east_of_north_leans_to_the_left() -> None:
    point = np.zeros((PIXELS, PIXELS))
    point[PIXELS // 2, PIXELS // 2] = 1.0
    image = gridding.restored(point, Beam(12 * CELL, 3 * CELL, np.radians(45)), CELL)
    middle = PIXELS // 2
    assert image[middle + 3, middle - 3] > 0.5 > image[middle + 3, middle + 3]


def test_a_beam_narrower_than_the_pixels_is_round_and_as_large_as_one() -> None:
    point = np.zeros((PIXELS, PIXELS))
    point[PIXELS // 2, PIXELS // 2] = 1.0
    fitted = gridding.fitted_beam(point, CELL)
    assert fitted.major == fitted.minor == pytest.approx(CELL * 2 / np.sqrt(np.pi))


def test_restoring_keeps_a_source_at_the_edge_from_coming_back_on_the_other_side() -> None:
    model = np.zeros((PIXELS, PIXELS))
    model[0, 5] = 1.0
    image = gridding.restored(model, Beam(6 * CELL, 6 * CELL, 0.0), CELL)
    assert image[0, 5] == pytest.approx(1)
    assert np.abs(image[PIXELS // 2 :]).max() < 1e-12


def dirty(*visibility: Complexes) -> tuple[Floats, Floats]:
    """Image and point spread function of a flat array, whose point spread function is the same everywhere."""
    seen = samples(np.sum(visibility, axis=0), depth=0)
    ones = seen._replace(visibility=np.ones_like(seen.visibility))
    scale = seen.weight.sum()
    return gridding.dirty_image(seen, PIXELS, CELL) / scale, gridding.dirty_image(ones, 2 * PIXELS, CELL) / scale


@settings(max_examples=10, deadline=None)
@given(iterations=st.integers(0, 300), gain=st.floats(0.01, 0.5), seed=st.integers(0, 99))
def test_the_compiled_clean_agrees_with_the_readable_one_to_the_last_bit(
    iterations: int, gain: float, seed: int
) -> None:
    image, psf = dirty(samples(seed=seed).visibility)
    empty = np.zeros_like(image)
    ways = [
        way(image, empty, psf, gain=gain, iterations=iterations, threshold=0.02)
        for way in (gridding.clean, gridding.clean_reference)
    ]
    np.testing.assert_array_equal(ways[0][0], ways[1][0])
    np.testing.assert_array_equal(ways[0][1], ways[1][1])
    assert ways[0][2] == ways[1][2]


def test_clean_finds_two_sources_their_places_and_fluxes() -> None:
    image, psf = dirty(source(3.0, 10, 0, depth=0), source(1.0, -4, 12, depth=0))
    residual, model, done = gridding.clean(image, np.zeros_like(image), psf, gain=0.1, iterations=5000, threshold=1e-3)
    middle = PIXELS // 2
    assert 0 < done < 5000
    assert np.abs(residual).max() <= 1e-3
    assert model[middle, middle - 10] == pytest.approx(3.0, abs=0.02)
    assert model[middle + 12, middle + 4] == pytest.approx(1.0, abs=0.02)


def test_clean_leaves_its_input_alone_and_takes_nothing_from_what_is_under_the_threshold() -> None:
    image, psf = dirty(source(1.0, 3, 3, depth=0))
    before, empty = image.copy(), np.zeros_like(image)
    residual, model, done = gridding.clean(image, empty, psf, gain=0.1, iterations=10, threshold=2.0)
    assert done == 0
    np.testing.assert_array_equal(residual, before)
    gridding.clean(image, empty, psf, gain=0.1, iterations=10, threshold=0.0)
    np.testing.assert_array_equal(image, before)
    assert not empty.any()
    assert not model.any()


def test_the_noise_is_told_from_a_source() -> None:
    image = np.random.default_rng(1).normal(0, 2e-3, (128, 128))
    image[40:44, 50:54] = 1.0
    assert gridding.noise(image) == pytest.approx(2e-3, rel=0.03)
