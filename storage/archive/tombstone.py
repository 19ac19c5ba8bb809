"""Tombstones: what is known of an archived object that was destroyed, or is being destroyed.

`custody/tombstones/SLUG.json` is there from before the first byte goes, and stays for ever. While it says that an
object is being destroyed, nothing that may be left of it counts as an object.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terp.storage.archive.custody import slug
from terp.storage.canonical import canonical
from terp.storage.errors import BadPackage, Destroyed
from terp.storage.files import disk, make_folders, replace

FORMAT = "terp tombstone 1"
GOING, DESTROYED = "being destroyed", "destroyed"


@dataclass(frozen=True)
class Tombstone:
    """What a tombstone says, and where it is."""

    path: Path
    plain: dict[str, Any]

    @property
    def identifier(self) -> str:
        """The identifier of the object."""
        return str(self.plain["identifier"])

    @property
    def state(self) -> str:
        """Whether the object is destroyed, or being destroyed."""
        return str(self.plain["state"])

    @property
    def runs(self) -> list[str]:
        """The runs whose results the object held, and whose records went with it."""
        return list(self.plain.get("runs", []))

    def __str__(self) -> str:
        by = f"ground: {self.plain['ground']}"
        if self.state == DESTROYED:
            return f"destroyed on {self.plain['destroyed'][:10]}, {by}, statement at {self.path.with_suffix('.md')}"
        return f"being destroyed since {self.plain['since'][:16]}, {by}"

    def error(self) -> Destroyed:
        """Return the error that the object is not there any more."""
        if self.state == DESTROYED:
            return Destroyed(f"{self.identifier} was {self}")
        return Destroyed(f"{self.identifier} is {self}: `terp destroy {self.identifier} --execute` finishes it")


def path_of(custody: Path, identifier: str) -> Path:
    """Return where the tombstone of an object is, if there is one."""
    return custody / "tombstones" / f"{slug(identifier)}.json"


def find(custody: Path, identifier: str) -> Tombstone | None:
    """Return the tombstone of an object, or None; raises BadPackage where it cannot be read."""
    path = path_of(custody, identifier)
    with disk(path):
        return _read(path) if path.exists() else None


def tombstones(custody: Path) -> Iterator[Tombstone]:
    """Yield all tombstones."""
    with disk(custody):
        paths = sorted((custody / "tombstones").glob("[0-9a-f]*.json"))
    yield from (_read(path) for path in paths if len(path.stem) == 32)


def demand_none(custody: Path, identifier: str) -> None:
    """Raise Destroyed where an object is destroyed or being destroyed."""
    found = find(custody, identifier)
    if found:
        raise found.error()


def write(custody: Path, plain: dict[str, Any]) -> Tombstone:
    """Write the tombstone of an object, whole and durable."""
    path = path_of(custody, plain["identifier"])
    with disk(path):
        make_folders(path.parent)
    replace(path, canonical({"format": FORMAT, **plain}))
    return Tombstone(path, plain)


def weight(name: str, data: bytes) -> int:
    """Return how much a tombstone says: 2 that its object was destroyed, 1 that it is being destroyed, 0 nothing.

    `name` is the slug of the object that it has to be of.
    """
    plain = parsed(data)
    if plain is None or slug(plain["identifier"]) != name:
        return 0
    return 2 if plain["state"] == DESTROYED else 1


def parsed(data: bytes) -> dict[str, Any] | None:
    """Return a tombstone as it reads; None where it is none."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        plain = json.loads(data)
        if plain["format"] == FORMAT and plain["state"] in (GOING, DESTROYED) and isinstance(plain["identifier"], str):
            return dict(plain)
    return None


def _read(path: Path) -> Tombstone:
    with disk(path):
        plain = parsed(path.read_bytes())
    if plain is None:
        raise BadPackage(f"the tombstone {path} is damaged: `terp repair` brings it back from a copy")
    return Tombstone(path, plain)
