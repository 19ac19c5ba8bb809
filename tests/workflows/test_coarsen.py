"""A stage that makes one element of several gives, cut anywhere, what it gives on the whole, to the last of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from prefect import flow

from terp.storage.home import Home
from terp.storage.product import StoredProduct
from terp.workflows import Product, api, ingest, stage
from terp.workflows.errors import BadStage
from terp.workflows.planning.plan import make_plan
from terp.workflows.running.task import _finer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.usefixtures("prefect_here"),
]
TIMES, PLACES = 50, 24


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return stored(tmp_path / "series.nc", TIMES)


def stored(path: Path, times: int) -> Path:
    values = np.random.default_rng(1).normal(size=(times, PLACES)).astype("f4")
    when = np.datetime64("2000-01-01", "ns") + np.arange(times) * np.timedelta64(6, "h")
    xr.Dataset({"v": (("time", "place"), values)}, {"time": when, "place": np.arange(PLACES)}).to_netcdf(path)
    return path


def flow_of(body: Callable[[Product], Any]) -> Any:
    @flow
    def one(path: str) -> Any:
        return body(ingest(path))

    return one


def planned(body: Callable[[Product], Any], source: Path, home: Path) -> Any:
    return make_plan(flow_of(body), {"path": str(source)}, Home(home).open())[0].steps[-1].step


def made(body: Callable[[Product], Any], source: Path, home: Path) -> StoredProduct:
    [key] = api.run(flow_of(body), str(source), home=home, workers=1, archive=False).record.results.values()
    return StoredProduct(Home(home).product(key))


@stage(cut=("time", "place"), coarsen={"time": 4}, block={"time": 3, "place": 10})
def daily(block: xr.Dataset) -> xr.Dataset:
    """Means of days."""
    return block.coarsen(time=4, boundary="pad").mean()


@daily.kernel
def _(block: xr.Dataset) -> xr.Dataset:
    times = block.sizes["time"]
    starts = np.arange(0, times, 4)
    sums = np.add.reduceat(block["v"].transpose("time", "place").to_numpy(), starts, axis=0)
    counts = np.diff(np.append(starts, times))[:, None].astype("f4")
    when = block["time"].coarsen(time=4, boundary="pad").mean()
    return xr.Dataset({"v": (("time", "place"), sums / counts)}, {"time": when, "place": block["place"]})


def test_it_gives_what_it_gives_on_the_whole_with_its_coordinates_and_what_is_left_at_the_end(
    source: Path, home: Path
) -> None:
    product = made(daily, source, home)
    found = product.open().load()
    assert product.regions == 5 * 3  # 13 days, the last of two measurements
    with xr.open_dataset(source) as whole:
        expected = daily(whole.load())
    assert found.sizes == expected.sizes == {"time": 13, "place": PLACES}
    np.testing.assert_allclose(found["v"], expected["v"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["time"], expected["time"])


def test_what_was_read_for_a_region_is_noted_in_elements_of_the_input(source: Path, home: Path) -> None:
    product = made(daily, source, home)
    [row] = product.lineage.of("", np.array([12]))  # the last days, the first places
    assert row.tolist() == [[48, 50], [0, 10]]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=some.integers(1, 40), many=some.integers(1, 9), block=some.integers(1, 12))
def test_every_element_of_the_input_goes_into_one_of_the_result(
    tmp_path: Path, home: Path, times: int, many: int, block: int
) -> None:
    @stage(cut=("time",), coarsen={"time": many}, block={"time": block})
    def counted(data: xr.Dataset) -> xr.Dataset:
        return data.coarsen(time=many, boundary="pad").count()

    step = planned(counted, stored(tmp_path / "some.nc", times), home)
    [group] = step.layout.groups
    assert group.cut == {"time": (-(-times // many), min(block, -(-times // many)))}
    parts = [_finer(step.task, group.box(number))["time"] for number in range(group.regions)]
    assert [at for part in parts for at in range(part.start, part.stop)] == list(range(times))
    assert all(part.stop - part.start <= block * many for part in parts)


@pytest.mark.parametrize("kind", ["mean", "first", "last"])
def test_a_coordinate_may_be_the_mean_the_first_or_the_last(source: Path, home: Path, kind: str) -> None:
    @stage(cut=("time",), coarsen={"time": 4})
    def largest(block: xr.Dataset) -> xr.Dataset:
        grouped = block["v"].coarsen(time=4, boundary="pad", coord_func=kind)
        return xr.Dataset({"v": grouped.max()})

    with xr.open_dataset(source) as whole:
        expected = largest(whole.load())["time"]
    np.testing.assert_array_equal(planned(largest, source, home).schemas[""]["time"], expected)


def test_a_coordinate_that_is_none_of_these_is_refused(source: Path, home: Path) -> None:
    @stage(cut=("time",), coarsen={"time": 4})
    def shifted(block: xr.Dataset) -> xr.Dataset:
        found = block.coarsen(time=4, boundary="pad").mean()
        return found.assign_coords(time=found["time"] + np.timedelta64(1, "s"))

    with pytest.raises(BadStage, match="'time' that shifted returns is neither mean, first nor last"):
        planned(shifted, source, home)


def test_what_is_left_at_the_end_is_never_dropped(source: Path, home: Path) -> None:
    @stage(cut=("time",), coarsen={"time": 4})
    def trimmed(block: xr.Dataset) -> xr.Dataset:
        return block.coarsen(time=4, boundary="trim").mean()

    with pytest.raises(BadStage, match="trimmed has to make one element of the 2 that are left of time at the end too"):
        planned(trimmed, source, home)


def test_a_kernel_that_takes_the_rest_for_a_whole_is_refused(source: Path, home: Path) -> None:
    @stage(cut=("time",), coarsen={"time": 4})
    def means(block: xr.Dataset) -> xr.Dataset:
        return block.coarsen(time=4, boundary="pad").mean().drop_vars("time")

    @means.kernel
    def _(block: xr.Dataset) -> xr.Dataset:
        values = block["v"].to_numpy()
        sums = np.add.reduceat(values, np.arange(0, len(values), 4), axis=0)
        return xr.Dataset({"v": (("time", "place"), sums / np.float32(4))}, {"place": block["place"]})

    with pytest.raises(BadStage, match="the kernel of means gives other values"):
        planned(means, source, home)


def test_a_stage_and_a_kernel_that_work_in_place_are_compared_on_the_same_values(source: Path, home: Path) -> None:
    @stage(cut=("time",), coarsen={"time": 4})
    def means(block: xr.Dataset) -> xr.Dataset:
        block["v"].values += 1
        return block.coarsen(time=4, boundary="pad").mean()

    @means.kernel
    def _(block: xr.Dataset) -> xr.Dataset:
        block["v"].values += 1
        return block.coarsen(time=4, boundary="pad").mean()

    assert [doubt for doubt in planned(means, source, home).doubts if "kernel" in doubt] == []


def test_another_factor_than_was_said_is_refused(source: Path, home: Path) -> None:
    @stage(cut=("time",), coarsen={"time": 5})
    def halves(block: xr.Dataset) -> xr.Dataset:
        return block.coarsen(time=2, boundary="pad").mean()

    with pytest.raises(BadStage, match=r"halves gives 5 of time where coarsen=\{'time': 5\} says 2"):
        planned(halves, source, home)


def test_who_makes_less_of_a_cut_dimension_is_told_of_the_word_for_that(source: Path, home: Path) -> None:
    @stage(cut=("time",))
    def halves(block: xr.Dataset) -> xr.Dataset:
        return block.coarsen(time=2, boundary="pad").mean()

    with pytest.raises(BadStage, match=r"let time stay whole, or, where .* say coarsen=\{'time': HOW_MANY\}"):
        planned(halves, source, home)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"cut": ("time",), "coarsen": {"time": 0}}, "whole numbers of elements, 1 or more"),
        ({"cut": ("time",), "coarsen": {"time": 2}, "halo": {"time": 1}}, "time has a halo and is coarsened"),
        ({"over": ("time",), "coarsen": {"time": 2}}, "none of halo=, chunk= and coarsen="),
        ({"cut": ("place",), "coarsen": {"time": 2}}, "coarsened along time, along which it is not cut"),
    ],
)
def test_what_makes_no_sense_is_refused(how: Any, words: str, source: Path, home: Path) -> None:
    with pytest.raises(BadStage, match=words):
        planned(stage(**how)(lambda block: block), source, home)


def test_the_factor_belongs_to_the_key(source: Path, home: Path) -> None:
    def kept(block: xr.Dataset) -> xr.Dataset:
        return block

    keys = {planned(stage(cut=("time",), coarsen=by)(kept), source, home).key for by in ({}, {"time": 1})}
    assert len(keys) == 2
