"""What a repair did, noted with the object's events; so that none is forgotten, what it means to do is noted before.

`custody/repairs/TOKEN.json` is there from before the first file is replaced until the event is written. Whoever
repairs next looks what of it was done, and notes that.
"""

import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from terp.storage import files
from terp.storage.archive.custody import Events
from terp.storage.audit.reading import read_through
from terp.storage.canonical import canonical
from terp.storage.errors import BadPackage, PlaceTrouble
from terp.storage.places import Place

PART = "part-"  # how files begin that are on their way to the quarantine


@dataclass(frozen=True)
class Change:
    """A file of an object in a place: its SHA-512 before and after ("" where it was or is not there), and from where.

    `kept` is where in custody something is that was taken out of the place.
    """

    path: str
    old: str
    new: str
    sources: tuple[str, ...] = ()
    kept: str = ""


class Intent:
    """What will be changed of one object in one place."""

    def __init__(self, custody: Path, identifier: str, folder: str, place: str) -> None:
        self.custody, self.identifier, self.folder, self.place = custody, identifier, folder, place
        self.token = secrets.token_hex(8)
        self.changes: list[Change] = []
        self._failed: set[str] = set()

    def failed(self, path: str) -> None:
        """Take back what could not be changed."""
        self._failed.add(path)

    @property
    def path(self) -> Path:
        """Where it is noted."""
        return self.custody / "repairs" / f"{self.token}.json"

    def will(self, change: Change) -> None:
        """Note what will be changed next, durably."""
        self.changes.append(change)
        with files.disk(self.path):
            files.make_folders(self.path.parent)
            about = {"object": self.identifier, "folder": self.folder, "place": self.place}
            files.replace(self.path, canonical({**about, "changes": [asdict(one) for one in self.changes]}))

    def done(self) -> None:
        """Note what was changed with the object's events."""
        changes = [one for one in self.changes if one.path not in self._failed]
        if changes:
            _note(self.custody, self.identifier, self.place, self.token, changes)
        with suppress(OSError):
            self.path.unlink()


def _note(custody: Path, identifier: str, place: str, token: str, changes: Sequence[Change]) -> None:
    events = Events(custody)
    try:
        before = [one["facts"] for one in events.of(identifier) if one["facts"].get("repair") == token]
    except BadPackage:
        before = []
    known = {one["path"] for facts in before for one in facts["files"]}
    fresh: list[dict[str, Any]] = [asdict(one) for one in changes if one.path not in known]
    if fresh:
        events.append(identifier, "repaired", {"place": place, "repair": token, "files": fresh})


def finish(custody: Path, places: Sequence[Place]) -> None:
    """Note what earlier repairs did that were stopped before they could."""
    known = {place.name: place for place in places}
    for path in sorted((custody / "repairs").glob("*.json")):
        with suppress(ValueError, KeyError, TypeError, FileNotFoundError, PlaceTrouble):
            plain = json.loads(files.read_file(path))
            if plain["place"] not in known:
                continue
            place, start = known[plain["place"]], plain["folder"]
            changes = [Change(**{**one, "sources": tuple(one["sources"])}) for one in plain["changes"]]
            done = [one for one in changes if _digest(place, f"{start}/{one.path}" if start else one.path) == one.new]
            _note(custody, plain["object"], plain["place"], path.stem, done)
            path.unlink(missing_ok=True)


def _digest(place: Place, name: str) -> str:
    if name.endswith("/"):
        return ""
    try:
        return read_through(place.read(name), None, None, lambda _: None).sha512
    except FileNotFoundError:
        return ""
