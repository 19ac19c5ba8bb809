"""Copies as people and destruction take them away: never the last that is sound, and on tape too."""

from collections.abc import Iterator

from terp.storage.archive import erasing, tombstone
from terp.storage.archive.bundles import indices
from terp.storage.archive.claim import claimed
from terp.storage.archive.copies import open_place, remove_copy
from terp.storage.archive.keeping import send_to_all
from terp.storage.archive.known import Known
from terp.storage.archive.lost import declare_lost
from terp.storage.archive.proposal import unseen
from terp.storage.audit.elsewhere import sound_elsewhere
from terp.storage.audit.looking import listed
from terp.storage.audit.truth import folder_of
from terp.storage.errors import BadPlaces, MustStay, PlaceTrouble
from terp.storage.home import Home
from terp.storage.meter import Meter, Tell, silent
from terp.storage.places import Place, Places, Stored, Tape
from terp.workflows.results.audit import audits, places_of


def remove(home: Home, name: str, identifier: str, tell: Tell = silent, take_over: bool = False) -> int:
    """Remove a copy for good, when another was read and is what was stored; return how many bytes went.

    Raises MustStay where it is the last that is sound, and what `remove_copy` raises. Of what was destroyed nothing
    has to stay.
    """
    if tombstone.find(home.custody, identifier):
        return remove_copy(home, name, identifier, tell, take_over)
    with claimed(Known(home.custody).removals(identifier), f"the copies of {identifier}", take_over):
        _demand_another(home, name, identifier, tell)
        return remove_copy(home, name, identifier, tell, take_over)


def _demand_another(home: Home, name: str, identifier: str, tell: Tell) -> None:
    """Raise MustStay unless an object is sound elsewhere; two who remove two copies of it come one after the other."""
    Places.load(home.custody).about(name)
    places, folder = places_of(home), folder_of(identifier)
    there = listed(next(one for one in places if one.name == name), folder)
    if not there:
        return  # nothing goes
    meter = Meter(tell, f"reading {identifier} elsewhere", sum(max(size, 0) for size in there.values()))
    other, why = sound_elsewhere(places, home.custody, folder, name, meter.add)
    if not other:
        raise MustStay(
            f"the copy of {identifier} in {name} is the last that may be sound: {'; '.join(why)}. Mend another first "
            f"(`terp repair {identifier}`), or copy it elsewhere; a last one goes by `terp destroy` only"
        )


def lose(home: Home, name: str, by: str, reason: str, even_last: bool = False, take_over: bool = False) -> list[str]:
    """Declare a place of copies lost for good; return the objects of which copies were there.

    Raises as `declare_lost`; what the last audits found damaged is not sound.
    """
    damaged = {(last.place, last.folder) for last in audits(home).values() if last.damage}
    return declare_lost(home, name, by, reason, damaged, even_last, take_over)


def told(home: Home, identifier: str) -> list[str]:
    """Let places know at once what happened to an object, where they keep that; return what could not be, and why."""
    try:
        places = [open_place(home, about.name)[1] for about in Places.load(home.custody).place]
    except BadPlaces as wrong:
        return [str(wrong)]
    return send_to_all(home.custody, places, [identifier])


def files_at(home: Home, place: Place, identifier: str) -> Iterator[Stored]:
    """Yield the files of an object in a place; of one on tape those within bundles that are there."""
    yield from erasing.files_at(place, identifier)
    for index in indices(Known(home.custody), place.name) if isinstance(place, Tape) else ():
        mine = index["objects"].get(identifier)
        if mine and any(True for _ in place.list(index["bundle"])):
            inside = (one for one in index["members"] if one["name"].startswith(mine["prefix"]))
            yield from (Stored(f"{index['bundle']}: {one['name']}", one["size"]) for one in inside)


def remove_at(home: Home, place: Place, identifier: str) -> None:
    """Remove all that a place has of an object, with the record of it.

    Raises PlaceTrouble where a copy that is known to be whole is not seen there: it may be somewhere else.
    """
    record, seen = Known(home.custody).get(place.name, identifier), any(True for _ in files_at(home, place, identifier))
    if record and record.state == "whole" and not seen:
        raise PlaceTrouble(unseen(place.name))
    if record or seen:
        remove_copy(home, place.name, identifier)
