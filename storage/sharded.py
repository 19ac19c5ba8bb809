"""Read any part of a large array out of its shards: proven, and near the speed of memory.

What `terp.storage.shard` writes, and nothing else, is read here without zarr-python: each inner chunk that is wanted
goes through one read into a buffer of the thread, its CRC32C, and its codec straight to where it is wanted. A shard is
proven to be the recorded one by its size and its tag before anything of it is believed.
"""

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from terp.storage.codec import Codec, Values
from terp.storage.errors import Damaged
from terp.storage.grid import Array
from terp.storage.lineage import Of, note
from terp.storage.machine import cores
from terp.storage.open_shard import Extent, OpenShard, buffers, kept
from terp.storage.shard import ABSENT

_MOST_THREADS = 4  # more do not read faster from one disk, and a reader is not alone on a machine

Pick = slice | np.ndarray[Any, Any]  # of one dimension: a slice without step, or positions in any order


@dataclass(frozen=True)
class _Part:
    """What of one dimension lies in one chunk: its number, where in the chunk, and where in the result."""

    chunk: int
    inside: Pick
    out: Pick


_Chunk = tuple[_Part, ...]  # for each dimension what of a chunk is wanted


class ShardedArray:
    """A large array; `locate` tells where the shard at a place of its grid is.

    `name` is the array's path in its store, `owner` what people call that; `of` names it for who notes what is read.
    `fill` is a chunk that stands for those which were not stored; terp stores all.
    """

    fill: Values | None = None

    def __init__(
        self, array: Array, name: str, locate: Callable[[tuple[int, ...]], Extent], owner: str, of: Of | None = None
    ) -> None:
        self.array, self.name, self.locate, self.owner, self.of = array, name, locate, owner, of
        self.shape, self.dtype = array.shape, np.dtype(array.dtype)
        self._codec = Codec.named(array.codec)
        self._counts = tuple(s // c for s, c in zip(array.shard, array.chunk, strict=True))

    def read(self, picks: Sequence[Pick], out: Values | None = None, threads: int = 1) -> Values:
        """Return the values at `picks`, one for each dimension; into `out` where that is given.

        Raises Missing or Damaged where a shard is not there, or not the one that was recorded.
        """
        if out is None:
            out = np.empty(tuple(_length(pick) for pick in picks), self.dtype)
        for place, chunks in self._wanted(picks):
            self._read_shard(place, chunks, out, threads)
        note(self.of, dict(zip(self.array.dims, map(_hull, picks, self.array.shape), strict=True)))
        return out

    def ahead(self, picks: Sequence[Pick]) -> None:
        """Have the disk read what `picks` need while something else is done, where it can. Raises as `read` does."""
        for place, chunks in self._wanted(picks):
            with closing(self._opened(place)) as shard:
                for offset, length in _joined(shard.index[self._number(chunk)].tolist() for chunk in chunks):
                    shard.ahead(offset, length)

    def _wanted(self, picks: Sequence[Pick]) -> Iterator[tuple[tuple[int, ...], list[_Chunk]]]:
        """Walk the shards that `picks` need: the place of each, and which of its chunks."""
        parts = [list(_parts(pick, n, c)) for pick, n, c in zip(picks, self.array.shape, self.array.chunk, strict=True)]
        by_shard = [_by_shard(some, many) for some, many in zip(parts, self._counts, strict=True)]
        for place in itertools.product(*by_shard):
            yield place, list(itertools.product(*(some[at] for some, at in zip(by_shard, place, strict=True))))

    def _number(self, chunk: _Chunk) -> int:
        """Return which of its shard's chunks it is."""
        number = 0
        for part, count in zip(chunk, self._counts, strict=True):
            number = number * count + part.chunk % count
        return number

    def _read_shard(self, place: tuple[int, ...], chunks: list[_Chunk], out: Values, threads: int) -> None:
        with kept((self, place), lambda: self._opened(place)) as shard:
            if threads == 1 or len(chunks) == 1:
                for chunk in chunks:
                    self._read_chunk(shard, chunk, out)
            else:
                reads = [_pool(threads).submit(self._read_chunk, shard, chunk, out) for chunk in chunks]
                wait(reads)  # all, or one that is late would read from a file that is closed
                for read in reads:
                    read.result()

    def _opened(self, place: tuple[int, ...]) -> OpenShard:
        key = "/".join([self.name, "c", *map(str, place)])
        return OpenShard.at(self.locate(place), key, self.owner, math.prod(self._counts))

    def _read_chunk(self, shard: OpenShard, chunk: _Chunk, out: Values) -> None:
        number = self._number(chunk)
        offset, length = shard.index[number].tolist()  # as integers that do not overflow
        if offset == length == ABSENT and self.fill is not None:
            self._put(chunk, self.fill, out)
            return
        target = None
        if all(isinstance(part.out, slice) for part in chunk):
            target = out[(*(part.out for part in chunk), ...)]  # the dots: of an array without dimensions a view too
        whole = target is not None and target.shape == self.array.chunk
        direct = whole and target is not None and target.flags.c_contiguous and out.dtype == self.dtype
        try:
            if direct and target is not None:
                self._read_to(shard, offset, length, target)
                return
            values = self._decoded(shard, number, offset, length)
        except Damaged as damage:
            raise Damaged(f"{shard.key} of {self.owner} is damaged: {damage}") from None
        self._put(chunk, values, out)

    def _decoded(self, shard: OpenShard, number: int, offset: int, length: int) -> Values:
        """Return the values of a chunk, in the thread's buffer: they may be there since a part of them was wanted."""
        room = buffers.chunk(self.array.chunk, self.dtype)
        if buffers.held != (shard, number):
            buffers.held = None
            self._read_to(shard, offset, length, room)
            buffers.held = shard, number
        return room

    def _read_to(self, shard: OpenShard, offset: int, length: int, target: Values) -> None:
        """Put the values of a chunk where they are wanted: those that are stored as they are by the read itself."""
        plain = target.reshape(-1).view(np.uint8)
        if self._codec.is_plain(length, plain.size):
            shard.chunk(offset, plain.size, plain)
            self._codec.demand_sum(plain, shard.chunk(offset + plain.size, length - plain.size))
        else:
            self._codec.decode(shard.chunk(offset, length), target)

    def _put(self, chunk: _Chunk, values: Values, out: Values) -> None:
        """Put what is wanted of a chunk's values where it is wanted."""
        if all(isinstance(part.out, slice) for part in chunk):
            out[(*(part.out for part in chunk), ...)] = values[tuple(part.inside for part in chunk)]
        else:
            inside = np.ix_(*(_positions(part.inside) for part in chunk))
            out[np.ix_(*(_positions(part.out) for part in chunk))] = values[inside]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="terp-read")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # its threads are not there, and would be waited for


def reading_threads() -> int:
    """Return how many threads a reader may use: one where another has said so to all libraries, as in workers."""
    if os.environ.get("OMP_NUM_THREADS") == "1":
        return 1
    return min(cores(), _MOST_THREADS)


def _length(pick: Pick) -> int:
    return pick.stop - pick.start if isinstance(pick, slice) else len(pick)


def _hull(pick: Pick, size: int) -> tuple[int, int]:
    if isinstance(pick, slice):
        return pick.start, pick.stop
    found = np.where(pick < 0, pick + size, pick)
    return (int(found.min()), int(found.max()) + 1) if len(found) else (0, 0)


def _positions(pick: Pick) -> Values:
    return np.arange(pick.start, pick.stop) if isinstance(pick, slice) else pick


def _parts(pick: Pick, size: int, chunk: int) -> Iterator[_Part]:
    """Walk the chunks of a dimension that hold what is picked."""
    if isinstance(pick, slice):
        for number in range(pick.start // chunk, -(-pick.stop // chunk) if pick.stop > pick.start else 0):
            first, last = max(pick.start, number * chunk), min(pick.stop, (number + 1) * chunk)
            inside = slice(first - number * chunk, last - number * chunk)
            yield _Part(number, inside, slice(first - pick.start, last - pick.start))
        return
    positions = np.where(pick < 0, pick + size, pick)
    numbers = positions // chunk
    for number in np.unique(numbers):
        here = np.flatnonzero(numbers == number)
        yield _Part(int(number), positions[here] - number * chunk, here)


def _by_shard(parts: list[_Part], count: int) -> dict[int, list[_Part]]:
    found: dict[int, list[_Part]] = {}
    for part in parts:
        found.setdefault(part.chunk // count, []).append(part)
    return found


def _joined(extents: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return offsets and lengths with those that follow each other as one."""
    found: list[tuple[int, int]] = []
    for offset, length in extents:
        if found and sum(found[-1]) == offset:
            found[-1] = found[-1][0], found[-1][1] + length
        else:
            found.append((offset, length))
    return found
