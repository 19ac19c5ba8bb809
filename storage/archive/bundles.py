"""Copies on tape: few large files. A bundle is a ZIP64 that only stores: an OCFL storage root of one or more objects.

An object that is large enough is a bundle, or several where it is larger than a file there may be; smaller ones wait
until together they are. What is in each bundle, with
offset, size and digests, is kept beside the archive (custody/copies/PLACE/bundles), so that nobody has to stage a
file to know what it holds. Unzipped into one folder, bundles are an OCFL storage root again.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from terp.storage import files
from terp.storage.archive.known import Copy, Known, State
from terp.storage.archive.original import Original
from terp.storage.archive.zipping import Member, proven, write_bundle
from terp.storage.canonical import canonical
from terp.storage.errors import BadPackage, NotStaged, PlaceTrouble, StorageError
from terp.storage.meter import Meter, Tell, size
from terp.storage.places import Stored, Tape
from terp.storage.places.place import blocks

type Index = Mapping[str, Any]
"""What a bundle holds: its name, size and SHA-512, its members, and its objects by identifier."""


def indices(known: Known, place: str) -> list[Index]:
    """Return what is known of all bundles in a place, by their names."""
    return [_read(path) for path in sorted(known.bundles(place).glob("*.json"))]


def _read(path: Path) -> Index:
    with files.disk(path):
        found = path.stat()
    return _parsed(path, found.st_mtime_ns, found.st_ino)


@lru_cache(maxsize=4096)  # they are asked for at each file that is read
def _parsed(path: Path, changed: int, inode: int) -> Index:  # noqa: ARG001
    try:
        index: Index = json.loads(files.read_file(path))
        assert index["bundle"] == path.stem
    except (ValueError, KeyError, TypeError, AssertionError):
        raise BadPackage(f"{path} does not tell what is in a bundle: restore custody/ from a copy") from None
    return index


def send(
    known: Known, place: Tape, wanted: Sequence[Original], archive: Path, sizes: tuple[int, int], tell: Tell
) -> Iterator[tuple[Copy, int, str]]:
    """Bring objects to tape in bundles; yield each copy, bytes sent, and what it waits for.

    `sizes` are the bytes of a bundle at least, and at most: only a file that is larger itself makes a larger bundle.

    Those that wait from earlier go with them.
    """
    demand_there(known, place)
    place.sweep()
    for index in indices(known, place.name):
        if index["size"] < 0:  # cut short while it was made
            _drop(known, place, index)
    todo = {one.identifier: one for one in _waiting(known, place.name, archive)}
    for original in wanted:
        record = known.get(place.name, original.identifier)
        if record and _rests(known, place, record, original):
            yield record, 0, ""
        else:
            todo[original.identifier] = original
    for original in list(todo.values()):
        if there := _bundles_of(known, place, original):  # cut short behind that
            yield _settle(known, place, todo.pop(original.identifier), there, archive, tell)
    least, most = sizes
    groups, rest = _grouped([todo[name] for name in sorted(todo)], least)
    for group in groups:
        made = [_bundle(known, place, part, tell) for part in _cut([_group(one) for one in group], most)]
        for original in group:
            yield _settle(known, place, original, made, archive, tell)
    together = sum(_size(one) for one in rest)
    for original in rest:
        why = f"{size(together)} are together, and go as one file when they are {size(least)}"
        yield known.write(_record(known, place, original, "waiting")), 0, why


def _settle(
    known: Known, place: Tape, original: Original, made: Sequence[Index], archive: Path, tell: Tell
) -> tuple[Copy, int, str]:
    """Record that an object is whole in its bundles, and take older versions of it out of others."""
    names = [index["bundle"] for index in made]
    for old in indices(known, place.name):
        if original.identifier in old["objects"] and old["bundle"] not in names:
            _without(known, place, original.identifier, old, archive, tell)
    copy = replace(_record(known, place, original, "begun"), bundle=names[0])
    return known.arrived(copy, len(names), _size(original)), _size(original), ""


def remove(known: Known, place: Tape, identifier: str, archive: Path, tell: Tell) -> int:
    """Remove an object from all bundles it is in: each is written anew without it, then the old one is removed."""
    demand_there(known, place)
    gone = 0
    for index in indices(known, place.name):
        if identifier in index["objects"]:
            inside = index["objects"][identifier]["prefix"]
            gone += sum(one["size"] for one in index["members"] if one["name"].startswith(inside))
            _without(known, place, identifier, index, archive, tell)
    place.sweep()
    left = {one.name for one in place.list()} - {index["bundle"] for index in indices(known, place.name)}
    if unknown := sorted(name for name in left if name.startswith(_NAME)):
        raise PlaceTrouble(f"the place {place.name} has {unknown[0]}, and nobody knows what is in it: look at it")
    return gone


def _without(known: Known, place: Tape, identifier: str, index: Index, archive: Path, tell: Tell) -> None:
    others = sorted(name for name in index["objects"] if name != identifier)
    if others and index["size"] >= 0:  # else it was never whole, and nothing relies on it
        groups = [_again(place, index, name, archive) for name in others]
        fresh = _bundle(known, place, groups, tell)
        for name in others:
            record = known.get(place.name, name)
            if record and record.bundle == index["bundle"]:
                known.write(replace(record, bundle=fresh["bundle"]))
    _drop(known, place, index)


def _drop(known: Known, place: Tape, index: Index) -> None:
    """Remove a bundle, prove that it is gone, and forget it."""
    path = _path(known, place.name, index["bundle"])
    files.replace(path, canonical({**index, "size": -1, "sha512": ""}))  # so that whoever goes on does not miss it
    place.delete(index["bundle"])
    if any(one.name == index["bundle"] for one in place.list(index["bundle"])):
        raise PlaceTrouble(f"the place {place.name} still has {index['bundle']}, which was removed: look at it")
    path.unlink(missing_ok=True)
    files.sync_folder(path.parent)


def demand_there(known: Known, place: Tape) -> None:
    """Raise PlaceTrouble where no bundle that went to a place is there: that it has nothing proves nothing then."""
    sent = {index["bundle"] for index in indices(known, place.name) if index["size"] >= 0}
    if sent and not sent & {one.name for one in place.list()}:
        raise PlaceTrouble(
            f"the place {place.name} has none of the bundles that went there, as {min(sent)}: is it mounted, and the "
            f"right one? If it is gone for good, `terp places --lost {place.name}` says so"
        )


# what goes into a bundle

_NAME = "terp-"


@dataclass(frozen=True)
class _Group:
    """An object that goes into a bundle: what the index says of it, and its members; `top` is what all share.

    Of a part of an object `part` is what it holds.
    """

    identifier: str
    about: Mapping[str, str]
    top: Sequence[Member]
    own: Sequence[Member]
    part: Sequence[str] = ()


def _cut(groups: Sequence[_Group], most: int) -> list[Sequence[_Group]]:
    """Return what goes into one bundle each: all, or of an object that is larger parts of so many bytes at most."""
    [group, *others] = groups
    if others or sum(member.size for member in group.own) <= most:
        return [groups]
    parts, room = list[list[Member]](), 0
    for member in group.own:
        if not parts or member.size > room:
            parts.append([])
            room = most
        parts[-1].append(member)
        room -= member.size
    return [[replace(group, own=part, part=[member.name for member in part])] for part in parts]


def _bundle(known: Known, place: Tape, groups: Sequence[_Group], tell: Tell) -> Index:
    """Make a bundle, unless it is there; return what is in it."""
    groups = sorted(groups, key=lambda group: group.identifier)
    named = canonical([[group.identifier, group.about["inventory"], *group.part] for group in groups])
    name = f"{_NAME}{hashlib.sha256(named).hexdigest()[:20]}.zip"
    path = _path(known, place.name, name)
    if path.exists() and _is_there(place, _read(path)):
        return _read(path)
    with files.disk(path):
        files.make_folders(path.parent)
    objects = {group.identifier: dict(group.about) for group in groups}
    index = {"bundle": name, "place": place.name, "objects": objects, "size": -1, "sha512": "", "members": []}
    files.replace(path, canonical(index))  # so that what is on tape is known, whatever happens
    top = {member.name: member for group in groups for member in group.top}
    members = [*top.values(), *(member for group in groups for member in group.own)]
    meter = Meter(tell, f"writing {name} to {place.name}", sum(member.size for member in members))
    inside = place.made(name, lambda descriptor: write_bundle(descriptor, members, meter.add))
    length, digest = proven(place, name, inside)
    index |= {"size": length, "sha512": digest, "members": inside}
    files.replace(path, canonical(index))
    return index


def _grouped(originals: Sequence[Original], least: int) -> tuple[list[list[Original]], list[Original]]:
    """Return groups that are large enough, and what is left."""
    groups, left = list[list[Original]](), list[Original]()
    for original in originals:
        if _size(original) >= least:
            groups.append([original])
            continue
        left.append(original)
        if sum(_size(one) for one in left) >= least:
            groups.append(left)
            left = []
    return groups, left


def _size(original: Original) -> int:
    return sum(original.sizes.values())


def _group(original: Original) -> _Group:
    about = {"inventory": original.digest, "version": original.version, "prefix": original.prefix}
    own = [
        Member(original.prefix + path, original.sizes[path], sha, partial(blocks, original.home / path))
        for path, sha in original.content.items()
    ]
    own += [Member.of(original.prefix + path, data) for path, data in original.around()]
    return _Group(original.identifier, about, [Member.of(*one) for one in original.root_files()], own)


def _again(place: Tape, index: Index, identifier: str, archive: Path) -> _Group:
    """Return what a bundle has of an object: from the archive where it is the same there, else from tape."""
    about = index["objects"][identifier]
    with suppress(StorageError):
        original = Original.find(archive, identifier)
        if original.digest == about["inventory"]:
            return _group(original)
    if place.stage([index["bundle"]]):
        raise NotStaged(
            f"{index['bundle']} of the place {place.name} has to come from tape first, to be written anew; it was "
            "asked for: do the same again later"
        )
    inside = tuple(one["prefix"] for one in index["objects"].values())
    top = [_member(place, index, one) for one in index["members"] if not one["name"].startswith(inside)]
    own = [_member(place, index, one) for one in index["members"] if one["name"].startswith(about["prefix"])]
    return _Group(identifier, about, top, own)


def _member(place: Tape, index: Index, one: Mapping[str, Any]) -> Member:
    read = partial(place.read, index["bundle"], one["offset"], one["size"])
    return Member(one["name"], one["size"], one["sha512"], read)


# what is there


def _is_there(place: Tape, index: Index) -> bool:
    return Stored(index["bundle"], index["size"]) in place.list(index["bundle"])


def _holds(index: Index, original: Original) -> bool:
    return bool(index["objects"].get(original.identifier, {}).get("inventory") == original.digest)


def _bundles_of(known: Known, place: Tape, original: Original) -> list[Index]:
    """Return the bundles that are there and hold all of an object as it is now; none where a part is not there."""
    holding = [index for index in indices(known, place.name) if _holds(index, original) and _is_there(place, index)]
    inside = {member["name"] for index in holding for member in index["members"]}
    return holding if all(original.prefix + path in inside for path in original.sizes) else []


def _rests(known: Known, place: Tape, record: Copy, original: Original) -> bool:
    same = record.state == "whole" and record.inventory == original.digest
    return same and bool(_bundles_of(known, place, original))


def _waiting(known: Known, place: str, archive: Path) -> Iterator[Original]:
    for copy in known.at(place):
        if copy.state in ("waiting", "begun"):
            with suppress(StorageError):  # it is told of where it is asked for
                yield Original.find(archive, copy.object)


def _record(known: Known, place: Tape, original: Original, state: State) -> Copy:
    record = known.get(place.name, original.identifier)
    bundle = record.bundle if record else ""
    return Copy(
        original.identifier, place.name, place.kind, state, original.version, original.digest, original.sizes, bundle
    )


def _path(known: Known, place: str, bundle: str) -> Path:
    return known.bundles(place) / f"{bundle}.json"
