"""Why a product is cut and stored as it is, in a few words for who reads a plan, and which blocks would do better."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from terp.storage.codec import Codec
from terp.storage.grid import CHUNK_BYTES, Array, Group
from terp.workflows.planning.step import Step
from terp.workflows.running.task import PART

CROWDED = 5_000  # entries of a folder, beyond which file systems and people who list it are slow


def reasons(step: Step, kept: bool) -> dict[str, str]:
    """Return why, of the `cut`, the `chunk`, the `codec` and a kernel's `tile`; `kept`: it is a result of the flow."""
    groups = [group for group in step.layout.groups if group.arrays]
    words = {
        "cut": [_cut(step, group) for group in groups],
        "chunk": [_chunk(step, array) for group in groups for array in group.arrays],
        "codec": [_codec(step, array, kept) for group in step.stored(kept).groups for array in group.arrays],
        "tile": [_tile(step)] if step.task.tile else [],
    }
    return {what: "; ".join(dict.fromkeys(said)) for what, said in words.items() if said}


def crowded(step: Step) -> Iterator[str]:
    """Walk notes on folders of a product that would have very many entries, and which block would do."""
    for group in step.layout.groups if step.source is None else ():
        for dim, (size, block) in group.cut.items():
            count = -(-size // block)
            if count > CROWDED:
                larger = larger_block(step.task.over or {dim: (size, block)}, math.ceil(count / CROWDED))
                yield (
                    f"{step.name} has {count:,} entries in one folder, as it is cut along {dim}"
                    + (f": blocks of {larger[1]:,} along {larger[0]} would do" if larger else "")
                )


def larger_block(cut: Mapping[str, tuple[int, int]], times: int) -> tuple[str, int] | None:
    """Return a block of which there are so many times fewer: the side that is cut most often is cut less."""
    dim = max(cut, key=lambda one: cut[one][0] / cut[one][1], default="")
    size, block = cut.get(dim, (1, 1))
    return (dim, min(block * times, size)) if times <= -(-size // block) else None


def _cut(step: Step, group: Group) -> str:
    whole = sorted({dim for array in group.arrays for dim in array.dims if _length(group, dim) is None})
    if PART in group.cut:
        return f"a region for each partial result{_parts(step.ingredients)}"
    if group.regions == 1:
        return "one region, as it may not be cut" if not group.cut else "one region, as there is no more"
    lengths = ", ".join(f"{length:,} of {dim}" for dim in group.cut if (length := _length(group, dim)))
    words = f"regions of {lengths}, {_by_whom(step.ingredients)}"
    return words + (f"; {' and '.join(whole)} whole" if whole else "")


def _length(group: Group, dim: str) -> int | None:
    size, block = group.cut.get(dim, (0, 0))
    return block if block < size else None


def _by_whom(ingredients: Mapping[str, Any]) -> str:
    if "grid" in ingredients:
        return "as its source has it"
    said = ingredients.get("cut", [None, None, None, {}])[3]
    return f"as its stage says (block={said})" if said else "chosen from its size"


def _parts(ingredients: Mapping[str, Any]) -> str:
    lengths = ", ".join(f"{block:,} of {dim}" for dim, (size, block) in ingredients["tree"].items() if block < size)
    why = "for its calls to be worth their overhead" if ingredients.get("overhead") else _by_whom(ingredients)
    return f", of {lengths}, {why}" if lengths else ", of all that is reduced"


def _chunk(step: Step, array: Array) -> str:
    lengths = ", ".join(
        f"{length:,} of {dim}"
        for dim, length, n in zip(array.dims, array.chunk, array.shape, strict=True)
        if length < n
    )
    if array.chunk == array.shard:
        return "a chunk is a shard, as that is small"
    if (said := step.ingredients.get("chunk")) or "grid" in step.ingredients:
        return f"chunks of {lengths}, as its {'stage says' if said else 'source has it'}"
    return f"chunks of {lengths}: at most {CHUNK_BYTES >> 20} MiB to be decoded for one value"


def _tile(step: Step) -> str:
    lengths = ", ".join(f"{length:,} of {dim}" for dim, length in step.task.tile.items())
    return f"its kernel gets {lengths} at a time, which stay in the caches of a core"


def _codec(step: Step, array: Array, kept: bool) -> str:
    kind = np.dtype(array.dtype).kind
    if step.codec:
        return f"{array.codec}, as its stage says"
    if Codec.named(array.codec) == Codec():
        return "none: complex noise does not shrink"
    if kept:
        return f"{array.codec}: it is kept, so small before fast"
    return f"{array.codec}: {'floating point' if kind == 'f' else 'whole numbers'}, goes through only"
