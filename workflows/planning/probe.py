"""How much memory a stage's code takes beside its blocks, found on made-up ones before any data is seen."""

import tracemalloc
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr

from terp.workflows.cutting import Cutting
from terp.workflows.planning.memory import nbytes_of, widened
from terp.workflows.planning.schema import SHORT, made_up

_ENOUGH = 4 << 20  # bytes of blocks at which what Python itself takes no longer counts
_MOST = 256 << 20  # bytes of made-up blocks that a plan takes the time for


def copies_held(
    call: Callable[[Sequence[xr.Dataset]], object],
    inputs: Sequence[xr.Dataset],
    result: xr.Dataset,
    blocks: Mapping[str, int],
    how: Cutting,
) -> float:
    """Return how many times its inputs and its result a stage holds at once; 0 where blocks are too small to matter.

    What compiled code takes by itself is not seen.
    """
    sizes = widened(blocks, how.halo)

    def everything() -> int:
        return nbytes_of(how.read_for(sizes), inputs) + nbytes_of(sizes, [result])

    if everything() < 2 * _ENOUGH:
        return 0.0
    for dim in blocks:  # as little of it as tells enough
        share = _ENOUGH / everything()
        sizes[dim] = min(max(int(sizes[dim] * min(share, 1.0)), SHORT + 2 * how.halo.get(dim, 0)), sizes[dim])
    whole = everything()
    if whole > _MOST:
        return 0.0
    given = [made_up(schema, how.read_for(sizes), seed) for seed, schema in enumerate(inputs)]
    tracemalloc.start()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            call(given)
        _, peak = tracemalloc.get_traced_memory()
    except (Exception, SystemExit):  # noqa: BLE001 (it bore small blocks: what it says of these is not for a plan)
        return 0.0
    finally:
        tracemalloc.stop()
    return (nbytes_of(how.read_for(sizes), inputs) + peak) / whole
