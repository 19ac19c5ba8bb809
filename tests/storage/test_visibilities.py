"""Visibilities of UVFITS, UVH5 and MeasurementSets come in under the names of MSv4, whole, and without a network."""

import socket
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from terp.storage.errors import BadInput
from terp.storage.ingest import visibilities
from terp.storage.ingest.uvfile import offline

pytest.importorskip("pyuvdata", reason="visibilities need the radio extra")

FORMATS = ["uvfits", "uvh5", "ms"]
FIXED = {"cat_type": "sidereal", "cat_frame": "icrs", "cat_epoch": 2000.0}
CELL = ("time", "baseline_id", "frequency", "polarization")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the reader went to the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def observation(telescope: str = "EVLA") -> Any:
    """Four antennas, three times, two spectral windows of two channels, two hands; one row was not observed."""
    from astropy import units
    from astropy.coordinates import EarthLocation
    from astropy.utils import iers
    from pyuvdata import Telescope, UVData

    random = np.random.default_rng(7)
    place = EarthLocation.from_geodetic(lon=-107.6 * units.deg, lat=34.1 * units.deg, height=2124 * units.m)
    array = Telescope.new(
        name=telescope,
        location=place,
        antenna_positions={number: random.normal(0, 300, 3) for number in range(1, 5)},
        mount_type="alt-az",
        feeds=["r", "l"],
        instrument=telescope,
    )
    with iers.conf.set_temp("auto_download", False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyuvdata's own, about its defaults
        made = UVData.new(
            freq_array=np.array([8.0e9, 8.1e9, 8.5e9, 8.6e9]),
            polarization_array=[-1, -2],
            times=np.linspace(2453902.30, 2453902.31, 3),
            telescope=array,
            antpairs=[(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)],
            do_blt_outer=True,
            integration_time=60.0,
            channel_width=np.full(4, 1e8),
            flex_spw_id_array=np.array([0, 0, 1, 1]),
            spw_array=np.array([0, 1]),
            phase_center_catalog={0: {"cat_name": "M87", "cat_lon": 3.276, "cat_lat": 0.216, **FIXED}},
            empty=True,
        )
        shape = made.data_array.shape
        made.data_array = (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(np.complex64)
        made.nsample_array = random.uniform(1, 2, shape).astype(np.float32)
        made.flag_array[5, 1, 0] = True
        made.set_uvws_from_antenna_positions(update_vis=False)
        made.select(blt_inds=np.delete(np.arange(made.Nblts), 7))
    return made


def write(made: Any, folder: Path, kind: str) -> Path:
    target = folder / f"observed.{kind}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(made, f"write_{kind}")(str(target))
    return target


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def source(tmp_path: Path, kind: str) -> Path:
    if kind == "ms":
        pytest.importorskip("casacore", reason="a MeasurementSet needs python-casacore")
    return write(observation(), tmp_path, kind)


def same_as(made: Any, groups: dict[str, xr.Dataset], tolerance: float = 1e-3) -> None:
    """Every row of pyuvdata's own object is found at its time and baseline, and nothing else is."""
    names = dict(zip(made.telescope.antenna_numbers, made.telescope.antenna_names, strict=True))
    for window, number in enumerate(made.spw_array):
        data = groups[f"spw_{window}"]
        channels = made.flex_spw_id_array == number
        pairs = list(zip(data.baseline_antenna1_name.values, data.baseline_antenna2_name.values, strict=True))
        times = (made.time_array - 2440587.5) * 86400
        at_time = np.abs(times[:, None] - data.time.values).argmin(1)
        ends = zip(made.ant_1_array, made.ant_2_array, strict=True)
        at_pair = [pairs.index((names[one].strip(), names[two].strip())) for one, two in ends]
        assert np.abs(times - data.time.values[at_time]).max() < tolerance
        place = at_time, np.array(at_pair)
        flag = made.flag_array[:, channels]
        np.testing.assert_array_equal(data.FLAG.values[place], flag)
        np.testing.assert_allclose(data.VISIBILITY.values[place], made.data_array[:, channels], rtol=1e-6)
        np.testing.assert_allclose(data.WEIGHT.values[place], made.nsample_array[:, channels], rtol=1e-6)
        np.testing.assert_allclose(data.UVW.values[place], made.uvw_array, atol=tolerance)
        absent = np.ones(data.FLAG.shape[:2], bool)
        absent[place] = False
        assert data.FLAG.values[absent].all()
        assert not data.VISIBILITY.values[absent].any()
        assert not data.WEIGHT.values[absent].any()


def test_each_spectral_window_is_a_group_with_the_names_of_msv4(source: Path) -> None:
    groups = visibilities.read(source)
    assert list(groups) == ["spw_0", "spw_1", "antenna_xds"]
    window = groups["spw_1"]
    assert window.VISIBILITY.dims == window.WEIGHT.dims == window.FLAG.dims == CELL
    assert window.VISIBILITY.shape == (3, 6, 2, 2)
    assert [window[name].dtype for name in ("VISIBILITY", "WEIGHT", "FLAG")] == [np.complex64, np.float32, np.bool_]
    assert window.UVW.dims == ("time", "baseline_id", "uvw_label")
    np.testing.assert_allclose(window.frequency, [8.5e9, 8.6e9])
    assert window.frequency.attrs["channel_width"]["data"] == pytest.approx(1e8)
    assert window.polarization.values.tolist() == ["RR", "LL"]
    centre = window.attrs["field_and_source_base_xds"]["FIELD_PHASE_CENTER_DIRECTION"]
    assert centre["data"] == pytest.approx([3.276, 0.216])
    assert centre["attrs"] == {"type": "sky_coord", "units": "rad", "frame": "icrs"}


def test_every_variable_can_be_cut_along_time(source: Path) -> None:
    for group in visibilities.read(source).values():
        assert all("time" in variable.dims for variable in group.data_vars.values())


def test_every_row_is_where_it_belongs_and_the_one_not_observed_is_flagged(source: Path) -> None:
    same_as(observation(), visibilities.read(source))


def test_antennas_stand_where_they_stood_and_are_coordinates_only(source: Path) -> None:
    antennas = visibilities.read(source)["antenna_xds"]
    assert not antennas.data_vars
    one, two = antennas.ANTENNA_POSITION.values[:2]
    assert 6.3e6 < np.linalg.norm(one) < 6.4e6
    positions = observation().telescope.antenna_positions
    assert np.linalg.norm(one - two) == pytest.approx(np.linalg.norm(positions[0] - positions[1]), abs=1e-3)


def test_the_same_bytes_give_the_same_dataset(source: Path) -> None:
    for one, other in zip(visibilities.read(source).values(), visibilities.read(source).values(), strict=True):
        xr.testing.assert_identical(one, other)


def test_it_is_recognised_by_its_content_whatever_its_name(source: Path, kind: str) -> None:
    renamed = source.rename(source.with_name("something.dat"))
    assert visibilities.recognise(renamed)
    assert visibilities.read(renamed)["spw_0"].sizes["time"] == 3, kind


@pytest.mark.parametrize("content", [b"", b"SIMPLE  =                    T", b"\x89HDF\r\n\x1a\n" + b"x" * 99, b"text"])
def test_other_files_are_not_taken_for_visibilities(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not visibilities.recognise(path)
    assert not visibilities.recognise(tmp_path)
    assert not visibilities.recognise(tmp_path / "absent")
    with pytest.raises(BadInput, match="is not UVFITS, UVH5 or a MeasurementSet"):
        visibilities.read(path)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_uvfits_file_cut_short_is_refused(tmp_path: Path, part: float) -> None:
    path = write(observation(), tmp_path, "uvfits")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(BadInput, match=r"observed\.uvfits is cut short"):
        visibilities.read(path)


def test_a_frame_in_capitals_as_fits_has_it_is_understood(tmp_path: Path) -> None:
    path = write(observation(), tmp_path, "uvfits")
    small = visibilities.read(path)["spw_0"]
    content = path.read_bytes()
    assert content.count(b"RADESYS = 'icrs") == 1
    path.write_bytes(content.replace(b"RADESYS = 'icrs", b"RADESYS = 'ICRS"))
    xr.testing.assert_identical(visibilities.read(path)["spw_0"], small)
    assert b"'ICRS" in path.read_bytes()  # the source is left as it is


@pytest.mark.parametrize("blocks", [3, 4, 5, 6, 8])
def test_a_uvfits_file_cut_between_its_blocks_is_refused(tmp_path: Path, blocks: int) -> None:
    path = write(observation(), tmp_path, "uvfits")
    path.write_bytes(path.read_bytes()[: blocks * 2880])
    with pytest.raises(BadInput, match=r"observed\.uvfits cannot be read as uvfits"):
        visibilities.read(path)


def test_a_uvh5_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = write(observation(), tmp_path, "uvh5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadInput, match="is not UVFITS, UVH5 or a MeasurementSet"):
        visibilities.read(path)


def test_a_measurement_set_without_its_subtables_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("casacore", reason="a MeasurementSet needs python-casacore")
    path = write(observation(), tmp_path, "ms")
    (path / "SPECTRAL_WINDOW" / "table.dat").unlink()
    with pytest.raises(BadInput, match=r"observed\.ms cannot be read as ms"):
        visibilities.read(path)


def test_a_file_that_is_flagged_all_over_is_refused(tmp_path: Path) -> None:
    made = observation()
    made.flag_array[:] = True
    with pytest.raises(BadInput, match="no visibility that is not flagged"):
        visibilities.read(write(made, tmp_path, "uvfits"))


def test_what_is_not_a_number_is_flagged(tmp_path: Path) -> None:
    made = observation()
    made.data_array[0, 0, 1] = np.nan
    window = visibilities.read(write(made, tmp_path, "uvh5"))["spw_0"]
    assert np.isfinite(window.VISIBILITY).all()
    assert int(window.FLAG.sum()) == 1 + 1 + 4  # this one, the flagged one, and the row that was not observed


def test_a_baseline_seen_twice_at_one_time_is_refused(tmp_path: Path) -> None:
    made = observation()
    made.ant_1_array[1], made.ant_2_array[1] = made.ant_1_array[0], made.ant_2_array[0]
    made.baseline_array[1] = made.baseline_array[0]
    with pytest.raises(BadInput, match="a baseline twice at one time"):
        visibilities.read(write(made, tmp_path, "uvh5"))


def test_two_fields_are_two_groups_of_a_window(tmp_path: Path) -> None:
    made = observation()
    second = made._add_phase_center("3C273", cat_lon=3.2, cat_lat=0.03, **FIXED)
    made.phase_center_id_array[made.time_array == made.time_array[-1]] = second
    groups = visibilities.read(write(made, tmp_path, "uvh5"))
    assert {name: dict(group.sizes).get("time") for name, group in groups.items() if name != "antenna_xds"} == {
        "spw_0_field_0": 2,
        "spw_0_field_1": 1,
        "spw_1_field_0": 2,
        "spw_1_field_1": 1,
    }
    assert groups["spw_0_field_1"].attrs["field_and_source_base_xds"]["field_name"] == "3C273"


def known(path: Path, **options: Any) -> Any:
    """What pyuvdata itself makes of a file."""
    from pyuvdata import UVData

    with offline():
        made = UVData()
        made.read(str(path), run_check=False, background_lsts=False, fix_autos=False, **options)
        made.conjugate_bls("ant1<ant2")
    return made


@pytest.mark.parametrize(
    ("name", "shape", "windows"),
    [
        ("mojave_m87_vlba_8ghz.uvfits", (87, 45, 1, 4), 2),
        ("bu_3c279_apr13_vlba_43ghz.uvfits", (81, 36, 1, 4), 1),
        ("zen.2458098.45361.HH_downselected.uvh5", (10, 36, 64, 2), 1),
    ],
)
def test_real_files_are_read_as_pyuvdata_reads_them(
    shared: Path, name: str, shape: tuple[int, ...], windows: int
) -> None:
    path = shared / "data" / "radio" / name
    groups = visibilities.read(path)
    assert [group.VISIBILITY.shape for group in list(groups.values())[:-1]] == [shape] * windows
    same_as(known(path), groups)


@pytest.mark.parametrize(
    ("archive", "inside", "shape", "frame"),
    [
        ("day2_TDEM0003_10s_norx_1src_1spw.ms.tar.gz", "day2_TDEM0003_10s_norx_1src_1spw.ms", (15, 153, 64, 4), "fk5"),
        ("lofar_ciza_hba_tDemix.in_MS.tgz", "tDemix_tmp/tDemix.MS", (18, 21, 64, 4), "fk5"),
    ],
)
def test_real_measurement_sets_are_read_as_pyuvdata_reads_them(
    shared: Path, tmp_path: Path, archive: str, inside: str, shape: tuple[int, ...], frame: str
) -> None:
    pytest.importorskip("casacore", reason="a MeasurementSet needs python-casacore")
    with tarfile.open(shared / "data" / "radio" / archive) as packed:
        packed.extractall(tmp_path, filter="data")
    groups = visibilities.read(tmp_path / inside)
    assert groups["spw_0"].VISIBILITY.shape == shape
    assert groups["spw_0"].UVW.attrs["frame"] == frame
    assert (groups["spw_0"].WEIGHT.values[~groups["spw_0"].FLAG.values] > 0).all()  # LOFAR's are about 1e-13
    same_as(known(tmp_path / inside, file_type="ms", ignore_single_chan=False), groups)
