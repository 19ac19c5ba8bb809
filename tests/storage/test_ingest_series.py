"""A folder of netCDF files that follow each other along one axis: what it gives, and what it is refused for."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from terp.storage.errors import BadInput
from terp.storage.ingest import recognise, series
from terp.storage.lineage import Pieces, covered

LENGTHS = (31, 28, 31, 30)


def whole() -> xr.Dataset:
    """Days of a sea on a small grid, with a mask that has no time, and bounds of each day."""
    time = np.arange("2001-01-01", "2001-05-01", dtype="M8[D]").astype("M8[ns]")
    random = np.random.default_rng(3)
    axes = {"time": ("time", time, {"bounds": "time_bnds"}), "lat": np.linspace(-2, 2, 5), "lon": np.arange(4.0)}
    values = random.normal(290, 5, (len(time), 5, 4)).astype("f4")
    variables = {
        "sst": (("time", "lat", "lon"), values, {"units": "K", "standard_name": "sea_surface_temperature"}),
        "mask": (("lat", "lon"), random.integers(0, 2, (5, 4)).astype("i1")),
        "time_bnds": (("time", "bnds"), np.stack([time, time + np.timedelta64(1, "D")], axis=1)),
    }
    return xr.Dataset(variables, axes, {"title": "a sea"})


def months() -> list[xr.Dataset]:
    return [whole().isel(time=slice(a, b)) for a, b in pairwise(np.cumsum([0, *LENGTHS]).tolist())]


def write(parts: list[xr.Dataset], folder: Path) -> Path:
    """Write parts as a provider would: times since another day in each, names that tell nothing of their order."""
    folder.mkdir()
    for number, part in enumerate(parts):
        first = str(part.time.values[0])[:10] if "time" in part.coords else "2001-01-01"
        since = {"time": {"units": f"days since {first}", "dtype": "i4"}} if "time" in part.coords else {}
        part.attrs["history"] = f"made as number {number}"
        part.to_netcdf(folder / f"{(7 * number) % 5}.nc", encoding=since, engine="netcdf4")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = write(months(), tmp_path / "sea")
    (made / "README.txt").write_text("days of a sea")
    return made


def test_the_files_are_put_in_the_order_of_their_axis_and_hold_what_the_whole_held(folder: Path) -> None:
    reader = recognise(folder)
    assert reader.name == "netcdf-series"
    found = reader.read(folder)[""]
    xr.testing.assert_identical(found.load(), whole().set_coords("time_bnds"))
    assert reader.cut({"": found}) == {"": ("lat", "lon")}, "which all variables have, the mask too"


def test_xarrays_own_reader_of_many_files_says_the_same(folder: Path) -> None:
    pytest.importorskip("dask")
    with xr.open_mfdataset(
        f"{folder}/*.nc", combine="by_coords", data_vars="minimal", coords="minimal", compat="override", join="outer"
    ) as theirs:
        assert series.read(folder)[""].sst.equals(theirs.sst.compute())


@given(st.data())
@settings(max_examples=40)
def test_any_part_is_read_as_numpy_would_take_it(data: st.DataObject) -> None:
    values = np.arange(17 * 3).reshape(17, 3)
    ends = [0, *sorted(data.draw(st.sets(st.integers(1, 16), max_size=5))), 17]
    parts = [xr.Variable(("t", "x"), values[a:b]) for a, b in pairwise(ends)]
    array = series._Series(parts, 0)
    places = st.lists(st.integers(0, 16), max_size=9).map(lambda some: np.array(some, int))
    along = data.draw(st.one_of(places, st.tuples(st.integers(0, 17), st.integers(0, 17)).map(lambda two: slice(*two))))
    np.testing.assert_array_equal(array.read([along, slice(1, 3)]), values[along][:, 1:3])


@given(st.data())
def test_files_of_a_box_and_those_that_lineage_counts_are_the_same(data: st.DataObject) -> None:
    starts = [0, *sorted(data.draw(st.sets(st.integers(1, 19), max_size=6)))]
    names = tuple(f"{n}.nc" for n in range(len(starts)))
    pieces = Pieces(("t",), (), names=names, starts=tuple(starts))
    start = data.draw(st.integers(0, 19))
    stop = data.draw(st.integers(start + 1, 20))
    owners = {names[np.searchsorted(starts, place, "right") - 1] for place in range(start, stop)}
    assert set(pieces.files({"t": slice(start, stop)}, {"t": 20})) == owners
    boxes = np.array([[[start, stop]], [[0, 0]]])
    reached = covered(list(pieces.on_grid(boxes).swapaxes(0, 1)), pieces.grid([20]))
    assert {pieces.name(int(number), ()) for number in np.flatnonzero(reached)} == owners


def test_where_a_file_seems_to_be_missing_it_is_told(tmp_path: Path) -> None:
    one, _, three, four = months()
    reader, folder = series, write([one, three, four], tmp_path / "sea")
    [said] = reader.lacking(folder, reader.read(folder), ())
    assert "between 0.nc and 2.nc nothing is there, from 2001-01-31" in said
    assert "to 2001-03-01" in said


def test_a_folder_with_one_file_gives_that_file(tmp_path: Path) -> None:
    folder = write(months()[:1], tmp_path / "sea")
    found = series.read(folder)
    assert found[""].sizes["time"] == 31
    assert series.pieces(folder, found) == {}


def overlapping(parts: list[xr.Dataset]) -> None:
    parts[1] = whole().isel(time=slice(30, 59))


def in_celsius(parts: list[xr.Dataset]) -> None:
    parts[2].sst.attrs["units"] = "degC"


def without_mask(parts: list[xr.Dataset]) -> None:
    parts[3] = parts[3].drop_vars("mask")


def elsewhere(parts: list[xr.Dataset]) -> None:
    parts[1] = parts[1].assign_coords(lat=parts[1].lat + 5)


def as_double(parts: list[xr.Dataset]) -> None:
    parts[1]["sst"] = parts[1].sst.astype("f8").assign_attrs(parts[1].sst.attrs)


def backwards(parts: list[xr.Dataset]) -> None:
    parts[1] = parts[1].isel(time=slice(None, None, -1))


def twice(parts: list[xr.Dataset]) -> None:
    parts[:] = [parts[0], parts[0].copy()]


def test_texts_may_be_longer_in_one_file_than_in_another(tmp_path: Path) -> None:
    parts = [
        part.assign_coords(by=("time", [ship] * part.sizes["time"])) for part, ship in zip(months(), "AB", strict=False)
    ]
    parts[1]["by"] = "time", ["Zirfaea"] * parts[1].sizes["time"]
    found = recognise(write(parts, tmp_path / "sea")).read(tmp_path / "sea")[""]
    assert list(found["by"].values[[0, -1]]) == ["A", "Zirfaea"]


def test_days_of_another_calendar_that_are_counted_from_elsewhere_are_said_to_be(tmp_path: Path) -> None:
    when = xr.date_range("2001-01-01", periods=sum(LENGTHS), calendar="noleap", use_cftime=True)
    parts = [part.drop_vars("time_bnds") for part in months()[:2]]
    for part, a, b in zip(parts, (0, 31), (31, 59), strict=True):
        part["time"] = when[a:b]
    with pytest.raises(BadInput, match=r"the units of time is days since 2001-0.-01, and days since 2001-0.-01 in"):
        recognise(folder := write(parts, tmp_path / "sea")).read(folder)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (overlapping, ["2.nc begins at time 2001-01-31", "0.nc has gone as far as", "overlap"]),
        (in_celsius, ["4.nc: the units of sst is degC, and K in 2.nc"]),
        (without_mask, ["1.nc and 4.nc do not both have mask"]),
        (elsewhere, ["differ along", "lat", "time", "one"]),
        (as_double, ["2.nc: the type of sst is float64, and float32 in 0.nc"]),
        (backwards, ["2.nc does not rise along time"]),
        (twice, ["hold the same place on every axis", "keep one"]),
    ],
)
def test_files_that_do_not_follow_each_other_are_named_with_what_is_between_them(
    tmp_path: Path, spoil: Callable[[list[xr.Dataset]], None], words: list[str]
) -> None:
    parts = months()
    spoil(parts)
    with pytest.raises(BadInput) as caught:
        series.read(write(parts, tmp_path / "sea"))
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def test_what_is_no_part_of_the_axis_must_be_the_same_in_all(tmp_path: Path) -> None:
    parts = months()
    parts[2]["mask"] = 1 - parts[2].mask
    folder = write(parts, tmp_path / "sea")
    with pytest.raises(BadInput, match=r"4\.nc: mask is not what it is in 0\.nc"):
        series.lacking(folder, series.read(folder), ())


def test_what_only_is_named_as_netcdf_is_refused_by_name(folder: Path) -> None:
    (folder / "9.nc").write_text("<html>not found</html>")
    with pytest.raises(BadInput, match=r"9\.nc is named as netCDF and is none"):
        series.read(folder)


def test_a_file_with_groups_is_to_be_given_alone(folder: Path) -> None:
    xr.Dataset({"v": ("x", [1.0])}).to_netcdf(folder / "9.nc", group="deep", engine="netcdf4")
    with pytest.raises(BadInput, match=r"9\.nc has groups"):
        series.read(folder)
