"""What a stage returned for a region, held against what was planned."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from terp.storage.grid import Array, Box, Group
from terp.workflows.errors import BadStage

Values = np.ndarray[Any, Any]


Result = xr.Dataset | Mapping[str, Values]  # a kernel may return arrays by name, whose dimensions are as planned


def as_dataset(result: Result, dims: Mapping[str, tuple[str, ...]]) -> xr.Dataset:
    """Return a Dataset of arrays by name, as a kernel may return them; whatever else there is as it is."""
    if isinstance(result, xr.Dataset) or not isinstance(result, Mapping):
        return result
    arrays = {str(name): values for name, values in result.items()}
    for name, values in arrays.items():
        if np.ndim(values) != len(dims.get(name, ())):
            there = ", ".join(f"{one} ({', '.join(of)})" for one, of in dims.items())
            raise BadStage(f"it returned an array {name!r} of {np.ndim(values)} dimensions where there are {there}")
    return xr.Dataset({name: (dims[name], values) for name, values in arrays.items()})


def conform(result: Result, group: Group, box: Box, schema: xr.Dataset) -> dict[str, Values]:
    """Return the arrays of a region as they are stored; raises BadStage where they are not as planned.

    The coordinates of `schema` are held against those of the result too: only the planned ones are stored.
    """
    if not isinstance(result, Mapping):
        raise BadStage(f"the stage returned a {type(result).__name__}: it must return an xarray Dataset")
    coords = result.coords if isinstance(result, xr.Dataset) else {}
    planned, found = {a.name for a in group.arrays}, {str(name) for name in result if name not in coords}
    if planned != found:
        raise BadStage(f"the stage returned variables {sorted(found)} where {sorted(planned)} were planned")
    for name in schema.coords:
        if name in coords:
            _same_coordinate(str(name), coords[name].variable, schema[name].variable, box)
    return {array.name: _stored(result[array.name], array, group, box) for array in group.arrays}


def _same_coordinate(name: str, found: xr.Variable, planned: xr.Variable, box: Box) -> None:
    if not found.equals(planned.isel(box, missing_dims="ignore")):
        if set(planned.dims) & box.keys():
            raise BadStage(
                f"the coordinate {name!r} was changed along a dimension that is cut: let the stage return it as it is, "
                "drop it, or make it a data variable"
            )
        raise BadStage(f"the coordinate {name!r} depends on the data: make it a data variable")


def _stored(values: xr.DataArray | Values, array: Array, group: Group, box: Box) -> Values:
    if isinstance(values, xr.DataArray):
        if set(values.dims) != set(array.dims):
            raise BadStage(f"{array.name} came with dimensions {values.dims} where {array.dims} were planned")
        values = values.transpose(*array.dims).to_numpy()
    plain = _encoded(np.asarray(values), array.name)
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
    """Return times as int64 nanoseconds (CF: the array's attributes say so), all else as it is, in our byte order."""
    if values.dtype.kind not in "mM":
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    exact = values.astype(f"{values.dtype.kind}8[ns]")
    if not np.array_equal(exact.astype(values.dtype), values, equal_nan=True):  # numpy goes round and says nothing
        raise BadStage(
            f"{name} has times that do not fit into nanoseconds, as those from 1678 to 2262 do: let the stage give "
            "numbers, with `units` (days since 1500-01-01) and `calendar` as attributes"
        )
    return exact.view(np.int64)
