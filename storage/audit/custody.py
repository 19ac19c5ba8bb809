"""Custody held against what places keep of it: it may only have more of the same.

Each place that keeps events of an object is a witness. What custody has lost of them, or has altered, is told by any
place that has it; what a place has altered, by the line that names its end; and where two tell different events of one
number, nothing says which is true.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from terp.storage import files
from terp.storage.archive import tombstone
from terp.storage.archive.chain import Chain, Forked, held_as, missing
from terp.storage.archive.custody import Events
from terp.storage.archive.keeping import STONES, Kept, chain_in, stone_in
from terp.storage.archive.statement import parts
from terp.storage.audit.damage import ALTERED, FORKED, LOST, Damage
from terp.storage.errors import PlaceTrouble
from terp.storage.places import Place

CUSTODY = "custody"  # where what is beside the archive is, as a place
_RULE = "events are only ever added (each names the BLAKE3 of the one before)"


class _Unlike(Exception):
    """Custody seems to lack something."""


@dataclass
class Held:
    """What custody and some places have of the events of one object.

    `lost` is what custody lacks, by number, and `source` the place that has it; `altered` are places whose file is
    damaged; `forked` tells where two contradict each other.
    """

    slug: str
    identifier: str
    count: int
    whole: bool
    lost: Sequence[tuple[int, bytes]] = ()
    source: str = ""
    altered: list[str] = field(default_factory=list)
    forked: list[Damage] = field(default_factory=list)

    @property
    def unsure(self) -> bool:
        """Whether custody itself may lack something."""
        return bool(self.lost or self.forked) or not self.whole

    def damage(self) -> Iterator[Damage]:
        """Yield all that is wrong with them."""
        path = f"events/{self.slug}"
        if self.lost and not self.forked:
            what = (
                f"lacks {_told(self.lost, self.slug)}, which {self.source} keeps; {_RULE}: look whether they are true"
            )
            kind = LOST if self.whole else ALTERED
            yield Damage(CUSTODY, self.identifier, path, kind, f"{what}, and bring them back with `terp repair`")
        elif not self.whole and not self.forked:
            what = "has an event that was altered, or lacks one, and no place that was asked has it"
            yield Damage(CUSTODY, self.identifier, path, ALTERED, f"{what}: restore custody/ from a backup")
        for name in self.altered:
            what = "is not what was kept there: `terp repair` writes it anew"
            yield Damage(name, self.identifier, f"{path}.jsonl", ALTERED, what)
        yield from self.forked


def _told(lost: Sequence[tuple[int, bytes]], name: str) -> str:
    entries = Chain(name, tuple(line for _, line in lost)).entries()
    told = [f"{one['number']} ({one['event']}, {str(one['time'])[:10]})" for one in entries[:5]]
    return f"the events {', '.join(told)}{f' and {len(lost) - 5} more' if len(lost) > 5 else ''}"


def hold(custody: Path, name: str, told: Mapping[str, Chain]) -> Held:
    """Hold the events of an object against what places tell of them."""
    mine = Events(custody).held(name)
    ours = held_as(name, mine)
    identifier = next((one.identifier for one in (ours, *told.values()) if one.identifier), name)
    found = Held(name, identifier, len(mine), ours.whole)
    best: Mapping[int, bytes] = {}
    for place, chain in sorted(told.items(), key=lambda one: -len(one[1].lines)):
        try:
            lost = missing(mine, chain)
            missing(best, chain)
        except Forked as fork:
            found.forked.append(_forked(place, found, fork.number))
            continue
        best = best or dict(enumerate(chain.lines, 1))
        if len(lost) > len(found.lost):
            found.lost, found.source = lost, place
        if not chain.whole:
            found.altered.append(place)
    return found


def _forked(place: str, held: Held, number: int) -> Damage:
    what = (
        f"tells another event {number} than custody or another place does; {_RULE}, so one of them was altered, and "
        "nothing says which: compare them, move the false one away by hand, and do the same again"
    )
    return Damage(place, held.identifier, f"events/{held.slug}.jsonl", FORKED, what)


@dataclass
class Checked:
    """What was found of custody: the events that are not in order, other files, and places that did not answer."""

    held: list[Held] = field(default_factory=list)
    files: list["Differing"] = field(default_factory=list)
    away: dict[str, str] = field(default_factory=dict)
    keeps: list[Kept] = field(default_factory=list)

    def damage(self) -> list[Damage]:
        """Return all that is wrong."""
        held = [damage for one in self.held for damage in one.damage()]
        return [*held, *(one.damage() for one in self.files)]

    def unsure(self) -> set[str]:
        """Return the slugs of those whose events must not grow now: what is added would contradict what was lost."""
        return {one.slug for one in self.held if one.unsure}


def check(custody: Path, places: Sequence[Place], slugs: Collection[str] = ()) -> Checked:
    """Hold custody against what places keep: all of it, or the events of some objects."""
    found, names = Checked(), dict[str, Mapping[str, int]]()
    for place in places:
        try:
            kept = Kept(custody, place)
            names[place.name] = kept.names()
            found.keeps.append(kept)
        except PlaceTrouble as trouble:
            found.away[place.name] = str(trouble)
    theirs = {chain_in(name) for there in names.values() for name in there}
    wanted = {name for name in Events(custody).slugs() | theirs if len(name) == 32 and (not slugs or name in slugs)}
    found.held = _looked(custody, ((name, _chains(found, names, name)) for name in sorted(wanted)))
    if not slugs:
        for kept in found.keeps:
            if kept.name not in found.away:
                found.files += _stones(custody, kept, names[kept.name])
    return found


def _looked(custody: Path, told: Iterable[tuple[str, Mapping[str, Chain]]]) -> list[Held]:
    """Return what is not in order, looked at for a while: what another node noted may not be seen here yet."""
    wrong = dict[str, tuple[Held, Mapping[str, Chain]]]()
    for name, chains in told:
        one = hold(custody, name, chains)
        if one.unsure or one.altered:
            wrong[name] = one, chains

    def look() -> None:
        for name, (one, chains) in wrong.items():
            if one.unsure:
                wrong[name] = hold(custody, name, chains), chains
        if any(one.unsure for one, _ in wrong.values()):
            raise _Unlike

    with suppress(_Unlike):
        files.patiently(look, _Unlike, files.GLANCE)
    return [one for one, _ in wrong.values() if one.unsure or one.altered]


def _chains(found: Checked, names: Mapping[str, Mapping[str, int]], name: str) -> dict[str, Chain]:
    told = dict[str, Chain]()
    for kept in found.keeps:
        try:
            there = f"events/{name}.jsonl" in names[kept.name] and kept.name not in found.away
            if there and (chain := kept.chain(name)):
                told[kept.name] = chain
        except PlaceTrouble as trouble:
            found.away[kept.name] = str(trouble)
    return told


# tombstones, and what is beside them


@dataclass(frozen=True)
class Differing:
    """A file of a tombstone that custody and a place do not have alike: which of both is to be written anew.

    `cure` is CUSTODY, the place's name, or "" where nothing says which is true.
    """

    name: str
    place: str
    identifier: str
    cure: str
    kind: str

    def damage(self) -> Damage:
        """Return what is wrong."""
        if not self.cure:
            what = (
                f"is another than {self.place} keeps, and nothing says which is true: compare them, and move one away"
            )
        elif self.kind == LOST:
            what = f"is gone, and {self.place} keeps it: `terp repair` brings it back"
        else:
            what = "is not what was written there: `terp repair` writes it anew"
        return Damage(self.cure or CUSTODY, self.identifier, self.name, self.kind, what)


def _stones(custody: Path, kept: Kept, there: Mapping[str, int]) -> list[Differing]:
    """Compare what custody and a place have of tombstones; what a place only lacks is no matter: it is sent."""
    found = []
    for name in sorted(name for name in there if name.startswith(STONES)):
        theirs, path = kept.read(name), custody / name
        with files.disk(path):
            ours = path.read_bytes() if path.exists() else None
        if theirs is not None and ours != theirs and (one := _differing(custody, kept.name, name, ours, theirs)):
            found.append(one)
    return found


def _differing(custody: Path, place: str, name: str, ours: bytes | None, theirs: bytes) -> Differing | None:
    stem, suffix = stone_in(name)
    if suffix == ".json":
        return _stone(place, name, ours, theirs)
    path = custody / "tombstones" / f"{stem}.json"
    with files.disk(path):
        plain = tombstone.parsed(path.read_bytes()) if path.exists() else None
    identifier = plain["identifier"] if plain else stem
    if ours is None:
        return Differing(name, place, identifier, CUSTODY, LOST)
    due = parts(plain, stem).get(suffix) if plain and plain["state"] == tombstone.DESTROYED else None
    cure = "" if due is None or due not in (ours, theirs) else place if due == ours else CUSTODY
    return Differing(name, place, identifier, cure, ALTERED if cure else FORKED)


def _stone(place: str, name: str, ours: bytes | None, theirs: bytes) -> Differing | None:
    stem = stone_in(name)[0]
    mine, other = tombstone.weight(stem, ours or b""), tombstone.weight(stem, theirs)
    plain = tombstone.parsed(theirs if other else ours or b"")
    identifier = str(plain["identifier"]) if plain else stem
    if other > mine:
        return Differing(name, place, identifier, CUSTODY, LOST if ours is None else ALTERED)
    if mine > other:
        return Differing(name, place, identifier, place, ALTERED) if other == 0 else None
    if mine == other == 1:
        return None  # what remains changes while it goes on; it is sent
    return Differing(name, place, identifier, "", FORKED)
