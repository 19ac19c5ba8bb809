"""Each kind of stage gives what plain xarray gives on the whole, however it is cut."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from prefect import flow

from terp.storage import grid
from terp.storage.home import Home
from terp.storage.product import StoredProduct
from terp.workflows import Product, api, ingest, rechunk, stage
from terp.workflows.errors import BadStage
from terp.workflows.planning.plan import make_plan

sys.path.insert(0, str(Path(__file__).parent))
from here import made as made_here

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.usefixtures("prefect_here"),
]
Run = Callable[[Callable[[Product], Any]], StoredProduct]
TIMES, PLACES = 50, 24


@pytest.fixture
def source(tmp_path: Path) -> Path:
    values = np.random.default_rng(1).normal(size=(TIMES, PLACES)).astype("f4")
    when = np.arange("2000-01-01", "2000-02-20", dtype="M8[D]").astype("M8[ns]")
    path = tmp_path / "series.nc"
    xr.Dataset({"v": (("time", "place"), values)}, {"time": when, "place": np.arange(PLACES)}).to_netcdf(path)
    return path


@pytest.fixture
def made(source: Path, home: Path) -> Run:
    """Run a flow of one step on the source with a worker; return the product."""

    def run(body: Callable[[Product], Any]) -> StoredProduct:
        @flow
        def one(path: str) -> Any:
            return body(ingest(path))

        done = api.run(one, str(source), home=home, workers=1, archive=False)
        [key] = done.record.results.values()
        return StoredProduct(Home(home).product(key))

    return run


@stage(cut=("time", "place"), halo={"time": 3}, block={"time": 8, "place": 10})
def smoothed(block: xr.Dataset) -> xr.Dataset:
    """Mean of seven days."""
    return block.rolling(time=7, center=True, min_periods=1).mean()


def test_a_stage_with_a_halo_gives_what_it_gives_on_the_whole(made: Run, source: Path) -> None:
    product = made(smoothed)
    assert product.regions == 7 * 3
    with xr.open_dataset(source) as whole:
        np.testing.assert_allclose(product.open()["v"], smoothed(whole.load())["v"], rtol=1e-5, atol=1e-6)


def test_a_stage_that_keeps_its_halo_for_itself_is_told_what_to_return(made: Run) -> None:
    @stage(cut=("time",), halo={"time": 3}, block={"time": 8})
    def shrunk(block: xr.Dataset) -> xr.Dataset:
        return block if block.sizes["time"] == 8 else block.isel(time=slice(3, -3))

    with pytest.raises(BadStage, match="let it return as much as it gets, terp takes the halo off"):
        made(shrunk)


def test_too_small_a_halo_is_a_doubt_in_the_plan(source: Path, home: Path) -> None:
    @stage(cut=("time",), halo={"time": 1})
    def seven(block: xr.Dataset) -> xr.Dataset:
        return block.rolling(time=7, center=True, min_periods=1).mean()

    @flow
    def one(path: str) -> Any:
        return seven(ingest(path))

    plan, _ = make_plan(one, {"path": str(source)}, Home(home).open())
    assert (
        "seven gives other values when it is cut along time: give it a larger halo along time"
        in plan.steps[-1].step.doubts
    )


@stage(cut=("place",), block={"place": 6})
def spread(block: xr.Dataset) -> xr.Dataset:
    """Standard deviation over time."""
    return block.std("time")


@spread.kernel
def _(block: xr.Dataset) -> xr.Dataset:
    values = block["v"].to_numpy().astype("f8")
    mean = values.mean(0)
    return xr.Dataset({"v": ("place", np.sqrt(((values - mean) ** 2).mean(0)).astype("f4"))}, {"place": block["place"]})


def test_a_kernel_computes_what_its_stage_says_and_is_what_runs(made: Run, source: Path) -> None:
    product = made(spread)
    with xr.open_dataset(source) as whole:
        np.testing.assert_allclose(product.open()["v"], spread(whole.load())["v"], rtol=1e-5)
        exact = whole["v"].to_numpy().astype("f8").std(0).astype("f4")
    np.testing.assert_array_equal(product.open()["v"], exact)


def test_a_kernel_that_computes_something_else_is_refused_before_anything_runs(made: Run) -> None:
    @stage(cut=("place",))
    def doubled(block: xr.Dataset) -> xr.Dataset:
        return block * 2

    @doubled.kernel
    def _(block: xr.Dataset) -> xr.Dataset:
        return block * 3

    with pytest.raises(BadStage, match=r"the kernel of doubled gives other values than doubled itself .*\(v\)"):
        made(doubled)


def test_a_kernel_may_return_its_arrays_alone(made: Run, source: Path) -> None:
    @stage(cut=("time", "place"), halo={"time": 1}, block={"time": 8, "place": 10})
    def turned(block: xr.Dataset) -> xr.Dataset:
        return block.transpose("place", "time").roll(time=0) * 2

    @turned.kernel
    def _(block: xr.Dataset) -> dict[str, Any]:
        return {"v": block["v"].to_numpy().T * np.float32(2)}

    @stage(cut=("place",), over=("time",), block={"time": 8, "place": 6})
    def summed(block: xr.Dataset) -> xr.Dataset:
        return block.sum("time")

    @summed.kernel
    def _(block: xr.Dataset) -> dict[str, Any]:
        return {"v": block["v"].to_numpy().sum(1)}

    product = made(lambda data: summed(turned(data)))
    with xr.open_dataset(source) as whole:
        np.testing.assert_allclose(product.open()["v"], 2 * whole["v"].sum("time"), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(product.open()["place"], whole["place"])


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        (lambda values: {"w": values}, r"returned an array 'w' of 2 dimensions where there are v \(time, place\)"),
        (lambda _: {}, "gives other values than same itself"),
        (lambda values: {"v": values[1:]}, "gives other values than same itself"),
        (lambda values: {"v": values[0]}, "the kernel of same fails on a made-up block"),
        (lambda values: values, "the kernel of same returned a ndarray"),
    ],
)
def test_arrays_that_are_not_those_of_the_stage_are_refused(
    made: Run, returned: Callable[[Any], Any], why: str
) -> None:
    @stage(cut=("place",))
    def same(block: xr.Dataset) -> xr.Dataset:
        return block * 1

    @same.kernel
    def _(block: xr.Dataset) -> Any:
        return returned(block["v"].to_numpy())

    with pytest.raises(BadStage, match=why):
        made(same)


def test_a_kernel_whose_arrays_differ_on_a_real_block_is_told_what_was_planned(made: Run) -> None:
    @stage(cut=("place",), block={"place": 6})
    def same(block: xr.Dataset) -> xr.Dataset:
        return block * 1

    @same.kernel
    def _(block: xr.Dataset) -> dict[str, Any]:
        return {"v": block["v"].to_numpy().astype("f8" if block.sizes["time"] == TIMES else "f4")}

    with pytest.raises(BadStage, match="v came as float64 where float32 was planned"):
        made(same)


def test_a_kernel_that_treats_gaps_otherwise_is_a_doubt_in_the_plan(source: Path, home: Path) -> None:
    @stage(cut=("place",))
    def warmest(block: xr.Dataset) -> xr.Dataset:
        return block.max("time")

    @warmest.kernel
    def _(block: xr.Dataset) -> xr.Dataset:
        return xr.Dataset({"v": ("place", block["v"].to_numpy().max(0))}, {"place": block["place"]})

    @flow
    def one(path: str) -> Any:
        return warmest(ingest(path))

    plan, _ = make_plan(one, {"path": str(source)}, Home(home).open())
    assert plan.steps[-1].step.doubts == (
        "the kernel of warmest gives other values than warmest itself where values are NaN",
    )


def test_an_edit_of_a_kernel_is_seen_though_all_helpers_of_a_stage_have_one_name(source: Path, home: Path) -> None:
    def key(factor: int) -> str:
        @stage(over=("time",))
        def summed(block: xr.Dataset) -> xr.Dataset:
            return block.sum("time")

        @summed.kernel
        def _(block: xr.Dataset) -> xr.Dataset:
            return block.sum("time") * factor / factor

        @summed.finish
        def _(total: xr.Dataset) -> xr.Dataset:
            return total / 2

        @flow
        def one(path: str) -> Any:
            return summed(ingest(path))

        return make_plan(one, {"path": str(source)}, Home(home).open())[0].steps[-1].step.key

    assert key(2) != key(3)
    assert key(2) == key(2)


def test_a_kernel_is_handed_a_region_in_parts_that_fit_the_caches(made: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "TILE_BYTES", 2 * TIMES * 4)

    @stage(cut=("place",), block={"place": 12})
    def sizes(block: xr.Dataset) -> xr.Dataset:
        return block.max("time") * 0 + 2  # as made-up blocks are

    @sizes.kernel
    def _(block: xr.Dataset) -> xr.Dataset:
        return block.max("time") * 0 + block.sizes["place"]

    product = made(lambda data: sizes(rechunk(data, ("place",), chunk={"place": 1})))
    assert product.regions == 2
    assert product.frozen["ingredients"]["tile"] == {"place": 1}
    assert set(product.open()["v"].to_numpy()) == {1.0}


def test_a_product_is_stored_again_cut_the_other_way(made: Run, source: Path) -> None:
    product = made(lambda data: rechunk(data, ("time",), block={"time": 10}, chunk={"time": 5, "place": 8}))
    [array] = product.groups[0].arrays
    assert (array.shard, array.chunk) == ((10, 24), (5, 8))
    with xr.open_dataset(source) as whole:
        xr.testing.assert_identical(product.open()["v"].load(), whole["v"].load())


def test_regions_of_the_same_chunks_are_read_at_once(made: Run, source: Path, home: Path) -> None:
    def turned(data: Product) -> Product:
        tall = rechunk(data, ("place",), block={"place": 8}, chunk={"time": 10})
        return rechunk(tall, ("time",), block={"time": 2})

    @flow
    def one(path: str) -> Any:
        return turned(ingest(path))

    last = make_plan(one, {"path": str(source)}, Home(home).open())[0].steps[-1].step
    assert last.task.together == 5
    less = last.within(last.memory - 1)
    assert (less.task.together, less.memory) == (1, last.memory - last.need.shared)
    with xr.open_dataset(source) as whole:
        xr.testing.assert_identical(made(turned).open()["v"].load(), whole["v"].load())


def test_chunks_that_do_not_fill_their_blocks_are_refused(made: Run) -> None:
    with pytest.raises(BadStage, match="wants chunks of 4 along time, which do not fill blocks of 10"):
        made(lambda data: rechunk(data, ("time",), block={"time": 10}, chunk={"time": 4}))


@stage(over=("time",), block={"time": 7})
def weekly(block: xr.Dataset) -> xr.Dataset:
    """Sum and number of the values of each day of the week: a group for each, whatever days a block has."""
    by_day = block.groupby("time.dayofweek")
    found = xr.Dataset({"sum": by_day.sum()["v"], "n": by_day.count()["v"]})
    return found.reindex(dayofweek=range(7), fill_value=0)


@weekly.finish
def _(total: xr.Dataset) -> xr.Dataset:
    return xr.Dataset({"v": total["sum"] / total["n"]})


def test_groups_of_a_coordinate_are_reduced_block_by_block(made: Run, source: Path) -> None:
    product = made(weekly)
    with xr.open_dataset(source) as whole:
        np.testing.assert_allclose(product.open()["v"], whole["v"].groupby("time.dayofweek").mean(), rtol=1e-5)


@stage(over=("place",), block={"place": 5})
def by_station(block: xr.Dataset, *, stations: list[str]) -> xr.Dataset:
    """Sum of the values of each station, which is a text: no block has places of all of them."""
    return block.groupby("station").sum().reindex(station=stations, fill_value=0)


@stage(whole=("place",), block={"time": 7})
def highest(block: xr.Dataset) -> xr.Dataset:
    """The highest value of each station."""
    return block.groupby("station").max()


@pytest.mark.parametrize("kind", ["reduced", "whole"])
def test_stations_that_are_named_in_texts_are_groups(kind: str, source: Path, home: Path, tmp_path: Path) -> None:
    names = ["De Bilt", "Vlissingen", "Eelde", "Zürich"]
    with xr.open_dataset(source) as read:
        whole = read.load().assign_coords(station=("place", np.sort(np.resize(names, read.sizes["place"]))))
    whole.to_netcdf(tmp_path / "named.nc")

    def body(data: Product) -> Product:
        return by_station(data, stations=names) if kind == "reduced" else highest(data)

    result = list(made_here(tmp_path / "named.nc", home, body).values())[-1].open()
    groups = whole.groupby("station")
    expected = groups.sum().sel(station=names) if kind == "reduced" else groups.max()
    np.testing.assert_allclose(result["v"].transpose(*expected["v"].dims), expected["v"], rtol=1e-5)
    assert list(result["station"].to_numpy()) == list(expected["station"].to_numpy())


@pytest.mark.parametrize("changed", [lambda x: x - 12, lambda x: x.where(x < 12, x - 24)])
def test_a_coordinate_that_is_changed_along_what_is_cut_is_refused(source: Path, home: Path, changed: Any) -> None:
    @stage(cut=("place",), block={"place": 5})
    def moved(block: xr.Dataset) -> xr.Dataset:
        return block.assign_coords(place=changed(block["place"]))

    with pytest.raises(BadStage, match=r"the coordinate 'place' .*along a dimension .* let .* it as it is, drop it"):
        made_here(source, home, moved)


def test_coordinates_along_what_is_cut_keep_what_a_stage_makes_of_their_order_type_and_attributes(
    source: Path, home: Path, tmp_path: Path
) -> None:
    with xr.open_dataset(source) as read:
        whole = read.load().assign_coords(height=(("time", "place"), np.arange(TIMES * PLACES).reshape(TIMES, PLACES)))
    whole.to_netcdf(tmp_path / "high.nc")

    @stage(cut=("place",), block={"place": 5})
    def turned(block: xr.Dataset) -> xr.Dataset:
        place = block["place"].astype("f4").assign_attrs(units="km")
        return block.transpose("place", "time").assign_coords(place=place)

    found = list(made_here(tmp_path / "high.nc", home, turned).values())[-1].open().load()
    xr.testing.assert_identical(found, turned(whole))
    assert found["place"].dtype == "f4"


def test_a_coordinate_that_lost_a_dimension_beside_the_one_that_is_cut_is_refused_in_words(
    source: Path, home: Path, tmp_path: Path
) -> None:
    with xr.open_dataset(source) as read:
        read.load().assign_coords(height=read["v"] * 2).to_netcdf(tmp_path / "high.nc")

    @stage(cut=("place",))
    def first(block: xr.Dataset) -> xr.Dataset:
        return block.isel(time=0)

    with pytest.raises(BadStage, match="first changes the coordinate 'height' along a dimension it is cut along"):
        made_here(tmp_path / "high.nc", home, first)


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_times_of_another_calendar_are_in_the_plan_what_they_are_in_the_run(
    source: Path, home: Path, tmp_path: Path, calendar: str
) -> None:
    when = xr.date_range("2000-01-20", periods=TIMES, calendar=calendar, use_cftime=True)
    with xr.open_dataset(source) as read:
        whole = read.load().assign_coords(time=when)
    whole.to_netcdf(tmp_path / "other.nc")

    @stage(whole=("time",), block={"place": 10})
    def months(block: xr.Dataset) -> xr.Dataset:
        return block.groupby("time.month").mean()

    @stage(cut=("time",), block={"time": 7})
    def doubled(block: xr.Dataset) -> xr.Dataset:
        return block * 2

    found = list(made_here(tmp_path / "other.nc", home, lambda data: months(doubled(data))).values())
    xr.testing.assert_equal(found[1].open().load(), whole * 2)
    xr.testing.assert_allclose(found[-1].open().load(), months(whole * 2))


def test_numbers_with_units_of_time_are_times_to_the_next_stage_in_the_plan_too(source: Path, home: Path) -> None:
    @stage(cut=("time",), block={"time": 7})
    def days(block: xr.Dataset) -> xr.Dataset:
        number = (block["v"] * 0).astype("i8") + 5
        return xr.Dataset({"day": number.assign_attrs(units="days since 2000-01-01")})

    @stage(cut=("time",))
    def last(block: xr.Dataset) -> xr.Dataset:
        return block.max("place", keep_attrs=True)

    found = list(made_here(source, home, lambda data: last(days(data))).values())[-1].open()
    assert set(found["day"].to_numpy()) == {np.datetime64("2000-01-06", "ns")}


def test_numbers_whose_units_are_no_units_of_time_are_refused_in_the_plan(source: Path, home: Path) -> None:
    @stage(cut=("time",))
    def odd(block: xr.Dataset) -> xr.Dataset:
        return block.assign(v=block["v"].assign_attrs(units="cows since dawn"))

    with pytest.raises(BadStage, match=r"could not be read as its attributes say: .*cows since dawn"):
        made_here(source, home, odd)


@pytest.mark.parametrize("name", ["../../outside", "..", "a/b", "", "zarr.json", "a\0b", "v" * 300, 0])
def test_a_name_that_is_no_name_of_a_file_is_refused_in_the_plan(source: Path, home: Path, name: Any) -> None:
    @stage(cut=("time",))
    def named(block: xr.Dataset) -> xr.Dataset:
        return block.rename({"v": name})

    with pytest.raises(BadStage, match="can't be stored under its name: let it be a text"):
        made_here(source, home, named)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda block: block.expand_dims(side=[0, 1]).stack(both=("place", "side")), r"use reset_index\('both'\)"),
        (lambda block: block.astype("f16"), "float128, .* numbers in 64 bits"),
        (
            lambda block: block.assign_attrs(n="\ud800"),
            "attribute 'n' of the result can't .* text in Unicode",
        ),
        (lambda block: block.assign(v=block.v.assign_attrs(n=2**70)), "attribute 'n' of v can't be stored .* 64 bits"),
        (
            lambda block: block.assign_coords(m=("place", np.array([*range(PLACES - 1), "a"], object))),
            "m holds int, str, which can't be stored together: make it all text",
        ),
    ],
)
def test_what_zarr_cannot_hold_is_refused_in_the_plan(source: Path, home: Path, change: Any, words: str) -> None:
    @stage(cut=("time",))
    def odd(block: xr.Dataset) -> xr.Dataset:
        return change(block)

    with pytest.raises(BadStage, match=words):
        made_here(source, home, odd)


def test_what_cannot_be_sent_to_workers_is_refused_in_the_plan(source: Path, home: Path) -> None:
    lock = threading.Lock()

    @stage(cut=("time",))
    def held(block: xr.Dataset) -> xr.Dataset:
        with lock:
            return block

    with pytest.raises(BadStage, match=r"held can't be sent to workers .*lock.* has to be made within it"):
        made_here(source, home, held)


def test_a_coordinate_with_a_space_in_its_name_and_foreign_order_of_bytes_come_to_no_harm(
    source: Path, home: Path, tmp_path: Path
) -> None:
    with xr.open_dataset(source) as read:
        whole = read.load().assign_coords(
            {"sea level": ("place", np.arange(PLACES) / 2), "n": ("place", range(PLACES))}
        )
    whole.reset_coords("sea level").to_netcdf(tmp_path / "named.nc")

    @stage(cut=("place",), block={"place": 7})
    def same(block: xr.Dataset) -> xr.Dataset:
        return block.assign(v=block["v"].astype(">f4"))

    products = list(made_here(tmp_path / "named.nc", home, lambda data: same(same(data))).values())
    xr.testing.assert_identical(products[-1].open().load(), whole)
    assert "n" in xr.open_zarr(products[-1].data, consolidated=False, chunks=None).coords


@pytest.mark.parametrize(("how", "sound"), [("mean", False), ("max", False), ("sum", True), ("median", False)])
def test_partial_results_that_do_not_add_up_to_the_result_are_a_doubt_in_the_plan(
    source: Path, home: Path, how: str, sound: bool
) -> None:
    @stage(over=("time",), block={"time": 7})
    def reduced(block: xr.Dataset) -> xr.Dataset:
        return getattr(block, how)("time")

    @flow
    def one(path: str) -> Any:
        return reduced(ingest(path))

    plan, _ = make_plan(one, {"path": str(source)}, Home(home).open())
    doubts = [doubt for step in plan.steps for doubt in step.step.doubts]
    assert doubts == [] if sound else any("cut along time: what it gives for blocks is added up" in d for d in doubts)
