"""A step: how one product is made, known before anything is made.

A stage call gives one step; a reduction gives one a level of its fixed tree. The key of a step is the digest of its
ingredients (code, parameters, keys of inputs, named libraries, cut), and names the product.
"""

import itertools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cloudpickle
import xarray as xr
from blake3 import blake3

from terp.storage.grid import Group, Weight, choose_blocks, shape_array
from terp.storage.making import Layout
from terp.storage.product import canonical
from terp.workflows.errors import BadStage
from terp.workflows.planning import schema as schemas
from terp.workflows.planning.code import Code
from terp.workflows.running.task import NAT, PART, Input, Task, fold

FAN = 16  # partial results that one task of a reduction combines
BASE_BYTES = 350 << 20  # a worker with Python, xarray and zarr in it, measured
_COPIES = 3  # blocks held at once: inputs and result, a temporary of the user's code, encoded parts


@dataclass(frozen=True)
class Step:
    """How one product is made.

    `inputs` are (key of the product, group) pairs; `memory` the bytes a worker is expected to need; `doubts`
    sentences for the user; `trial` seconds and bytes of the made-up call, for the estimate of time; `codec` what the
    user wants the values to be stored with, if anything.
    """

    name: str
    key: str
    ingredients: Mapping[str, Any]
    schemas: Mapping[str, xr.Dataset]
    layout: Layout
    task: Task
    inputs: tuple[tuple[str, str], ...]
    memory: int
    doubts: tuple[str, ...] = ()
    trial: tuple[float, int] = (0.0, 0)
    at_most: int = 1
    codec: str = ""

    def stored(self, kept: bool) -> Layout:
        """Return how the product is laid out and stored; `kept`: it is a result of the flow."""
        return self.layout.stored(kept, self.codec)

    @property
    def regions(self) -> int:
        """Number of regions of the product."""
        return sum(group.regions for group in self.layout.groups)

    @property
    def nbytes(self) -> int:
        """Decoded bytes of the product."""
        return sum(array.nbytes for group in self.layout.groups for array in group.arrays)

    @property
    def shards(self) -> int:
        """Number of files its large arrays will have."""
        return sum(group.regions * len(group.arrays) for group in self.layout.groups)

    def bound(self, inputs: tuple[Input, ...]) -> Task:
        """Return the task with its inputs where they are."""
        return replace(self.task, inputs=inputs)


def key_of(name: str, ingredients: Mapping[str, Any]) -> str:
    """Return the key that ingredients give: the stage's name and 80 bits of their BLAKE3."""
    return f"{name}-{blake3(canonical(ingredients)).hexdigest()[:20]}"


def group_of(path: str, schema: xr.Dataset, cut: Mapping[str, tuple[int, int]]) -> tuple[Group, xr.Dataset]:
    """Return the group that stores a schema, and what of it is written at creation."""
    arrays = []
    for name, values in schema.data_vars.items():
        dtype, attrs = _disk_type(values)
        beside = [str(n) for n in values.coords if n not in values.dims]
        if beside:
            attrs["coordinates"] = " ".join(sorted(beside))
        dims = tuple(str(d) for d in values.dims)
        shaped = shape_array(str(name), dims, values.shape, dtype, cut)
        arrays.append(replace(shaped, attrs=attrs))
    return Group(path, dict(cut), tuple(arrays)), schema.drop_vars(list(schema.data_vars))


def _disk_type(values: xr.DataArray) -> tuple[str, dict[str, Any]]:
    attrs = dict(values.attrs)
    if values.dtype.kind == "M":
        units = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian", "_FillValue": NAT}
        return "int64", {**attrs, **units}
    if values.dtype.kind == "m":
        return "int64", {**attrs, "units": "nanoseconds", "dtype": "timedelta64[ns]", "_FillValue": NAT}
    if values.dtype.kind not in "fciub":
        raise BadStage(f"{values.name} has type {values.dtype}, which cannot be cut into regions: keep text in coords")
    return str(values.dtype.newbyteorder("=")), attrs


@dataclass
class Call:
    """A stage's call, its arguments sorted: blocks of products and parameters."""

    name: str
    function: Callable[..., xr.Dataset]
    combine: Callable[..., xr.Dataset]
    finish: Callable[..., xr.Dataset]
    ingredients: dict[str, Any]
    order: tuple[str | int, ...]
    parameters: dict[str, Any]
    inputs: tuple[tuple[str, str], ...]
    schemas: tuple[xr.Dataset, ...]
    cut: tuple[str, ...]
    over: tuple[str, ...]
    fixed: Mapping[str, int]
    codec: str = ""
    doubts: tuple[str, ...] = ()
    sizes: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Find the sizes of the dimensions that are cut; raises BadStage where they are not one."""
        self.sizes = {dim: self._size(dim) for dim in (*self.over, *self.cut)}
        for dim in self.fixed.keys() - self.sizes.keys():
            raise BadStage(f"{self.name} fixes blocks along {dim}, along which it is not cut")

    def _size(self, dim: str) -> int:
        found = [s for s in self.schemas if dim in s.dims]
        if not found:
            known = ", ".join(sorted({str(d) for s in self.schemas for d in s.dims}))
            raise BadStage(f"{self.name} is cut along {dim}, which its inputs do not have; they have {known}")
        first = found[0]
        for other in found[1:]:
            if first.sizes[dim] != other.sizes[dim]:
                raise BadStage(f"the inputs of {self.name} differ along {dim}: {first.sizes[dim]}, {other.sizes[dim]}")
            if dim in first.coords and dim in other.coords and not first[dim].equals(other[dim]):
                raise BadStage(f"the inputs of {self.name} have other coordinates along {dim}: align them first")
        return int(first.sizes[dim])

    def on(self, function: Callable[..., xr.Dataset], blocks: Sequence[Any]) -> xr.Dataset:
        """Call a function with blocks where the products stood."""
        positional = [blocks[at] if isinstance(at, int) else self.parameters[at] for at in self.order]
        return function(*positional, **{k: v for k, v in self.parameters.items() if k not in self.order})

    def steps(self) -> list[Step]:
        """Return the steps that the call takes."""
        return _reduction(self) if self.over else [_mapped(self)]


def weigh(sizes: Mapping[str, int], *datasets: xr.Dataset) -> Weight:
    """Return what blocks of datasets weigh when the dimensions of `sizes` are cut."""
    variables = [v for dataset in datasets for v in dataset.data_vars.values()]
    cut = sum(v.nbytes for v in variables if sizes.keys() & set(v.dims))
    return Weight(cut / max(math.prod(sizes.values()), 1), sum(v.nbytes for v in variables) - cut)


def memory_of(weight: Weight, blocks: Mapping[str, tuple[int, int]]) -> int:
    """Return the bytes a worker is expected to need for blocks of these lengths."""
    return BASE_BYTES + _COPIES * int(weight.row * math.prod(length for _, length in blocks.values()) + weight.whole)


def _mapped(call: Call) -> Step:
    sizes = {dim: call.sizes[dim] for dim in call.cut}
    trial = schemas.attempt(call.name, lambda b: call.on(call.function, b), call.schemas, sizes, whole=True)
    full = schemas.grown(call.name, trial.result, sizes, call.schemas)
    weight = weigh(sizes, *call.schemas, full)
    blocks = choose_blocks(sizes, call.cut, weight, call.fixed)
    group, small = group_of("", full, blocks)
    task = Task("map", _pickled(call.function), (), call.parameters, call.order)
    return Step(
        call.name,
        key_of(call.name, call.ingredients),
        call.ingredients,
        {"": full},
        Layout((group,), {"": small}),
        task,
        call.inputs,
        memory_of(weight, blocks),
        (*call.doubts, *trial.doubts),
        (trial.seconds, _trial_bytes(trial.result)),
        codec=call.codec,
    )


def _trial_bytes(result: xr.Dataset) -> int:
    return sum(v.nbytes for v in result.data_vars.values())


def _pickled(*functions: Callable[..., Any]) -> bytes:
    """Pickle functions with all they reach in the user's own files: workers have neither these nor Prefect."""
    own = {name for function in functions for name in Code(function).modules if not name.startswith("terp.")}
    own |= {function.__module__ for function in functions}
    modules = [sys.modules[name] for name in sorted(own) if name in sys.modules and name != "__main__"]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        pickled: bytes = cloudpickle.dumps(functions)
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
    return pickled


def _reduction(call: Call) -> list[Step]:
    if not call.order or call.order[0] != 0:
        raise BadStage(f"{call.name} reduces its first argument, which must be a product")
    trial = schemas.attempt(call.name, lambda b: call.on(call.function, b), call.schemas, call.sizes, whole=False)
    gone = [dim for dim in call.over if dim in trial.result.dims]
    if gone:
        raise BadStage(f"{call.name} reduces over {', '.join(gone)}, but its result still has it")
    cut = {dim: call.sizes[dim] for dim in call.cut}
    partial = schemas.grown(call.name, trial.result, cut, call.schemas)
    weight = weigh(call.sizes, *call.schemas)
    weight = replace(weight, whole=weight.whole + sum(v.nbytes for v in partial.data_vars.values()))
    blocks = choose_blocks(call.sizes, (*call.over, *call.cut), weight, call.fixed)
    over = {dim: blocks.pop(dim) for dim in call.over}
    # Another cut is another order of adding up, and so another result in its last bits.
    call = replace(call, ingredients={**call.ingredients, "tree": {dim: list(sizes) for dim, sizes in over.items()}})
    count = math.prod(-(-size // block) for size, block in over.values())
    base = replace(Task("partial", _pickled(call.function), (), call.parameters, call.order), over=over)
    steps = [
        _level(call, "blocks", base, partial, blocks, count, call.inputs, trial, memory_of(weight, {**over, **blocks}))
    ]
    functions = _pickled(call.function, call.combine, call.finish)
    task = Task("combine", functions, (), call.parameters, call.order, fan=FAN)
    level = itertools.count(1)
    while count > FAN:
        count = -(-count // FAN)
        below = ((steps[-1].key, ""),)
        steps.append(_level(call, f"level{next(level)}", task, partial, blocks, count, below, None, BASE_BYTES))
    return [*steps, _finished(call, replace(task, finish=True), trial.result, blocks, steps[-1].key)]


def _level(
    call: Call,
    what: str,
    task: Task,
    partial: xr.Dataset,
    blocks: Mapping[str, tuple[int, int]],
    count: int,
    inputs: tuple[tuple[str, str], ...],
    trial: schemas.Trial | None,
    memory: int,
) -> Step:
    """Return the step that makes one level of partial results, numbered along PART."""
    parts = partial.map(lambda v: v.expand_dims({PART: count}), keep_attrs=True).assign_attrs(partial.attrs)
    group, small = group_of("", parts, {PART: (count, 1), **blocks})
    ingredients = {**call.ingredients, "level": what}
    seconds = (trial.seconds, _trial_bytes(trial.result)) if trial else (0.0, 0)
    name = f"{call.name}.{what}"
    return Step(
        name,
        key_of(name, ingredients),
        ingredients,
        {"": parts},
        Layout((group,), {"": small}),
        task,
        inputs,
        memory,
        (*call.doubts, *trial.doubts) if trial else (),
        seconds,
    )


def _finished(call: Call, task: Task, short: xr.Dataset, blocks: Mapping[str, tuple[int, int]], below: str) -> Step:
    """Return the step that combines the last partial results and finishes them."""
    cut = {dim: call.sizes[dim] for dim in call.cut}

    def finish(made: Sequence[xr.Dataset]) -> xr.Dataset:
        total = fold(call.combine, [made[0], made[0]])
        return call.on(call.finish, [total, *made[1:]])

    shown = schemas.weightless(short)
    trial = schemas.attempt(f"{call.name}.finish", finish, [shown, *call.schemas[1:]], cut, whole=True)
    full = schemas.grown(call.name, trial.result, cut, call.schemas)
    group, small = group_of("", full, blocks)
    ingredients = {**call.ingredients, "level": "result"}
    return Step(
        call.name,
        key_of(call.name, ingredients),
        ingredients,
        {"": full},
        Layout((group,), {"": small}),
        task,
        ((below, ""), *call.inputs[1:]),
        memory_of(weigh(cut, *call.schemas[1:], full), blocks),
        trial.doubts,
        codec=call.codec,
    )
