"""Mend what is damaged: verified bytes replace it in one step, what was added is moved aside, and all of it is noted.

What replaces a file is complete, and its SHA-512 is the one that was stored, before anything is touched; so whoever
stops it at any moment leaves each file as it was or as it should be, and the same command goes on.
"""

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from terp.storage import files
from terp.storage.audit import Damage, Order, Report, audit
from terp.storage.audit.bundled import Bundled
from terp.storage.audit.checking import Task
from terp.storage.audit.damage import ADDED, CONTRADICTED, Spot
from terp.storage.audit.looking import Looked, look
from terp.storage.audit.root import expected_root
from terp.storage.audit.truth import INVENTORY, MARK, SIDECAR, folder_of
from terp.storage.errors import Damaged, PlaceTrouble
from terp.storage.meter import Tell, silent
from terp.storage.places import Folder, Place
from terp.storage.repair.assembling import Made, by_bytes, by_parts, whole
from terp.storage.repair.given import Given
from terp.storage.repair.noting import PART, Change, Intent, finish
from terp.storage.repair.quarantine import move_aside

_LAST = (INVENTORY, SIDECAR, MARK)  # of an object, in this order, behind all that they tell of

_PUT_TOGETHER = "repair-"  # how files in the scratch folder begin


@dataclass(frozen=True)
class Mended:
    """A file that was mended: in which place, of which object, and how."""

    place: str
    object: str
    path: str
    how: str

    def __str__(self) -> str:
        return f"{self.place}: {self.object or 'the storage root'}: {self.path} {self.how}"


@dataclass
class Outcome:
    """What a repair came to: what was mended, what could not be and why, and what the audit before it said.

    `refused` are files of given folders of which nothing was put back, each with why.
    """

    report: Report
    mended: list[Mended] = field(default_factory=list)
    left: list[tuple[Damage, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """65 where something is left that is damaged, 74 where a place did not answer, 75 where it goes on later."""
        return 65 if self.left else 74 if self.report.away else 0 if self.report.whole else 75

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "mended": [vars(one) for one in self.mended],
            "left": [{**damage.to_json(), "why": why} for damage, why in self.left],
            "refused": self.refused,
            "away": self.report.away,
            "waiting": self.report.waiting,
        }

    def text(self) -> str:
        """Return all of it for people."""
        lines = [*map(str, self.mended), *(f"{damage}\n  not mended: {why}" for damage, why in self.left)]
        lines += [f"{name}: {words}" for name, words in self.report.away.items()]
        lines += self.refused
        lines += [f"still on tape: {name}" for name in self.report.waiting]
        if not self.mended and not self.left:
            return "\n".join([*lines, "nothing is damaged"])
        return "\n".join([*lines, f"{len(self.mended):,} mended, {len(self.left):,} left"])


@dataclass(frozen=True)
class Work:
    """What is to be mended: in the places named `targets`, with bytes of those named `sources`, of some objects.

    `given` are folders that bytes may be taken from too; `scratch` is a folder for files that are being put together.
    `beside`: mend what is of no object too, where some are named.
    """

    places: Sequence[Place]
    custody: Path
    scratch: Path
    targets: Sequence[str]
    sources: Sequence[str]
    folders: Sequence[str] = ()
    tell: Tell = silent
    given: Sequence[Given] = ()
    beside: bool = False


def repair(work: Work) -> Outcome:
    """Audit what is to be mended, mend what can be, and return what came of it. Raises DiskTrouble."""
    _sweep(work.scratch, f"{_PUT_TOGETHER}*")
    _sweep(work.custody / "repairs", f"{PART}*")
    finish(work.custody, work.places)
    about = work.places, work.custody, work.targets, work.folders
    scope = f"repair {secrets.token_hex(4)}"
    outcome = Outcome(audit(Order(*about, scope=scope, beside=work.beside, tell=work.tell)))
    found: dict[tuple[str, str], list[Damage]] = {}
    for damage in outcome.report.damage:
        found.setdefault((damage.place, damage.object), []).append(damage)
    for (place, identifier), damages in found.items():
        _Mending(work, outcome, place, identifier).mend(damages)
    outcome.refused += [said for one in work.given for said in one.refused()]
    return outcome


def _sweep(folder: Path, what: str) -> None:
    """Remove what was being put together by who was killed, a day ago or longer."""
    old = time.time() - 24 * 3600
    with suppress(OSError):
        files.forget([one for one in folder.glob(what) if one.stat().st_mtime < old])


class _Mending:
    """One object in one place."""

    def __init__(self, work: Work, outcome: Outcome, place: str, identifier: str) -> None:
        self.work, self.outcome, self.identifier = work, outcome, identifier
        self.place = next(one for one in work.places if one.name == place)
        self.folder = identifier if _is_folder(identifier) else folder_of(identifier) if identifier else ""
        self.intent = Intent(work.custody, identifier, self.folder, place)

    def mend(self, damages: Sequence[Damage]) -> None:
        try:
            if isinstance(self.place, Bundled):
                self.outcome.left += [(damage, self._on_tape()) for damage in damages]
            elif self.identifier:
                self._object(damages)
            else:
                self._root(damages)
        except PlaceTrouble as trouble:
            self.outcome.report.away.setdefault(self.place.name, str(trouble))
        finally:
            self.intent.done()

    def _on_tape(self) -> str:
        again = f"{self.identifier or 'URN'} --{{}} {self.place.name}"
        return (
            f"bundles are not changed: `terp uncopy {again.format('from')}`, then `terp copy {again.format('to')}` "
            "once it is sound in the archive"
        )

    def _object(self, damages: Sequence[Damage]) -> None:
        looked = look(self.work.places, self.work.custody, self.folder)
        if looked.truth.doubts or not looked.truth.head:
            why = looked.truth.doubts or ("no inventory is left in any place",)
            self.outcome.left += [(damage, f"{'; '.join(why)}: a person has to decide") for damage in damages]
            return
        self.outcome.left += [(damage, damage.cure) for damage in damages if damage.kind == CONTRADICTED]
        damages = [damage for damage in damages if damage.kind != CONTRADICTED]
        wanted = looked.there[self.place.name].wanted
        for given in self.work.given:
            given.told(wanted)
        whole_object = any(not damage.path for damage in damages)
        paths = set(wanted) if whole_object else {damage.path for damage in damages if damage.kind != ADDED}
        by_path = {damage.path: damage for damage in damages}
        for path in sorted(paths, key=_rank):
            self._file(Task(self.place, looked, path, wanted[path]), by_path.get(path) or by_path[""])
        for damage in damages:
            if damage.kind == ADDED:
                self._added(damage)

    def _file(self, task: Task, damage: Damage) -> None:
        """Mend one file."""
        if task.path in _LAST and self._has_changed(task.looked):
            self.outcome.left.append((damage, "the object has changed meanwhile: do the same again"))
            return
        fresh = self.work.scratch / f"{_PUT_TOGETHER}{secrets.token_hex(6)}"
        with files.disk(fresh):
            files.make_folders(fresh.parent)
            try:
                made = self._made(task, fresh)
                if made is None or made.lost:
                    self.outcome.left.append((damage, self._refusal(task, made.lost if made else ())))
                    return
                self._replace(task, made, damage)
            finally:
                files.forget([fresh])

    def _made(self, task: Task, fresh: Path) -> Made | None:
        known = task.looked.truth.small(task.looked.there[self.place.name].version).get(task.path)
        if known is not None:
            files.write_new(fresh, known)
            return Made(fresh, ("what the inventories say",))
        others: list[Place] = [
            one for one in self.work.places if one.name in self.work.sources and one is not self.place
        ]
        for other in others:
            if waiting := other.stage([task.name]):
                self.outcome.report.waiting += [f"{other.name}: {name}" for name in waiting]
        for given in self.work.given:
            given.offer(task.name, task.digest)
        others += self.work.given
        near = sorted([self.place, *others], key=lambda one: not isinstance(one, Folder))
        if task.layout:
            return by_parts(task, task.layout, near, fresh)
        return whole(task, others, fresh) or by_bytes(task, [self.place, *others], fresh)

    def _replace(self, task: Task, made: Made, damage: Damage) -> None:
        self.intent.will(Change(task.path, damage.found, task.digest, made.sources))
        try:
            self.place.put(task.name, made.path, sha512=task.digest)
        except Damaged as unlike:
            self.intent.failed(task.path)
            self.outcome.left.append((damage, f"what was put together is not what was stored: {unlike}"))
            return
        for given in self.work.given:
            if given.name in made.sources:
                given.taken(task.name)
        make_read_only(self.place, task.name)
        how = f"is as it was stored again: from {', '.join(made.sources) or 'its table'}"
        self.outcome.mended.append(Mended(self.place.name, self.identifier, task.path, how))

    def _refusal(self, task: Task, lost: Sequence[Spot]) -> str:
        """Say what is lost, and how it may be made again."""
        what = "; ".join(spot.what for spot in lost) or task.path
        given = [one.name for one in self.work.given]
        looked_in = ", ".join(dict.fromkeys([self.place.name, *self.work.sources, *given]))
        again = (
            f"compute it again (`terp replay {self.identifier} --keep FOLDER`), or find it elsewhere, and "
            f"`terp repair {self.identifier} --from FOLDER`"
        )
        return f"no place that was asked ({looked_in}) has it sound. Lost: {what}. To get it back: {again}"

    def _has_changed(self, looked: Looked) -> bool:
        return not looked.same(look(self.work.places, self.work.custody, self.folder), self.place.name)

    # what is no file of the object, and what is beside objects

    def _added(self, damage: Damage) -> None:
        name = f"{self.folder}/{damage.path}" if self.folder else damage.path
        kept = move_aside(self.place, name, self.work.custody, self.intent, damage.path)
        how = f"was moved to {kept}" if kept else "was removed, as nothing was in it"
        self.outcome.mended.append(Mended(self.place.name, self.identifier, damage.path, how))

    def _root(self, damages: Sequence[Damage]) -> None:
        known = expected_root(self.work.custody)
        for damage in damages:
            if damage.kind == ADDED:
                self._added(damage)
            elif damage.path in known:
                self.intent.will(Change(damage.path, damage.found, damage.expected, ("custody",)))
                self.place.write(damage.path, known[damage.path])
                how = "is as it was again: from what custody knows"
                self.outcome.mended.append(Mended(self.place.name, "", damage.path, how))
            else:
                self.outcome.left.append((damage, "nothing tells what it was: make it again by hand"))


def _rank(path: str) -> tuple[int, str]:
    name = path.rpartition("/")[2]
    return (1 + _LAST.index(name) + 3 * ("/" not in path) if name in _LAST else 0), path


def _is_folder(identifier: str) -> bool:
    """Whether an object is known by its folder only, as none of its inventories can be read."""
    return identifier.count("/") == 3 and not identifier.startswith("urn:")


def make_read_only(place: Place, name: str) -> None:
    """Let nobody write to a stored file, where the place is a folder."""
    if isinstance(place, Folder):
        with suppress(OSError):
            path = place.root / name
            path.chmod(path.stat().st_mode & 0o444)
