"""Custody: what happened to an archived object after it was made, beside the archive, event by event.

`custody/events/SLUG/000001.json` and on: each file is one event, made once and never changed: canonical JSON of its
number, time, event, facts, and the BLAKE3 of the event before. Two who append at once make two events, one after the
other: a file that is there cannot be made again, on network file systems too.
What happens to nobody's harm and again and again, like an audit that finds nothing, has a record of its own instead.
Each place of copies keeps the events of what is there, too: see terp.storage.archive.keeping.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from terp.storage.archive.chain import NOTHING, Chain, digest, event, held_as, slug
from terp.storage.canonical import canonical
from terp.storage.errors import BadPackage
from terp.storage.files import create_once, disk, make_folders, sync_folder

__all__ = ["Events", "slug"]


class Events:
    """The events of all objects of an archive."""

    def __init__(self, custody: Path) -> None:
        self.folder = custody / "events"

    def append(self, identifier: str, event: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Add an event to those of an object, durably; return it as it was written."""
        home = self.folder / slug(identifier)
        with disk(home):
            make_folders(home)
            while True:
                number, before = self._last(home)
                moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                entry = {"number": number + 1, "time": moment, "event": event, "before": before}
                entry |= {"object": identifier, "facts": dict(facts)}
                with suppress(FileExistsError):  # somebody else appended meanwhile
                    create_once(home / f"{number + 1:06}.json", canonical(entry))
                    sync_folder(home)
                    return entry

    def of(self, identifier: str) -> list[dict[str, Any]]:
        """Return the events of an object, the oldest first; raises BadPackage where one was altered or is gone."""
        home = self.folder / slug(identifier)
        found, before = [], NOTHING
        with disk(home):
            for number, path in enumerate(_files(home), 1):
                data = path.read_bytes()
                entry = event(data, home.name, number)
                if entry is None or entry["before"] != before:
                    raise BadPackage(
                        f"{path} was altered, or one before it is gone: `terp repair` brings it back from a copy"
                    )
                found.append(entry)
                before = digest(data)
        return found

    def held(self, name: str) -> dict[int, bytes]:
        """Return what is there of an object that is known by its slug: the bytes of each event by its number."""
        with disk(self.folder):
            return {int(path.stem): path.read_bytes() for path in _files(self.folder / name)}

    def chain(self, name: str) -> Chain:
        """Return the events of an object that is known by its slug, as far as each fits the one before."""
        return held_as(name, self.held(name))

    def slugs(self) -> set[str]:
        """Return by what names all those are known of whom there are events."""
        with disk(self.folder):
            return {one.name for one in self.folder.iterdir()} if self.folder.is_dir() else set()

    def put_back(self, name: str, number: int, line: bytes) -> None:
        """Make an event anew that was there once; raises FileExistsError where another is there by now."""
        path = self.path(name, number)
        with disk(path):
            make_folders(path.parent)
            create_once(path, line)
            sync_folder(path.parent)

    def path(self, name: str, number: int) -> Path:
        """Return where an event is."""
        return self.folder / name / f"{number:06}.json"

    def _last(self, home: Path) -> tuple[int, str]:
        there = _files(home)
        if not there:
            return 0, NOTHING
        return int(there[-1].stem), digest(there[-1].read_bytes())


def _files(home: Path) -> list[Path]:
    return sorted(home.glob("[0-9][0-9][0-9][0-9][0-9][0-9].json")) if home.is_dir() else []
