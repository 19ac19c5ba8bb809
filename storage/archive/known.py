"""What is known of copies: a record for each object in each place, custody/copies/PLACE/SLUG.json, in canonical JSON.

It is there before the first byte goes to a place, and until the last is gone from it, so nothing is anywhere unknown.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from terp.storage import files
from terp.storage.archive.custody import Events, slug
from terp.storage.canonical import canonical
from terp.storage.errors import BadPackage

type State = Literal["waiting", "begun", "whole", "older", "going"]
"""waiting: to be bundled for tape; begun: on its way there; older: whole, of an older version; going: being removed."""


@dataclass(frozen=True)
class Copy:
    """A copy of an object in a place: which version, by the SHA-512 of its inventory, and the files with their sizes.

    `bundle` is the file on tape that it is in, if any: of several, the first.
    """

    object: str
    place: str
    kind: str
    state: State
    version: str
    inventory: str
    files: Mapping[str, int] = field(default_factory=dict)
    bundle: str = ""
    when: str = ""

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(self.files.values())


class Known:
    """The records of all copies of an archive."""

    def __init__(self, custody: Path) -> None:
        self.custody, self.folder = custody, custody / "copies"

    def write(self, copy: Copy) -> Copy:
        """Record a copy, as of now, durably; return it as recorded."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        copy = replace(copy, when=now)
        path = self.path(copy.place, copy.object)
        with files.disk(path):
            files.make_folders(path.parent)
            files.replace(path, canonical({**asdict(copy), "bytes": copy.size}))
        return copy

    def forget(self, place: str, identifier: str) -> None:
        """Remove the record of a copy that is no more."""
        path = self.path(place, identifier)
        with files.disk(path):
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                files.sync_folder(path.parent)

    def get(self, place: str, identifier: str) -> Copy | None:
        """Return the record of a copy, if there is one."""
        return _read(self.path(place, identifier))

    def of(self, identifier: str) -> list[Copy]:
        """Return the records of all copies of an object, by place."""
        found = (_read(path) for path in sorted(self.folder.glob(f"*/{slug(identifier)}.json")))
        return [copy for copy in found if copy]

    def at(self, place: str) -> Iterator[Copy]:
        """Yield the records of all copies in a place, by object."""
        found = [copy for path in (self.folder / place).glob("*.json") if (copy := _read(path))]
        yield from sorted(found, key=lambda copy: copy.object)

    def claims(self, place: str) -> Path:
        """Return the folder in which whoever works on a place says so."""
        return self.folder / place / "work"

    def removals(self, identifier: str) -> Path:
        """Return the folder in which whoever removes a copy of an object says so; no place has such a name."""
        return self.folder / ".removing" / slug(identifier)

    def bundles(self, place: str) -> Path:
        """Return the folder of what the bundles of a place hold."""
        return self.folder / place / "bundles"

    def lost(self, place: str) -> Path:
        """Return the folder of what was known of a place before it was declared lost (terp.storage.archive.lost)."""
        return self.folder / place / "lost"

    def aside(self, place: str, identifier: str = "") -> Iterator[Copy]:
        """Yield the records of copies that were declared lost with a place, of one object or all, the oldest first."""
        name = slug(identifier) if identifier else "[0-9a-f]" * 32
        for path in sorted(self.lost(place).glob(f"*/{name}.json")):
            if copy := _read(path):
                yield copy

    def is_lost(self, place: str, identifier: str) -> bool:
        """Say whether the copy of an object in a place was declared lost, and none is known there since."""
        return any(True for _ in self.aside(place, identifier)) and self.get(place, identifier) is None

    def arrived(self, copy: Copy, files: int, sent: int) -> Copy:
        """Record that a copy is whole, and note in the custody of the object what was sent for it."""
        facts = {"place": copy.place, "version": copy.version, "sha512": copy.inventory}
        Events(self.custody).append(copy.object, "copied", {**facts, "files": files, "bytes": sent})
        return self.write(replace(copy, state="whole"))

    def path(self, place: str, identifier: str) -> Path:
        """Return where the record of a copy is, if there is one."""
        return self.folder / place / f"{slug(identifier)}.json"


def _read(path: Path) -> Copy | None:
    try:
        plain = json.loads(files.read_file(path))
        del plain["bytes"]
        return Copy(**plain)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise BadPackage(f"{path} is no record of a copy: restore custody/ from a copy") from None
