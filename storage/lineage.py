"""Lineage: of what parts of its inputs each region was made, noted while it read them.

A region's row is the hull of what it read of each of its inputs: where that starts and stops along each dimension, in
the order that product.json holds. It goes with the region through the ledger; the seal puts the rows of all regions,
group by group, into one file (see runs.py) that is archived with the result.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any, Literal

import numpy as np

from terp.storage import runs
from terp.storage.errors import BadProduct
from terp.storage.runs import ProvenRows, Read

NAME = "lineage"
NAMES = runs.names(NAME)

Boxes = np.ndarray[Any, Any]  # (regions, dimensions, 2): where each starts, and before what it stops
Hull = Mapping[str, tuple[int, int]]  # of one: by dimension
Of = tuple[str, str]  # what is read: key of a product, or "" for a foreign source, and group


@dataclass(frozen=True)
class Pieces:
    """How an array of a foreign source lies in its files: blocks of `lengths` along `dims`.

    `names` are the files of all blocks in C order, or `pattern` is the name with {} for each of a block's numbers.
    Along one dimension blocks may have lengths of their own: then `starts` say where each begins, and `lengths` are not
    there.
    """

    dims: tuple[str, ...]
    lengths: tuple[int, ...]
    pattern: str = ""
    names: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()

    def name(self, number: int, grid: Sequence[int]) -> str:
        """Return the file of a block, by its number in C order."""
        return self.names[number] if self.names else self.pattern.format(*np.unravel_index(number, grid))

    def files(self, box: Mapping[str, slice], sizes: Mapping[Any, int]) -> Iterator[str]:
        """Walk the files that a box lies in, there or not, of an array whose dimensions have these sizes."""
        parts = [box.get(dim, slice(0, sizes[dim])) for dim in self.dims]
        if self.starts:
            yield from self.names[self._begun(parts[0].start, "right") - 1 : self._begun(parts[0].stop, "left")]
            return
        grid = [-(-sizes[dim] // n) for dim, n in zip(self.dims, self.lengths, strict=True)]
        blocks = [range(p.start // n, -(-p.stop // n)) for p, n in zip(parts, self.lengths, strict=True)]
        for place in product(*blocks):
            yield self.pattern.format(*place) if self.pattern else self.names[int(np.ravel_multi_index(place, grid))]

    def grid(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        """Return size and block length along each dimension; of blocks with lengths of their own those of numbers."""
        return [(len(self.starts), 1)] if self.starts else list(zip(sizes, self.lengths, strict=True))

    def on_grid(self, boxes: Boxes) -> Boxes:
        """Return boxes, (boxes, dimensions, 2), as that grid counts."""
        if not self.starts:
            return boxes
        there = boxes[..., 0] < boxes[..., 1]
        first, last = self._begun(boxes[..., 0], "right") - 1, self._begun(boxes[..., 1], "left")
        return np.where(there[..., None], np.stack([first, last], axis=-1), 0)

    def _begun(self, places: Any, side: Literal["left", "right"]) -> Any:
        """Say how many blocks have begun before a place, or at it."""
        return np.searchsorted(self.starts, places, side)


@dataclass(frozen=True)
class Origin:
    """What regions are made of: a group of a product, or of a foreign source, with the dimensions of its arrays.

    `pieces` tell in which files of a source what lies; where there are none, it is read whole.
    """

    key: str
    group: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    pieces: tuple[Pieces, ...] = ()

    @classmethod
    def of(cls, key: str, group: str, arrays: Iterable[Any], pieces: Sequence[Pieces] = ()) -> "Origin":
        """Return the origin of arrays that have `dims` and `shape`."""
        sizes = {str(dim): int(n) for one in arrays for dim, n in zip(one.dims, one.shape, strict=True)}
        return cls(key, group, tuple(sizes), tuple(sizes.values()), tuple(pieces))

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Origin":
        """Read back plain values."""
        pieces = (
            Pieces(tuple(p["dims"]), tuple(p["lengths"]), p["pattern"], tuple(p["names"]), tuple(p.get("starts", ())))
            for p in plain["pieces"]
        )
        return cls(plain["key"], plain["group"], tuple(plain["dims"]), tuple(plain["shape"]), tuple(pieces))


@dataclass(frozen=True)
class Origins:
    """What the regions of each group of a product are made of: the order of their rows, frozen with the product."""

    groups: Mapping[str, tuple[Origin, ...]] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Dimensions of all origins of a region, at most."""
        return max((sum(len(one.dims) for one in some) for some in self.groups.values()), default=0)

    @property
    def type(self) -> np.dtype[Any]:
        """The type of a row, (dimensions, 2): of 4 bytes a number unless there is a dimension that needs more."""
        longest = max((n for some in self.groups.values() for one in some for n in one.shape), default=0)
        return np.dtype(("<u4" if longest < 2**32 else "<u8", (self.width, 2)))

    def row(self, group: str, read: Mapping[Of, Hull]) -> tuple[tuple[int, int], ...]:
        """Return a region's row; (0, 0) along what was not read, or is not there."""
        hulls = [(one, read.get((one.key, one.group), {})) for one in self.groups.get(group, ())]
        found = [hull.get(dim, (0, 0)) for one, hull in hulls for dim in one.dims]
        return (*found, *[(0, 0)] * (self.width - len(found)))

    def boxes(self, group: str, rows: Boxes) -> Iterator[tuple[Origin, Boxes]]:
        """Walk the origins of a group with what of each was read by some regions."""
        at = 0
        for one in self.groups.get(group, ()):
            yield one, rows[:, at : at + len(one.dims)]
            at += len(one.dims)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {path: [asdict(one) for one in some] for path, some in self.groups.items()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Origins":
        """Read back what `to_json` gave."""
        return cls({path: tuple(map(Origin.from_json, some)) for path, some in plain.items()})


class Lineage:
    """The rows of a sealed product: one is found by one read, and proven."""

    def __init__(self, origins: Origins, regions: Mapping[str, int], digest: str, read: Read, where: str) -> None:
        if not digest:
            raise BadProduct(f"{where} was made before terp noted what a region is made of: nothing more is known")
        self.origins = origins
        starts = np.cumsum([0, *regions.values()])
        self._starts = dict(zip(regions, map(int, starts), strict=False))
        self._rows = ProvenRows(NAME, origins.type, int(starts[-1]), digest, read, lambda one: f"{one} of {where}")

    def of(self, group: str, chosen: Boxes) -> Boxes:
        """Return the rows of those regions of a group whose numbers are given, ascending."""
        if not len(chosen):
            return np.zeros((0, *self.origins.type.shape), self.origins.type.base)
        start, first, last = self._starts[group], int(chosen[0]), int(chosen[-1])
        rows: Boxes = self._rows.span(start + first, start + last + 1)
        return rows if len(rows) == len(chosen) else rows[chosen - first]

    def prove(self) -> None:
        """Read all rows; raises BadProduct where one is not as it was sealed."""
        self._rows.span(0, self._rows.total)


def covered(spans: Sequence[Boxes], grid: Sequence[tuple[int, int]]) -> np.ndarray[Any, Any]:
    """Say of each block of a grid, in C order, whether one of many boxes reaches into it.

    `spans` have for each dimension where the boxes start and stop, (boxes, 2); `grid` its size and block length. Each
    corner of a box counts up or down, and sums along all dimensions count the boxes over each block: so a million boxes
    take no loop.
    """
    counts = [-(-size // block) for size, block in grid]
    wide = tuple(n + 1 for n in counts)
    there = np.logical_and.reduce([one[:, 0] < one[:, 1] for one in spans])
    some = list(spans) if there.all() else [one[there] for one in spans]
    total = np.zeros(math.prod(wide), np.int64)
    steps = [math.prod(wide[axis + 1 :]) for axis in range(len(grid))]
    ends = [
        (one[:, 0] // block * np.int64(step), ((one[:, 1] - 1) // block + 1) * np.int64(step))
        for one, (_, block), step in zip(some, grid, steps, strict=True)
    ]
    for corner in product((0, 1), repeat=len(grid)):
        at = np.sum([pair[end] for pair, end in zip(ends, corner, strict=True)], axis=0)
        total += (-1) ** sum(corner) * np.bincount(at, minlength=len(total))
    over = total.reshape(wide)
    for axis in range(len(grid)):
        np.cumsum(over, axis, out=over)
    inside: np.ndarray[Any, Any] = over[tuple(slice(0, n) for n in counts)].reshape(-1) > 0
    return inside


def hull(boxes: Boxes) -> list[tuple[int, int]]:
    """Return the smallest box that holds all, a pair for each dimension; (0, 0) where there is nothing."""
    return [_hull(boxes[:, at, 0], boxes[:, at, 1]) for at in range(boxes.shape[1])]


def _hull(starts: Boxes, stops: Boxes) -> tuple[int, int]:
    read = starts if not len(stops) or stops.min() else starts[stops > 0]
    return (int(read.min()), int(stops.max())) if len(read) else (0, 0)


class Reads:
    """What is read within `noted`; any thread that has its context may add to it."""

    def __init__(self) -> None:
        self._all: list[tuple[Of, Hull]] = []

    def add(self, of: Of, read: Hull) -> None:
        """Keep what was read: regions read while their data are in the caches, and these are theirs."""
        self._all.append((of, read))

    @property
    def hulls(self) -> dict[Of, Hull]:
        """The hull of what was read of each input."""
        found: dict[Of, dict[str, tuple[int, int]]] = {}
        for of, read in self._all:
            if all(start < stop for start, stop in read.values()):
                known = found.setdefault(of, {})
                for dim, (start, stop) in read.items():
                    before = known.get(dim, (start, stop))
                    known[dim] = min(before[0], start), max(before[1], stop)
        return dict(found)


_READS: ContextVar[Reads | None] = ContextVar("terp_reads", default=None)


@contextmanager
def noted() -> Iterator[Reads]:
    """Note what is read within the block; what is around it is not told."""
    reads = Reads()
    token = _READS.set(reads)
    try:
        yield reads
    finally:
        _READS.reset(token)


def note(of: Of | None, read: Hull) -> None:
    """Tell that this was read; every reader does, and it is lost where nobody notes it."""
    reads = _READS.get()
    if reads is not None and of is not None:
        reads.add(of, read)
