"""A place on tape as an audit sees it: the files that are in its bundles, by the tables that custody keeps of them.

A bundle is read once, as a whole, against the SHA-512 that was noted when it was written; only where that is another
are the files in it read one by one. Its table (`custody/copies/PLACE/bundles/BUNDLE.json`) names each with where it
lies, so what is damaged is told as anywhere else.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from terp.storage import files
from terp.storage.audit.damage import ADDED, ALTERED, LOST, Damage
from terp.storage.audit.reading import read_through
from terp.storage.errors import BadPackage, PlaceTrouble
from terp.storage.places import Place, Stored


class Bundled:
    """The files in the bundles of a place; it can only be read. Raises BadPackage where a table cannot be."""

    kind = "tape"

    def __init__(self, tape: Place, custody: Path) -> None:
        self.name, self._tape, self._lost = tape.name, tape, custody / "copies" / tape.name / "lost"
        tables = [_table(path) for path in sorted((custody / "copies" / tape.name / "bundles").glob("*.json"))]
        self._known = {table["bundle"] for table in tables}
        self._tables = [table for table in tables if table["sha512"]]  # the others are being written
        self._members = {
            one["name"]: (table["bundle"], one["offset"], one["size"])
            for table in self._tables
            for one in table["members"]
        }
        self._proven: dict[str, bool] = {}
        self._lock = threading.Lock()

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield the files in those bundles that are there."""
        there = {one.name for one in self._tape.list()}
        for name, (bundle, _, size) in sorted(self._members.items()):
            if name.startswith(prefix) and bundle in there:
                yield Stored(name, size)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a file out of its bundle; raises NotStaged."""
        if name not in self._members:
            raise FileNotFoundError(name)
        bundle, start, whole = self._members[name]
        left = max(whole - offset, 0)
        yield from self._tape.read(bundle, start + offset, left if size is None else min(size, left))

    def put(self, name: str, source: Path, sha512: str | None = None, told: Callable[[int], object] = int) -> None:
        """Refuse."""
        raise self._fixed()

    def write(self, name: str, data: bytes) -> None:
        """Refuse."""
        raise self._fixed()

    def delete(self, name: str) -> None:
        """Refuse."""
        raise self._fixed()

    def clear(self, prefix: str) -> int:
        """Refuse."""
        raise self._fixed()

    def sweep(self, prefix: str = "") -> None:
        """Do nothing: what is written there is not written by way of this."""

    def holds(self, identifier: str) -> tuple[str, str]:
        """Return in which bundle an object is, and the SHA-512 of its inventory, as the tables tell; "" for none."""
        for table in self._tables:
            if identifier in table["objects"]:
                return table["bundle"], table["objects"][identifier]["inventory"]
        return "", ""

    def stage(self, names: Sequence[str]) -> Sequence[str]:
        """Ask for the bundles of files; return the files whose bundles are not there yet."""
        bundles = sorted({self._members[name][0] for name in names if name in self._members})
        waiting = set(self._tape.stage(bundles)) if bundles else set()
        return [name for name in names if name in self._members and self._members[name][0] in waiting]

    def _fixed(self) -> PlaceTrouble:
        return PlaceTrouble(f"the files of {self.name} are in bundles, of which none is changed: copy the object anew")

    def is_proven(self, name: str, count: Callable[[int], object]) -> bool:
        """Say whether the bundle that a file is in was read whole, and is what was written; reads it the first time."""
        bundle = self._members[name][0] if name in self._members else ""
        with self._lock:
            if bundle and bundle not in self._proven:
                wanted = next(table["sha512"] for table in self._tables if table["bundle"] == bundle)
                tries = (read_through(self._tape.read(bundle), None, None, count).sha512 == wanted for _ in range(2))
                self._proven[bundle] = any(tries)
            return self._proven.get(bundle, False)

    def beside(self) -> Sequence[Damage]:
        """Return what is wrong with the bundles as far as their names and sizes tell."""
        there = {one.name for one in self._tape.list() if ".terp-part-" not in one.name}
        whole = {table["bundle"] for table in self._tables}
        found = [self._damage(name, LOST, "is gone, with all that was in it") for name in sorted(whole - there)]
        return found + [self._damage(name, ADDED, self._what(name)) for name in sorted(there - self._known)]

    def _what(self, name: str) -> str:
        if any(self._lost.glob(f"*/bundles/{name}.json")):
            return "is there again, though this place was declared lost: `terp copy` makes its copies anew, remove it"
        return "was added: no table tells of it"

    def broken(self) -> Sequence[Damage]:
        """Return the bundles that were read and are not what was written."""
        what = "is not what was written: what of the files in it is damaged is told by their names"
        return [self._damage(bundle, ALTERED, what) for bundle, sound in self._proven.items() if not sound]

    def _damage(self, bundle: str, kind: str, what: str) -> Damage:
        return Damage(self.name, "", bundle, kind, what)


def _table(path: Path) -> Mapping[str, Any]:
    try:
        table: dict[str, Any] = json.loads(files.read_file(path))
        _ = table["sha512"], table["size"], [(one["name"], one["offset"], one["size"]) for one in table["members"]]
        if table["bundle"] == path.stem:
            return table
    except (ValueError, KeyError, TypeError):
        pass
    raise BadPackage(f"{path} does not tell what is in a bundle: restore custody/ from a copy")
