"""Readers of netCDF and Zarr, and the choice between readers: what they give, and what they refuse to read."""

import contextlib
import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from terp.storage.errors import BadInput
from terp.storage.ingest import cdf, locate, netcdf, recognise
from terp.storage.ingest import zarr as zarr_reader

CLASSIC = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA")


def grid(times: int = 5) -> xr.Dataset:
    """A temperature on a small grid, as CF files have it."""
    values = np.random.default_rng(1).normal(290, 5, (times, 3, 4)).astype("float32")
    values[:1, 0, 0] = np.nan
    axes = {
        "time": np.arange("2001-01", "2002-01", dtype="datetime64[M]")[:times].astype("datetime64[ns]"),
        "lat": ("lat", np.array([-10.0, 0, 10]), {"standard_name": "latitude", "bounds": "lat_bnds"}),
        "lon": ("lon", np.array([0.0, 90, 180, 270]), {"standard_name": "longitude"}),
    }
    attrs = {"units": "K", "grid_mapping": "crs"}
    variables = {
        "t": (("time", "lat", "lon"), values, attrs),
        "crs": ((), np.int32(0), {"grid_mapping_name": "lat_lon"}),
    }
    return xr.Dataset(variables | {"lat_bnds": (("lat", "bnds"), np.ones((3, 2)))}, axes, {"Conventions": "CF-1.8"})


def written(dataset: xr.Dataset, path: Path, form: str = "NETCDF4") -> Path:
    dataset.to_netcdf(path, format=form, engine="netcdf4", unlimited_dims=["time"] if "time" in dataset.dims else [])
    return path


def refusal(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read(path)
    assert str(path.name) in str(caught.value)
    return str(caught.value)


# --- which reader ---------------------------------------------------------------------------------------------------


def test_each_kind_is_recognised_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    assert recognise(written(grid(), tmp_path / "a.dat", "NETCDF3_CLASSIC")).name == "netcdf"
    assert recognise(written(grid(), tmp_path / "b.h5")).name == "netcdf"
    grid().to_zarr(tmp_path / "c", consolidated=False)
    assert recognise(tmp_path / "c").name == "zarr"


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (b"\n<!DOCTYPE html><html>404</html>", "HTML"),
        (b"GRIB\x00\x00\x01", "GRIB"),
        (gzip.compress(b"much", mtime=0), "gzip"),
        (b"PK\x03\x04....", "ZIP"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b"year,temperature\n2001,3\n", "CSV"),
        (b"<?xml version='1.0'?><Error/>", "XML"),
        (b"dear all", "plain text"),
        (b"\x00\x01\x02\x03" * 9, "does not know"),
        (b"", "empty file"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_called_what_it_is(tmp_path: Path, content: bytes, looks: str) -> None:
    path = tmp_path / "data.nc"
    path.write_bytes(content)
    message = refusal(recognise, path)
    assert looks in message
    assert "netCDF; a folder of netCDF files" in message


def test_what_is_not_there_and_a_folder_of_nothing_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(recognise, tmp_path / "absent.nc")
    (tmp_path / "none").mkdir()
    assert "empty folder" in refusal(recognise, tmp_path / "none")
    (tmp_path / "none" / "notes.txt").write_text("hello")
    assert "1 entries" in refusal(recognise, tmp_path / "none")


def test_the_readers_and_their_libraries_are_imported_only_when_needed() -> None:
    code = "import sys, terp.storage.ingest as i; assert not {'xarray', 'pandas', 'zarr'} & set(sys.modules), i"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_sample_is_found_by_its_name_unless_a_file_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recognise(locate("ostia")).read(locate("ostia"))[""].sizes == {
        "time": 54,
        "latitude": 18,
        "longitude": 432,
        "bnds": 2,
    }
    monkeypatch.chdir(tmp_path)
    written(grid(), tmp_path / "ostia")
    assert locate("ostia") == Path("ostia")


# --- netCDF ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [*CLASSIC, "NETCDF4"])
def test_values_are_decoded_and_what_only_describes_becomes_a_coordinate(tmp_path: Path, form: str) -> None:
    encoding = {"t": {"dtype": "int16", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -9999}}
    grid().to_netcdf(tmp_path / "a.nc", format=form, engine="netcdf4", encoding=encoding)
    found = netcdf.read(tmp_path / "a.nc")[""]
    assert list(found.data_vars) == ["t"]
    assert {"crs", "lat_bnds"} <= set(found.coords)
    assert found.time.dtype == "datetime64[ns]"
    np.testing.assert_allclose(found.t, grid().t, atol=0.006)
    assert netcdf.cut({"": found}) == {"": ("time", "lat", "lon")}


def test_nothing_read_tells_where_it_was_read_from(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    one, other = (netcdf.read(written(grid(), tmp_path / name))[""] for name in ("a.nc", "x/b.nc"))
    assert one.identical(other)
    assert not one.encoding
    assert all(not variable.encoding for variable in one.variables.values())


def test_data_stays_on_disk_until_it_is_asked_for(tmp_path: Path) -> None:
    found = netcdf.read(written(grid(), tmp_path / "a.nc"))[""]
    assert not found.t.variable._in_memory
    np.testing.assert_array_equal(found.t.isel(time=slice(1, 3)), grid().t.isel(time=slice(1, 3)))
    assert not found.t.variable._in_memory


@pytest.mark.parametrize("form", CLASSIC)
@pytest.mark.parametrize("extra", [0, 1])
def test_the_header_of_a_classic_file_tells_its_length(tmp_path: Path, form: str, extra: int) -> None:
    dataset = grid().assign({f"b{n}": ("time", np.arange(5, dtype="int8")) for n in range(extra)})
    path = written(dataset, tmp_path / "a.nc", form)
    assert 0 <= path.stat().st_size - cdf.promised_size(path) < 4


@pytest.mark.parametrize("form", [*CLASSIC, "NETCDF4"])
def test_a_file_that_was_cut_short_is_refused_wherever_it_was_cut(tmp_path: Path, form: str) -> None:
    content = written(grid(), tmp_path / "whole.nc", form).read_bytes()
    for size in (9, 40, len(content) // 2, len(content) - 5):
        path = tmp_path / f"cut{size}.nc"
        path.write_bytes(content[:size])
        assert recognise(path).name == "netcdf"
        assert "fetch it again" in refusal(netcdf.read, path)


@settings(deadline=None)
@given(at=st.integers(4, 400), byte=st.integers(0, 255))
def test_of_a_damaged_header_nothing_but_a_sentence_comes(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.nc"
    content = bytearray(written(grid(2), path, "NETCDF3_CLASSIC").read_bytes())
    content[at] = byte
    path.write_bytes(content)
    with contextlib.suppress(BadInput):
        assert cdf.promised_size(path) >= 0


def test_groups_keep_their_places_and_see_the_axes_above_them(tmp_path: Path) -> None:
    path = written(grid(), tmp_path / "a.nc")
    inner = xr.Dataset({"rain": (("time", "lat", "lon"), np.ones((5, 3, 4)))})
    inner.to_netcdf(path, group="model/first", mode="a", engine="netcdf4")
    found = netcdf.read(path)
    assert set(found) == {"", "model/first"}
    assert found["model/first"].indexes["time"].equals(found[""].indexes["time"])
    assert netcdf.cut(found)["model/first"] == ("time", "lat", "lon")


def test_variables_without_a_dimension_in_common_do_not_stand_in_the_way_of_the_grid(tmp_path: Path) -> None:
    dataset = grid().assign(
        series=("time", np.arange(5.0)), island=("place", np.arange(2.0)), land=(("lat", "lon"), np.ones((3, 4)))
    )
    found = netcdf.read(written(dataset, tmp_path / "a.nc"))
    assert set(found[""].data_vars) == {"t", "land"}
    assert netcdf.cut(found) == {"": ("lat", "lon")}


def test_text_and_attributes_that_json_lacks_are_told_in_words(tmp_path: Path) -> None:
    dataset = grid().assign(name=("lat", np.array(["a", "b", "c"])))
    dataset.t.attrs |= {"valid_range": np.array([0.0, np.inf], dtype="f4"), "level": np.int32(3)}
    found = netcdf.read(written(dataset, tmp_path / "a.nc"))[""]
    assert "name" in found.coords
    assert found.t.attrs["valid_range"] == [0.0, "inf"]
    assert type(found.t.attrs["level"]) is int


def test_times_that_datetime64_cannot_hold_stay_numbers_with_their_calendar(tmp_path: Path) -> None:
    dataset = grid().assign_coords(
        time=("time", np.arange(5) * 30.0, {"units": "days since 2000-01-01", "calendar": "360_day"})
    )
    time = netcdf.read(written(dataset, tmp_path / "a.nc"))[""].time
    assert time.values.tolist() == [0, 30, 60, 90, 120]
    assert time.attrs["calendar"] == "360_day"


def test_a_file_without_data_is_refused(tmp_path: Path) -> None:
    assert "never filled" in refusal(netcdf.read, written(grid(0), tmp_path / "a.nc"))
    scalars = xr.Dataset({"a": 1.0, "b": 2}, attrs={"title": "nothing"})
    assert "no data variable" in refusal(netcdf.read, written(scalars, tmp_path / "b.nc"))


def test_uvh5_is_not_taken_for_netcdf(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "a.uvh5", "w") as file:
        file.create_group("Header")
        file.create_group("Data").create_dataset("visdata", data=np.zeros(3))
    assert not netcdf.recognise(tmp_path / "a.uvh5")


# --- Zarr -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_group_gives_what_was_written(tmp_path: Path, version: int) -> None:
    store = tmp_path / "a.zarr"
    grid().to_zarr(store, zarr_format=version, consolidated=False, encoding={"t": {"chunks": (2, 3, 2)}})
    grid(3).to_zarr(store, group="sub/deep", mode="a", zarr_format=version, consolidated=False)
    found = zarr_reader.read(store)
    assert set(found) == {"", "sub/deep"}
    np.testing.assert_array_equal(found[""].t, grid().t)
    assert list(found[""].data_vars) == ["t"]
    assert found[""].t.encoding == {"chunks": (2, 3, 2)}, "how it is cut, and nothing else"


@pytest.mark.parametrize("names", [["v2", "v0", "v1"], ["v1", "v2", "v0"], ["v0", "v1", "v2"]])
def test_a_zarr_group_is_the_same_to_all_who_read_it_in_whatever_order_its_arrays_are_found(
    tmp_path: Path, names: list[str]
) -> None:
    # All are of one size, so that it hangs on the order which of them are data.
    dims = {"v0": ("time", "x"), "v1": ("time",), "v2": ("x",)}
    for name in names:
        for group in (f"b{name}", ""):
            one = xr.Dataset({name: (dims[name], np.ones([1] * len(dims[name])))})
            one.to_zarr(tmp_path / "some", group=group or None, mode="a", zarr_format=3, consolidated=False)
    found = recognise(tmp_path / "some").read(tmp_path / "some")
    assert list(found) == ["", "bv0", "bv1", "bv2"]
    assert (list(found[""].data_vars), list(found[""].coords)) == (["v0"], ["v1", "v2"])


def test_zarr_that_is_an_array_or_damaged_is_refused(tmp_path: Path) -> None:
    grid().to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    assert "single Zarr array" in refusal(lambda path: zarr_reader.read(path / "t"), tmp_path / "a.zarr")
    (tmp_path / "a.zarr/t/zarr.json").write_text("{")
    assert recognise(tmp_path / "a.zarr").name == "zarr"
    assert "can't be read" in refusal(zarr_reader.read, tmp_path / "a.zarr")
