"""The manifest of a sealed product: what every one of its shards is, proven without reading all of it.

manifest.rows   one row of the type STORED for each shard: group by group, region by region, array by array
manifest.sums   the BLAKE3 of each run of rows; the seal holds the BLAKE3 of this file, so a reader of one row reads and
                proves one run, be the shards a thousand or a million
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from terp.storage.errors import BadProduct
from terp.storage.files import disk, read_at
from terp.storage.grid import Group
from terp.storage.shard import STORED, Stored

_RUN = 256  # rows that are proven together
_DIGEST = 32  # bytes of a BLAKE3
_KEPT = 64  # runs that a reader remembers
NAMES = ("manifest.rows", "manifest.sums")


def written(rows: Iterable[np.ndarray[Any, Any]], write: Callable[[str, bytes], None]) -> str:
    """Write a manifest of rows in order, by a function of name and content; return the digest that the seal holds."""
    raw = b"".join(some.tobytes() for some in rows)
    step = _RUN * STORED.itemsize
    sums = b"".join(blake3(raw[at : at + step]).digest() for at in range(0, len(raw), step))
    write(NAMES[0], raw)
    write(NAMES[1], sums)
    return blake3(sums).hexdigest()


class Manifest:
    """A manifest that is there; raises BadProduct where it is not the one of the seal. Pickled, it is opened again."""

    def __init__(self, folder: Path, groups: Sequence[Group], digest: str) -> None:
        self.folder = folder
        self._made_by = folder, groups, digest
        counts = [group.regions * len(group.arrays) for group in groups]
        starts = np.cumsum([0, *counts])
        self._starts = {group.path: int(start) for group, start in zip(groups, starts, strict=False)}
        self._groups = {group.path: group for group in groups}
        self._total = int(starts[-1])
        self._sums = self._read(NAMES[1], 0, -(-self._total // _RUN) * _DIGEST)
        if blake3(self._sums).hexdigest() != digest:
            raise self._damaged(NAMES[1])
        rows = folder / NAMES[0]
        with disk(rows):
            try:
                whole = rows.stat().st_size == self._total * STORED.itemsize
            except FileNotFoundError:
                whole = False
        if not whole:
            raise self._damaged(NAMES[0])
        self._run = lru_cache(maxsize=_KEPT)(self._proven)

    def __reduce__(self) -> tuple[type["Manifest"], tuple[Path, Sequence[Group], str]]:
        return type(self), self._made_by

    def shard(self, group: str, index: int, array: int) -> Stored:
        """Return what the shard of a region and an array (by its number in the group) is."""
        number = self._starts[group] + index * len(self._groups[group].arrays) + array
        return Stored.from_row(self._run(number // _RUN)[number % _RUN])

    def rows(self, group: str) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
        """Walk the shards of a group, some at a time: number of the first region, and rows (regions, arrays)."""
        arrays, start = len(self._groups[group].arrays), self._starts[group]
        regions = self._groups[group].regions
        for first in range(0, regions, _RUN):
            last = min(first + _RUN, regions)
            yield first, self._span(start + first * arrays, start + last * arrays).reshape(-1, arrays)

    def _span(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        runs = [self._run(number) for number in range(start // _RUN, -(-stop // _RUN))]
        offset = start // _RUN * _RUN
        rows: np.ndarray[Any, Any] = np.concatenate([np.zeros(0, STORED), *runs])
        return rows[start - offset : stop - offset]

    def _proven(self, run: int) -> np.ndarray[Any, Any]:
        first, last = run * _RUN, min((run + 1) * _RUN, self._total)
        raw = self._read(NAMES[0], first * STORED.itemsize, (last - first) * STORED.itemsize)
        if blake3(raw).digest() != self._sums[run * _DIGEST : (run + 1) * _DIGEST]:
            raise self._damaged(NAMES[0])
        return np.frombuffer(raw, STORED)

    def _read(self, name: str, start: int, length: int) -> bytes:
        path = self.folder / name
        with disk(path):
            try:
                with path.open("rb", buffering=0) as file:
                    return read_at(file.fileno(), start, length)
            except FileNotFoundError:
                raise self._damaged(name) from None

    def _damaged(self, name: str) -> BadProduct:
        return BadProduct(f"{self.folder}/{name} is damaged: run again to seal the product anew")
