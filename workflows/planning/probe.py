"""How much memory a stage's code takes beside its blocks, found on made-up ones before any data is seen."""

import tracemalloc
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr

from terp.workflows.planning.memory import nbytes_of
from terp.workflows.planning.schema import SHORT, made_up

_ENOUGH = 4 << 20  # bytes of blocks at which what Python itself takes no longer counts
_MOST = 64 << 20  # bytes of made-up blocks that a plan takes the time for


def copies_held(
    call: Callable[[Sequence[xr.Dataset]], xr.Dataset],
    inputs: Sequence[xr.Dataset],
    result: xr.Dataset,
    blocks: Mapping[str, int],
    halo: Mapping[str, int],
) -> float:
    """Return how many times its inputs and its result a stage holds at once; 0 where blocks are too small to matter.

    What compiled code takes by itself is not seen.
    """
    sizes = {dim: length + 2 * halo.get(dim, 0) for dim, length in blocks.items()}
    everything = [*inputs, result]
    if nbytes_of(sizes, everything) < 2 * _ENOUGH:
        return 0.0
    for dim in blocks:  # as little of it as tells enough
        share = _ENOUGH / nbytes_of(sizes, everything)
        sizes[dim] = min(max(int(sizes[dim] * min(share, 1.0)), SHORT + 2 * halo.get(dim, 0)), sizes[dim])
    whole = nbytes_of(sizes, everything)
    if whole > _MOST:
        return 0.0
    given = [made_up(schema, sizes, seed) for seed, schema in enumerate(inputs)]
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
    return (nbytes_of(sizes, inputs) + peak) / whole
