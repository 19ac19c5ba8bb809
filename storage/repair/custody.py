"""Bring back what custody has lost, from what places keep: events behind those held, tombstones, tables of tapes.

Nothing that is held is replaced, but for what cannot have been an event; that is moved to the quarantine. Each file is
made once and whole, the events of an object in their order, so whoever stops it leaves a shorter history that is true,
and the same goes on.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from terp.storage import files
from terp.storage.archive import tombstone
from terp.storage.archive.chain import packed, slug
from terp.storage.archive.custody import Events
from terp.storage.archive.hold import DESTROYING
from terp.storage.archive.keeping import Kept, stone_in
from terp.storage.archive.known import Copy, Known
from terp.storage.archive.people import FILE, REGISTER, People
from terp.storage.audit.bundled import Bundled
from terp.storage.audit.custody import CUSTODY, Checked, Differing, Held
from terp.storage.audit.damage import Damage
from terp.storage.audit.looking import kept as noted
from terp.storage.audit.looking import known
from terp.storage.audit.truth import INVENTORY, folder_of, small
from terp.storage.canonical import canonical
from terp.storage.errors import BadKey, BadPackage, PlaceTrouble
from terp.storage.places import Place
from terp.storage.repair.repair import Mended
from terp.storage.signature import signer

RESTORED = "custody restored"
_SIGNED = 2  # people who have to have signed what is destroyed


class Restoring:
    """Custody, what was found of it, and what came of mending that: what was mended, and what is left and why."""

    def __init__(self, custody: Path, checked: Checked) -> None:
        self.custody, self.checked = custody, checked
        self.keeps = {one.name: one for one in checked.keeps}
        self.mended, self.left = list[Mended](), list[tuple[Damage, str]]()

    def run(self) -> None:
        """Mend what can be: the register of people first, for it tells whose signatures count."""
        for held in sorted(self.checked.held, key=lambda one: one.slug != slug(REGISTER)):
            with self._answering(held.altered):
                self._told(held, self._events(held))
        self._people()
        for one in sorted(self.checked.files, key=lambda one: stone_in(one.name)[1] != ".json"):
            with self._answering([one.place]):
                self._file(one)
        for kept in self.keeps.values():
            with self._answering([kept.name]):
                self._bundles(kept)

    @contextmanager
    def _answering(self, names: Sequence[str]) -> Iterator[None]:
        """Note that a place does not answer, and go on with others."""
        try:
            yield
        except PlaceTrouble as trouble:
            self.checked.away |= dict.fromkeys(names, str(trouble))

    def _people(self) -> None:
        """Write the register for people to read, where its events were brought back or it is lost."""
        changed = any(one.slug == slug(REGISTER) for one in self.checked.held)
        with suppress(BadPackage):  # it was told of
            if Events(self.custody).of(REGISTER) and (changed or not (self.custody / FILE).exists()):
                People(self.custody).write()

    # events

    def _told(self, held: Held, done: bool) -> None:
        ours = Events(self.custody).chain(held.slug)
        for damage in held.damage():
            if done and damage.place == CUSTODY:
                how = f"has its events {held.lost[0][0]} to {held.lost[-1][0]} again: from {held.source}"
                self.mended.append(Mended(CUSTODY, damage.object, damage.path, how))
            elif damage.place in held.altered and ours.whole:
                self.keeps[damage.place].write(damage.path, packed(ours))
                self.mended.append(Mended(damage.place, damage.object, damage.path, "was written anew"))
            else:
                self.left.append((damage, "a person has to look"))

    def _events(self, held: Held) -> bool:
        """Bring back the events that were lost; return whether all of them are there."""
        if held.forked or not held.lost:
            return False
        events = Events(self.custody)
        for number, line in held.lost:
            self._aside(held, number)
            try:
                events.put_back(held.slug, number, line)
            except FileExistsError:  # somebody else has brought it back, or has noted something else meanwhile
                if events.held(held.slug).get(number) != line:
                    return False
        if not events.chain(held.slug).whole:
            return False
        if held.count:  # else all of it was lost, and who brings it back knows
            facts = {"place": held.source, "events": [number for number, _ in held.lost]}
            events.append(held.identifier, RESTORED, facts)
        return True

    def _aside(self, held: Held, number: int) -> None:
        path = Events(self.custody).path(held.slug, number)
        target = self.custody / "quarantine" / held.slug / CUSTODY / f"{path.name}-{secrets.token_hex(6)}"
        with files.disk(path):
            if path.exists():
                files.move(path, target)

    # tombstones

    def _file(self, one: Differing) -> None:
        kept, path = self.keeps[one.place], self.custody / one.name
        damage = one.damage()
        if one.cure == one.place:
            kept.write(one.name, files.read_file(path))
            self.mended.append(Mended(one.place, one.identifier, one.name, "was written anew"))
            return
        data = kept.read(one.name) if one.cure else None
        why = "a person has to look" if data is None else self._doubt(one, data)
        if data is None or why:
            self.left.append((damage, why))
            return
        with files.disk(path):
            files.make_folders(path.parent)
        files.replace(path, data)
        self.mended.append(Mended(CUSTODY, one.identifier, one.name, f"is there again: from {one.place}"))

    def _doubt(self, one: Differing, data: bytes) -> str:
        """Say why a place is not believed that something was destroyed; "" where it is borne out."""
        stem, end = stone_in(one.name)
        if end != ".json":
            stone = self.custody / "tombstones" / f"{stem}.json"
            return "" if stone.exists() else "there is no tombstone that it belongs to"
        return unproven(self.custody, tombstone.parsed(data) or {})

    # tapes

    def _bundles(self, kept: Kept) -> None:
        """Bring back what is known of the bundles of a tape, where nothing is: all in one step."""
        names = [name.split("/") for name in kept.names() if name.startswith("bundles/")]
        for tape in sorted({parts[1] for parts in names}):
            folder = Known(self.custody).bundles(tape)
            if folder.exists() or Known(self.custody).lost(tape).exists():  # nothing is on a tape that was lost
                continue
            fresh = folder.with_name(f".bundles-{secrets.token_hex(6)}")
            with files.disk(folder):
                files.make_folders(fresh)
                for parts in names:
                    data = kept.read("/".join(parts)) if parts[1] == tape else None
                    if data is not None and _is_table(data, parts[2], tape):
                        files.write_new(fresh / parts[2], data)
                files.sync_folder(fresh)
                files.rename(fresh, folder)
                files.sync_folder(folder.parent)
            how = f"is there again: from {kept.name}"
            self.mended.append(Mended(CUSTODY, "", f"copies/{tape}/bundles", how))


def unproven(custody: Path, stone: dict[str, Any]) -> str:
    """Say why a tombstone that a place keeps is not borne out by signatures and events; "" where it is."""
    try:
        data = canonical(stone["specification"])
        people = {one.fingerprint: one.name for one in People(custody).all()}
        signed = {people.get(signer(data, one["signature"].encode())) for one in stone["signatures"]}
        events = Events(custody).of(stone["identifier"])
        begun = any(one["event"] == DESTROYING and one["facts"]["sha512"] == stone["sha512"] for one in events)
    except (BadKey, BadPackage, KeyError, TypeError, AttributeError) as error:
        return f"it is not borne out: {error}"
    if hashlib.sha512(data).hexdigest() != stone["sha512"] or len(signed - {None}) < _SIGNED:
        return "two people who are registered have not signed what it says"
    return "" if begun else "no event of the object tells that it was to be destroyed"


def _is_table(data: bytes, name: str, tape: str) -> bool:
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        table = json.loads(data)
        return bool(f"{table['bundle']}.json" == name and table["place"] == tape and isinstance(table["objects"], dict))
    return False


def recall(custody: Path, places: Sequence[Place]) -> list[Mended]:
    """Record copies anew of which events tell that they are in a place, where that record is lost."""
    known_copies, found = Known(custody), list[Mended]()
    for identifier in known(custody):
        with suppress(BadPackage, PlaceTrouble):
            copies = noted(custody, identifier)
            for place in places:
                if place.name in copies.copies and known_copies.get(place.name, identifier) is None:
                    known_copies.write(_copy(place, identifier, copies.copies[place.name], custody))
                    found.append(Mended(CUSTODY, identifier, f"copies/{place.name}", "is recorded again"))
    return found


def _copy(place: Place, identifier: str, version: int, custody: Path) -> Copy:
    """Return the record of a copy as a place has it: whole where its inventory is the one that events tell of."""
    prefix = f"{folder_of(identifier)}/"
    if isinstance(place, Bundled):
        bundle, digest = place.holds(identifier)
    else:
        bundle, digest = "", hashlib.sha512(small(place, f"{prefix}{INVENTORY}")).hexdigest()
    if digest not in noted(custody, identifier).inventories.get(version, set()):
        return Copy(identifier, place.name, place.kind, "begun", f"v{version}", digest)
    sizes = {one.name.removeprefix(prefix): one.size for one in place.list(prefix)}
    return Copy(identifier, place.name, place.kind, "whole", f"v{version}", digest, sizes, bundle)
