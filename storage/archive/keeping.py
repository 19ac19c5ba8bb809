"""Custody goes with copies: each place keeps what is known of its objects, so no loss of one disk is its end.

In a place, which is an OCFL storage root, below extensions/terp-custody/:
  events/SLUG.jsonl               events of each object that is there, of each that was destroyed, and of the register
                                  of people: as they are in custody, a line each, and a line that names their end
  tombstones/...                  as in custody/tombstones: what was destroyed, statements, signatures
  bundles/TAPE/BUNDLE.json        what is in the bundles of a tape
A tape takes no small files: what it would keep is beside the tables of its bundles, custody/copies/TAPE/custody.
Custody goes on being what counts; a place is written to only where it lags behind, file by file, each whole.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from terp.storage import files
from terp.storage.archive import tombstone
from terp.storage.archive.chain import Chain, Forked, missing, packed, slug, unpacked
from terp.storage.archive.claim import claimed
from terp.storage.archive.custody import Events
from terp.storage.archive.known import Known
from terp.storage.archive.ocfl import MARK
from terp.storage.archive.people import REGISTER
from terp.storage.errors import Busy, Damaged, PlaceTrouble
from terp.storage.places import Folder, Place
from terp.storage.places.place import PART

ROOT = "extensions/terp-custody/"
_NAME = re.compile(
    r"README\.md|events/[0-9a-f]{32}\.jsonl|tombstones/[0-9a-f]{32}\.(json|md|md\.sig|files|specification\.json|\d+\.sig)"
    r"|bundles/[a-z0-9][a-z0-9-]{0,62}/terp-[0-9a-f]{20}\.zip\.json"
)
_EVENTS, STONES = "events/", "tombstones/"
_MOST = 64 << 20  # bytes of such a file that are read
_README = b"""# Custody

What happened to the objects of this storage root since they were made: copies, audits, repairs, holds, destructions.

- `events/`: a file for each object, named by 32 digits of the SHA-256 of its identifier. Each line is an event in JSON;
  `before` is the BLAKE3 of the line before it (without its end), and the last line names the last event in this way.
- `tombstones/`: what was destroyed, with the statement of it (verklaring van vernietiging) and the signatures.
- `bundles/`: which file of which object lies where in the files that are on a tape.

It is a copy, which terp writes and compares; nothing here is needed to read the objects.
"""


class Kept:
    """What one place keeps of custody; names are relative to where it is kept."""

    def __init__(self, custody: Path, place: Place) -> None:
        self.name, self.kind, self.place = place.name, place.kind, place
        self._at, self._root = place, ROOT
        if place.kind == "tape":
            folder = Known(custody).folder / place.name / "custody"
            with files.disk(folder):
                files.make_folders(folder)
            self._at, self._root = Folder(place.name, folder), ""

    def is_ready(self) -> bool:
        """Say whether it is a storage root by now; what is none is not written to."""
        return self.kind == "tape" or any(one.name == MARK for one in self.place.list(MARK))

    def names(self) -> dict[str, int]:
        """Return all that is kept there by name, with its size; also what should not be there."""
        found = {one.name.removeprefix(self._root): one.size for one in self._at.list(self._root)}
        return {name: size for name, size in found.items() if not name.rpartition("/")[2].startswith(PART)}

    def read(self, name: str) -> bytes | None:
        """Return the bytes of what is kept; None where it is not there."""
        try:
            return b"".join(self._at.read(self._root + name, 0, _MOST))
        except FileNotFoundError:
            return None

    def chain(self, name: str) -> Chain | None:
        """Return the events that it keeps of an object, by its slug; read twice before they are called damaged."""
        found = None
        for _ in range(2):
            data = self.read(f"events/{name}.jsonl")
            found = None if data is None else unpacked(name, data)
            if found and found.whole:
                break
        return found

    def write(self, name: str, data: bytes) -> None:
        """Keep something, whole or not at all."""
        self._at.write(self._root + name, data)

    def delete(self, name: str) -> None:
        """Keep something no longer."""
        self._at.delete(self._root + name)

    def sweep(self) -> None:
        """Remove what was cut short while it was written."""
        self._at.sweep(self._root)

    def where(self, name: str) -> str:
        """Return where something is in the place, for people."""
        return self._root + name


def is_kept(name: str) -> bool:
    """Say whether something in a place, by its name there, is a file of custody."""
    return name.startswith(ROOT) and bool(_NAME.fullmatch(name.removeprefix(ROOT)))


def chain_in(name: str) -> str:
    """Return the slug of the object whose events a file of that name holds; "" where it holds none."""
    return name.removeprefix(_EVENTS).removesuffix(".jsonl") if name.startswith(_EVENTS) else ""


def stone_in(name: str) -> tuple[str, str]:
    """Return the slug that a file of a tombstone is of, and how its name ends: ".json" is the tombstone itself."""
    stem, dot, rest = name.removeprefix(STONES).partition(".")
    return stem, dot + rest


def send(custody: Path, place: Place, identifiers: Iterable[str] | None = None) -> list[str]:
    """Bring what a place keeps up to date: all of it, or the events of some objects; return what was not, and why.

    What a place has of more events than custody, or of others, is never written over. To a place where nothing was
    copied to yet nothing is sent. Raises PlaceTrouble.
    """
    kept = Kept(custody, place)
    if not kept.is_ready():
        return []
    if identifiers is not None:
        wanted = _wanted(custody, kept, {slug(one) for one in identifiers})
        return [said for name in sorted(wanted) if (said := _send_chain(custody, kept, name, -1))]
    kept.sweep()
    there = kept.names()
    told = [_send_chain(custody, kept, name, there.get(f"events/{name}.jsonl", 0)) for name in _wanted(custody, kept)]
    for name, data in _files(custody, kept):
        if _is_newer(kept, name, data, there.get(name, -1)):
            kept.write(name, data)
    for name in _outdated(custody, there):
        kept.delete(name)
    return [said for said in told if said]


def drop(custody: Path, place: Place, identifier: str) -> None:
    """Let a place keep no longer the events of an object that is not there any more, unless it was destroyed."""
    if tombstone.find(custody, identifier) is None:
        Kept(custody, place).delete(f"events/{slug(identifier)}.jsonl")


def demand_all(custody: Path, place: Place, identifier: str) -> None:
    """Raise Damaged where custody has lost, or contradicts, events of an object that a place keeps."""
    there = Kept(custody, place).chain(slug(identifier))
    try:
        lost = missing(Events(custody).held(slug(identifier)), there) if there else []
    except Forked as fork:
        raise Damaged(
            f"{place.name} keeps another event {fork.number} of {identifier} than custody: `terp audit` tells more"
        ) from None
    if lost:
        raise Damaged(
            f"custody has lost events of {identifier} that {place.name} keeps: `terp repair` brings them back"
        )


def _wanted(custody: Path, kept: Kept, only: set[str] | None = None) -> set[str]:
    """Return whose events a place keeps: what is there, what was destroyed, and the register of people."""
    known, events = Known(custody), Events(custody)
    stones = {path.stem for path in (custody / "tombstones").glob("*.json")}
    if only is None:
        copies = {slug(copy.object) for copy in known.at(kept.name) if copy.state != "going"}
        return (copies | stones | {slug(REGISTER)}) & events.slugs()
    copies = {one for one in only if (known.folder / kept.name / f"{one}.json").exists()}
    return (copies | (stones | {slug(REGISTER)}) & only) & events.slugs()


def _send_chain(custody: Path, kept: Kept, name: str, size: int) -> str:
    ours = Events(custody).chain(name)
    data = packed(ours)
    if not ours.whole:
        return f"custody/events/{name} is damaged, and was not sent to {kept.name}"
    if size == len(data):
        return ""
    there = kept.chain(name)
    try:
        if there and missing(dict(enumerate(ours.lines, 1)), there):
            return f"{kept.name} keeps more events of {ours.identifier} than custody: nothing was written over"
    except Forked:
        return f"{kept.name} keeps other events of {ours.identifier} than custody: nothing was written over"
    if there is None or there != ours:
        kept.write(f"events/{name}.jsonl", data)
    return ""


def _files(custody: Path, kept: Kept) -> Iterator[tuple[str, bytes]]:
    """Yield what is kept besides events, by its name there."""
    yield "README.md", _README
    paths = {f"tombstones/{path.name}": path for path in sorted((custody / "tombstones").glob("[0-9a-f]*"))}
    if kept.kind != "tape":
        paths |= {
            f"bundles/{path.parts[-3]}/{path.name}": path for path in (custody / "copies").glob("*/bundles/*.json")
        }
    for name, path in paths.items():
        if _NAME.fullmatch(name):
            with suppress(FileNotFoundError):
                yield name, files.read_file(path)


def _is_newer(kept: Kept, name: str, data: bytes, size: int) -> bool:
    """Say whether a file is to be sent: what was destroyed is told once, and never otherwise after that."""
    if size < 0 or not name.startswith(STONES):
        return size != len(data)
    stem, end = stone_in(name)
    if end != ".json":
        return False
    ours, there = tombstone.weight(stem, data), tombstone.weight(stem, kept.read(name) or b"")
    return ours > there or (ours == there == 1)


def _outdated(custody: Path, there: Iterable[str]) -> Iterator[str]:
    """Yield the tables of bundles that are no more; a tape of which nothing is known was lost, not emptied."""
    for name in there:
        parts = name.split("/")
        if parts[0] == "bundles" and _NAME.fullmatch(name):
            known, folder = Known(custody), Known(custody).bundles(parts[1])
            if not (folder / parts[2]).exists() and (folder.is_dir() or known.lost(parts[1]).exists()):
                yield name


def send_to_all(custody: Path, places: Iterable[Place], identifiers: Iterable[str] | None = None) -> list[str]:
    """Bring what places keep up to date, as `send` does; what a place refuses is told, and holds up no other."""
    told, wanted = list[str](), None if identifiers is None else list(identifiers)
    for place in places:
        try:
            if wanted is not None:
                told += send(custody, place, wanted)
                continue
            with claimed(Known(custody).claims(place.name), f"the place {place.name}"):
                told += send(custody, place)
        except (PlaceTrouble, Busy) as trouble:
            told.append(f"{trouble}; the next `terp audit` or `terp copy` brings what happened there")
    return told
