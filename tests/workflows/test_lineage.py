"""What is recorded of a region's making is what it was made of: no more and no less."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from terp.storage.lineage import Origin
from terp.storage.product import StoredProduct
from terp.workflows import Product, iterate, rechunk, stage

sys.path.insert(0, str(Path(__file__).parent))
from here import made

Body = Callable[[Product], Any]


def source(path: Path, shape: tuple[int, int], altered: tuple[int, int] | None = None) -> Path:
    """A series of integers, so that sums are exact; one of them may be another."""
    values = np.random.default_rng(1).integers(0, 100, shape).astype("f8")
    if altered:
        values[altered] += 1000
    when = np.datetime64("2000-01-01", "ns") + np.arange(shape[0]) * np.timedelta64(1, "D")
    xr.Dataset({"v": (("time", "place"), values)}, {"time": when, "place": np.arange(shape[1])}).to_netcdf(path)
    return path


def stages(lengths: tuple[int, int], halo: int) -> dict[str, Body]:
    """Flows of each kind of stage, in which every element that is read changes what is made."""
    time, place = lengths

    @stage(cut=("time", "place"), block={"time": time, "place": place})
    def doubled(block: xr.Dataset) -> xr.Dataset:
        return block * 2 + block.sum()

    @stage(cut=("time", "place"), halo={"time": halo}, block={"time": time, "place": place})
    def smoothed(block: xr.Dataset) -> xr.Dataset:
        return block.rolling(time=2 * halo + 1, center=True, min_periods=1).sum()

    @stage(over=("time", "place"), block={"time": time, "place": place})
    def summed(block: xr.Dataset) -> xr.Dataset:
        return block.sum()

    @stage(over=("time",), cut=("place",), block={"time": time, "place": place})
    def weekly(block: xr.Dataset) -> xr.Dataset:
        return block.groupby("time.dayofweek").sum().reindex(dayofweek=range(7), fill_value=0)

    @stage(cut=("time",), block={"time": time})
    def wide(block: xr.Dataset) -> xr.Dataset:
        return block + block.sum("place")

    return {
        "map": doubled,
        "halo": smoothed,
        "reduce": summed,
        "group by": weekly,
        "rechunk": lambda data: rechunk(
            rechunk(data, ("place",), block={"place": place}), ("time",), block={"time": 1}
        ),
        "iterate": lambda data: iterate(wide, smoothed(data), limit=2),
    }


def digests(product: StoredProduct) -> list[str]:
    return [str(entry.values) for entry in product.shards()]


def altered(one: xr.Dataset, other: xr.Dataset, dims: tuple[str, ...]) -> np.ndarray[Any, Any]:
    """The places of all elements that differ: a row for each, a column for each dimension."""
    different = np.zeros([one.sizes[dim] for dim in dims], bool)
    for name in one.data_vars:
        values = (one[name] != other[name]).transpose(*(dim for dim in dims if dim in one[name].dims))
        different |= values.broadcast_like(one[list(one.data_vars)]).transpose(*dims).to_numpy()
    return np.argwhere(different)


def dims_of(product: StoredProduct) -> tuple[str, ...]:
    return Origin.of("", "", product.groups[0].arrays).dims


def touched(product: StoredProduct, places: dict[str, Any]) -> list[bool]:
    """Of each region whether one of some places of its inputs, by their keys, lies in the box that was recorded."""
    hit = np.zeros(product.regions, bool)
    rows = product.lineage.of("", np.arange(product.regions))
    for origin, boxes in product.origins.boxes("", rows):
        for at in places[origin.key]:
            hit |= ((boxes[:, :, 0] <= at) & (at < boxes[:, :, 1])).all(1)
    return [bool(one) for one in hit]


@pytest.mark.parametrize("kind", ["map", "halo", "reduce", "group by", "rechunk", "iterate"])
@settings(max_examples=3, deadline=None, phases=[Phase.generate])
@given(data=st.data())
def test_another_element_of_the_source_changes_just_the_regions_whose_recorded_boxes_hold_it(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("lineage")
    shape = data.draw(st.tuples(st.integers(8, 30), st.integers(2, 9)), "shape")
    lengths = data.draw(st.tuples(st.integers(3, 9), st.integers(1, 5)), "blocks")
    at = data.draw(st.tuples(*(st.integers(0, n - 1) for n in shape)), "altered")
    body = stages(lengths, data.draw(st.integers(1, 3), "halo"))[kind]
    before = made(source(folder / "a.nc", shape), folder / "home", body)
    after = made(source(folder / "b.nc", shape, at), folder / "home", body)
    places: dict[str, Any] = {"": np.array([at])}
    for one, other in zip(before.values(), after.values(), strict=True):
        changed = [a != b for a, b in zip(digests(one), digests(other), strict=True)]
        assert changed == touched(one, places), one.name
        places[one.key] = altered(one.open(), other.open(), dims_of(one))
