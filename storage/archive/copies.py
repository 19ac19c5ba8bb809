"""Copies of archived objects in places: made, counted against what was decided, and removed to the last byte.

In a folder, by SFTP and in a bucket a copy is the object as it is in the archive, and the place an OCFL storage root
like it. On tape many files become few: see `bundles`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from terp.storage.archive import bundles, tombstone
from terp.storage.archive.bundled import Bundled
from terp.storage.archive.claim import claimed
from terp.storage.archive.custody import Events
from terp.storage.archive.keeping import demand_all, drop, send
from terp.storage.archive.known import Copy, Known, State
from terp.storage.archive.ocfl import MARK
from terp.storage.archive.ocfl import place as where
from terp.storage.archive.original import Original
from terp.storage.errors import BadPackage, BadPlaces, BadPolicy, Damaged, PlaceTrouble, StorageError
from terp.storage.home import Home
from terp.storage.meter import Meter, Tell, silent
from terp.storage.places import About, Folder, Place, Places, Tape
from terp.storage.places.config import AboutTape


@dataclass(frozen=True)
class Sent:
    """What came of copying an object: its state in the place, what was sent now, and a word on what it waits for."""

    identifier: str
    place: str
    state: State
    files: int = 0
    bytes: int = 0
    why: str = ""


def copies_of(home: Home, identifier: str) -> list[tuple[str, State]]:
    """Return in which places copies of an object are, or parts of them, and how they stand."""
    return [(copy.place, state_of(home, copy)) for copy in Known(home.custody).of(identifier)]


def state_of(home: Home, copy: Copy) -> State:
    """Return how a copy stands now: one that is whole may be of an older version."""
    if copy.state != "whole":
        return copy.state
    try:
        return "whole" if Original.find(home.archive, copy.object).digest == copy.inventory else "older"
    except StorageError:  # it is not in the archive any more, or damaged there
        return "whole"


def open_place(home: Home, name: str) -> tuple[About, Place]:
    """Return a place of copies; raises BadPlaces where it is unknown, or where the archive itself is."""
    about = Places.load(home.custody).about(name)
    place = about.open()
    if isinstance(place, Folder):
        root, own = place.root.resolve(), home.root.resolve()
        if root.is_relative_to(own) or own.is_relative_to(root):
            raise BadPlaces(f"the place {name} is {root}, where the archive itself is; choose another")
    return about, place


def places_of(home: Home) -> dict[str, Place]:
    """Return all places of copies by name, as those see them who look for objects; raises BadPlaces."""
    opened = {about.name: open_place(home, about.name)[1] for about in Places.load(home.custody).place}
    known = Known(home.custody)
    return {name: Bundled(one, known, home.archive) if isinstance(one, Tape) else one for name, one in opened.items()}


def copy_to(
    home: Home, name: str, identifiers: Iterable[str], tell: Tell = silent, take_over: bool = False
) -> tuple[list[Sent], list[StorageError]]:
    """Copy objects to a place, each proven while it is read; return what was done, and why some were refused.

    What is there already is not sent again. Raises PlaceTrouble where the place fails: the same call goes on.
    """
    about, place = open_place(home, name)
    known = Known(home.custody)
    done, refused = list[Sent](), list[StorageError]()
    with claimed(known.claims(name), f"the place {name}", take_over):
        allowed = list[Original]()
        for identifier in identifiers:
            try:
                tombstone.demand_none(home.custody, identifier)
                original = Original.find(home.archive, identifier)
                demand_all(home.custody, place, identifier)
                _allow(known, original, about)
                if isinstance(about, AboutTape):
                    allowed.append(original)
                else:
                    done.append(_copy(known, original, place, tell))
            except (BadPackage, BadPolicy, Damaged) as error:
                refused.append(error)
        if isinstance(about, AboutTape) and isinstance(place, Tape):
            sizes = about.min_average, about.max_file
            for copy, sent, why in bundles.send(known, place, allowed, home.archive, sizes, tell):
                done.append(Sent(copy.object, name, copy.state, 1 if sent else 0, sent, why))
        send(home.custody, place)
    return done, refused


def _allow(known: Known, original: Original, about: About) -> None:
    """Raise BadPolicy where a copy there was not decided; else record that one is begun."""
    rule, name, identifier = original.policy().copies, about.name, original.identifier
    if rule.places and name not in rule.places:
        raise BadPolicy(f"{identifier} may not be copied to {name}: its policy names {', '.join(rule.places)} only")
    before = known.get(name, identifier)
    if before is None:
        known.write(Copy(identifier, name, about.kind, "begun", original.version, original.digest))
    others = [copy.place for copy in known.of(identifier) if copy.place != name]
    if len(others) + 2 > rule.at_most:  # the archive itself is one
        if before is None:
            known.forget(name, identifier)
        raise BadPolicy(
            f"{identifier} may exist {rule.at_most} times, and is in the archive"
            f"{''.join(f' and in {other}' for other in others)}: remove one (`terp uncopy`), or leave it"
        )


def _copy(known: Known, original: Original, place: Place, tell: Tell) -> Sent:
    """Copy an object file by file to a place that is an OCFL storage root."""
    _prepare(known, original, place)
    record = known.get(place.name, original.identifier)
    sizes = original.sizes
    fresh = Copy(original.identifier, place.name, place.kind, "begun", original.version, original.digest, sizes)
    if record is None or record.state != "whole" or record.inventory != fresh.inventory:
        record = known.write(fresh)
    place.sweep(original.prefix)
    there = {one.name.removeprefix(original.prefix): one.size for one in place.list(original.prefix)}
    missing = [path for path in original.content if there.get(path) != sizes[path]]
    meter = Meter(tell, f"copying {original.identifier} to {place.name}", sum(sizes[path] for path in missing))
    for path in missing:
        place.put(original.prefix + path, original.home / path, original.content[path], meter.add)
    sent = sum(sizes[path] for path in missing)
    for path, data in original.around():
        if there.get(path) != len(data) or b"".join(place.read(original.prefix + path)) != data:
            place.write(original.prefix + path, data)
            missing, sent = [*missing, path], sent + len(data)
    if missing or record.state != "whole":
        known.arrived(fresh, len(missing), sent)
    return Sent(original.identifier, place.name, "whole", len(missing), sent)


def _prepare(known: Known, original: Original, place: Place) -> None:
    """See that a place is an archive laid out as ours; make one of an empty place."""
    wanted = dict(original.root_files())
    try:
        if b"".join(place.read(MARK)) == wanted[MARK]:
            if b"".join(place.read("ocfl_layout.json")) != wanted["ocfl_layout.json"]:
                raise PlaceTrouble(f"the place {place.name} is an archive laid out by another rule; choose another")
            return
    except FileNotFoundError:
        pass
    if any(copy.state in ("whole", "going") for copy in known.at(place.name)):
        raise _not_there(place)
    place.sweep()
    for one in place.list():
        if one.name not in wanted:
            raise PlaceTrouble(f"the place {place.name} is no archive and holds {one.name}; choose an empty one")
    for path, data in wanted.items():
        place.write(path, data)


def demand_there(place: Place) -> None:
    """Raise PlaceTrouble where a place is not the one copies went to: that it has nothing proves nothing then."""
    try:
        b"".join(place.read(MARK))
    except FileNotFoundError:
        raise _not_there(place) from None


def _not_there(place: Place) -> PlaceTrouble:
    return PlaceTrouble(
        f"the place {place.name} has no {MARK}, though there are copies in it: is it mounted, and the right one? "
        f"If it is gone for good, `terp places --lost {place.name}` says so"
    )


def remove_copy(home: Home, name: str, identifier: str, tell: Tell = silent, take_over: bool = False) -> int:
    """Remove all that a place has of an object, prove by its listing that nothing is left, and forget the copy.

    Return how many bytes went. Raises NotStaged where tape has to bring a bundle first that other objects are in.
    """
    place = open_place(home, name)[1]
    known = Known(home.custody)
    with claimed(known.claims(name), f"the place {name}", take_over):
        record = known.get(name, identifier)
        if isinstance(place, Tape):
            bundles.demand_there(known, place)
        elif record and record.files:
            demand_there(place)
        if record and record.state != "going":
            known.write(replace(record, state="going"))
        if isinstance(place, Tape):
            gone = bundles.remove(known, place, identifier, home.archive, tell)
        else:
            gone = place.clear(f"{where(identifier).as_posix()}/")
        if record or gone:
            Events(home.custody).append(identifier, "uncopied", {"place": name, "bytes": gone})
        drop(home.custody, place, identifier)
        known.forget(name, identifier)
    return gone


@dataclass(frozen=True)
class Standing:
    """How the copies of an object stand: where they are, how many there must and may be, and what is wrong with that.

    Numbers are of copies in places, the archive itself not counted.
    """

    identifier: str
    copies: Sequence[tuple[str, str, State]]
    wanted: int
    allowed: int
    wrong: Sequence[str]


def standing(home: Home, identifier: str) -> Standing:
    """Return how the copies of an archived object stand; without a decision none are wanted, and that is wrong."""
    known = Known(home.custody)
    copies = [(copy.place, copy.kind, state_of(home, copy)) for copy in known.of(identifier)]
    try:
        rule = Original.find(home.archive, identifier).policy().copies
    except (BadPackage, BadPolicy, Damaged) as error:  # one that is damaged hides no other
        return Standing(identifier, copies, 0, 0, [str(error)])
    whole = [kind for _, kind, state in copies if state == "whole"]
    wrong = [f"{place}: {_WORDS[state]}" for place, _, state in copies if state != "whole"]
    if missing := max(rule.at_least - 1 - len(whole), 0):
        wrong.append(f"{missing} more {'is' if missing == 1 else 'are'} wanted")
    if len(copies) > rule.at_most - 1:
        wrong.append(f"there are {len(copies) + 1} of it, where {rule.at_most} may be: remove some (`terp uncopy`)")
    strange = [place for place, _, _ in copies if rule.places and place not in rule.places]
    wrong += [f"{place}: its policy does not name that place, remove it there (`terp uncopy`)" for place in strange]
    if len(set(whole)) < 2 <= rule.at_most - 1:
        wrong.append("there are not two copies of different kind")
    return Standing(identifier, copies, rule.at_least - 1, rule.at_most - 1, wrong)


_WORDS = {
    "waiting": "waits until enough is together for a bundle",
    "begun": "is not whole, `terp copy` goes on",
    "older": "is of an older version, `terp copy` brings it up to date",
    "going": "is being removed",
}
