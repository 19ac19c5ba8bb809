"""The worker's side of a stage: one function, one region. Never imports Prefect.

`execute` gathers the blocks of the inputs that a region needs (each read proven), calls the stage's function on them,
holds the result against what was planned, and writes it under the name of an attempt.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product as combinations
from pathlib import Path
from typing import Any, Literal

import cloudpickle
import numpy as np
import xarray as xr

from terp.cluster import walltime
from terp.storage.errors import BadInput
from terp.storage.grid import Box, Group
from terp.storage.lineage import note, noted
from terp.storage.machine import Machine
from terp.storage.open_shard import kept_open
from terp.storage.writing import Written, write_region, written_together
from terp.workflows.errors import BadStage
from terp.workflows.running import memory
from terp.workflows.running.calling import call, collected
from terp.workflows.running.conform import Result, Values, all_nan, as_dataset, conform
from terp.workflows.running.gather import Input, block_of, hull, opened, shared

EMPTY = "is NaN throughout"  # a remark, told when it is true of all regions
_LONGEST = 10_000  # characters of a remark on its way: it may show the data that it is about
PART = "part"  # the dimension that numbers the partial results of a reduction
NAT = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Task:
    """What a worker has to know of a stage.

    `kind` says how blocks are gathered: "map" (the region's box of each input), "partial" (one block of a reduction,
    numbered along PART), "combine" (a run of partials, folded in order), "ingest" (a box of a foreign source).
    `functions` holds the pickled block function, and for "combine" the combining and the finishing one. `halo` are
    elements beyond a block that the function sees too, `coarsen` of how many elements of a dimension it makes one, and
    how many there are of these; `tile` the lengths of the parts that a region is made in;
    `together` so many regions in a row read the same chunks, and so are made in a row from one read.
    """

    kind: Literal["map", "partial", "combine", "ingest"]
    functions: bytes
    inputs: tuple[Input, ...]
    parameters: Mapping[str, Any]
    order: tuple[str | int, ...] = ()
    over: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    together: int = 1
    halo: Mapping[str, int] = field(default_factory=dict)
    coarsen: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    tile: Mapping[str, int] = field(default_factory=dict)
    fan: int = 1
    finish: bool = False


def execute(task: Task, product: str, attempts: str, path: str, index: int, expected: float = 0.0) -> Written:
    """Make region `index` of group `path` of a product, which takes about `expected` seconds; return what was written.

    A worker whose job ends too soon for that gives the region back instead.
    """
    walltime.take(product, expected)
    started = time.monotonic()
    target = opened(product)
    group, schema = target.group(path), _steady(task, target.schema_of(path))
    remarks = collected()
    with noted() as reads:
        if task.tile:
            blocks = _tiled(task, group, index, schema)
        else:
            blocks = conform(_RUN[task.kind](task, group, index), group, group.box(index), schema)
    remarks |= {f"{name} {EMPTY}" for name, values in blocks.items() if all_nan(values)}
    written = write_region(Path(attempts), group, index, blocks)
    seconds = time.monotonic() - started
    walltime.took(product, seconds)
    read, told = target.product.origins.row(path, reads.hulls), tuple(one[:_LONGEST] for one in sorted(remarks)[:5])
    return Written(path, index, written, seconds, worker_name(), told, reads=read, machine=Machine.here())


def _steady(task: Task, schema: xr.Dataset) -> xr.Dataset:
    """Return the coordinates that a result has to have: a source is proven, and a mean of a part is rounded."""
    return xr.Dataset() if task.kind == "ingest" else schema.drop_dims(task.coarsen, errors="ignore")


def worker_name() -> str:
    """Return a name for this worker process that is told to people: number of the process on its host."""
    return f"{os.uname().nodename}/{os.getpid()}"


def execute_all(
    task: Task,
    product: str,
    attempts: str,
    places: Sequence[tuple[str, int]],
    expected: float = 0.0,
    known: Sequence[str] = (),
) -> list[Written]:
    """Make several short regions, one after the other: to hand out each alone would cost more than to make it.

    What they were made with is told whole unless it is among the environments that are `known`, by digest.
    """
    from terp.workflows.running.ground import HERE

    memory.begin(product)
    alone = memory.forget_peak()
    together = written_together(Path(attempts)) if len(places) > 1 else nullcontext()
    with kept_open(), _read_at_once(task, product, places), together:
        made = [execute(task, product, attempts, path, index, expected) for path, index in places]
        written = time.monotonic()
    walltime.took(product, max(one.seconds for one in made) + time.monotonic() - written)  # the disk may be slow
    peak = memory.peak() if alone else 0  # else it may be that of other regions
    environment = None if HERE.digest in known else HERE
    return [replace(one, memory=peak, software=HERE.digest, environment=environment) for one in made]


def _read_at_once(task: Task, product: str, places: Sequence[tuple[str, int]]) -> AbstractContextManager[None]:
    """Read what regions need of the same chunks before the first of them is made."""
    if task.together == 1 or len(places) == 1:
        return nullcontext()
    return shared(task.inputs, hull(opened(product).group(places[0][0]), places))


@lru_cache(maxsize=64)
def _functions(pickled: bytes) -> tuple[Any, ...]:
    loaded: tuple[Any, ...] = cloudpickle.loads(pickled)
    return loaded


def _arguments(task: Task, box: Box) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and keyword arguments: blocks where products stood in the call, parameters else."""
    blocks = [block_of(one, box) for one in task.inputs]
    positional = [blocks[at] if isinstance(at, int) else task.parameters[at] for at in task.order]
    named = {k: v for k, v in task.parameters.items() if k not in task.order}
    return positional, named


def _run_map(task: Task, group: Group, index: int) -> Result:
    return _mapped(task, group, group.box(index))


def _mapped(task: Task, group: Group, box: Box) -> Result:
    """Call the stage's function on what a box is made of; return what of the result belongs to the box."""
    wide = _wide(task, group, box)
    positional, named = _arguments(task, {**wide, **_finer(task, box)})
    result = call(_functions(task.functions)[0], *positional, **named)
    if not task.halo or not isinstance(result, Mapping):
        return result
    result = as_dataset(result, {a.name: a.dims for a in group.arrays})
    _demand_extent(result, wide, task.halo)
    own = {dim: slice(box[dim].start - wide[dim].start, box[dim].stop - wide[dim].start) for dim in task.halo}
    return result.isel(own)


def _wide(task: Task, group: Group, box: Box) -> Box:
    return {dim: _widened(part, task.halo.get(dim, 0), group.cut[dim][0]) for dim, part in box.items()}


def _widened(part: slice, reach: int, size: int) -> slice:
    return slice(max(part.start - reach, 0), min(part.stop + reach, size))


def _finer(task: Task, box: Box) -> Box:
    """Return what of the inputs lies in a box, along the dimensions of which one element is made of several."""
    return {
        dim: slice(box[dim].start * many, min(box[dim].stop * many, size)) for dim, (many, size) in task.coarsen.items()
    }


def _demand_extent(result: xr.Dataset, wide: Box, halo: Iterable[str]) -> None:
    """Raise BadStage where a stage with a halo did not return as much as it got."""
    for dim in halo:
        if result.sizes.get(dim) != wide[dim].stop - wide[dim].start:
            raise BadStage(
                f"the stage got {wide[dim].stop - wide[dim].start} of {dim} and returned {result.sizes.get(dim, 0)}: "
                "let it return as much as it gets, terp takes the halo off"
            )


def _tiled(task: Task, group: Group, index: int, schema: xr.Dataset) -> dict[str, Values]:
    """Make a region part by part, each small enough to stay in the caches of a core."""
    whole = group.box(index)
    made = {a.name: np.empty(group.block_shape(a, whole), a.dtype) for a in group.arrays}
    for box in _tiles(whole, task.tile):
        parts = conform(_mapped(task, group, box), group, box, schema)
        for array in group.arrays:
            place = tuple(
                slice(box[d].start - whole[d].start, box[d].stop - whole[d].start) if d in box else slice(None)
                for d in array.dims
            )
            made[array.name][place] = parts[array.name]
    return made


def _tiles(box: Box, lengths: Mapping[str, int]) -> Iterator[Box]:
    """Walk the parts of a box, none longer than `lengths`, in C order."""
    cuts = [
        [slice(at, min(at + lengths[dim], part.stop)) for at in range(part.start, part.stop, lengths[dim])]
        for dim, part in box.items()
    ]
    for place in combinations(*cuts):
        yield dict(zip(box, place, strict=True))


def _run_partial(task: Task, group: Group, index: int) -> xr.Dataset:
    positional, named = _arguments(task, _part_box(task, group, index))
    result = call(_functions(task.functions)[0], *positional, **named)
    return as_dataset(result, {a.name: a.dims[1:] for a in group.arrays}).expand_dims(PART)


def _part_box(task: Task, group: Group, index: int) -> Box:
    box = group.box(index)
    part = box.pop(PART).start
    grid = [-(-size // block) for size, block in task.over.values()]
    for (dim, (size, block)), place in zip(task.over.items(), np.unravel_index(part, grid), strict=True):
        box[dim] = slice(int(place) * block, min((int(place) + 1) * block, size))
    return box


def read_box(task: Task, group: Group, index: int) -> Box:
    """Return the box of its inputs that a region is made of; of partial results by their numbers."""
    if task.kind == "partial":
        return _part_box(task, group, index)
    box = group.box(index)
    if task.kind == "combine":
        start = 0 if task.finish else box.pop(PART).start * task.fan
        return {**box, PART: slice(start, start + task.fan)}
    return {**_wide(task, group, box), **_finer(task, box)}


def _run_combine(task: Task, group: Group, index: int) -> xr.Dataset:
    _, combine, finish = _functions(task.functions)
    box, below = group.box(index), task.inputs[0]
    start = 0 if task.finish else box.pop(PART).start * task.fan
    count = opened(below.folder, below.values).dataset(below.group).sizes[PART]
    numbers = range(start, min(start + task.fan, count))
    partials = (block_of(below, {**box, PART: slice(i, i + 1)}).isel({PART: 0}, drop=True) for i in numbers)
    total = fold(lambda *two: call(combine, *two), partials)
    if not task.finish:
        return total.expand_dims(PART)
    rest = Task("map", b"", task.inputs[1:], task.parameters, task.order)
    positional, named = _rest(rest, box)
    return call(finish, total, *positional, **named)


def _rest(task: Task, box: Box) -> tuple[list[Any], dict[str, Any]]:
    """Return the stage's arguments behind its first."""
    blocks = [block_of(one, box) for one in task.inputs]
    positional = [blocks[at - 1] if isinstance(at, int) else task.parameters[at] for at in task.order[1:]]
    return positional, {k: v for k, v in task.parameters.items() if k not in task.order}


def fold(combine: Any, partials: Iterable[xr.Dataset]) -> xr.Dataset:
    """Combine partials from the first to the last: a fixed order, never that of arrival."""
    rest = iter(partials)
    total = next(rest)
    with xr.set_options(keep_attrs=True):
        for partial in rest:
            total = combine(total, partial)
    return total


def _run_ingest(task: Task, group: Group, index: int) -> xr.Dataset:
    from terp.storage.source import Reference, opened_source

    source, box = opened_source(Reference(**task.parameters)), group.box(index)
    names = source.files(group.path, box)
    source.check(names)
    try:
        block = source.groups[group.path].isel(box).load()
    except (BadInput, MemoryError):
        raise
    except Exception as error:
        source.check(names)
        said = f"{type(error).__name__}: {error}"
        raise BadInput(f"{source.path} is damaged at {named(box)} ({said}); fetch it again and run again") from error
    source.check(names)  # one may have been changed just while it was read
    starts = {dim: part.start for dim, part in box.items()}
    note(("", group.path), {str(d): (starts.get(str(d), 0), starts.get(str(d), 0) + n) for d, n in block.sizes.items()})
    return block


_RUN = {"map": _run_map, "partial": _run_partial, "combine": _run_combine, "ingest": _run_ingest}


def named(box: Box) -> str:
    """Return a box in words."""
    return ", ".join(f"{dim} {part.start}:{part.stop}" for dim, part in box.items()) or "the whole"
