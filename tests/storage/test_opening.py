"""A product that is opened lazily answers to every index as numpy does to the same values in memory."""

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from xarray.core.indexing import BasicIndexer, OuterIndexer, VectorizedIndexer

from terp.storage.errors import BadProduct
from terp.storage.filling import Filling
from terp.storage.grid import Array, Group
from terp.storage.making import Layout, create
from terp.storage.opening import _Lazy
from terp.storage.product import StoredProduct
from terp.storage.writing import Written, write_region

sys.path.insert(0, str(Path(__file__).parent))
import products

SHAPE = (7, 5, 6)
VALUES = np.arange(np.prod(SHAPE), dtype="i4").reshape(SHAPE)
DIMS = ("x", "y", "z")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> StoredProduct:
    """Three dimensions, one of them cut; chunks that do not divide what they are in."""
    cut = {"x": (7, 2)}
    group = Group("", cut, (Array("v", DIMS, SHAPE, "int32", (2, 6, 8), (1, 2, 4), codec="lz4-1-shuffle"),))
    folder = tmp_path_factory.mktemp("opened")
    made = create(folder / "p", "p", "p", {}, Layout((group,), {"": xr.Dataset()}))
    with Filling(made) as filling:
        for index in range(group.regions):
            block = {"v": VALUES[group.box(index)["x"]]}
            done = write_region(filling.attempts, group, index, block)
            filling.commit([Written("", index, done, 0.0, "w")])
        filling.seal()
    return made


def whole_numbers(n: int) -> st.SearchStrategy[int]:
    return st.integers(-n - 2, n + 1)


def slices(n: int) -> st.SearchStrategy[slice]:
    ends = st.none() | whole_numbers(n)
    return st.builds(slice, ends, ends, st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3]))


def positions(n: int) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    several = st.lists(st.integers(-n, n - 1), max_size=5) | st.lists(whole_numbers(n), max_size=3)
    return several.map(lambda some: np.array(some, int))


def masks(n: int) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    return st.lists(st.booleans(), min_size=n, max_size=n).map(lambda some: np.array(some, bool))


@st.composite
def indexers(draw: st.DrawFn) -> list[Any]:
    return [draw(whole_numbers(n) | slices(n) | positions(n) | masks(n)) for n in SHAPE]


def by_numpy(key: list[Any]) -> np.ndarray[Any, Any] | type[IndexError]:
    """What numpy makes of an index, dimension by dimension."""
    found, axis = VALUES, 0
    try:
        for one in key:
            found = found[(*[slice(None)] * axis, one)]
            axis += not isinstance(one, int)
    except IndexError:
        return IndexError
    return found


def agree(found: Any, expected: np.ndarray[Any, Any] | type[IndexError]) -> None:
    """Hold what a call returns or raises against what numpy did."""
    if isinstance(expected, type):
        with pytest.raises(expected):
            found()
    else:
        np.testing.assert_array_equal(np.asarray(found()), expected, strict=True)


@settings(max_examples=300, deadline=None)
@given(key=indexers())
def test_any_index_gives_what_numpy_gives(product: StoredProduct, key: list[Any]) -> None:
    opened = product.open()["v"]
    expected = by_numpy(key)
    agree(lambda: opened.isel(dict(zip(DIMS, key, strict=True))).to_numpy(), expected)
    agree(lambda: opened.isel(x=key[0]).isel(y=key[1]).isel(z=key[2]).to_numpy(), expected)


@settings(max_examples=300, deadline=None)
@given(first=slices(7) | masks(7), then=whole_numbers(5) | slices(5) | positions(5))
def test_an_index_of_what_an_index_gave_is_that_of_numpy(product: StoredProduct, first: Any, then: Any) -> None:
    try:
        expected = VALUES[first][then]
    except IndexError:
        with pytest.raises(IndexError):
            product.open()["v"].isel(x=first).isel(x=then).to_numpy()
        return
    found = product.open()["v"].isel(x=first).isel(x=then)
    np.testing.assert_array_equal(found.to_numpy(), expected, strict=True)


@settings(max_examples=150, deadline=None)
@given(places=st.lists(st.tuples(*(whole_numbers(n) for n in SHAPE)), max_size=6))
def test_points_picked_one_by_one_are_those_that_numpy_picks(
    product: StoredProduct, places: list[tuple[int, ...]]
) -> None:
    key = tuple(np.array(some, int) for some in np.array(places, int).reshape(-1, 3).T)
    inside = all(-n <= one < n for place in places for one, n in zip(place, SHAPE, strict=True))
    points = {dim: xr.DataArray(some, dims="point") for dim, some in zip(DIMS, key, strict=True)}
    agree(lambda: product.open()["v"].isel(points).to_numpy(), VALUES[key] if inside else IndexError)


@pytest.mark.parametrize("place", [7, -8, 100])
def test_a_place_beyond_the_end_is_an_error_and_no_other_place(product: StoredProduct, place: int) -> None:
    lazy = _Lazy(product.array("", "v"))
    keys = [
        BasicIndexer((place, 0, 0)),
        OuterIndexer((np.array([0, place]), 0, 0)),
        VectorizedIndexer((np.array([0, place]), np.array([0, 0]), np.array([0, 0]))),
    ]
    for key in keys:
        with pytest.raises(IndexError):
            lazy[key]


@settings(max_examples=100, deadline=None)
@given(some=st.lists(st.integers(0, 6), min_size=1, max_size=4), part=slices(5), last=whole_numbers(6))
def test_points_and_slices_together_pick_what_numpy_picks(
    product: StoredProduct, some: list[int], part: slice, last: int
) -> None:
    points = xr.DataArray(np.array(some).reshape(-1, 1), dims=("a", "b"))
    assume(len(range(5)[part]) > 0)  # of nothing, xarray does not ask where
    expected = by_numpy([np.array(some), part, last])
    agree(lambda: product.open()["v"].isel(x=points, y=part, z=last).to_numpy()[:, 0], expected)


def test_values_written_to_what_was_read_stay_there(product: StoredProduct) -> None:
    first, again = product.open()["v"].to_numpy(), product.open()["v"][0].to_numpy()
    first[...] = -1
    again[...] = -2
    np.testing.assert_array_equal(product.open()["v"], VALUES)


def test_what_is_opened_can_be_sent_to_another_process(tmp_path: Path) -> None:
    made = products.new(tmp_path)
    products.fill(made)
    sent = pickle.dumps(made.open())
    np.testing.assert_array_equal(pickle.loads(sent)["v"], products.expected())
    (made.folder / "manifest.sums").write_bytes(b"")
    with pytest.raises(BadProduct):
        pickle.loads(sent)["v"].load()


def test_what_is_picked_from_small_products_is_the_same_too(tmp_path: Path) -> None:
    made = products.new(tmp_path)
    products.fill(made)
    np.testing.assert_array_equal(made.open()["v"][::-1, [3, -1]], products.expected()[::-1, [3, -1]])
