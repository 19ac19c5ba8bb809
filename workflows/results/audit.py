"""Audit and repair in a home: which places there are, what is due, and what a person asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from terp.storage.archive.copies import open_place
from terp.storage.archive.custody import Events, slug
from terp.storage.archive.keeping import send_to_all
from terp.storage.audit import Order, Report, audit
from terp.storage.audit.bundled import Bundled
from terp.storage.audit.custody import check
from terp.storage.audit.history import Last, history
from terp.storage.audit.looking import ARCHIVE
from terp.storage.audit.truth import folder_of
from terp.storage.errors import BadPackage, PlaceTrouble
from terp.storage.home import Home
from terp.storage.meter import Tell, silent
from terp.storage.places import Folder, Place, Places, Tape
from terp.storage.repair import Outcome, repair
from terp.storage.repair.custody import Restoring, recall
from terp.storage.repair.given import Given
from terp.storage.repair.repair import Work
from terp.workflows.errors import Usage

LAYOUT = "ocfl_layout.json"  # the last file that a storage root gets
ARCHIVE_EVERY = "P90D"  # between two audits of the archive itself


def places_of(home: Home) -> list[Place]:
    """Return the archive as a place, and all places of copies; raises BadPlaces, and BadPackage without an archive."""
    if not (home.archive / "extensions").is_dir() and not home.custody.is_dir():
        raise BadPackage(f"{home.archive} is no archive yet: there is nothing to read again")
    found: list[Place] = [Folder(ARCHIVE, home.archive)]
    for about in Places.load(home.custody).place:
        place = open_place(home, about.name)[1]
        found.append(Bundled(place, home.custody) if isinstance(place, Tape) else place)
    return found


def every(home: Home) -> dict[str, str]:
    """Return how often each place is to be audited (xsd:duration)."""
    return {ARCHIVE: ARCHIVE_EVERY} | {about.name: about.audit_every for about in Places.load(home.custody).place}


def audits(home: Home) -> Mapping[tuple[str, str], Last]:
    """Return the last audits of all objects, by folder and place."""
    return history(home.custody, every(home))


def audited(
    home: Home,
    identifiers: Sequence[str],
    names: Sequence[str],
    due: bool = False,
    seconds: float | None = None,
    tell: Tell = silent,
) -> Report:
    """Audit objects (all where none is named) in places (all where none is named), or what of that is due."""
    places = places_of(home)
    chosen = _chosen(places, names)
    folders = _folders(home, places, identifiers)
    copies = [place for place in places if place.name in chosen and place.name != ARCHIVE]
    found = check(home.custody, copies, {slug(one) for one in identifiers})
    order = Order(places, home.custody, chosen, folders, seconds=seconds, tell=tell, unnoted=found.unsure())
    if due:
        lasts, today = audits(home), datetime.now(UTC).date()
        order = replace(order, scope="due", wanted=lambda *key: key not in lasts or lasts[key].is_due(today))
    report = audit(order)
    report.damage, report.away = found.damage() + report.damage, found.away | report.away
    if not report.out_of_time:
        answering = [place for place in copies if place.name not in report.away]
        report.notes += send_to_all(home.custody, answering, identifiers or None)
    return report


def mended(
    home: Home,
    identifiers: Sequence[str],
    names: Sequence[str],
    sources: Sequence[str],
    tell: Tell = silent,
) -> Outcome:
    """Mend objects in places from others, and from folders with files of theirs; `sources` are names or paths.

    Where no object is named, those that the last audits found damaged, and what is beside objects; all of them where
    there was no audit.
    """
    places = places_of(home)
    chosen, (known, given) = _chosen(places, names), _sources(places, sources, tell)
    slugs = {slug(one) for one in identifiers}
    found = check(home.custody, [one for one in places if one.name in known and one.name != ARCHIVE], slugs)
    restoring = Restoring(home.custody, found)
    restoring.run()
    places = places_of(home)  # what is known of tapes may have come back
    restoring.mended += recall(home.custody, [one for one in places if one.name != ARCHIVE])
    folders = _folders(home, places, identifiers)
    if not identifiers and (home.archive / LAYOUT).exists():  # else all is lost, whatever was found damaged before
        lasts = audits(home).values()
        folders = sorted({last.folder for last in lasts if last.damage and last.place in chosen})
    beside = not identifiers
    work = Work(places, home.custody, home.cache / "repair", chosen, known, folders, tell, given, beside)
    outcome = repair(work)
    outcome.mended[:0], outcome.left[:0] = restoring.mended, restoring.left
    outcome.report.away |= found.away
    send_to_all(home.custody, [one for one in places if one.name in chosen and one.name != ARCHIVE])
    return outcome


def _sources(places: Sequence[Place], names: Sequence[str], tell: Tell) -> tuple[list[str], list[Given]]:
    """Return which of some names are places, and the folders that others are; all places where none is named."""
    folders = [name for name in names if name not in {place.name for place in places} and Path(name).is_dir()]
    known = [name for name in names if name not in folders]
    given = [Given(Path(name).absolute(), tell) for name in dict.fromkeys(folders)]
    return _chosen(places, known) if known or not given else [], given


def _chosen(places: Sequence[Place], names: Sequence[str]) -> list[str]:
    known = [place.name for place in places]
    for name in names:
        if name not in known:
            raise Usage(f"there is no place {name!r}: known are {', '.join(known)}")
    return list(dict.fromkeys(names)) or known


def _folders(home: Home, places: Sequence[Place], identifiers: Sequence[str]) -> list[str]:
    """Return where objects are; raises Usage for one that nobody has heard of."""
    for identifier in identifiers:
        if not any(_has(place, folder_of(identifier)) for place in places) and not Events(home.custody).of(identifier):
            raise Usage(f"there is no object {identifier!r} in the archive or in a copy: `terp ls` lists what there is")
    return [folder_of(identifier) for identifier in dict.fromkeys(identifiers)]


def _has(place: Place, folder: str) -> bool:
    try:
        return next(iter(place.list(f"{folder}/")), None) is not None
    except PlaceTrouble:
        return False
