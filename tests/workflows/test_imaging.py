"""From a file of visibilities to an image: sources are where they are, as bright as they are, with east to the left."""

import json
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from terp.storage.errors import BadInput
from terp.storage.home import Home
from terp.storage.ingest import visibilities
from terp.workflows import Product
from terp.workflows.errors import BadStage, Usage
from terp.workflows.flows import imaging
from terp.workflows.flows.imaging_picture import draw, facts
from terp.workflows.planning.plan import make_plan

for needed in ("pyuvdata", "ducc0", "numba"):
    pytest.importorskip(needed, reason="imaging needs the radio extra")

RA, DEC = 187.7, 34.0
CELL, PIXELS = 800.0, 128  # mas
FREQUENCIES = np.array([[1.40e9, 1.41e9], [1.50e9, 1.51e9]])  # (window, channel)
SOURCES = ((2.0, 20, 0), (1.0, 0, 30), (0.5, -25, -10))  # Jy, pixels east, pixels north
LIGHT = 299_792_458.0
COLUMNS = [("ANNAME", "8A"), ("STABXYZ", "3D"), ("NOSTA", "1J"), ("MNTSTA", "1J")]
COLUMNS += [("POLTYA", "1A"), ("POLAA", "1E"), ("POLTYB", "1A"), ("POLAB", "1E")]

Terp = Callable[..., subprocess.CompletedProcess[str]]


def tracks() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Antenna places (m), and for each row its time (days), baseline code and uvw (seconds)."""
    places = np.random.default_rng(5).normal(0, 3000, (8, 3))
    first, second = np.triu_indices(8, 1)
    days = np.linspace(0.3, 0.6, 12)
    hours, dec = 2 * np.pi * days - np.pi, np.radians(DEC)
    x, y, z = (places[first] - places[second]).T
    sine, cosine = np.sin(hours)[:, None], np.cos(hours)[:, None]
    u = sine * x + cosine * y
    v = np.sin(dec) * (sine * y - cosine * x) + np.cos(dec) * z
    w = np.cos(dec) * (cosine * x - sine * y) + np.sin(dec) * z
    uvw = np.stack([u, v, w], axis=-1).reshape(-1, 3) / LIGHT
    codes = 256 * (first + 1) + second + 1
    return places, np.repeat(days, len(first)), np.tile(codes, len(days)), uvw


def seen(uvw: np.ndarray, sources: tuple[tuple[float, int, int], ...]) -> np.ndarray:
    """Visibilities (row, window, channel) of point sources, by the sum that defines them."""
    wavelengths = uvw[:, :, None, None] * FREQUENCIES
    total = np.zeros((len(uvw), *FREQUENCIES.shape), complex)
    for flux, east, north in sources:
        l, m = np.array([east, north]) * CELL * imaging.MAS  # noqa: E741
        path = wavelengths[:, 0] * l + wavelengths[:, 1] * m + wavelengths[:, 2] * (np.sqrt(1 - l * l - m * m) - 1)
        total += flux * np.exp(2j * np.pi * path)
    return total


def simulate(path: Path, sources: tuple[tuple[float, int, int], ...] = SOURCES, noise: float = 0.0) -> Path:
    """Write UVFITS by the letter of AIPS memo 117, without pyuvdata: two windows of two channels, RR and LL."""
    from astropy.io import fits

    places, days, codes, uvw = tracks()
    random = np.random.default_rng(9)
    vis = np.repeat(seen(uvw, sources)[..., None], 2, axis=-1)
    vis = vis + noise * (random.normal(size=vis.shape) + 1j * random.normal(size=vis.shape))
    data = np.stack([vis.real, vis.imag, np.ones(vis.shape)], axis=-1)[:, None, None].astype(np.float32)
    data[3, ..., 2] = -1  # one flagged row, as AIPS says it
    data[3, ..., :2] = 1e6
    pars = {"UU": uvw[:, 0], "VV": uvw[:, 1], "WW": uvw[:, 2], "BASELINE": codes, "DATE": days}
    pars["INTTIM"] = np.full(len(days), 60.0)
    values = [np.asarray(par, np.float32) for par in pars.values()]
    primary = fits.GroupsHDU(fits.GroupData(data, bitpix=-32, parnames=list(pars), pardata=values))
    primary.header["PZERO5"] = 2453901.5
    axes = [("COMPLEX", 1, 1), ("STOKES", -1, -1), ("FREQ", 1.40e9, 1e7), ("IF", 1, 1), ("RA", RA, 1), ("DEC", DEC, 1)]
    for number, (kind, value, step) in enumerate(axes, start=2):
        primary.header.update({f"CTYPE{number}": kind, f"CRVAL{number}": value, f"CDELT{number}": step})
        primary.header[f"CRPIX{number}"] = 1.0
    primary.header.update({"OBJECT": "TRIPLE", "TELESCOP": "EVLA", "INSTRUME": "EVLA", "RADESYS": "ICRS"})
    fits.HDUList([primary, antenna_table(places), frequency_table()]).writeto(path, overwrite=True)
    return path


def antenna_table(places: np.ndarray) -> Any:
    from astropy.io import fits

    count = len(places)
    values = [[f"A{n:02}" for n in range(count)], places, np.arange(1, count + 1), np.zeros(count)]
    values += [["R"] * count, np.zeros(count), ["L"] * count, np.zeros(count)]
    columns = [fits.Column(name, kind, array=given) for (name, kind), given in zip(COLUMNS, values, strict=True)]
    table = fits.BinTableHDU.from_columns(columns, name="AIPS AN")
    centre = {"ARRAYX": -1601185.0, "ARRAYY": -5041977.0, "ARRAYZ": 3554876.0, "FRAME": "ITRF"}
    earth = {"GSTIA0": 263.0, "DEGPDY": 360.98, "FREQ": 1.40e9, "RDATE": "2006-06-15", "UT1UTC": 0.0}
    table.header.update(centre | earth | {"POLARX": 0.0, "POLARY": 0.0, "TIMESYS": "UTC", "ARRNAM": "EVLA"})
    return table


def frequency_table() -> Any:
    from astropy.io import fits

    offsets, widths = FREQUENCIES[:, 0] - 1.40e9, np.full(2, 1e7)
    formats = {"FRQSEL": ("1J", [1]), "IF FREQ": ("2D", [offsets]), "CH WIDTH": ("2E", [widths])}
    columns = [fits.Column(name, kind, array=np.array(given)) for name, (kind, given) in formats.items()]
    table = fits.BinTableHDU.from_columns(columns, name="AIPS FQ")
    table.header["NO_IF"] = 2
    return table


def image_of(groups: dict[str, xr.Dataset], **parameters: Any) -> xr.Dataset:
    """The steps of the flow, each called as the plain function that it is, on whole data."""
    chosen = {"pixels": PIXELS, "cell_mas": CELL, "weighting": "uniform", "robust": 0.0} | parameters
    clean = {"gain": 0.1, "niter": 2000, "threshold": 2e-3, "sigma": 2.0}
    grid = {name: chosen[name] for name in ("pixels", "cell_mas")}
    windows = [product.schema for product in imaging.windows_of(Product("a", groups), None)]
    plane = imaging.summed(*(imaging.uv_density(window, **grid) for window in windows))
    made = imaging.summed(*(imaging.dirty(window, plane, **chosen) for window in windows))
    found = imaging.clean(imaging.start(made), made, **clean)
    while not imaging.converged(found):
        found = imaging.clean(found, made, **clean)
    left = imaging.summed(*(imaging.unexplained(window, plane, found, **chosen) for window in windows))
    return imaging.restore(found, made, left)


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> dict[str, xr.Dataset]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's, about the random parameters it writes
        return visibilities.read(simulate(tmp_path_factory.mktemp("triple") / "triple.uvfits"))


@pytest.fixture(scope="module")
def image(groups: dict[str, xr.Dataset]) -> xr.Dataset:
    return image_of(groups)


@pytest.mark.parametrize(("flux", "east", "north"), SOURCES)
def test_each_source_is_found_where_it_is_and_as_bright_as_it_is(
    image: xr.Dataset, flux: float, east: int, north: int
) -> None:
    row, column = PIXELS // 2 + north, PIXELS // 2 - east
    around = image.SKY[row - 4 : row + 5, column - 4 : column + 5]
    assert np.unravel_index(around.values.argmax(), around.shape) == (4, 4)
    assert float(image.SKY[row, column]) == pytest.approx(flux, rel=0.01)
    assert float(image.MODEL[row - 1 : row + 2, column - 1 : column + 2].sum()) == pytest.approx(flux, rel=0.02)


def test_nothing_else_is_found(image: xr.Dataset) -> None:
    assert float(image.MODEL.sum()) == pytest.approx(3.5, rel=0.01)
    assert float(np.abs(image.RESIDUAL).max()) < 5e-3


def test_its_fits_keywords_say_where_on_the_sky_a_source_is(image: xr.Dataset) -> None:
    from astropy.coordinates import SkyCoord
    from astropy.wcs import WCS

    wcs = WCS({name: value for name, value in image.attrs.items() if name != "BUNIT"})
    row, column = np.unravel_index(image.SKY.values.argmax(), image.SKY.shape)
    found = wcs.pixel_to_world(column, row)
    offset = SkyCoord(RA, DEC, unit="deg").spherical_offsets_to(found)
    assert offset[0].to_value("mas") == pytest.approx(20 * CELL, abs=1)
    assert offset[1].to_value("mas") == pytest.approx(0, abs=1)
    assert image.attrs["CDELT1"] < 0 < image.attrs["CDELT2"]


def test_the_axes_are_direction_cosines_that_grow_to_the_east_at_the_left(image: xr.Dataset) -> None:
    assert float(image.l[0]) > 0 > float(image.l[-1])
    assert float(image.m[0]) < 0 < float(image.m[-1])
    assert float(image.l[PIXELS // 2 - 20]) == pytest.approx(20 * CELL * imaging.MAS)


@pytest.mark.parametrize("weighting", ["natural", "briggs"])
def test_other_weights_see_the_same_sources_with_a_wider_beam(
    groups: dict[str, xr.Dataset], image: xr.Dataset, weighting: str
) -> None:
    other = image_of(groups, weighting=weighting)
    row, column = PIXELS // 2, PIXELS // 2 - 20
    assert float(other.SKY[row, column]) == pytest.approx(2.0, rel=0.01)
    assert facts(other)["beam_major_mas"] > facts(image)["beam_major_mas"]


@pytest.mark.parametrize("length", [1, 5])
def test_the_sums_over_time_do_not_depend_on_how_time_is_cut(groups: dict[str, xr.Dataset], length: int) -> None:
    window = groups["spw_0"]
    chosen = {"pixels": PIXELS, "cell_mas": CELL}
    plane = imaging.uv_density(window, **chosen)
    blocks = [window.isel(time=slice(at, at + length)) for at in range(0, window.sizes["time"], length)]
    xr.testing.assert_allclose(imaging.summed(*(imaging.uv_density(block, **chosen) for block in blocks)), plane)
    weights = chosen | {"weighting": "briggs", "robust": 0.5}
    parts = imaging.summed(*(imaging.dirty(block, plane, **weights) for block in blocks))
    whole = imaging.dirty(window, plane, **weights)
    for name, values in whole.data_vars.items():
        assert float(np.abs(parts[name] - values).max()) <= 1e-7 * float(np.abs(values).max())


def test_the_same_visibilities_give_the_same_bytes(groups: dict[str, xr.Dataset], image: xr.Dataset) -> None:
    xr.testing.assert_identical(image_of(groups), image)


def test_a_fine_cell_is_chosen_from_antennas_and_tuning_alone(groups: dict[str, xr.Dataset]) -> None:
    window = groups["spw_1"].isel(time=slice(0, 0))
    fringe = imaging.finest_fringe([groups["spw_0"], window], groups["antenna_xds"])
    places, *_ = tracks()
    longest = max(np.linalg.norm(one - two) for one in places for two in places)
    assert fringe == pytest.approx(LIGHT / 1.51e9 / longest / imaging.MAS, rel=1e-6)
    assert imaging.fine_cell(fringe) == pytest.approx(fringe / 5, rel=0.05)
    assert imaging.fine_cell(0.885) == 0.18


@pytest.mark.parametrize(
    ("pixels", "cell", "weighting", "sentence"),
    [
        (255, 1.0, "uniform", "255 pixels can't be gridded"),
        (16, 1.0, "uniform", "16 pixels can't be gridded"),
        (256, 6.0, "uniform", "cells of 6 mas do not sample fringes of 10 mas: take 5 or less"),
        (256, -1.0, "uniform", "cells of -1 mas"),
        (256, 1.0, "flat", "weighting 'flat' is not known: take one of natural, uniform, briggs"),
    ],
)
def test_an_image_that_cannot_be_made_is_refused(pixels: int, cell: float, weighting: str, sentence: str) -> None:
    with pytest.raises(Usage, match=sentence):
        imaging.check_request(10.0, pixels, cell, weighting)


def test_an_image_wider_than_the_sky_is_refused() -> None:
    with pytest.raises(Usage, match="wider than the sky"):
        imaging.check_request(3e6, 256, 1e6, "uniform")


def test_one_field_must_be_chosen_of_several(groups: dict[str, xr.Dataset]) -> None:
    other = groups["spw_0"].copy()
    other.attrs = {**other.attrs, "field_and_source_base_xds": {"field_name": "OTHER"}}
    data = Product("a", {"spw_0_field_0": groups["spw_0"], "spw_0_field_1": other})
    with pytest.raises(Usage, match="several fields: set field to one of OTHER, TRIPLE"):
        imaging.windows_of(data, None)
    with pytest.raises(Usage, match="no field 'M87': set field to one of OTHER, TRIPLE"):
        imaging.windows_of(data, "M87")
    assert [window.group for window in imaging.windows_of(data, "OTHER")] == ["spw_0_field_1"]


def test_a_source_without_visibilities_is_refused() -> None:
    with pytest.raises(BadInput, match="holds no visibilities"):
        imaging.windows_of(Product("a", {"": xr.Dataset()}), None)


def test_a_drift_scan_is_refused_before_anything_runs(shared: Path, home: Path) -> None:
    source = shared / "data" / "radio" / "zen.2458098.45361.HH_downselected.uvh5"
    chosen = {"source": str(source), "pixels": 64, "cell_mas": 1e6}
    with pytest.raises((BadInput, BadStage), match="follow no direction on the sky"):
        make_plan(imaging.imaging, chosen, Home(home).open())


def test_a_picture_of_the_same_image_has_the_same_bytes(image: xr.Dataset, tmp_path: Path) -> None:
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    draw(image, one)
    imaging.picture({"image": image}, other)
    assert one.read_bytes().startswith(b"\x89PNG")
    assert one.read_bytes() == other.read_bytes()


def test_facts_tell_the_peak_the_flux_and_where_the_jet_points(image: xr.Dataset) -> None:
    known = imaging.facts({"image": image})
    assert known["peak_jy_per_beam"] == pytest.approx(2, rel=0.01)
    assert known["flux_jy"] == pytest.approx(3.5, rel=0.01)
    east, north = (1.0 * -20 + 0.5 * -45), (1.0 * 30 + 0.5 * -10)  # from the brightest
    assert known["jet_angle_deg"] == pytest.approx(np.degrees(np.arctan2(east, north)) % 360, abs=1)
    assert known["dynamic_range"] > 500


def test_an_empty_sky_has_a_picture_and_facts_too(groups: dict[str, xr.Dataset], tmp_path: Path) -> None:
    dark = {name: group.assign(VISIBILITY=group.VISIBILITY * 0) for name, group in groups.items() if group.data_vars}
    image = image_of(dark)
    assert np.isnan(facts(image)["jet_angle_deg"])
    assert not image.SKY.any()
    draw(image, tmp_path / "dark.png")
    assert (tmp_path / "dark.png").stat().st_size > 1000


def test_noise_is_left_in_the_residual_and_not_taken_for_sources(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        noisy = visibilities.read(simulate(tmp_path / "noisy.uvfits", noise=0.5))
    image = image_of(noisy, weighting="natural")
    rows = 28 * 12 - 1
    expected = 0.5 / np.sqrt(rows * FREQUENCIES.size * 2)  # of a mean over rows, channels and hands
    assert facts(image)["noise_jy_per_beam"] == pytest.approx(expected, rel=0.25)
    assert float(image.MODEL.sum()) == pytest.approx(3.5, rel=0.05)


def test_the_flow_run_as_a_user_runs_it_makes_and_archives_the_image(tmp_path: Path, terp: Terp) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = simulate(tmp_path / "triple.uvfits")
    chosen = [f"--set={setting}" for setting in (f"pixels={PIXELS}", f"cell_mas={CELL}", "gain=0.1", "threshold=0.05")]
    done = terp("run", "imaging", str(source), *chosen, "--workers=1", "--json")
    assert done.returncode == 0, done.stderr
    archived = json.loads(done.stdout)["archived"]
    assert archived["facts"]["peak_jy_per_beam"] == pytest.approx(2.0, rel=0.01)
    assert archived["facts"]["flux_jy"] == pytest.approx(3.5, rel=0.1)
    assert {"picture.png", "image.zarr.zip", "visibilities.zarr.zip"} <= {
        path.name for path in Path(archived["path"]).rglob("*")
    }


def test_m87_has_its_jet_where_it_is_known_to_be(shared: Path) -> None:
    known = facts(
        image_of(visibilities.read(shared / "data/radio/mojave_m87_vlba_8ghz.uvfits"), pixels=256, cell_mas=0.2)
    )
    assert known["jet_angle_deg"] == pytest.approx(289, abs=3)
    assert known["peak_jy_per_beam"] == pytest.approx(1.35, abs=0.03)
    assert known["flux_jy"] == pytest.approx(2.6, abs=0.15)
    assert known["beam_major_mas"] == pytest.approx(1.89, abs=0.02)
    assert known["beam_minor_mas"] == pytest.approx(1.04, abs=0.02)


def test_3c279_is_as_bright_as_it_was(shared: Path) -> None:
    known = facts(
        image_of(visibilities.read(shared / "data/radio/bu_3c279_apr13_vlba_43ghz.uvfits"), pixels=256, cell_mas=0.03)
    )
    assert known["peak_jy_per_beam"] == pytest.approx(7.97, rel=0.02)
    assert known["beam_major_mas"] == pytest.approx(0.425, rel=0.02)
    assert known["beam_minor_mas"] == pytest.approx(0.154, rel=0.02)
