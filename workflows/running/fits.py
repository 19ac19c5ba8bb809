"""Whether what a plan needs of memory fits a worker, and its files a file system, and which blocks would."""

import math
from dataclasses import replace

from terp.storage.grid import Group
from terp.workflows.errors import Usage
from terp.workflows.planning.memory import COPIES
from terp.workflows.planning.plan import Plan
from terp.workflows.planning.reasons import larger_block
from terp.workflows.planning.step import Step
from terp.workflows.running.task import PART


def hardly_fitting(plan: Plan, memory: int, where: str, cure: str) -> list[str]:
    """Return notes on stages that may need more than the `memory` in bytes that a worker has.

    Raises Usage where a stage cannot fit: what it needs is known, or its inputs and its result alone are too large.
    """
    notes = []
    for step in (one.step.within(memory) for one in plan.steps if one.missing):
        if step.memory <= memory:
            continue
        words = too_large(step, memory, where, cure)
        least = step.need if step.need.known else replace(step.need, blocks=int(step.need.blocks / COPIES), shared=0)
        if least.bytes > memory:
            raise Usage(words)
        notes.append(words)
    return notes


def demand_files(plan: Plan, allowed: int, where: str) -> None:
    """Raise Usage where a plan makes more files than are allowed: a shard is a file."""
    steps = [one.step for one in plan.steps if one.missing]
    files = sum(step.shards for step in steps)
    if files <= allowed:
        return
    most = max(steps, key=lambda step: step.shards)
    room = allowed - (files - most.shards)
    larger = _larger(most, math.ceil(most.shards / room)) if room > 0 else ""
    raise Usage(
        f"this makes {files:,} files, {most.shards:,} of them for {most.name}, and {where} allows {allowed:,}: "
        f"{larger or 'let stages have larger blocks'}, or set TERP_HOME elsewhere"
    )


def demand_sizes(plan: Plan, smallest: int, where: str) -> None:
    """Raise Usage where a plan makes smaller files than are wanted, of what could be in fewer; partial results may be.

    Bytes are before compression; those of what is taken in follow from its source.
    """
    for step in (one.step for one in plan.steps if one.missing and one.step.source is None):
        for group in (group for group in step.layout.groups if group.regions > 1 and PART not in group.cut):
            least = min(array.nbytes // group.regions for array in group.arrays)
            times = min(math.ceil(smallest / max(least, 1)), group.regions)
            if least < smallest:
                raise Usage(
                    f"{step.name} makes {group.regions:,} files of about {least:,} bytes for a variable, and {where} "
                    f"wants {smallest:,} at least: {_larger(step, times) or 'let it have larger blocks'}, or set "
                    "TERP_HOME elsewhere"
                )


def _larger(step: Step, times: int) -> str:
    """Say which blocks would be few enough: the side that is cut most often is cut less."""
    found = larger_block(_cut(step, max(step.layout.groups, key=lambda group: group.regions)), times)
    return _block(*found) if found else ""


def _cut(step: Step, group: Group) -> dict[str, tuple[int, int]]:
    """Return how a stage was cut along the dimensions that it names: what is reduced is so, and not its parts."""
    return {**step.task.over, **{dim: sizes for dim, sizes in group.cut.items() if dim != PART}}


def _block(dim: str, length: int) -> str:
    return f'blocks of {length:,} along {dim} would fit (block={{"{dim}": {length}}} of the stage)'


def too_large(step: Step, memory: int, where: str, cure: str) -> str:
    """Say that a step needs more than the `memory` in bytes that a worker has, and which blocks would fit."""
    about = "" if step.need.known else "about "
    needs = f"{about}{step.memory >> 20:,} MiB{', measured,' if step.need.measured else ''}"
    told = f"{step.name} needs {needs} in a worker, which has {memory >> 20:,} MiB {where}"
    smaller = _smaller(step, step.need.share_that_fits(memory))
    return f"{told}: {smaller + ', or ' if smaller else ''}{cure}"


def _smaller(step: Step, share: float) -> str:
    """Say which blocks would fit: the longest side is cut, of which a halo stays as it is."""
    cut = max((_cut(step, group) for group in step.layout.groups), key=len, default={})
    if not cut or share <= 0:
        return ""
    dim = max(cut, key=lambda one: cut[one][1])
    size, block = cut[dim]
    beside = 2 * step.task.halo.get(dim, 0)
    length = int(min(block + beside, size) * share) - beside
    return _block(dim, length) if length > 0 else ""
