"""A group of Zarr arrays as an xarray Dataset: what is small through zarr-python, what is large by our own reader."""

import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing
from zarr.abc.store import Store

from terp.storage.sharded import Pick, ShardedArray, reading_threads


def opened(store: Store, group: str, large: Mapping[str, ShardedArray], document: Callable[[str], bytes]) -> xr.Dataset:
    """Return a group whose values are read when they are asked for; `document` gives its metadata by their keys."""
    variables = {name: _variable(array, _attributes(document, array.name)) for name, array in large.items()}
    frame = small_part(store, group, large)
    return frame.assign(xr.decode_cf(xr.Dataset(variables)).variables)


def small_part(store: Store, group: str, without: Iterable[str]) -> xr.Dataset:
    """Return the coordinates of a group, which are all but its large arrays, through zarr-python.

    Years that nanoseconds do not hold come as cftime.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unable to decode time axis")
        found: xr.Dataset = xr.open_zarr(
            store, group=group or None, consolidated=False, chunks=None, zarr_format=3, drop_variables=list(without)
        )
    return found.set_coords(list(found.data_vars))  # CF can't name one that has a space in its name


def _attributes(document: Callable[[str], bytes], name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document(f"{name}/zarr.json"))["attributes"]
    return found


def _variable(array: ShardedArray, attributes: dict[str, Any]) -> xr.Variable:
    """Return an array as xarray takes it: decoded later, cut where shards are."""
    shards = dict(zip(array.array.dims, array.array.shard, strict=True))
    encoding = {"chunks": array.array.chunk, "shards": array.array.shard, "preferred_chunks": shards}
    return xr.Variable(array.array.dims, lazily(array), attributes, encoding)


class Readable(Protocol):
    """An array that is read in parts: a pick for each dimension."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its lengths."""

    @property
    def dtype(self) -> "np.dtype[Any]":
        """Its type."""

    def read(self, picks: Sequence[Pick], *, threads: int = 1) -> Any:
        """Return the values at `picks`, one for each dimension."""


def lazily(array: Readable) -> indexing.LazilyIndexedArray:
    """Return an array as xarray takes it: read when it is asked for."""
    return _Checked(_Lazy(array))


class _Checked(indexing.LazilyIndexedArray):
    """An index that is held against the shape before it is put off.

    xarray counts a place that is before the beginning from the end once, and then takes it for another; an empty slice
    that goes backwards it takes for one from the end.
    """

    def _updated_key(self, new_key: indexing.ExplicitIndexer) -> indexing.BasicIndexer | indexing.OuterIndexer:
        key = indexing.expanded_indexer(new_key.tuple, self.ndim)
        inside = tuple(_inside(one, size) for one, size in zip(key, self.shape, strict=True))
        return super()._updated_key(type(new_key)(inside))


def _inside(key: Any, size: int) -> Any:
    """Return the same index without negative places; raises IndexError, as numpy does."""
    if isinstance(key, slice):
        start, stop, step = key.indices(size)
        return slice(start, None if stop < 0 else stop, step) if range(start, stop, step) else slice(0, 0)
    if isinstance(key, np.ndarray):
        _demand_inside(key, size)
        return np.where(key < 0, key + size, key)
    return range(size)[key]


class _Lazy(BackendArray):
    """What xarray reads from: just the chunks that are asked for, of places that are not negative."""

    def __init__(self, array: Readable) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        if not isinstance(key, indexing.VectorizedIndexer):
            return self._read(key.tuple)
        for one, size in zip(key.tuple, self.shape, strict=True):
            _pick(one, size)  # the adapter takes what is outside for something else
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        picks = [_pick(one, size) for one, size in zip(key, self.shape, strict=True)]
        values = self.array.read(picks, threads=reading_threads())
        return values[tuple(0 if isinstance(one, int | np.integer) else slice(None) for one in key)]


def _pick(key: Any, size: int) -> Pick:
    if isinstance(key, int | np.integer):
        place = range(size)[int(key)]
        return slice(place, place + 1)
    if isinstance(key, slice):
        start, stop, step = key.indices(size)
        return slice(start, max(start, stop)) if step == 1 else np.arange(start, stop, step)
    _demand_inside(key, size)
    return np.asarray(key)


def _demand_inside(places: np.ndarray[Any, Any], size: int) -> None:
    if places.size and not -size <= places.min() <= places.max() < size:
        raise IndexError(f"a place from {places.min()} to {places.max()} is outside of a dimension of {size}")
