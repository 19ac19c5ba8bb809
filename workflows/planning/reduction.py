"""The steps of a reduction: partial results of blocks, combined in a tree that the grid fixes, and finished."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import xarray as xr

from terp.storage.grid import choose_blocks
from terp.storage.making import Layout
from terp.workflows.errors import BadStage
from terp.workflows.planning import schema as schemas
from terp.workflows.planning.memory import Need, nbytes_of, need_of, weigh
from terp.workflows.planning.step import Step, group_of, key_of
from terp.workflows.planning.whole import grown
from terp.workflows.running.task import PART, Task, fold

if TYPE_CHECKING:
    from terp.workflows.planning.call import Call

FAN = 16  # partial results that one task of a reduction combines


def reduction(call: "Call") -> list[Step]:
    """Return the steps of a stage that reduces dimensions away."""
    from terp.workflows.planning.call import pickled

    how = call.how
    if not call.order or call.order[0] != 0:
        raise BadStage(f"{call.name} reduces its first argument, which must be a product")
    trial = call.attempt(call.sizes, whole=False)
    trial = replace(trial, doubts=(*trial.doubts, *_parts_doubts(call, trial)))
    gone = [dim for dim in how.over if dim in trial.result.dims]
    if gone:
        raise BadStage(f"{call.name} reduces over {', '.join(gone)}, but its result still has it")
    cut = {dim: call.sizes[dim] for dim in call.cut}
    partial = grown(call.name, trial, cut, call.schemas, how)
    weight = weigh(call.sizes, *call.schemas)
    made = nbytes_of({}, [partial])
    weight = replace(weight, whole=weight.whole + made, call=how.overhead * made)
    blocks = choose_blocks(call.sizes, (*how.over, *call.cut), weight, how.block)
    need = call.need(call.sizes, partial, blocks, trial.seconds)
    over = {dim: blocks.pop(dim) for dim in how.over}
    # Another cut is another order of adding up, and so another result in its last bits.
    call = replace(call, ingredients={**call.ingredients, "tree": {dim: list(sizes) for dim, sizes in over.items()}})
    count = math.prod(-(-size // block) for size, block in over.values())
    base = Task("partial", pickled(call.working), (), call.parameters, call.order, over=over)
    steps = [_level(call, "blocks", base, partial, blocks, count, call.inputs, trial, need)]
    functions = pickled(call.function, call.combine, call.finish)
    task = Task("combine", functions, (), call.parameters, call.order, fan=FAN)
    level, need = itertools.count(1), need_of([partial], partial, blocks)
    while count > FAN:
        count = -(-count // FAN)
        below = ((steps[-1].key, ""),)
        steps.append(_level(call, f"level{next(level)}", task, partial, blocks, count, below, None, need))
    return [*steps, _finished(call, replace(task, finish=True), trial.result, blocks, steps[-1].key, need)]


def _parts_doubts(call: "Call", trial: schemas.Trial) -> Iterator[str]:
    """Reduce a made-up block in two parts along each dimension, and compare what comes of it with that of the whole."""
    if trial.seconds > schemas.PATIENCE:
        return
    for dim in (dim for dim in call.how.over if trial.sizes[dim] > 1):
        blocks = [schemas.made_up(one, trial.sizes, seed) for seed, one in enumerate(call.schemas)]
        halves = (slice(0, 1), slice(1, None))
        try:
            parts = [
                call.on(call.function, [b.isel({dim: h} if dim in b.dims else {}) for b in blocks]) for h in halves
            ]
            total = fold(call.combine, parts)
            whole, added = (call.on(call.finish, [one, *blocks[1:]]) for one in (trial.result, total))
            same = schemas.close(whole, added)
        except Exception:  # noqa: BLE001 (it bears whole blocks, as it will get: what it says of one element is no doubt)
            return
        if not same:
            yield (
                f"{call.name} gives other values when it is cut along {dim}: what it gives for blocks is added up; "
                f"@{call.name}.combine says how else two of them become one, @{call.name}.finish what becomes of all"
            )


def _level(
    call: "Call",
    what: str,
    task: Task,
    partial: xr.Dataset,
    blocks: Mapping[str, tuple[int, int]],
    count: int,
    inputs: tuple[tuple[str, str], ...],
    trial: schemas.Trial | None,
    need: Need,
) -> Step:
    """Return the step that makes one level of partial results, numbered along PART."""
    parts = partial.map(lambda v: v.expand_dims({PART: count}), keep_attrs=True).assign_attrs(partial.attrs)
    group, small, known = group_of("", parts, {PART: (count, 1), **blocks})
    ingredients = {**call.ingredients, "level": what}
    seconds = (trial.seconds, nbytes_of({}, [trial.result])) if trial else (0.0, 0)
    name = f"{call.name}.{what}"
    return Step(
        name,
        key_of(name, ingredients),
        ingredients,
        {"": known},
        Layout((group,), {"": small}),
        task,
        inputs,
        need,
        (*call.doubts, *trial.doubts) if trial else (),
        seconds,
    )


def _finished(
    call: "Call", task: Task, short: xr.Dataset, blocks: Mapping[str, tuple[int, int]], below: str, need: Need
) -> Step:
    """Return the step that combines the last partial results and finishes them."""
    cut = {dim: call.sizes[dim] for dim in call.cut}

    def finish(made: Sequence[xr.Dataset]) -> xr.Dataset:
        total = fold(call.combine, [made[0], made[0]])
        return call.on(call.finish, [total, *made[1:]])

    shown = schemas.weightless(short)
    trial = schemas.attempt(f"{call.name}.finish", finish, [shown, *call.schemas[1:]], cut, call.how, whole=True)
    full = grown(call.name, trial, cut, call.schemas, call.how)
    group, small, known = group_of("", full, blocks)
    ingredients = {**call.ingredients, "level": "result"}
    finishing = need_of(call.schemas[1:], full, blocks)
    return Step(
        call.name,
        key_of(call.name, ingredients),
        ingredients,
        {"": known},
        Layout((group,), {"": small}),
        task,
        ((below, ""), *call.inputs[1:]),
        need.beside(finishing),
        trial.doubts,
        codec=call.how.codec,
    )
