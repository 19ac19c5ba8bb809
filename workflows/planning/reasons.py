"""Why a product is cut and stored as it is, in a few words for who reads a plan."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from terp.storage.codec import Codec
from terp.storage.grid import Array, Group
from terp.workflows.planning.step import Step
from terp.workflows.running.task import PART


def reasons(step: Step, kept: bool) -> dict[str, str]:
    """Return why, of the `cut` and of the `codec`; `kept`: it is a result of the flow."""
    cuts = [_cut(step, group) for group in step.layout.groups if group.arrays]
    codecs = [_codec(step, array, kept) for group in step.stored(kept).groups for array in group.arrays]
    return {what: "; ".join(dict.fromkeys(words)) for what, words in (("cut", cuts), ("codec", codecs))}


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


def _codec(step: Step, array: Array, kept: bool) -> str:
    kind = np.dtype(array.dtype).kind
    if step.codec:
        return f"{array.codec}, as its stage says"
    if Codec.named(array.codec) == Codec():
        return "none: complex noise does not shrink"
    if kept:
        return f"{array.codec}: it is kept, so small before fast"
    return f"{array.codec}: {'floating point' if kind == 'f' else 'whole numbers'}, goes through only"
