"""A few rows of a table of members, found in its text: to parse a million takes seconds, and a question needs three.

The table is canonical JSON (RFC 8785): its members and those of a row are in order, and a quotation mark within a text
is escaped, so what looks like the beginning of a row is one. Rows are in the order of the packages and of what is in
each (see packing.py), so that one is found by halving: a few pages of the table are read, and none of the rest.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from terp.storage.files import disk, read_at
from terp.storage.grid import Array, Group
from terp.storage.package.bands import Cut
from terp.storage.package.packed import bad, demand_format, demand_rows, packages_of
from terp.storage.package.packing import rank
from terp.storage.package.smallfiles import SmallFiles
from terp.storage.small import META

_PAGE = 1 << 13  # bytes that are looked through at a time: some rows
_ROW = b'{"blake3":"'
_BEFORE, _BETWEEN, _BEHIND = b'"members":[' + _ROW, b"," + _ROW, b'],"most":'

Row = Mapping[str, Any]


class Excerpt:
    """A table of members, of which only what is asked for is read; `files` tells where its packages are, by name.

    Raises BadPackage where the table, a package or what is asked for is not there, and DiskTrouble.
    """

    def __init__(self, table: Path, files: Mapping[str, Path]) -> None:
        self.table = table
        try:
            self._text = _Text(table)
            self._start, self._end, self._told = _around_rows(self._text)
            demand_format(self._told, table)
            self._package = packages_of(self._told, table, files)[self._told["small"]]
            self._cut = Cut(**self._told["bands"]) if self._told["bands"] else None
        except (FileNotFoundError, ValueError, KeyError, TypeError, IndexError):
            raise bad(table) from None

    def shard(self, group: Group, array: Array, index: int) -> Row:
        """Return the row of the shard of an array in one of the regions of its group."""
        key = group.shard_key(array, index)
        package, name = self._cut.member(group, array, index) if self._cut else (0, key)
        row = next(self._rows(package, name), {})
        if row.get("key") != key:
            raise bad(self.table)
        return row

    def small(self, path: str) -> SmallFiles:
        """Return the small files below a path of the whole: metadata, and what is no shard."""
        package = self._told["small"]
        metadata = takewhile(lambda row: row["name"] == f"{path}/{META}", self._rows(package, f"{path}/{META}"))
        others = takewhile(
            lambda row: row["package"] == package and row["name"].startswith(f"{path}/") and "key" not in row,
            self._rows(package, f"{path}/"),
        )
        return SmallFiles(self._package, {row["name"]: row for row in (*metadata, *others)})

    def _rows(self, package: int, name: str) -> Iterator[Row]:
        """Walk the rows in order, from that of a member, or where it would be."""
        wanted, low, high = (package, *rank(name)), self._start, self._end
        while low < high:
            start = self._text.rfind(_ROW, low, (low + high) // 2 + len(_ROW))
            row, end = self._row(start)
            if (row["package"], *rank(row["name"])) < wanted:
                low = end
            else:
                high = start
        while high < self._end:
            row, high = self._row(high)
            yield row

    def _row(self, start: int) -> tuple[Row, int]:
        """Return the row that begins there, and where the next one does."""
        if start < 0:  # cut short since it was opened
            raise bad(self.table)
        end = self._text.find(_BETWEEN, start, self._end)
        end = self._end if end < 0 else end
        try:
            row: Row = json.loads(self._text[start:end])
            demand_rows([row], len(self._told["packages"]))
        except (ValueError, KeyError, TypeError):
            raise bad(self.table) from None
        return row, end + len(_BETWEEN) - len(_ROW)


class _Text:
    """The text of a file, of which only what is looked at is read. It is not mapped: a disk that fails would end us."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(path)
        with disk(path):
            self.path, self.size = path, path.stat().st_size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        with disk(self.path), self.path.open("rb") as file:
            return read_at(file.fileno(), start, stop - start)

    def find(self, wanted: bytes, start: int, end: int) -> int:
        """Return where something is first, between two places; -1 where it is not."""
        for at in range(start, end, _PAGE):
            found = self[at : min(at + _PAGE + len(wanted) - 1, end)].find(wanted)
            if found >= 0:
                return at + found
        return -1

    def rfind(self, wanted: bytes, start: int, end: int) -> int:
        """Return where something is last, between two places; -1 where it is not."""
        for stop in range(end, start, -_PAGE):
            at = max(stop - _PAGE, start)
            found = self[at : min(stop + len(wanted) - 1, end)].rfind(wanted)
            if found >= 0:
                return at + found
        return -1


def _around_rows(text: _Text) -> tuple[int, int, dict[str, Any]]:
    """Return where the rows begin and end, and all else that the table says; raises ValueError where it is none."""
    start, end = text.find(_BEFORE, 0, text.size) + len(_BEFORE) - len(_ROW), text.rfind(_BEHIND, 0, text.size)
    return start, end, json.loads(text[:start] + text[end:])
