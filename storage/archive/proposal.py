"""Proposal of a destruction: all that would go, to the last file, and whether it may.

custody/destructions/SLUG.json   the specification, canonical JSON: these very bytes are signed
custody/destructions/SLUG.files  every file of every part: a JSON line each of part, name and size in bytes
custody/destructions/SLUG.*.sig  signatures of people (terp.storage.signature)
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from terp.storage.archive import erasing
from terp.storage.archive.custody import Events, slug
from terp.storage.archive.erasing import Wanted, strays, walk
from terp.storage.archive.hold import holds
from terp.storage.archive.known import Copy, Known
from terp.storage.archive.objects import Archive
from terp.storage.archive.ocfl import identifier_of, newest, place, sha512_of
from terp.storage.archive.retention import POLICY, Standing, policy_of, standing, unbegun
from terp.storage.errors import BadPackage, PlaceTrouble
from terp.storage.files import disk
from terp.storage.home import Home
from terp.storage.places.place import Place, Stored

FORMAT = "terp destruction 1"
SAME = "files that are the same"  # elsewhere in the home, by size and SHA-512


@dataclass(frozen=True)
class Scope:
    """What those know of an object who made it: where copies can be, working folders and runs, what came of it.

    `folders` are within the home. `busy` says, in sentences, what is being worked on. `files_at` tells the files of an
    object in a place, and `remove_at` removes them.
    """

    places: Mapping[str, Place] = field(default_factory=dict)
    folders: Sequence[Path] = ()
    runs: Sequence[str] = ()
    derived: Sequence[str] = ()
    busy: Sequence[str] = ()
    files_at: Callable[[Place, str], Iterable[Stored]] = erasing.files_at
    remove_at: Callable[[Place, str], object] = erasing.remove_at


@dataclass(frozen=True)
class Part:
    """A part of what would go: where it is, and each of its files with its size in bytes."""

    where: str
    files: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return sum(size for _, size in self.files)

    def lines(self) -> Iterator[bytes]:
        """Yield a line for each file."""
        for name, size in self.files:
            yield json.dumps([self.where, name, size], ensure_ascii=False).encode() + b"\n"

    def to_json(self) -> dict[str, Any]:
        """Return plain values: the files as their number and a digest of their lines."""
        listing = hashlib.sha512(b"".join(self.lines())).hexdigest()
        return {"where": self.where, "files": len(self.files), "bytes": self.size, "listing": listing}


@dataclass(frozen=True)
class Survey:
    """All that is there of an object: its parts, places that do not answer, and what forbids to say that it is all.

    `files` are those of the object by their paths in it; `also_held` are other archived objects with the same files.
    """

    parts: tuple[Part, ...]
    files: Mapping[str, Mapping[str, Any]]
    away: Mapping[str, str]
    also_held: tuple[str, ...]
    links: tuple[str, ...]


def survey(home: Home, identifier: str, scope: Scope) -> Survey:
    """Look at all that there is of an object; nothing is changed."""
    root = home.archive / place(identifier)
    files = _files(root)
    mine = (root, *scope.folders, erasing.aside(home, identifier))
    inner = [one.relative_to(home.root).as_posix() for one in mine if one.exists()]
    held, found = strays(home, Wanted.of(files), inner)
    parts, away = [], {}
    for name in inner:
        where = "archive" if home.root / name == root else f"folder {name}"
        there = {f"{name}/{path}": about.st_size for path, about in walk(home.root / name)}
        parts.append(Part(where, tuple(sorted(there.items()))))
    if found:
        sizes = {name: (home.root / name).stat().st_size for name in found}
        parts.append(Part(SAME, tuple(sorted(sizes.items()))))
    for called, one in scope.places.items():
        try:
            stored = tuple(sorted((file.name, file.size) for file in scope.files_at(one, identifier)))
        except PlaceTrouble as trouble:
            away[called] = str(trouble)
            continue
        parts += [Part(f"place {called}", stored)] if stored else []
    local = [home.root / name for part in parts if not part.where.startswith("place ") for name, _ in part.files]
    links = (*_elsewhere(home, mine), *_linked(home, local), *_in_products(home, found))
    return Survey(tuple(parts), files, away, _identifiers(home, held), links)


def specification(home: Home, identifier: str, scope: Scope, found: Survey, by: str, moment: str) -> dict[str, Any]:
    """Return what is proposed, as plain values: what, of when, on what ground, and every part of it.

    Raises BadPolicy where the object has none that can be read.
    """
    policy = policy_of(home, identifier)
    about = standing(home, identifier, date.fromisoformat(moment[:10]))
    inventory = newest(home.archive / place(identifier))[0]
    return {
        "format": FORMAT,
        "object": identifier,
        "title": inventory["versions"][inventory["head"]]["message"],
        "versions": versions(home, identifier),
        "archiefvormer": policy.archiefvormer.naam,
        "ground": {
            "waardering": policy.waardering,
            "selectielijst": policy.selectielijst.model_dump(mode="json"),
            "bewaartermijn": policy.bewaartermijn.model_dump(mode="json") if policy.bewaartermijn else None,
            "start": str(about.start),
            "end": str(about.end),
            "policy": {"version": policy.version, "dated": str(policy.dated), "sha512": _policy_sum(home, identifier)},
        },
        "files": {path: dict(one) for path, one in found.files.items()},
        "parts": [part.to_json() for part in found.parts],
        "runs": list(scope.runs),
        "derived": list(scope.derived),
        "also_held": list(found.also_held),
        "exported": _exported(home, identifier),
        "proposed": {"time": moment, "by": by},
    }


def versions(home: Home, identifier: str) -> dict[str, str]:
    """Return the versions that an object has now, each with when it was made."""
    inventory = newest(home.archive / place(identifier))[0]
    return {version: one["created"] for version, one in inventory["versions"].items()}


def unmet(home: Home, identifier: str, scope: Scope, found: Survey, on: date) -> list[str]:
    """Say which conditions of a destruction are not met on a day, as sentences; those of signatures are not of them."""
    about = standing(home, identifier, on)
    said = [f"it is {one}" for one in holds(Events(home.custody).of(identifier))]
    said += _untimely(about, on)
    said += [f"the place {name} is not registered, and a copy is there" for name in _strangers(home, identifier, scope)]
    said += [unseen(copy.place) for copy in _unseen(home, identifier, scope, found)]
    return [*said, *found.links, *scope.busy]


def unseen(name: str) -> str:
    """Say that a copy is known to be in a place and is not seen there."""
    return (
        f"the place {name} has nothing of it, though a whole copy is known to be there: is it mounted, and its path in "
        f"places.toml the right one? If it is gone for good, `terp places --lost {name}` says so; "
        "if only that copy is, `terp uncopy` forgets it"
    )


def _unseen(home: Home, identifier: str, scope: Scope, found: Survey) -> list[Copy]:
    seen = {part.where.removeprefix("place ") for part in found.parts} | found.away.keys()
    known = Known(home.custody)
    copies = (known.get(name, identifier) for name in scope.places if name not in seen)
    return [copy for copy in copies if copy and copy.state == "whole"]


def _untimely(about: Standing, on: date) -> list[str]:
    policy = about.policy
    if policy is None or policy.waardering != "V":
        return list(about.why) if policy is None else [f"waardering {policy.waardering}: only V is destroyed"]
    said = []
    if policy.bewaartermijn is None:
        said.append("its policy sets no bewaartermijn")
    elif about.end is None:
        said.append(f"its term has not begun, {unbegun(policy.bewaartermijn)}")
    elif on < about.end:
        said.append(f"its term has not run out: it is kept until {about.end}")
    if policy.selectielijst.geldigTot < on:
        said.append(
            f"the selectielijst {policy.selectielijst.naam!r} ended on {policy.selectielijst.geldigTot}: archive it "
            "again under a policy with one that is in force (L4)"
        )
    return said


def changes(old: Mapping[str, Any], new: Mapping[str, Any], away: Mapping[str, str]) -> list[str]:
    """Say what is otherwise than it was proposed; of places that do not answer nothing is known."""
    said = []
    was, now = ({part["where"]: part for part in one["parts"]} for one in (old, new))
    for where in sorted(was.keys() | now.keys()):
        if was.get(where) != now.get(where) and where.removeprefix("place ") not in away:
            before, after = _counted(was.get(where)), _counted(now.get(where))
            said.append(f"{where} has changed since it was proposed: it had {before}, and has {after}")
    same = set(old) - {"parts", "proposed", "format"}
    said += [f"its {key} changed since it was proposed" for key in sorted(same) if old.get(key) != new.get(key)]
    return said


def _counted(part: Mapping[str, Any] | None) -> str:
    return f"{part['files']:,} files of {part['bytes']:,} bytes ({part['listing'][:8]})" if part else "nothing"


def _files(root: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-512 of an object's files by path, as its inventory tells; its inventories are read."""
    with disk(root):
        if not root.is_dir():
            raise BadPackage(f"there is no object in {root}: `terp ls` lists what is there")
        known = {path: digest for digest, paths in newest(root)[0]["manifest"].items() for path in paths}
        inventories = {path.relative_to(root).as_posix() for path in root.rglob("inventory.json")}
        there = {name: about.st_size for name, about in walk(root)}
        known |= {name: sha512_of(root / name) for name in inventories}
    return {path: {"sha512": known[path], "size": there.get(path, 0)} for path in sorted(known)}


def _policy_sum(home: Home, identifier: str) -> str:
    return Archive(home.archive).digests(identifier)[POLICY]


def _identifiers(home: Home, held: Mapping[str, str]) -> tuple[str, ...]:
    with disk(home.archive):
        return tuple(sorted(identifier_of(home.archive / folder) for folder in held))


def _linked(home: Home, paths: Sequence[Path]) -> Iterator[str]:
    """Say which files have more names than are known: their bytes would stay under the others."""
    names: dict[tuple[int, int], list[Path]] = {}
    for path in paths:
        about = path.stat()
        if about.st_nlink > 1:
            names.setdefault((about.st_dev, about.st_ino), []).append(path)
    for known in names.values():
        count = known[0].stat().st_nlink
        if count > len(known):
            yield (
                f"{known[0].relative_to(home.root)} has {count} names (hard links), and {len(known)} of them are "
                f"known here: find the others with `find / -samefile {known[0]}` and remove them"
            )


def _elsewhere(home: Home, folders: Iterable[Path]) -> Iterator[str]:
    """Say which folders, and what in products, are links: the bytes would stay where those lead to."""
    for folder in folders:
        below = folder.rglob("*") if folder.is_relative_to(home.products) and not folder.is_symlink() else ()
        for one in (folder, *below):
            if one.is_symlink():
                yield (
                    f"{one.relative_to(home.root)} is a link to {os.readlink(one)}: the bytes there would stay; "
                    "put them in its place, or remove both"
                )


def _in_products(home: Home, same: Mapping[str, str]) -> Iterator[str]:
    """Say which products of others would be broken: a file of theirs is the same, and they are not of the object."""
    for name, which in same.items():
        product = home.products / (home.root / name).relative_to(home.products).parts[0] if _is_in(home, name) else None
        if product and (product / "product.json").exists():
            yield (
                f"{name} is the same as {which}, and a part of the product {product.name}, which is another's: "
                f"remove that first (`terp rm {product.name}`), or keep it elsewhere"
            )


def _is_in(home: Home, name: str) -> bool:
    return (home.root / name).is_relative_to(home.products)


def _exported(home: Home, identifier: str) -> list[str]:
    """Say where parts or copies of an object left to: those are others' now, and out of reach."""
    events = (one for one in Events(home.custody).of(identifier) if one["event"] == "exported")
    return [f"{one['facts'].get('as', '')} of {one['time'][:10]} to {one['facts'].get('to', '')}" for one in events]


def _strangers(home: Home, identifier: str, scope: Scope) -> list[str]:
    """Return the places that custody has a copy in, and that are not registered."""
    told = (home.custody / "copies").glob(f"*/{slug(identifier)}.json")
    return sorted({path.parent.name for path in told} - scope.places.keys())
