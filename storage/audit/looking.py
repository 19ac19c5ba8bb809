"""What is there of an object in each place, and what should be: found out before any of it is read through."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol, runtime_checkable

from terp.storage.archive.custody import Events, slug
from terp.storage.audit.layout import Layout, layouts
from terp.storage.audit.sums import Contradiction, contradictions
from terp.storage.audit.truth import (
    INVENTORY,
    SIDECAR,
    Noted,
    Truth,
    Witness,
    head_in,
    identifier_in,
    sound_bytes,
    truth_of,
    witnesses,
)
from terp.storage.errors import BadPackage, NotStaged, PlaceTrouble
from terp.storage.places import Place

ARCHIVE = "archive"  # the place that has everything
TABLE = ".members.json"
_DIGEST_IN = {"ingested": "inventory", "copied": "sha512"}  # where events tell the SHA-512 of an inventory
UNFINISHED = ".terp-part-"  # in the name of a file that is being put into a place
STAGED = ("extensions/terp-staging/", "extensions/terp-destroying/")  # what is being made, or removed

type Files = Callable[[int], Mapping[str, str]]  # the SHA-512 of each file at a version


@runtime_checkable
class HasFolders(Protocol):
    """A place whose folders are there even if nothing is in them."""

    def empty_folders(self, prefix: str = "") -> Iterator[str]:
        """Yield those whose names begin with a prefix."""


@dataclass(frozen=True)
class There:
    """An object in one place: the sizes of its files by their paths, and the SHA-512 of those that should be there.

    `behind` says which version a copy has that was not renewed; "" where it is the newest.
    """

    sizes: Mapping[str, int]
    wanted: Mapping[str, str]
    version: int
    behind: str = ""


@dataclass(frozen=True)
class Looked:
    """An object in all places: what stands of it, what is where, and how its packages are laid out (by SHA-512).

    `contradictions` is what it says against itself.
    """

    truth: Truth
    there: Mapping[str, There]
    layouts: Mapping[str, Layout]
    away: Mapping[str, str] = field(default_factory=dict)
    contradictions: Sequence[Contradiction] = ()

    def same(self, other: "Looked", place: str) -> bool:
        """Say whether the same should be in a place as in another look."""
        mine, theirs = self.there.get(place), other.there.get(place)
        return mine is not None and theirs is not None and mine.wanted == theirs.wanted


@dataclass(frozen=True)
class Kept:
    """What custody noted of an object: its identifier, inventories by version, and versions by place of copy."""

    identifier: str
    inventories: Noted
    copies: Mapping[str, int]


def kept(custody: Path, identifier: str) -> Kept:
    """Return what custody noted of an object; raises BadPackage where that was altered."""
    inventories: dict[int, set[str]] = {}
    copies: dict[str, int] = {}
    for entry in Events(custody).of(identifier):
        facts = entry["facts"]
        with suppress(KeyError, ValueError, TypeError):
            version = int(str(facts["version"]).removeprefix("v"))
            digest = facts.get(_DIGEST_IN.get(entry["event"], ""), "")
            if len(digest) == 128:
                inventories.setdefault(version, set()).add(digest)
            if entry["event"] == "copied":
                copies[facts["place"]] = version
        if entry["event"] in ("uncopied", "copy lost"):
            copies.pop(facts.get("place", ""), None)
    return Kept(identifier, inventories, copies)


def known(custody: Path) -> list[str]:
    """Return the identifiers of all objects that custody knows of and that were not destroyed."""
    return [one for one in _ingested(custody) if not destroyed(custody, one)]


def _ingested(custody: Path) -> Iterator[str]:
    """Yield the identifiers of those that were ever ingested or copied: other things have events too."""
    for folder in sorted((custody / "events").glob("*")):
        for path in sorted(folder.glob("*.json")):
            with suppress(ValueError, KeyError, OSError, TypeError):
                entry = json.loads(path.read_bytes())
                if entry["event"] in _DIGEST_IN:
                    yield str(entry["object"])
                    break


def destroyed(custody: Path, identifier: str) -> bool:
    """Say whether an object was destroyed, or is being destroyed, as it should be."""
    return (custody / "tombstones" / f"{slug(identifier)}.json").exists()


def remains(looked: Looked, names: Collection[str]) -> list[str]:
    """Return where something is of an object that was destroyed: a place that was lost may have come back."""
    identifier = looked.truth.identifier
    there = [name for name in names if name != ARCHIVE and name in looked.there and looked.there[name].sizes]
    said = f"has something of {identifier}, which was destroyed"
    return [f"{name} {said}: `terp uncopy {identifier} --from {name}` removes it" for name in there]


def look(places: Sequence[Place], custody: Path, folder: str) -> Looked:
    """Look at an object in all places; what does not answer is told in `away`."""
    names: dict[str, dict[str, int]] = {}
    away: dict[str, str] = {}
    heard = list[Witness]()
    for place in places:
        try:
            names[place.name] = listed(place, folder)
            heard += witnesses(place, folder, names[place.name])
        except NotStaged:
            continue  # what is known of it stands elsewhere
        except PlaceTrouble as trouble:
            away[place.name] = str(trouble)
            names.pop(place.name, None)
    identifier = identifier_in(folder, heard)
    doubts = list[str]()
    try:
        noted = kept(custody, identifier)
    except BadPackage as altered:
        noted = Kept(identifier, {}, {})
        doubts.append(str(altered))
    truth = truth_of(identifier, folder, heard, noted.inventories)
    truth = Truth(truth.identifier, folder, truth.inventories, (*truth.doubts, *doubts))
    files = cache(truth.files)  # for places with the same version
    there = {name: _there(name, sizes, truth, files, heard, noted) for name, sizes in names.items()}
    there = {name: one for name, one in there.items() if one.sizes or name == ARCHIVE or name in noted.copies}
    return Looked(truth, there, _layouts(places, truth, files), away, contradictions(places, truth))


def listed(place: Place, folder: str) -> dict[str, int]:
    """Return the files of an object in a place by their paths in it, with their sizes."""
    start = f"{folder}/"
    found = {one.name.removeprefix(start): one.size for one in place.list(start) if one.name.startswith(start)}
    found |= {name.removeprefix(start): -1 for name in empty_folders(place, start)}
    return {name: size for name, size in found.items() if not name.rpartition("/")[2].startswith(UNFINISHED)}


def empty_folders(place: Place, prefix: str = "") -> Iterator[str]:
    """Yield the folders of a place in which nothing is, with a "/" at their end, where it has folders at all."""
    if isinstance(place, HasFolders):
        yield from (f"{name}/" for name in place.empty_folders(prefix))


def _there(
    name: str, sizes: Mapping[str, int], truth: Truth, files: Files, heard: Sequence[Witness], noted: Kept
) -> There:
    """Hold a place to the newest version that it has, by an inventory of any state, or that it was given."""
    seen = [number for number in truth.inventories if {f"v{number}/{INVENTORY}", f"v{number}/{SIDECAR}"} & sizes.keys()]
    least = truth.head if name == ARCHIVE or (INVENTORY in sizes and not seen) else noted.copies.get(name, 0)
    version = min(max(head_in(name, truth, heard), least, *seen, 0), truth.head)
    behind = ""
    if version < truth.head:
        behind = (
            f"v{version}, where the archive has v{truth.head}" if version else "no version yet: it is there in part"
        )
        unfinished = files(truth.head).keys() - (files(version).keys() if version else set())
        sizes = {path: size for path, size in sizes.items() if path not in unfinished}
    return There(sizes, files(version) if version else {}, version, behind)


def _layouts(places: Sequence[Place], truth: Truth, files: Files) -> dict[str, Layout]:
    """Return how the packages of an object are laid out, by tables that are what the inventory says."""
    found: dict[str, Layout] = {}
    if truth.head:
        for path, digest in files(truth.head).items():
            if path.endswith(TABLE):
                table = sound_bytes(places, f"{truth.folder}/{path}", digest)
                with suppress(ValueError):
                    found |= layouts(table) if table is not None else {}
    return found
