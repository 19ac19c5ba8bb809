"""The manifest of a sealed product: what every one of its shards is, proven without reading all of it.

manifest.rows   one row of the type STORED for each shard: group by group, region by region, array by array
manifest.sums   for each run of 256 rows its BLAKE3, and the node above its shards in the tree of values; the seal holds
                the BLAKE3 of this file. So a reader of one row reads and proves one run, be the shards a thousand or a
                million (see runs.py), and products are compared without what is equal
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from terp.storage import runs, tree
from terp.storage.files import disk
from terp.storage.grid import Group
from terp.storage.runs import ProvenRows, Put, files_in
from terp.storage.shard import STORED, Stored

_NAME = "manifest"
NAMES = runs.names(_NAME)
_AT_ONCE = 4096  # regions whose rows are read together

Rows = np.ndarray[Any, Any]  # of STORED


@dataclass
class Summed:
    """What a manifest comes to: shards, their bytes in all, and the nodes above them, by values and by stored bytes."""

    shards: int = 0
    size: int = 0
    values: tree.Runs = field(default_factory=tree.above)
    stored: tree.Runs = field(default_factory=tree.above)

    def add(self, keys: Sequence[str], rows: Rows) -> None:
        """Take the shards that follow."""
        values, stored = tree.leaves(keys, rows["values"].tolist(), rows["blake3"].tolist())
        self.values.add(values)
        self.stored.add(stored)
        self.shards, self.size = self.shards + len(rows), self.size + int(rows["size"].sum())


def written(parts: Callable[[], Iterable[tuple[Sequence[str], Rows]]], put: Put) -> tuple[str, Summed]:
    """Write a manifest, of the keys of all shards in order and their rows, as `parts` walks them.

    Returns the digest that the seal holds, and what it comes to.
    """
    summed = Summed()

    def rows() -> Iterator[Rows]:
        nonlocal summed
        summed = Summed()
        for keys, some in parts():
            summed.add(keys, some)
            yield some

    def beside() -> Sequence[bytes]:
        return summed.values.digests()

    return runs.written(_NAME, STORED.itemsize, rows, put, beside), summed


class Manifest:
    """A manifest that is there; raises BadProduct where it is not the one of the seal. Pickled, it is opened again."""

    def __init__(self, folder: Path, groups: Sequence[Group], digest: str) -> None:
        self._made_by = folder, groups, digest
        counts = [group.regions * len(group.arrays) for group in groups]
        starts = np.cumsum([0, *counts])
        self._starts = {group.path: int(start) for group, start in zip(groups, starts, strict=False)}
        self._groups = {group.path: group for group in groups}
        total = int(starts[-1])
        read = files_in(folder)
        self._rows = ProvenRows(_NAME, STORED, total, digest, read, lambda one: f"{folder}/{one}", more=True)
        rows = folder / NAMES[0]
        with disk(rows):
            try:
                whole = rows.stat().st_size == total * STORED.itemsize
            except FileNotFoundError:
                whole = False
        if not whole:
            raise self._rows.damaged(NAMES[0])

    def __reduce__(self) -> tuple[type["Manifest"], tuple[Path, Sequence[Group], str]]:
        return type(self), self._made_by

    def shard(self, group: str, index: int, array: int) -> Stored:
        """Return what the shard of a region and an array (by its number in the group) is."""
        return Stored.from_row(self._rows.row(self._starts[group] + index * len(self._groups[group].arrays) + array))

    @property
    def nodes(self) -> bytes:
        """The nodes above the shards in the tree of values, one behind the other."""
        return self._rows.beside or tree.nodes(b"")

    def values(self, run: int) -> list[bytes]:
        """Return the digests of the values of the shards below a node."""
        found: list[bytes] = self._rows.run(run)["values"].tolist() if self._rows.total else []
        return found

    def rows(self, group: str) -> Iterator[tuple[int, Rows]]:
        """Walk the shards of a group, some at a time: number of the first region, and rows (regions, arrays)."""
        arrays, start = len(self._groups[group].arrays), self._starts[group]
        regions = self._groups[group].regions
        for first in range(0, regions, _AT_ONCE):
            last = min(first + _AT_ONCE, regions)
            yield first, self._rows.span(start + first * arrays, start + last * arrays).reshape(-1, arrays)
