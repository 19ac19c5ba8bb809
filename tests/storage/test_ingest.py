"""Readers of netCDF, KNMI station files and Zarr: what they give, and what they refuse to read."""

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from terp.storage.errors import BadInput
from terp.storage.ingest import cdf, locate, netcdf, recognise, stations
from terp.storage.ingest import zarr as zarr_reader
from terp.storage.ingest.columns import COLUMNS, STATION_COLUMNS

CLASSIC = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA")


def grid(times: int = 5) -> xr.Dataset:
    """A temperature on a small grid, as CF files have it."""
    values = np.random.default_rng(1).normal(290, 5, (times, 3, 4)).astype("float32")
    values[0, 0, 0] = np.nan
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
    return xr.Dataset(variables | {"lat_bnds": (("lat", "bnds"), np.zeros((3, 2)))}, axes, {"Conventions": "CF-1.8"})


def written(dataset: xr.Dataset, path: Path, form: str = "NETCDF4") -> Path:
    dataset.to_netcdf(path, format=form, engine="netcdf4", unlimited_dims=["time"] if "time" in dataset.dims else [])
    return path


def line(day: str, station: int = 348, **codes: int) -> str:
    """A line of a KNMI file; the columns that are not named are blank."""
    values = {"STN": f"{station:5d}", "YYYYMMDD": day} | {name: f"{code:5d}" for name, code in codes.items()}
    return ",".join(values.get(name, "     ") for name in STATION_COLUMNS)


def daily(path: Path, *lines: str) -> Path:
    """A KNMI file: its words, the names of the columns, and lines of values; written as they write it."""
    words = [
        "BRON: KONINKLIJK NEDERLANDS METEOROLOGISCH INSTITUUT (KNMI)",
        "RH = Etmaalsom van de neerslag, \u00e9\u00e9n getal",
    ]
    text = "\r\n".join([*words, "", f"# {','.join(STATION_COLUMNS)}", "", *lines]) + "\r\n"
    path.write_bytes(gzip.compress(text.encode("latin-1")) if path.suffix == ".gz" else text.encode("latin-1"))
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
    assert recognise(daily(tmp_path / "weather.csv", line("20200101"))).name == "knmi-daily"
    grid().to_zarr(tmp_path / "c", consolidated=False)
    assert recognise(tmp_path / "c").name == "zarr"


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (b"\n<!DOCTYPE html><html>404</html>", "HTML"),
        (b"GRIB\x00\x00\x01", "GRIB"),
        (gzip.compress(b"much"), "gzip"),
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
    assert "netCDF; KNMI daily" in message


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
    assert (
        found.t.isel(time=slice(1, 3))
        .load()
        .identical(
            grid()
            .t.drop_attrs(deep=False)
            .isel(time=slice(1, 3))
            .assign_attrs(found.t.attrs)
            .assign_coords(
                {n: found[n].isel(time=slice(1, 3)) if "time" in found[n].dims else found[n] for n in found.t.coords}
            )
        )
    )


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


@given(st.integers(8, 200), st.integers(0, 255))
def test_a_damaged_header_gives_a_sentence_or_a_dataset_but_never_another_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray(written(grid(2), folder / "a.nc", "NETCDF3_CLASSIC").read_bytes())
    content[at] = byte
    (folder / "b.nc").write_bytes(bytes(content))
    try:
        cdf.promised_size(folder / "b.nc")
    except BadInput as refused:
        assert "b.nc" in str(refused)


def test_groups_keep_their_places_and_see_the_axes_above_them(tmp_path: Path) -> None:
    path = written(grid(), tmp_path / "a.nc")
    inner = xr.Dataset({"rain": (("time", "lat", "lon"), np.ones((5, 3, 4)))})
    inner.to_netcdf(path, group="model/first", mode="a", engine="netcdf4")
    found = netcdf.read(path)
    assert set(found) == {"", "model/first"}
    assert found["model/first"].time.equals(found[""].time)
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


# --- KNMI -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["etmgeg_348.txt", "etmgeg_348.txt.gz"])
def test_codes_become_numbers_in_the_units_of_their_attributes(tmp_path: Path, name: str) -> None:
    path = daily(tmp_path / name, line("20200229", TG=-15, FXX=420, PG=10185, Q=2885, UG=84, RH=1423))
    found = stations.read(path)[""]
    day = {
        key: (round(float(found[key][0, 0]), 4), found[key].attrs["units"])
        for key in ("TG", "FXX", "PG", "Q", "UG", "RH")
    }
    assert day == {
        **{"TG": (-1.5, "degC"), "FXX": (42.0, "m s-1"), "PG": (1018.5, "hPa")},
        **{"Q": (2885.0, "J cm-2"), "UG": (84.0, "%"), "RH": (142.3, "mm")},
    }
    assert set(COLUMNS) <= set(found.data_vars)
    assert all(found[key].dims == ("station", "time") for key in found.data_vars)
    assert found.TN.isnull().all()


@pytest.mark.parametrize("name", ["RH", "RHX", "SQ"])
def test_a_trace_is_nothing_and_told_but_never_a_negative_amount(tmp_path: Path, name: str) -> None:
    lines = [line(f"2020010{day}", **{name: code}) for day, code in enumerate((-1, 0, 5), start=1)]
    found = stations.read(daily(tmp_path / "etmgeg_348.txt", *lines))[""]
    assert found[name].values.tolist() == [[0, 0, 0.5]]
    assert found[f"{name}_trace"].values.tolist() == [[True, False, False]]


def test_below_zero_is_a_temperature_and_no_trace(tmp_path: Path) -> None:
    found = stations.read(daily(tmp_path / "etmgeg_348.txt", line("20200101", TN=-1)))[""]
    assert found.TN.values == pytest.approx(-0.1)


def test_codes_for_calm_wind_and_an_unseen_sky_are_no_numbers(tmp_path: Path) -> None:
    found = stations.read(
        daily(tmp_path / "etmgeg_348.txt", line("20200101", DDVEC=0, NG=9), line("20200102", DDVEC=360, NG=8))
    )[""]
    np.testing.assert_array_equal(found.DDVEC, [[np.nan, 360]])
    np.testing.assert_array_equal(found.NG, [[np.nan, 8]])
    assert found.DDVEC_calm.values.tolist() == found.NG_obscured.values.tolist() == [[True, False]]


def test_days_that_a_file_skips_are_gaps_on_one_axis_of_all_days(tmp_path: Path) -> None:
    daily(tmp_path / "etmgeg_348.txt", line("20200227", TG=1), line("20200301", TG=4))
    daily(tmp_path / "etmgeg_278.txt.gz", line("20200302", 278, TG=9))
    found = stations.read(tmp_path)[""]
    assert found.station.values.tolist() == [278, 348]
    assert found.time.dt.strftime("%m%d").values.tolist() == ["0227", "0228", "0229", "0301", "0302"]
    expected = [[np.nan] * 4 + [0.9], [0.1, np.nan, np.nan, 0.4, np.nan]]
    np.testing.assert_array_equal(found.TG, np.array(expected, dtype="float32"))
    assert found.observed.values.tolist() == [[False] * 4 + [True], [True, False, False, True, False]]


def test_days_out_of_order_find_their_places(tmp_path: Path) -> None:
    found = stations.read(daily(tmp_path / "etmgeg_348.txt", line("20200102", TG=2), line("20200101", TG=1)))[""]
    assert found.TG.values.tolist() == [[np.float32(0.1), np.float32(0.2)]]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (line("20200101"), "line 8: 20200101 is a day that the file already has"),
        (line("20200230"), "line 8: 20200230 is no date"),
        (line("20201301"), "line 8: 20201301 is no date"),
        (line("20200102")[:-12], "line 8: 39 values where the columns are 41"),
        (line("20200102") + ",  1", "line 8: 42 values where the columns are 41"),
        (line("20200102").replace("     ", "  abc", 1), "line 8: 'abc' is no value of DDVEC"),
        (line("20200102").replace("     ", "  inf", 1), "line 8: 'inf' is no value of DDVEC"),
        (line("        "), "line 8: '' is no value of YYYYMMDD"),
        ("<html>", "line 8: 1 values where the columns are 41"),
        (line("20200102", 260), "stations 348, 260"),
    ],
)
def test_a_garbled_line_is_named_and_not_guessed_at(tmp_path: Path, bad: str, why: str) -> None:
    path = daily(tmp_path / "etmgeg_348.txt", line("20200101"), "", bad, line("20200103"))
    assert why in refusal(stations.read, path)


def test_a_file_that_ends_in_the_midst_of_a_line_is_refused(tmp_path: Path) -> None:
    path = daily(tmp_path / "etmgeg_348.txt", line("20200101"), line("20200102", EV24=12))
    path.write_bytes(path.read_bytes()[:-3])
    assert "line 7: the last line has no end" in refusal(stations.read, path)


def test_a_zipped_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    path = daily(tmp_path / "etmgeg_348.txt.gz", *(line(f"2020{month:02}01", TG=month) for month in range(1, 13)))
    path.write_bytes(path.read_bytes()[:-9])
    assert recognise(path).name == "knmi-daily"
    assert "can't be unzipped" in refusal(stations.read, path)


def test_a_file_with_other_columns_or_without_lines_is_refused(tmp_path: Path) -> None:
    path = daily(tmp_path / "etmgeg_348.txt", line("20200101"))
    path.write_bytes(path.read_bytes().replace(b",EV24", b",EVER"))
    assert "EV24, EVER" in refusal(stations.read, path)
    assert "no line of values" in refusal(stations.read, daily(tmp_path / "etmgeg_350.txt"))


def test_a_station_given_twice_is_refused(tmp_path: Path) -> None:
    for name in ("etmgeg_348.txt", "etmgeg_348.txt.gz"):
        daily(tmp_path / name, line("20200101"))
    assert "both of station 348" in refusal(lambda path: stations.read(path.parent), tmp_path / "etmgeg_348.txt.gz")


def test_places_come_from_the_table_beside_the_files_and_are_marked_unverified(tmp_path: Path) -> None:
    daily(tmp_path / "etmgeg_348.txt", line("20200101"))
    daily(tmp_path / "etmgeg_999.txt", line("20200101", 999))
    (tmp_path / "stations.csv").write_text("stn,name,lat,lon\n348,Cabauw,51.971,4.926\n260,De Bilt,52.1,5.177\n")
    found = stations.read(tmp_path)[""]
    assert found.station_name.values.tolist() == ["Cabauw", ""]
    np.testing.assert_array_equal(found.lat, [51.971, np.nan])
    assert all("unverified" in found[name].attrs["comment"] for name in ("station_name", "lat", "lon"))
    (tmp_path / "stations.csv").write_text("stn,name,lat,lon\n348,Cabauw,north,4.926\n")
    assert "line 2" in refusal(lambda path: stations.read(path.parent), tmp_path / "stations.csv")


def test_the_real_stations_are_read_whole(shared: Path) -> None:
    found = stations.read(shared / "data/weather/knmi")[""]
    assert dict(found.sizes) == {"station": 14, "time": 14700}
    assert int(found.observed.sum()) == 165_754
    assert float(found.RH.min()) == 0
    assert float(found.RH_trace.sum() / found.RH.notnull().sum()) == pytest.approx(0.082, abs=5e-4)
    heino = found.observed.sel(station=278, time=slice("1989-10-12", "2026-06-25"))
    assert int((~heino).astype(int).diff("time").clip(min=0).sum()) == 15


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
    assert not found[""].t.encoding


@pytest.mark.parametrize("version", [2, 3])
def test_a_missing_chunk_is_refused_at_once_and_never_read_as_fill_values(tmp_path: Path, version: int) -> None:
    from zarr.errors import ChunkNotFoundError

    store = tmp_path / "a.zarr"
    grid().to_zarr(store, zarr_format=version, consolidated=False, encoding={"t": {"chunks": (2, 3, 2)}})
    found = zarr_reader.read(store)[""]
    (store / "t" / ("1.0.1" if version == 2 else "c/1/0/1")).unlink()
    with pytest.raises(ChunkNotFoundError):
        found.t.load()
    assert "lacks 1 of 6 chunks of 't'" in refusal(zarr_reader.read, store)


def test_zarr_that_is_an_array_or_damaged_is_refused(tmp_path: Path) -> None:
    grid().to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    assert "single Zarr array" in refusal(lambda path: zarr_reader.read(path / "t"), tmp_path / "a.zarr")
    (tmp_path / "a.zarr/t/zarr.json").write_text("{")
    assert recognise(tmp_path / "a.zarr").name == "zarr"
    assert "can't be read" in refusal(zarr_reader.read, tmp_path / "a.zarr")
