"""What a worker needs of memory for a region, known before any is made."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import xarray as xr

from terp.storage.grid import Weight

BASE_BYTES = 156 << 20  # a worker with Python, Dask, xarray and zarr in it, measured
COMPILER_BYTES = 130 << 20  # what a just-in-time compiler adds to that, measured with numba
ENCODING_BYTES = 12 << 20  # chunks while they are encoded and decoded, and holes in the heap, measured
COPIES = 3.0  # times its blocks that a stage is taken to hold at once, where nobody has measured it


@dataclass(frozen=True)
class Need:
    """What a worker needs beside itself: bytes of `blocks` at the peak, and whether it compiles code.

    `size` are the bytes of these blocks, each counted once; `shared` bytes more, of what is read at once for several
    regions, of which fewer would do too. `known` where somebody has measured how many copies of its blocks the stage
    holds, and said so, or where it was `measured` by runs.
    """

    blocks: int = 0
    size: int = 0
    compiled: bool = False
    known: bool = False
    shared: int = 0
    measured: bool = False

    @property
    def itself(self) -> int:
        """Bytes of the worker without any block."""
        return BASE_BYTES + (COMPILER_BYTES if self.compiled else 0)

    @property
    def held(self) -> int:
        """Bytes of all that a worker holds for a region, each counted once."""
        return self.size + self.shared

    def beside(self, other: "Need") -> "Need":
        """Return it with the blocks of another beside its own."""
        return replace(self, blocks=self.blocks + other.blocks, size=self.size + other.size)

    def measured_on(self, held: int, peak: int) -> "Need":
        """Return it as it is if a region that held so many bytes, each counted once, took `peak` bytes in all."""
        copies = max(peak - self.itself, 0) / max(held, 1)
        return replace(self, blocks=max(int(copies * self.held) - self.shared, 0), known=True, measured=True)

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.itself + self.blocks + self.shared

    def share_that_fits(self, memory: int) -> float:
        """Return how much of a region would fit into so many bytes: 1 is all of it."""
        return min(max((memory - self.itself) / max(self.blocks, 1), 0.0), 1.0)


def need_of(
    inputs: Iterable[xr.Dataset],
    result: xr.Dataset,
    blocks: Mapping[str, tuple[int, int]],
    copies: float = 0.0,
    tile: Mapping[str, int] | None = None,
    read_for: Callable[[Mapping[str, int]], Mapping[str, int]] = dict,
    halo: Mapping[str, int] | None = None,
) -> Need:
    """Return what regions of these blocks need: a tile at a time where there is one, and then the whole result too.

    `read_for` tells how long a block of the inputs is for one of the result; both have the `halo` while it is computed.
    """
    lengths = {dim: length for dim, (_, length) in blocks.items()}
    part = widened({**lengths, **(tile or {})}, halo or {})
    at_once = nbytes_of(read_for(part), inputs) + nbytes_of(part, [result])
    kept = nbytes_of(lengths, [result]) if tile else 0
    return Need(int((copies or COPIES) * at_once) + kept + ENCODING_BYTES, at_once + kept)


def widened(lengths: Mapping[str, int], halo: Mapping[str, int]) -> dict[str, int]:
    """Return how long blocks are with a halo on both sides."""
    return {dim: length + 2 * halo.get(dim, 0) for dim, length in lengths.items()}


def nbytes_of(lengths: Mapping[str, int], datasets: Iterable[xr.Dataset]) -> int:
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
