"""What a worker needs of memory for a region, known before any is made."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import xarray as xr

from terp.storage.grid import Weight

BASE_BYTES = 350 << 20  # a worker with Python, xarray and zarr in it, measured
COPIES = 3.0  # times its blocks that a stage holds at once: inputs and result, a temporary of its code, encoded parts


@dataclass(frozen=True)
class Need:
    """Bytes that a worker needs beside itself; `known` where the stage has said, after measuring, how many copies."""

    blocks: int
    known: bool = False

    @property
    def bytes(self) -> int:
        """All of it."""
        return BASE_BYTES + self.blocks

    def share_that_fits(self, memory: int) -> float:
        """Return how much of a region would fit into so many bytes: 1 is all of it."""
        return min(max((memory - BASE_BYTES) / max(self.blocks, 1), 0.0), 1.0)


def need_of(
    inputs: Iterable[xr.Dataset],
    result: xr.Dataset,
    blocks: Mapping[str, tuple[int, int]],
    copies: float = 0.0,
    tile: Mapping[str, int] | None = None,
) -> Need:
    """Return what regions of these blocks need: a tile at a time where there is one, and then the whole result too."""
    lengths = {dim: length for dim, (_, length) in blocks.items()}
    at_once = {**lengths, **(tile or {})}
    worked_on = _nbytes(at_once, [*inputs, result])
    return Need(int((copies or COPIES) * worked_on) + (_nbytes(lengths, [result]) if tile else 0), copies > 0)


def _nbytes(lengths: Mapping[str, int], datasets: Iterable[xr.Dataset]) -> int:
    """Return the bytes of blocks of datasets."""
    variables = [v for dataset in datasets for v in dataset.data_vars.values()]
    return sum(
        v.dtype.itemsize * math.prod(min(lengths.get(str(d), n), n) for d, n in v.sizes.items()) for v in variables
    )


def weigh(sizes: Mapping[str, int], *datasets: xr.Dataset) -> Weight:
    """Return what blocks of datasets weigh when the dimensions of `sizes` are cut."""
    variables = [v for dataset in datasets for v in dataset.data_vars.values()]
    cut = sum(v.nbytes for v in variables if sizes.keys() & set(v.dims))
    return Weight(cut / max(math.prod(sizes.values()), 1), sum(v.nbytes for v in variables) - cut)
