"""Custody: what happened to an archived object after it was made, beside the archive, event by event.

`custody/events/SLUG/000001.json` and on: each file is one event, made once and never changed: canonical JSON of its
number, time, event, facts, and the BLAKE3 of the event before. Two who append at once make two events, one after the
other: a file that is there cannot be made again, on network file systems too.
What happens to nobody's harm and again and again, like an audit that finds nothing, has a record of its own instead.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blake3 import blake3

from terp.storage.canonical import canonical
from terp.storage.errors import BadPackage
from terp.storage.files import create_once, disk, make_folders, sync_folder

_NOTHING = "0" * 64


def slug(identifier: str) -> str:
    """Return the name by which custody knows an object: 32 hexadecimal digits of the SHA-256 of its identifier."""
    return hashlib.sha256(identifier.encode()).hexdigest()[:32]


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
        found, before = [], _NOTHING
        with disk(home):
            for number, path in enumerate(_files(home), 1):
                data = path.read_bytes()
                entry = _read(data)
                if entry is None or (entry["number"], entry["before"]) != (number, before):
                    raise BadPackage(f"{path} was altered, or one before it is gone: restore custody/ from a copy")
                found.append(entry)
                before = blake3(data).hexdigest()
        return found

    def _last(self, home: Path) -> tuple[int, str]:
        there = _files(home)
        if not there:
            return 0, _NOTHING
        return int(there[-1].stem), blake3(there[-1].read_bytes()).hexdigest()


def _files(home: Path) -> list[Path]:
    return sorted(home.glob("[0-9][0-9][0-9][0-9][0-9][0-9].json")) if home.is_dir() else []


def _read(data: bytes) -> dict[str, Any] | None:
    with suppress(ValueError, KeyError, TypeError):
        entry = json.loads(data)
        if canonical(entry) == data and isinstance(entry["facts"], dict):
            return dict(entry)
    return None
