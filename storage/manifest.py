"""The manifest of a sealed product: what every one of its shards is, proven without reading all of it.

manifest.rows   one row of the type STORED for each shard: group by group, region by region, array by array
manifest.sums   for each run of 256 rows its BLAKE3, and the node above its shards in the tree of values; the seal holds
                the BLAKE3 of this file. So a reader of one row reads and proves one run, be the shards a thousand or a
                million (see runs.py), and products are compared without what is equal
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from terp.storage import runs, tree
from terp.storage.files import disk
from terp.storage.grid import Group
from terp.storage.runs import ProvenRows, files_in
from terp.storage.shard import STORED, Stored

_NAME = "manifest"
NAMES = runs.names(_NAME)
_AT_ONCE = 4096  # regions whose rows are read together

Rows = np.ndarray[Any, Any]  # of STORED


def written(
    parts: Iterable[tuple[Sequence[str], Rows]], write: Callable[[str, bytes], None]
) -> tuple[str, bytes, bytes]:
    """Write a manifest by a function of name and content, of the keys of all shards in order and their rows.

    Returns the digest that the seal holds, and the nodes above the shards: by their values, and by their bytes.
    """
    rows, leaves = list[Rows](), list[list[bytes]]()
    for keys, some in parts:
        rows.append(some)
        leaves.append(tree.leaves(keys, some["values"].tolist(), some["blake3"].tolist()))
    values, stored = (tree.nodes(b"".join(one)) for one in zip((b"", b""), *leaves, strict=True))
    return runs.written(_NAME, rows, write, values), values, stored


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
