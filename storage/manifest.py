"""The manifest of a sealed product: what every one of its shards is, proven without reading all of it.

manifest.rows   one row of the type STORED for each shard: group by group, region by region, array by array
manifest.sums   one of the type SUM for each run of 256 rows: the BLAKE3 of the run, and the node above its shards in
                the tree of values; the seal holds the BLAKE3 of this file. So a reader of one row reads and proves one
                run, be the shards a thousand or a million, and products are compared without what is equal
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from terp.storage import tree
from terp.storage.errors import BadProduct
from terp.storage.files import disk, read_at
from terp.storage.grid import Group
from terp.storage.shard import STORED, Stored

_RUN = tree.FAN  # rows that are proven together: those of one node
_KEPT = 64  # runs that a reader remembers
NAMES = ("manifest.rows", "manifest.sums")
SUM = np.dtype([("rows", "V32"), ("values", "V32")])

Rows = np.ndarray[Any, Any]  # of STORED


def written(
    parts: Iterable[tuple[Sequence[str], Rows]], write: Callable[[str, bytes], None]
) -> tuple[str, bytes, bytes]:
    """Write a manifest by a function of name and content, of the keys of all shards in order and their rows.

    Returns the digest that the seal holds, and the nodes above the shards: by their values, and by their bytes.
    """
    rows, leaves = list[bytes](), list[list[bytes]]()
    for keys, some in parts:
        rows.append(some.tobytes())
        leaves.append(tree.leaves(keys, some["values"].tolist(), some["blake3"].tolist()))
    raw, step = b"".join(rows), _RUN * STORED.itemsize
    values, stored = (tree.nodes(b"".join(one)) for one in zip((b"", b""), *leaves, strict=True))
    sums = np.zeros(-(-len(raw) // step), SUM)
    sums["rows"] = [blake3(raw[at : at + step]).digest() for at in range(0, len(raw), step)]
    sums["values"] = np.frombuffer(values, "V32")[: len(sums)]
    write(NAMES[0], raw)
    write(NAMES[1], sums.tobytes())
    return blake3(sums.tobytes()).hexdigest(), values, stored


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
        sums = self._read(NAMES[1], 0, -(-self._total // _RUN) * SUM.itemsize)
        if blake3(sums).hexdigest() != digest:
            raise self._damaged(NAMES[1])
        self._sums = np.frombuffer(sums, SUM)
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

    @property
    def nodes(self) -> bytes:
        """The nodes above the shards in the tree of values, one behind the other."""
        return self._sums["values"].tobytes() or tree.nodes(b"")

    def values(self, run: int) -> list[bytes]:
        """Return the digests of the values of the shards below a node."""
        found: list[bytes] = self._run(run)["values"].tolist() if self._total else []
        return found

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
        if blake3(raw).digest() != self._sums["rows"][run].tobytes():
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
