"""A place that is gone for good: a person declares so, and its copies are not counted any more, each with an event.

What was known of them is set aside in `custody/copies/PLACE/lost/MOMENT/` (the records, the indices of bundles, and
`declared.json`: who said so, when and why), so that it is told should the place come back.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from terp.storage import files
from terp.storage.archive import bundles, tombstone
from terp.storage.archive.claim import claimed
from terp.storage.archive.copies import demand_there, open_place, state_of
from terp.storage.archive.custody import Events
from terp.storage.archive.known import Copy, Known
from terp.storage.archive.ocfl import place as where
from terp.storage.archive.original import Original
from terp.storage.canonical import canonical
from terp.storage.errors import BadPlaces, MustStay, PlaceTrouble, StorageError
from terp.storage.home import Home
from terp.storage.places import Place, Places, Tape

LOST = "copy lost"
_SAID = "declared.json"
_SHOWN = 5  # objects that a refusal names

type Damaged = Collection[tuple[str, str]]
"""What the last audits found damaged: places (`archive` is the archive itself) and folders of objects."""


@dataclass(frozen=True)
class Declared:
    """That a place was lost: who declared it when and why."""

    when: str
    by: str
    reason: str


def declared(custody: Path, name: str) -> list[Declared]:
    """Return when a place was declared lost, the newest last."""
    found = sorted(Known(custody).lost(name).glob(f"*/{_SAID}"))
    return [Declared(**json.loads(files.read_file(path))) for path in found]


def declare_lost(
    home: Home, name: str, by: str, reason: str, damaged: Damaged, even_last: bool = False, take_over: bool = False
) -> list[str]:
    """Declare a place lost; return the objects of which copies were there. Killed at any moment, the same goes on.

    Raises MustStay where the place answers and has what went there, and, without `even_last`, where nothing sound is
    known to be left of an object elsewhere; BadPlaces where no copy is known there.
    """
    known = Known(home.custody)
    tables = sorted(known.bundles(name).glob("*.json"))
    if Path(name).name != name or not (any(known.at(name)) or tables):
        raise BadPlaces(f"no copy is known in {name!r}: there is nothing to declare lost; `terp places` lists places")
    if not (by.strip() and reason.strip()):
        raise MustStay(f"say who declares {name} lost, and why: --by and --reason")
    with claimed(known.claims(name), f"the place {name}", take_over):
        _demand_gone(home, name)
        copies = list(known.at(name))
        alone = [copy.object for copy in copies if not _is_elsewhere(home, copy, damaged)]
        if alone and not even_last:
            raise MustStay(_refusal(name, alone))
        now = datetime.now(UTC)
        aside = known.lost(name) / f"{now:%Y%m%dT%H%M%S%fZ}"
        said = Declared(now.isoformat(timespec="seconds").replace("+00:00", "Z"), by, reason)
        with files.disk(aside):
            files.make_folders(aside)
            files.replace(aside / _SAID, canonical(asdict(said)))
        for copy in copies:
            _note(home.custody, copy, said, copy.object in alone)
            _set_aside(known.path(name, copy.object), aside)
        for table in tables:
            _set_aside(table, aside / "bundles")
    return [copy.object for copy in copies]


def returned(home: Home, place: Place) -> list[str]:
    """Return what a place has again that was declared lost: objects by their identifiers, bundles by their names."""
    known = Known(home.custody)
    if isinstance(place, Tape):
        there = {one.name for one in place.list()} - {index["bundle"] for index in bundles.indices(known, place.name)}
        return sorted(there & {path.stem for path in known.lost(place.name).glob("*/bundles/*.json")})
    lost = {copy.object for copy in known.aside(place.name) if known.is_lost(place.name, copy.object)}
    return sorted(one for one in lost if any(True for _ in place.list(f"{where(one).as_posix()}/")))


def _demand_gone(home: Home, name: str) -> None:
    """Raise MustStay where a place answers and is the one that copies went to."""
    if name not in [about.name for about in Places.load(home.custody).place]:
        return
    with suppress(PlaceTrouble):
        place = open_place(home, name)[1]
        if isinstance(place, Tape):
            bundles.demand_there(Known(home.custody), place)
            if not bundles.indices(Known(home.custody), name):
                return
        else:
            demand_there(place)
        raise MustStay(
            f"the place {name} answers, and has what went there: it is not lost. `terp audit --place {name}` reads it "
            "again, `terp uncopy` removes a copy"
        )


def _is_elsewhere(home: Home, copy: Copy, damaged: Damaged) -> bool:
    """Say whether an object is known to be whole elsewhere, or need not be, as it is being destroyed."""
    if tombstone.find(home.custody, copy.object):
        return True
    folder = where(copy.object).as_posix()
    if ("archive", folder) not in damaged and _is_in_archive(home, copy):
        return True
    others = (one for one in Known(home.custody).of(copy.object) if one.place != copy.place)
    return any(state_of(home, one) == "whole" and (one.place, folder) not in damaged for one in others)


def _is_in_archive(home: Home, copy: Copy) -> bool:
    """Say whether the archive has all files of what went to a copy, or of a newer version, as far as sizes tell."""
    try:
        original = Original.find(home.archive, copy.object)
        sizes = original.sizes
    except StorageError:
        return False
    if original.digest == copy.inventory:
        return not copy.files or dict(copy.files) == dict(sizes)
    return int(original.version[1:]) > int(copy.version[1:])


def _refusal(name: str, alone: list[str]) -> str:
    shown = ", ".join(alone[:_SHOWN]) + (f" and {len(alone) - _SHOWN:,} more" if len(alone) > _SHOWN else "")
    return (
        f"of {shown} nothing sound is known but the copy in {name}: find that disk, or mend the archive from another "
        "source (`terp repair`, `terp audit` tells what is sound). If it is lost all the same, --even-last says so"
    )


def _note(custody: Path, copy: Copy, said: Declared, last: bool) -> None:
    """Note the loss with the object's events, unless whoever was stopped did."""
    events = Events(custody)
    before = [one for one in events.of(copy.object) if one["event"] == LOST and one["facts"].get("place") == copy.place]
    if before and before[-1]["time"][:19] >= copy.when[:19]:  # what is behind the seconds is not written alike
        return
    facts = {"place": copy.place, "by": said.by, "reason": said.reason, "version": copy.version, "state": copy.state}
    events.append(copy.object, LOST, {**facts, "sha512": copy.inventory, "last": last})


def _set_aside(path: Path, folder: Path) -> None:
    with files.disk(path):
        files.move(path, folder / path.name)


def strangers(home: Home) -> Iterator[str]:
    """Yield the names of places that copies are known in and that are not in places.toml."""
    named = {about.name for about in Places.load(home.custody).place}
    known = Known(home.custody)
    for path in sorted(known.folder.glob("[a-z0-9]*/")):
        if path.name not in named and any(known.at(path.name)):
            yield path.name
