"""Check an archived object against its inventory, reading everything; shares no code with what writes objects.

It asks what a reader in decades would ask: is all there, is nothing else there, is every byte what it was. The whole
of the OCFL specification is for OCFL validators.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finding:
    """Something wrong with an object: the path it concerns, relative to the object, and what is wrong."""

    path: str
    message: str


_BESIDE = {"0=ocfl_object_1.1", "inventory.json", "inventory.json.sha512", "extensions", "logs"}


def findings(home: Path, identifier: str) -> list[Finding]:
    """Return what is wrong with the object in folder `home`; nothing when it is as it was stored."""
    found = list(_inventories(home))
    try:
        inventory = json.loads((home / "inventory.json").read_bytes())
        return [
            *found,
            *_top(home, inventory["head"]),
            *_structure(home, inventory, identifier),
            *_content(home, inventory),
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [*found, Finding("inventory.json", f"cannot be read as an inventory: {error!r}")]


def _inventories(home: Path) -> Iterator[Finding]:
    """Compare every inventory with its checksum."""
    for path in [home / "inventory.json", *sorted(home.glob("v*/inventory.json"))]:
        name = path.relative_to(home).as_posix()
        try:
            digest = hashlib.sha512(path.read_bytes()).hexdigest()
            if path.with_name("inventory.json.sha512").read_text().split() != [digest, "inventory.json"]:
                yield Finding(name, f"does not fit its checksum in {name}.sha512")
        except (OSError, ValueError) as error:
            yield Finding(name, f"cannot be compared with its checksum: {error}")


def _top(home: Path, head: str) -> Iterator[Finding]:
    mark, copy = home / "0=ocfl_object_1.1", home / head / "inventory.json"
    if not mark.is_file() or mark.read_bytes() != b"ocfl_object_1.1\n":
        yield Finding(mark.name, "is missing or altered: it says that this folder is an OCFL object")
    if not copy.is_file() or copy.read_bytes() != (home / "inventory.json").read_bytes():
        yield Finding(f"{head}/inventory.json", "is not the same as inventory.json")


def _structure(home: Path, inventory: dict[str, Any], identifier: str) -> Iterator[Finding]:
    if inventory["id"] != identifier:
        yield Finding("inventory.json", f"is of another object, {inventory['id']!r}")
    wanted = {f"v{number}" for number in range(1, int(inventory["head"][1:]) + 1)}
    there = {path.name for path in home.iterdir()} - _BESIDE
    for version in sorted(wanted - (there & inventory["versions"].keys())):
        yield Finding(version, "is missing")
    for version in sorted(there - wanted):
        yield Finding(version, "is in no inventory; if an ingest was cut short, ingest again to finish or drop it")
    for version, about in inventory["versions"].items():
        for digest in about["state"].keys() - inventory["manifest"].keys():
            yield Finding("inventory.json", f"{version} has {about['state'][digest]} which is stored nowhere")


def _content(home: Path, inventory: dict[str, Any]) -> Iterator[Finding]:
    listed = {path: digest for digest, paths in inventory["manifest"].items() for path in paths}
    there = {path.relative_to(home).as_posix() for path in home.glob("v*/content/**/*") if not path.is_dir()}
    for path in sorted(there - listed.keys()):
        yield Finding(path, "is in no inventory")
    for path, digest in sorted(listed.items()):
        try:
            with (home / path).open("rb") as file:
                found = hashlib.file_digest(file, "sha512").hexdigest()
        except FileNotFoundError:
            yield Finding(path, "is missing")
        except OSError as error:
            yield Finding(path, f"cannot be read: {error.strerror}")
        else:
            if found != digest:
                yield Finding(path, "is not what was stored: its SHA-512 is another")
