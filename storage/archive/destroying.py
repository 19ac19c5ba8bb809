"""Destroy an archived object that was proposed and signed: for good and everywhere.

Until the tombstone says that it is being destroyed, nothing is touched. From then on it is meant: a kill at any moment
leaves no sound object, and the same command goes on until nothing is left and the statement is written.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from terp.storage.archive import erasing, tombstone
from terp.storage.archive.custody import Events, slug
from terp.storage.archive.hold import DESTROYING, WITHDRAWN, begun, holds
from terp.storage.archive.keeping import send_to_all
from terp.storage.archive.known import Known
from terp.storage.archive.ocfl import place as place_of
from terp.storage.archive.proposal import SAME, Scope, Survey, versions
from terp.storage.archive.proposing import checked_now, demand, forget, load, path_of, signatures
from terp.storage.archive.statement import publish_statement
from terp.storage.archive.tombstone import DESTROYED, GOING, Tombstone
from terp.storage.errors import BadPlaces, Busy, PlaceTrouble, Unfinished
from terp.storage.files import disk, rename, sync_folder
from terp.storage.home import Home
from terp.storage.places.place import checked

DONE = "destroyed"
NEEDED = 2  # people


def execute(home: Home, identifier: str, scope: Scope, by: str, on: date) -> Tombstone:
    """Destroy an object, or go on with it; return its tombstone when nothing is left.

    Raises MustStay with each condition that is not met, and then nothing was touched; Unfinished where something could
    not be removed now, and Destroyed where all was done before.
    """
    stone = tombstone.find(home.custody, identifier)
    if stone and stone.state == DESTROYED:
        forget(path_of(home, identifier))
        send_to_all(home.custody, scope.places.values())
        raise stone.error()
    stone = stone or _begin(home, identifier, scope, by, on)
    send_to_all(home.custody, scope.places.values())  # so that no copy is ever taken for one that was not to go
    remains = _erase(home, stone, scope)
    if not remains:
        remains, proof = _prove(home, stone, scope)
    if remains:
        tombstone.write(home.custody, {**stone.plain, "remains": remains})
        raise Unfinished(
            f"{identifier} is being destroyed, and this remains: {'; '.join(remains)}. See to it, and do the same again"
        )
    stone = _close(home, stone, proof)
    send_to_all(home.custody, scope.places.values())
    return stone


def _begin(home: Home, identifier: str, scope: Scope, by: str, on: date) -> Tombstone:
    """Make the destruction a fact, when all conditions are met."""
    proposal = load(home, identifier)
    signed, events = signatures(home, proposal), Events(home.custody)
    found, wrong = checked_now(home, identifier, scope, proposal, on)
    if len(signed) < NEEDED:
        names = ", ".join(one.person.name for one in signed) or "nobody"
        wrong.append(f"{NEEDED} people have to sign the proposal, each with a key of their own: signed has {names}")
    before = begun(events.of(identifier))
    if wrong:
        if before:
            events.append(identifier, WITHDRAWN, {"why": wrong})
        demand(identifier, wrong)
    facts = {"sha512": proposal.digest, "by": by, "signed": [one.person.name for one in signed]}
    same = before is not None and before["facts"]["sha512"] == proposal.digest
    entry = before if before and same else events.append(identifier, DESTROYING, facts)
    if held := holds(events.of(identifier)[: entry["number"] - 1]):  # laid in this very moment
        events.append(identifier, WITHDRAWN, {"why": [str(one) for one in held]})
        demand(identifier, [f"it is {one}" for one in held])
    if versions(home, identifier) != proposal.plain["versions"]:  # archived again while all was looked at
        events.append(identifier, WITHDRAWN, {"why": ["it was archived again"]})
        demand(identifier, ["its versions changed since it was proposed; propose again"])
    chosen = proposal.plain["ground"]["selectielijst"]
    plain = {
        "identifier": identifier,
        "title": proposal.plain["title"],
        "ground": f"{chosen['naam']} {chosen['categorie']}",
        "state": GOING,
        "since": entry["time"],
        "by": by,
        "sha512": proposal.digest,
        "specification": dict(proposal.plain),
        "signatures": [one.to_json() for one in signed],
        "runs": list(scope.runs),
        "paths": _paths(home, identifier, scope, found),
        "places": sorted({*scope.places, *_told(proposal.plain)}),
        "remains": ["nothing has been removed yet"],
    }
    return tombstone.write(home.custody, plain)


def _paths(home: Home, identifier: str, scope: Scope, found: Survey) -> list[str]:
    """Return what goes of the home beside the object itself, by its path from there."""
    same = [name for part in found.parts if part.where == SAME for name, _ in part.files]
    folders = [*scope.folders, erasing.aside(home, identifier)]
    return [*same, *(folder.relative_to(home.root).as_posix() for folder in folders)]


def _told(plain: Mapping[str, Any]) -> list[str]:
    return [one["where"].removeprefix("place ") for one in plain["parts"] if one["where"].startswith("place ")]


def _erase(home: Home, stone: Tombstone, scope: Scope) -> list[str]:
    """Remove all of an object; return what could not be removed now."""
    erasing.withdraw(home.archive, stone.identifier)
    wanted = erasing.Wanted.of(stone.plain["specification"]["files"])
    for name in stone.plain["paths"]:
        path = home.root / checked(name)
        if path.is_file() and not wanted.has(path, path.stat().st_size):
            continue  # it was the same when this began, and is something else by now
        erasing.remove(path)
    remains = []
    for name in sorted({*stone.plain["places"], *scope.places}):
        if name not in scope.places and Known(home.custody).is_lost(name, stone.identifier):
            continue
        if name not in scope.places:
            remains.append(f"the place {name} is not registered any more: register it again, or see to it that it is")
            continue
        try:
            scope.remove_at(scope.places[name], stone.identifier)
        except (PlaceTrouble, BadPlaces, Busy) as trouble:
            remains.append(str(trouble))
            continue
        told = home.custody / "copies" / name / f"{slug(stone.identifier)}.json"
        with disk(told):
            told.unlink(missing_ok=True)
    for index in [*home.cache.glob("catalog*"), *home.cache.glob(".catalog*"), *home.cache.glob("repair")]:
        erasing.remove(index)  # it is made again, from what is there then
    return remains


def _prove(home: Home, stone: Tombstone, scope: Scope) -> tuple[list[str], dict[str, Any]]:
    """Look everywhere for what may be left; return that, and what was looked at."""
    identifier = stone.identifier
    wanted = erasing.Wanted.of(stone.plain["specification"]["files"])
    paths = {name for name in stone.plain["paths"] if not (home.root / name).is_file()}  # files are told by digest
    _, same = erasing.strays(home, wanted, [])
    left = [f"{name}, which is {what}" for name, what in same.items()]
    count, own = 0, place_of(identifier).name
    for name, _ in erasing.walk(home.root, erasing.records(home), through=True):
        count += 1
        parts = name.split("/")
        above = {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
        if own in parts or above & paths:
            left.append(name)
    proof: dict[str, Any] = {"home": count, "places": {}}
    for called, one in scope.places.items():
        try:
            proof["places"][called], there = erasing.left_at(one, identifier, wanted)
            there += [f"{file.name} in the place {called}" for file in scope.files_at(one, identifier)]
        except PlaceTrouble as trouble:
            there = [str(trouble)]
        left += there
    return sorted(set(left)), proof


def _close(home: Home, stone: Tombstone, proof: Mapping[str, Any]) -> Tombstone:
    """Write the statement and the last word of the tombstone."""
    events = Events(home.custody)
    last = next((one for one in reversed(events.of(stone.identifier)) if one["event"] == DONE), None)
    facts = {"sha512": stone.plain["sha512"], "by": stone.plain["by"], "looked at": dict(proof)}
    facts["signed"] = [one["person"] for one in stone.plain["signatures"]]
    entry = last or events.append(stone.identifier, DONE, facts)
    plain = {**stone.plain, "state": DESTROYED, "destroyed": entry["time"], "remains": [], "proof": dict(proof)}
    listed = path_of(home, stone.identifier).with_suffix(".files")
    with disk(listed):
        if listed.exists():
            rename(listed, stone.path.with_suffix(".files"))
            sync_folder(stone.path.parent)
    publish_statement(stone.path, plain)
    done = tombstone.write(home.custody, plain)
    forget(path_of(home, stone.identifier))
    return done
