"""How the arrays of a product are cut: regions that are written alone, shards, and inner chunks.

A *group* of a product holds one array set: arrays that carry all its cut dimensions, cut alike. Region number i
(C order over the cut dimensions) is one shard of each of them.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

REGION_BYTES = 128 << 20  # decoded bytes of a region: what one task holds, one file stores
SMALL_REGION_BYTES = 4 << 20  # below this a region is not worth a task of its own
REGIONS_WANTED = 64  # so many regions keep a few workers busy and lose little when one is lost
CHUNK_BYTES = 1 << 20  # decoded bytes of an inner chunk: what a reader of one point has to decode
TOGETHER_BYTES = 512 << 20  # of a block at most, where calls cost much whatever they get
PAYING = 4  # times what a call takes for nothing, that it should work: so that is at most a fifth of it
TILE_BYTES = 16 << 20  # what a compiled kernel works on at a time: it stays in the caches of a core
WORTH_A_CALL = 1 << 20  # bytes from which one inner chunk is a tile: it is read where it is wanted, without a copy

Box = dict[str, slice]


@dataclass(frozen=True)
class Array:
    """One large array: its name, dimensions and shape, how it is typed, sharded and described."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    shard: tuple[int, ...]
    chunk: tuple[int, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    codec: str = "zstd-1-bitshuffle"

    @property
    def nbytes(self) -> int:
        """Decoded size in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Group:
    """An array set: which dimensions are cut, into blocks of what length, and its arrays.

    `path` is the Zarr group ("" is the root), `cut` maps each cut dimension to (size, block length).
    """

    path: str
    cut: Mapping[str, tuple[int, int]]
    arrays: tuple[Array, ...]

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """Number of blocks along each cut dimension."""
        return tuple(-(-size // block) for size, block in self.cut.values())

    @cached_property
    def regions(self) -> int:
        """Number of regions."""
        return math.prod(self.grid) if self.arrays else 0

    def box(self, index: int) -> Box:
        """Return the slices of region `index` along the cut dimensions."""
        places = np.unravel_index(index, self.grid) if self.cut else ()
        return {
            dim: slice(int(p) * block, min((int(p) + 1) * block, size))
            for (dim, (size, block)), p in zip(self.cut.items(), places, strict=True)
        }

    def block_shape(self, array: Array, box: Box) -> tuple[int, ...]:
        """Return the shape of an array's part of a box."""
        return tuple(
            box[d].stop - box[d].start if d in box else n for d, n in zip(array.dims, array.shape, strict=True)
        )

    def array(self, name: str) -> Array:
        """Return the array of a name."""
        return next(array for array in self.arrays if array.name == name)

    def home(self, array: Array) -> str:
        """Return the path of an array within the product's store; its shards are in the folder `c` there."""
        return f"{self.path}/{array.name}" if self.path else array.name

    def shard_key(self, array: Array, index: int) -> str:
        """Return the Zarr key, within the product's store, of one shard of one array."""
        places = dict[str, int]()
        for dim, count in zip(reversed(list(self.cut)), reversed(self.grid), strict=True):
            index, places[dim] = divmod(index, count)
        return "/".join([self.home(array), "c", *(str(places.get(dim, 0)) for dim in array.dims)])

    def shard_keys(self, array: Array, numbers: "np.ndarray[Any, Any]") -> list[str]:
        """Return what `shard_key` does for many regions at once."""
        places = dict(zip(self.cut, np.unravel_index(numbers, self.grid) if self.cut else (), strict=True))
        none = np.zeros_like(numbers)
        columns = [map(str, places.get(dim, none).tolist()) for dim in array.dims]
        return list(map("/".join, zip([f"{self.home(array)}/c"] * len(numbers), *columns, strict=True)))

    def keys(self, numbers: "np.ndarray[Any, Any]") -> list[str]:
        """Return the keys of all shards of some regions: region by region, array by array."""
        columns = [self.shard_keys(array, numbers) for array in self.arrays]
        return [key for region in zip(*columns, strict=True) for key in region]

    def region_of(self, array: Array, place: Sequence[int]) -> int:
        """Return the number of the region that one shard of one array belongs to, by its place in the array's grid."""
        places, index = dict(zip(array.dims, place, strict=True)), 0
        for dim, count in zip(self.cut, self.grid, strict=True):
            index = index * count + places[dim]
        return index

    def regions_of(self, array: Array, keys: Sequence[str]) -> "np.ndarray[Any, Any]":
        """Return the numbers of the regions whose shards of an array have these Zarr keys; -1 for what is no such key.

        The reverse of `shard_keys`: another way to write the same number is no key of a shard.
        """
        numbers = "/(?:0|[1-9][0-9]{0,17})" * len(array.dims)
        place = re.compile(f"{re.escape(self.home(array))}/c({numbers})")
        found = [place.fullmatch(key) for key in keys]
        text = "".join([f"/0{one[1]}" for one in found if one])[1:]  # a 0 before each, for arrays without dimensions
        places = np.fromstring(text, np.int64, sep="/").reshape(-1, len(array.dims) + 1)[:, 1:]
        counts = dict(zip(self.cut, self.grid, strict=True))
        inside = (places < [counts.get(dim, 1) for dim in array.dims]).all(axis=1)
        columns = dict(zip(array.dims, places[inside].T, strict=True))
        there = np.flatnonzero([one is not None for one in found])[inside]
        regions = np.full(len(keys), -1)
        regions[there] = np.ravel_multi_index([columns[dim] for dim in self.cut], self.grid) if self.cut else 0
        return regions

    def to_json(self) -> dict[str, Any]:
        """Return plain values, frozen into the product."""
        return {
            "path": self.path,
            "cut": {dim: list(sizes) for dim, sizes in self.cut.items()},
            "order": list(self.cut),
            "arrays": [
                {
                    "name": a.name,
                    "dims": list(a.dims),
                    "shape": list(a.shape),
                    "dtype": a.dtype,
                    "shard": list(a.shard),
                    "chunk": list(a.chunk),
                    "codec": a.codec,
                }
                for a in self.arrays
            ],
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Group":
        """Read back what `to_json` gave (attributes rest in the Zarr metadata)."""
        return cls(
            path=plain["path"],
            cut={dim: (plain["cut"][dim][0], plain["cut"][dim][1]) for dim in plain["order"]},
            arrays=tuple(
                Array(
                    a["name"],
                    tuple(a["dims"]),
                    tuple(a["shape"]),
                    a["dtype"],
                    tuple(a["shard"]),
                    tuple(a["chunk"]),
                    codec=a.get("codec", Array.codec),
                )
                for a in plain["arrays"]
            ),
        )


@dataclass(frozen=True)
class Weight:
    """What blocks weigh in memory, in bytes: for each element of the cut dimensions, and whatever the cut.

    `call`: bytes that a call goes through in the time that it takes whatever its block.
    """

    row: float
    whole: int
    call: float = 0.0


def choose_blocks(
    sizes: Mapping[str, int],
    cut: tuple[str, ...],
    weight: Weight,
    fixed: Mapping[str, int],
    halo: Mapping[str, int] | None = None,
) -> dict[str, tuple[int, int]]:
    """Choose block lengths along the cut dimensions from the data alone, never from the site.

    The first cut dimension is cut first, so that what lies together in C order stays together. A block is not made
    lighter than what every block brings with it anyway. `fixed` lengths are taken as given. Where calls cost something
    whatever their block, that decides, and the whole is cut evenly. Where a block is read with a `halo` on both sides,
    it is at least as long as these together, so that nothing is read more than twice for it; the other dimensions are
    cut more for that.
    """
    blocks = {dim: min(fixed.get(dim, sizes[dim]), sizes[dim]) for dim in cut}
    target = _target(weight, weight.row * math.prod(blocks.values()))
    for dim in cut:
        if dim in fixed:
            continue
        wide = {name: min(length + 2 * (halo or {}).get(name, 0), sizes[name]) for name, length in blocks.items()}
        others = weight.row * math.prod(length for name, length in wide.items() if name != dim)
        least = 1 << (max(2 * (halo or {}).get(dim, 0), 1) - 1).bit_length()
        fitting = max(int(target / max(others, 1e-9)), least)
        if fitting < blocks[dim] and weight.call:
            blocks[dim] = -(-sizes[dim] // (sizes[dim] // fitting))
        elif fitting < blocks[dim]:
            blocks[dim] = 1 << (fitting.bit_length() - 1)  # a power of two can be halved into inner chunks
    return {dim: (sizes[dim], blocks[dim]) for dim in cut}


def _target(weight: Weight, everything: float) -> float:
    """Return the bytes that a block should have: half of all rather than all, if half would not be mostly overhead."""
    usual = min(max(everything / REGIONS_WANTED, SMALL_REGION_BYTES, weight.whole), REGION_BYTES)
    paying = max(min(weight.call * PAYING, everything / 2), weight.call)
    return max(usual, min(paying, TOGETHER_BYTES))


def choose_tile(blocks: Mapping[str, tuple[int, int]], steps: Mapping[str, int], weight: Weight) -> dict[str, int]:
    """Choose how much of a region is worked on at a time along each of its cut dimensions; {} where it is all of it.

    `steps` are the lengths of the inner chunks that are read, of which none is to be read twice; a dimension that is
    not named there stays as it is cut.
    """
    tile = {dim: block for dim, (_, block) in blocks.items()}
    one_chunk = weight.row * math.prod(steps.get(dim, length) for dim, length in tile.items())
    room: float = TILE_BYTES - weight.whole
    if one_chunk >= max(WORTH_A_CALL, PAYING * weight.whole):  # what each call gets anew must not outweigh its chunk
        room = min(room, one_chunk)
    for dim, step in steps.items():
        size, block = blocks[dim]
        others = weight.row * math.prod(length for name, length in tile.items() if name != dim)
        if room > 0 and (block % step == 0 or block == size):
            tile[dim] = min(max(int(room / max(others, 1e-9)) // step * step, step), block)
    return {} if all(length == blocks[dim][1] for dim, length in tile.items()) else tile


def shape_array(
    name: str,
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    dtype: str,
    cut: Mapping[str, tuple[int, int]],
    wanted: Mapping[str, int] | None = None,
) -> Array:
    """Shape the shards and inner chunks of one array: a shard is the array's part of a region.

    `wanted` are lengths of inner chunks that somebody has chosen; what they leave is chosen here.
    """
    block = tuple(cut[d][1] if d in cut else max(n, 1) for d, n in zip(dims, shape, strict=True))
    chunk = [min((wanted or {}).get(d, b), b) for d, b in zip(dims, block, strict=True)]
    item = np.dtype(dtype).itemsize
    while math.prod(chunk) * item > CHUNK_BYTES and not wanted:
        axis = _halvable(chunk, [d in cut and cut[d][1] < cut[d][0] for d in dims])
        if axis is None:
            break
        chunk[axis] = -(-chunk[axis] // 2)
    shard = tuple(-(-b // c) * c for b, c in zip(block, chunk, strict=True))
    return Array(name, dims, shape, dtype, shard, tuple(chunk))


def _halvable(chunk: list[int], exact: list[bool]) -> int | None:
    """Return the longest axis that may be halved; along a really cut dimension chunks must divide the block."""
    axes = [i for i, n in enumerate(chunk) if n > 1 and not (exact[i] and n % 2)]
    return max(axes, key=lambda i: chunk[i], default=None)


def chunk_slices(array: Array, shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...] | None]]:
    """Walk the inner chunks of a shard in C order, with their slices of a block of `shape`, or None outside it."""
    counts = tuple(s // c for s, c in zip(array.shard, array.chunk, strict=True))
    for place in np.ndindex(*counts):
        starts = tuple(p * c for p, c in zip(place, array.chunk, strict=True))
        inside = all(start < n for start, n in zip(starts, shape, strict=True))
        slices = tuple(slice(start, min(start + c, n)) for start, c, n in zip(starts, array.chunk, shape, strict=True))
        yield place, slices if inside else None
