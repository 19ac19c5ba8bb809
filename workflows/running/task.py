"""The worker's side of a stage: one function, one region. Never imports Prefect.

`execute` gathers the blocks of the inputs that a region needs (each read proven), calls the stage's function on them,
holds the result against what was planned, and writes it under the name of an attempt.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cloudpickle
import numpy as np
import xarray as xr

from terp.cluster import walltime
from terp.storage.errors import BadInput, BadProduct, Damaged, StorageError
from terp.storage.files import GLANCE, patiently
from terp.storage.filling import Written, write_region
from terp.storage.grid import Box, Group
from terp.storage.product import StoredProduct
from terp.workflows.errors import BadStage
from terp.workflows.running.calling import call, collected

EMPTY = "is NaN throughout"  # a remark, told when it is true of all regions
PART = "part"  # the dimension that numbers the partial results of a reduction
NAT = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Input:
    """A group of a sealed product that a stage reads; `values` is the digest of its seal."""

    folder: str
    group: str
    values: str


@dataclass(frozen=True)
class Task:
    """What a worker has to know of a stage.

    `kind` says how blocks are gathered: "map" (the region's box of each input), "partial" (one block of a reduction,
    numbered along PART), "combine" (a run of partials, folded in order), "ingest" (a box of a foreign source).
    `functions` holds the pickled block function, and for "combine" the combining and the finishing one.
    """

    kind: Literal["map", "partial", "combine", "ingest"]
    functions: bytes
    inputs: tuple[Input, ...]
    parameters: Mapping[str, Any]
    order: tuple[str | int, ...] = ()
    over: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    fan: int = 1
    finish: bool = False


def execute(task: Task, product: str, attempts: str, path: str, index: int, expected: float = 0.0) -> Written:
    """Make region `index` of group `path` of a product, which takes about `expected` seconds; return what was written.

    A worker whose job ends too soon for that gives the region back instead.
    """
    walltime.take(product, expected)
    started = time.monotonic()
    group = _opened(product, "").group(path)
    remarks = collected()
    result = _RUN[task.kind](task, group, index)
    blocks = conform(result, group, group.box(index), _opened(product, "").schema_of(path))
    remarks |= {f"{name} {EMPTY}" for name, values in blocks.items() if _all_nan(values)}
    written = write_region(Path(attempts), group, index, blocks)
    seconds = time.monotonic() - started
    walltime.took(product, seconds)
    return Written(path, index, written, seconds, worker_name(), tuple(sorted(remarks)[:5]))


def worker_name() -> str:
    """Return a name for this worker process that is told to people: number of the process on its host."""
    return f"{os.uname().nodename}/{os.getpid()}"


def execute_all(
    task: Task, product: str, attempts: str, places: Sequence[tuple[str, int]], expected: float = 0.0
) -> list[Written]:
    """Make several short regions, one after the other: to hand out each alone would cost more than to make it."""
    return [execute(task, product, attempts, path, index, expected) for path, index in places]


class _Opened:
    """A product as a worker sees it, opened once a process, as soon as it can be seen from here."""

    def __init__(self, folder: str, values: str) -> None:
        self.product = patiently(lambda: _product(folder, values), BadProduct)
        self._groups: dict[str, xr.Dataset] = {}

    def group(self, path: str) -> Group:
        return self.product.group(path)

    def dataset(self, path: str) -> xr.Dataset:
        if path not in self._groups:
            self._groups[path] = self.product.open(path)
        return self._groups[path]

    def schema_of(self, path: str) -> xr.Dataset:
        """Return the coordinates that were written at creation."""
        if path not in self._groups:
            self._groups[path] = patiently(lambda: self.product.frame(path), Damaged)
        return self._groups[path]


@lru_cache(maxsize=64)
def _opened(folder: str, values: str) -> _Opened:
    return _Opened(folder, values)


def _product(folder: str, values: str) -> StoredProduct:
    """Return a product; where `values` are given, sealed with just these."""
    product = StoredProduct(Path(folder))
    if values and (product.manifest is None or product.seal is None or product.seal.values != values):
        raise BadProduct(f"{product.name} is sealed with other values than this run made of it: run again")
    return product


@lru_cache(maxsize=64)
def _functions(pickled: bytes) -> tuple[Any, ...]:
    loaded: tuple[Any, ...] = cloudpickle.loads(pickled)
    return loaded


def _block(one: Input, box: Mapping[str, slice]) -> xr.Dataset:
    opened = _opened(one.folder, one.values)
    return patiently(lambda: _loaded(opened, one.group, box), Damaged, GLANCE)


def _loaded(opened: _Opened, group: str, box: Mapping[str, slice]) -> xr.Dataset:
    try:
        data = opened.dataset(group)
        return data.isel({dim: part for dim, part in box.items() if dim in data.dims}).load()
    except Damaged as damage:
        raise Damaged(str(damage), opened.product.key) from damage
    except (ValueError, RuntimeError, OSError) as error:  # what codecs say of bytes that they cannot take
        raise Damaged(f"a shard of {opened.product.name} cannot be read: {error}", opened.product.key) from error


def _arguments(task: Task, box: Box, first: xr.Dataset | None = None) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and keyword arguments: blocks where products stood in the call, parameters else."""
    blocks: list[Any] = [_block(one, box) for one in task.inputs]
    if first is not None:
        blocks[0] = first
    positional = [blocks[at] if isinstance(at, int) else task.parameters[at] for at in task.order]
    named = {k: v for k, v in task.parameters.items() if k not in task.order}
    return positional, named


def _run_map(task: Task, group: Group, index: int) -> xr.Dataset:
    positional, named = _arguments(task, group.box(index))
    return call(_functions(task.functions)[0], *positional, **named)


def _run_partial(task: Task, group: Group, index: int) -> xr.Dataset:
    box = group.box(index)
    part = box.pop(PART).start
    grid = [-(-size // block) for size, block in task.over.values()]
    for (dim, (size, block)), place in zip(task.over.items(), np.unravel_index(part, grid), strict=True):
        box[dim] = slice(int(place) * block, min((int(place) + 1) * block, size))
    positional, named = _arguments(task, box)
    return call(_functions(task.functions)[0], *positional, **named).expand_dims(PART)


def _run_combine(task: Task, group: Group, index: int) -> xr.Dataset:
    _, combine, finish = _functions(task.functions)
    box = group.box(index)
    start = 0 if task.finish else box.pop(PART).start * task.fan
    partials = _block(task.inputs[0], {**box, PART: slice(start, start + task.fan)})
    total = call(fold, combine, [partials.isel({PART: i}, drop=True) for i in range(partials.sizes[PART])])
    if not task.finish:
        return total.expand_dims(PART)
    rest = Task("map", b"", task.inputs[1:], task.parameters, task.order)
    positional, named = _rest(rest, box)
    return call(finish, total, *positional, **named)


def _rest(task: Task, box: Box) -> tuple[list[Any], dict[str, Any]]:
    """Return the stage's arguments behind its first."""
    blocks = [_block(one, box) for one in task.inputs]
    positional = [blocks[at - 1] if isinstance(at, int) else task.parameters[at] for at in task.order[1:]]
    return positional, {k: v for k, v in task.parameters.items() if k not in task.order}


def fold(combine: Any, partials: list[xr.Dataset]) -> xr.Dataset:
    """Combine partials from the first to the last: a fixed order, never that of arrival."""
    total = partials[0]
    with xr.set_options(keep_attrs=True):
        for partial in partials[1:]:
            total = combine(total, partial)
    return total


def _run_ingest(task: Task, group: Group, index: int) -> xr.Dataset:
    from terp.storage.source import Identity, opened_source

    identity, box = Identity.from_json(task.parameters), group.box(index)
    dataset = opened_source(identity)[group.path]
    try:
        block = dataset.isel(box).load()
    except (StorageError, MemoryError):
        raise
    except Exception as error:
        identity.check()
        said = f"{type(error).__name__}: {error}"
        raise BadInput(f"{identity.path} is damaged at {named(box)} ({said}); fetch it again and run again") from error
    identity.check()  # it may have been changed just while it was read
    return block


_RUN = {"map": _run_map, "partial": _run_partial, "combine": _run_combine, "ingest": _run_ingest}


def named(box: Box) -> str:
    """Return a box in words."""
    return ", ".join(f"{dim} {part.start}:{part.stop}" for dim, part in box.items()) or "the whole"


def conform(result: xr.Dataset, group: Group, box: Box, schema: xr.Dataset) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of a region as they are stored; raises BadStage where they are not as planned."""
    if not isinstance(result, xr.Dataset):
        raise BadStage(f"the stage returned a {type(result).__name__}: it must return an xarray Dataset")
    planned, found = {a.name for a in group.arrays}, {str(name) for name in result.data_vars}
    if planned != found:
        raise BadStage(f"the stage returned variables {sorted(found)} where {sorted(planned)} were planned")
    for name in schema.coords:
        if not set(schema[name].dims) & box.keys() and name in result.coords:
            _same_coordinate(str(name), result[name], schema[name])
    return {array.name: _stored(result[array.name], array, box) for array in group.arrays}


def _same_coordinate(name: str, found: xr.DataArray, planned: xr.DataArray) -> None:
    if found.shape != planned.shape or not found.equals(planned.astype(found.dtype)):
        raise BadStage(f"the coordinate {name!r} depends on the data: make it a data variable")


def _stored(values: xr.DataArray, array: Any, box: Box) -> np.ndarray[Any, Any]:
    if set(values.dims) != set(array.dims):
        raise BadStage(f"{array.name} came with dimensions {values.dims} where {array.dims} were planned")
    plain = encoded(values.transpose(*array.dims).to_numpy())
    expected = tuple(
        box[d].stop - box[d].start if d in box else n for d, n in zip(array.dims, array.shape, strict=True)
    )
    if plain.shape != expected:
        raise BadStage(f"{array.name} came with shape {plain.shape} where {expected} was planned")
    if plain.dtype != np.dtype(array.dtype):
        raise BadStage(f"{array.name} came as {plain.dtype} where {array.dtype} was planned: let the stage cast it")
    return plain


def _all_nan(values: np.ndarray[Any, Any]) -> bool:
    """Say whether there is no value at all; the first that there is ends the search."""
    return values.dtype.kind in "fc" and values.size > 0 and all(np.isnan(part).all() for part in np.atleast_1d(values))


def encoded(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return times as int64 nanoseconds (CF: the array's attributes say so), all else as it is."""
    if values.dtype.kind in "mM":
        return values.astype(f"{values.dtype.kind}8[ns]").view(np.int64)
    return values
