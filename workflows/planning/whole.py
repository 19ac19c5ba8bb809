"""The schema of a whole result, of which a call on a made-up block has shown a part."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr

from terp.workflows.cutting import Cutting
from terp.workflows.errors import BadStage
from terp.workflows.planning.schema import Trial, weightless


def grown(name: str, trial: Trial, cut: Mapping[str, int], inputs: Sequence[xr.Dataset], how: Cutting) -> xr.Dataset:
    """Return the schema of the full result, of which a trial has shown a made-up block.

    Raises BadStage where a variable lacks a cut dimension, or the result cannot be told from its block.
    """
    short = trial.result
    for dim in cut:
        if dim in short.dims and short.sizes[dim] != trial.sizes[dim]:
            _refuse_size(name, dim, short.sizes[dim], trial.sizes[dim], how.coarsen.get(dim, 1))
    variables = {n: _full(name, str(n), v, cut) for n, v in short.data_vars.items()}
    coords = {}
    for n, c in short.coords.items():
        coords[n] = c.variable if not set(c.dims) & cut.keys() else _coordinate(name, c, cut, inputs, how.coarsen)
    return weightless(xr.Dataset(variables, coords, short.attrs))


def _full(stage: str, name: str, values: xr.DataArray, cut: Mapping[str, int]) -> xr.Variable:
    lacking = [dim for dim in cut if dim not in values.dims]
    if lacking:
        raise BadStage(
            f"{name}, which {stage} returns, lacks {', '.join(lacking)}, along which blocks are cut: every variable of "
            "a result must carry them (make it a coordinate, or a stage of its own)"
        )
    shape = tuple(cut.get(str(d), n) for d, n in values.sizes.items())
    return xr.Variable(values.dims, np.broadcast_to(np.zeros((), values.dtype), shape), values.attrs)


def _refuse_size(name: str, dim: str, found: int, wanted: int, many: int) -> None:
    if many > 1:
        raise BadStage(
            f"{name} gives {found} of {dim} where coarsen={{{dim!r}: {many}}} says {wanted}: mend one of these"
        )
    raise BadStage(
        f"{name} changes the size of {dim}, along which it may be cut: let {dim} stay whole, or, where it makes one of "
        f"every so many, say coarsen={{{dim!r}: HOW_MANY}}"
    )


def _coordinate(
    stage: str, made: xr.DataArray, cut: Mapping[str, int], inputs: Sequence[xr.Dataset], coarsen: Mapping[str, int]
) -> xr.Variable:
    """Return the whole of a coordinate along what is cut: that of an input, or what it becomes where coarsened.

    A stage may give the means of what becomes one, the first or the last: the part that it made shows which.
    """
    name, several = made.name, {dim: many for dim, many in coarsen.items() if dim in made.dims}
    given = [schema[name].variable for schema in inputs if name in schema.coords]
    if not given:
        raise BadStage(
            f"{stage} returns a coordinate {name!r} along a dimension it is cut along, which none of its inputs has: "
            "make it a data variable"
        )
    for one in (one.transpose(*made.dims) for one in given if set(one.dims) == set(made.dims)):
        for whole in _coarsened(one, several):
            if whole.isel({dim: slice(0, n) for dim, n in made.sizes.items() if dim in cut}).equals(made.variable):
                same = whole.astype(made.dtype) if made.dtype.kind in "iuf" else whole.copy(deep=False)
                same.attrs = made.attrs
                return same
    raise BadStage(
        f"the coordinate {name!r} that {stage} returns is neither mean, first nor last of what becomes one: "
        "let it be one of these, or make it a data variable"
        if several
        else f"{stage} changes the coordinate {name!r} along a dimension it is cut along: let it return it as it is, "
        "drop it, or make it a data variable"
    )


def _coarsened(whole: xr.Variable, many: Mapping[str, int]) -> Iterator[xr.Variable]:
    """Walk what may become of a coordinate of which so many make one."""
    if not many:
        yield whole
        return
    for kind in ("mean", "first", "last"):
        yield whole.coarsen(many, kind, boundary="pad")
