"""A few rows of a table of members, found in its text: to parse a million takes seconds, and a question needs three.

The table is canonical JSON (RFC 8785): its members and those of a row are in order, and a quotation mark within a text
is escaped, so what looks like the name or the key of a row is one.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from terp.storage.files import read_file
from terp.storage.package.packed import bad, demand_format, demand_rows, packages_of
from terp.storage.package.smallfiles import SmallFiles

_BEFORE, _BEHIND = b'"members":[', b'],"most":'
_ROW, _NEXT = b'{"blake3":"', b',{"blake3":"'

Row = Mapping[str, Any]


class Excerpt:
    """A table of members, of which only what is asked for is parsed; `files` tells where its packages are, by name.

    Raises BadPackage where the table, a package or what is asked for is not there, and DiskTrouble.
    """

    def __init__(self, table: Path, files: Mapping[str, Path]) -> None:
        self.table = table
        try:
            self._text = read_file(table)
            self._end = self._text.rindex(_BEHIND)
            start = self._text.index(_BEFORE) + len(_BEFORE)
            self._told: dict[str, Any] = json.loads(self._text[:start] + self._text[self._end :])
            demand_format(self._told, table)
            self._package = packages_of(self._told, table, files)[self._told["small"]]
        except (FileNotFoundError, ValueError, KeyError, TypeError, IndexError):
            raise bad(table) from None

    def shard(self, key: str) -> Row:
        """Return the row of a shard, by its key in the whole product."""
        for row in self._rows(b'"key":%s,' % json.dumps(key, ensure_ascii=False).encode()):
            return row
        raise bad(self.table)

    def small(self, path: str) -> SmallFiles:
        """Return the small files below a path of the whole."""
        rows = self._rows(b'"name":%s/' % json.dumps(path, ensure_ascii=False).encode()[:-1])
        return SmallFiles(self._package, {r["name"]: r for r in rows if r["package"] == self._told["small"]})

    def _rows(self, said: bytes) -> Iterator[Row]:
        """Walk the rows that say something, in order."""
        at = self._text.find(said, 0, self._end)
        while at >= 0:
            end = self._text.find(_NEXT, at, self._end)
            end = self._end if end < 0 else end
            try:
                row = json.loads(self._text[self._text.rindex(_ROW, 0, at) : end])
                demand_rows([row], len(self._told["packages"]))
            except (ValueError, KeyError, TypeError):
                raise bad(self.table) from None
            yield row
            at = self._text.find(said, end, self._end)
