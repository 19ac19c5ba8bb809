"""The places of copies, as those take them who destroy what is archived: all that an object has there, on tape too."""

from collections.abc import Iterator

from terp.storage.archive import erasing
from terp.storage.archive.bundles import indices
from terp.storage.archive.copies import remove_copy
from terp.storage.archive.known import Known
from terp.storage.archive.proposal import unseen
from terp.storage.errors import PlaceTrouble
from terp.storage.home import Home
from terp.storage.places import Place, Stored, Tape


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
