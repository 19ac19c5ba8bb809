"""What a stage returned for a region, held against what was planned."""

from typing import Any

import numpy as np
import xarray as xr

from terp.storage.grid import Array, Box, Group
from terp.workflows.errors import BadStage

Values = np.ndarray[Any, Any]


def conform(result: xr.Dataset, group: Group, box: Box, schema: xr.Dataset) -> dict[str, Values]:
    """Return the arrays of a region as they are stored; raises BadStage where they are not as planned."""
    if not isinstance(result, xr.Dataset):
        raise BadStage(f"the stage returned a {type(result).__name__}: it must return an xarray Dataset")
    planned, found = {a.name for a in group.arrays}, {str(name) for name in result.data_vars}
    if planned != found:
        raise BadStage(f"the stage returned variables {sorted(found)} where {sorted(planned)} were planned")
    for name in schema.coords:
        if not set(schema[name].dims) & box.keys() and name in result.coords:
            _same_coordinate(str(name), result[name], schema[name])
    return {array.name: _stored(result[array.name], array, group, box) for array in group.arrays}


def _same_coordinate(name: str, found: xr.DataArray, planned: xr.DataArray) -> None:
    if found.shape != planned.shape or not found.equals(planned.astype(found.dtype)):
        raise BadStage(f"the coordinate {name!r} depends on the data: make it a data variable")


def _stored(values: xr.DataArray, array: Array, group: Group, box: Box) -> Values:
    if set(values.dims) != set(array.dims):
        raise BadStage(f"{array.name} came with dimensions {values.dims} where {array.dims} were planned")
    plain = _encoded(values.transpose(*array.dims).to_numpy(), array.name)
    expected = group.block_shape(array, box)
    if plain.shape != expected:
        raise BadStage(f"{array.name} came with shape {plain.shape} where {expected} was planned")
    if plain.dtype != np.dtype(array.dtype):
        raise BadStage(f"{array.name} came as {plain.dtype} where {array.dtype} was planned: let the stage cast it")
    return plain


def all_nan(values: Values) -> bool:
    """Say whether there is no value at all; the first that there is ends the search."""
    return values.dtype.kind in "fc" and values.size > 0 and all(np.isnan(part).all() for part in np.atleast_1d(values))


def _encoded(values: Values, name: str) -> Values:
    """Return times as int64 nanoseconds (CF: the array's attributes say so), all else as it is."""
    if values.dtype.kind not in "mM":
        return values
    exact = values.astype(f"{values.dtype.kind}8[ns]")
    if not np.array_equal(exact.astype(values.dtype), values, equal_nan=True):  # numpy goes round and says nothing
        raise BadStage(
            f"{name} has times that do not fit into nanoseconds, as those from 1678 to 2262 do: let the stage give "
            "numbers, with `units` (days since 1500-01-01) and `calendar` as attributes"
        )
    return exact.view(np.int64)
