"""The audit: all that places hold of archived objects is read again, and held against what was stored.

It shares nothing with what writes: only hashes, JSON, and the descriptions of OCFL and ZIP. It can be stopped at any
moment, and goes on where it was; a place that does not answer holds up no other.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from terp.storage.audit.bundled import Bundled
from terp.storage.audit.checking import Task
from terp.storage.audit.damage import Damage
from terp.storage.audit.looking import Looked, destroyed, known, look, remains
from terp.storage.audit.readers import Batch, Readers, Stopped, batches
from terp.storage.audit.record import Line, Record, damages, now
from terp.storage.audit.report import Report
from terp.storage.audit.root import check_root, survey
from terp.storage.audit.truth import folder_of
from terp.storage.audit.unit import Unit
from terp.storage.errors import PlaceTrouble
from terp.storage.meter import Meter, Tell, silent
from terp.storage.places import Place

_AHEAD = 8  # objects that are looked at before their turn comes
_AGAIN = 3  # times that an object is looked at anew because it changed meanwhile
type Wanted = Callable[[str, str], bool]  # whether an object (by its folder) in a place (by its name) is wanted


@dataclass(frozen=True)
class Order:
    """What is audited, and how.

    `places` bear witness; those of the names `audited` are read through: of the objects in `folders` (all where none is
    named) those that are `wanted`. `scope` names what `wanted` wants, `seconds` is how long it may take, `threads` how
    many files are read at a time (0: one for each core), `unnoted` of which objects (slugs) nothing is noted now.
    `beside`: what is of no object too, where some are named.
    """

    places: Sequence[Place]
    custody: Path
    audited: Sequence[str]
    folders: Sequence[str] = ()
    wanted: Wanted = lambda folder, place: True  # noqa: ARG005
    scope: str = ""
    beside: bool = False
    seconds: float | None = None
    threads: int = 0
    tell: Tell = silent
    unnoted: Collection[str] = ()


def audit(order: Order) -> Report:
    """Audit what was ordered, going on where an audit of the same was stopped. Raises DiskTrouble for its record."""
    record = Record(order.custody / "audits", _scope(order))
    try:
        return _Audit(order, record).run()
    finally:
        record.close()


def _scope(order: Order) -> dict[str, Any]:
    return {"places": sorted(order.audited), "folders": sorted(order.folders), "scope": order.scope}


class _Audit:
    def __init__(self, order: Order, record: Record) -> None:
        self.order, self.record = order, record
        self.places = {place.name: place for place in order.places}
        self.report = Report(record.folder.name, record.began)
        if order.scope == "due":  # what ended is wanted again only where it is due again
            record.read_anew()
        self._ended, self._checked = record.ended, record.checked  # what was damaged may be mended by now
        self._open = list[Unit]()
        self._began = time.monotonic()
        self._deadline = self._began + order.seconds if order.seconds is not None else None
        self._meter = Meter(order.tell, "read", 0)

    def run(self) -> Report:
        """Do it, and return what came of it."""
        with Readers(self.order.threads) as self._readers:
            try:
                self._all()
            except Stopped:
                self.report.out_of_time = True
            except BaseException:
                self._deadline = 0.0  # what flies ends with its next block
                raise
            self._land_all()
        return self._finished()

    def _finished(self) -> Report:
        report = self.report
        report.bytes = self._meter.done
        report.seconds, report.ended = time.monotonic() - self._began, now()
        report.damage += [one for unit in self._open for one in unit.damage]
        report.damage += [one for place in self.order.places if isinstance(place, Bundled) for one in place.broken()]
        report.damage.sort(key=lambda one: (one.place, one.object, one.path))
        if report.whole and not report.away:
            self.record.end(report.to_json())
        return report

    # what is to be done

    def _all(self) -> None:
        folders = self._survey()
        ahead: list[Future[Looked]] = []
        left = iter(folders)
        while True:
            while len(ahead) < _AHEAD and (folder := next(left, None)) is not None:
                ahead.append(self._readers.submit(partial(look, self.order.places, self.order.custody, folder)))
            if not ahead:
                break
            looked = self._waited(ahead.pop(0))
            if destroyed(self.order.custody, looked.truth.identifier):
                self.report.notes += remains(looked, self.order.audited)
            else:
                self._object(looked)

    def _waited(self, future: Future[Looked]) -> Looked:
        """Wait for a look, taking in meanwhile what comes back."""
        while not future.done():
            self._demand_time()
            if self._readers.flying:
                self._land(0.01)
            else:
                wait([future], 1.0)
        return future.result()

    def _survey(self) -> list[str]:
        """Return the folders of all objects that are to be looked at, and check what is beside objects."""
        found, total = set(self.order.folders), 0
        for name in self.order.audited:
            self._demand_time()
            try:
                there, beside = survey(self.places[name], () if self.order.beside else self.order.folders)
                found |= set() if self.order.folders else there.keys()
                total += sum(size for folder, size in there.items() if folder in found)
                if self.order.beside or not self.order.folders:
                    self.report.damage += self._beside(self.places[name], beside)
            except PlaceTrouble as trouble:
                self.report.away[name] = str(trouble)
        self._meter.total = total
        return sorted(found | self._noted())

    def _beside(self, place: Place, names: Collection[str]) -> Sequence[Damage]:
        """Return what is wrong with what is of no object; that waits where it is on tape."""
        if isinstance(place, Bundled):
            return place.beside()
        if place.stage(sorted(names)):
            self.report.waiting.append(f"{place.name}: what is beside objects")
            return []
        return check_root(place, names, self.order.custody)

    def _noted(self) -> set[str]:
        return set() if self.order.folders else set(map(folder_of, known(self.order.custody)))

    def _object(self, looked: Looked) -> None:
        self.report.away |= {name: said for name, said in looked.away.items() if name in self.order.audited}
        for name in self.order.audited:
            folder = looked.truth.folder
            if name not in looked.there or name in self.report.away or not self.order.wanted(folder, name):
                continue
            if (name, folder) in self._ended:
                self._take_over(self._ended[name, folder])
            else:
                self._unit(Unit(looked, self.places[name]))

    def _take_over(self, line: Mapping[str, Any]) -> None:
        self.report.objects.append(dict(line))
        self.report.damage += damages(line)

    def _unit(self, unit: Unit) -> None:
        """Hand out all files of an object in a place."""
        self._open.append(unit)
        self.report.notes += [one for one in unit.remarks(self.order.custody) if one not in self.report.notes]
        unit.hold_against_names()
        tasks = unit.tasks()
        if tasks and self._on_tape(unit, tasks):
            return
        for batch in batches(unit, [task for task in tasks if not self._was_checked(unit, task)]):
            self._hand_out(batch)
        unit.handed_out = True
        self._close_if_over(unit)

    def _on_tape(self, unit: Unit, tasks: Sequence[Task]) -> bool:
        try:
            waiting = unit.place.stage([task.name for task in tasks])
        except PlaceTrouble as trouble:
            self.report.away[unit.place.name] = str(trouble)
            return True
        if waiting:
            self.report.waiting.append(f"{unit.place.name}: {unit.looked.truth.identifier}, {len(waiting):,} files")
        return bool(waiting)

    # reading

    def _was_checked(self, unit: Unit, task: Task) -> bool:
        size = self._checked.get(task.key)
        if size is None:
            return False
        unit.files, unit.bytes = unit.files + 1, unit.bytes + size
        return True

    def _hand_out(self, batch: Batch) -> None:
        while self._readers.full:
            self._land(1.0)
        self._demand_time()
        batch.unit.left += 1
        others = [place for place in self.order.places if place.name not in self.report.away]
        self._readers.read(batch, others, self._count)

    def _count(self, size: int) -> None:
        self._demand_time()
        self._meter.add(size)

    def _demand_time(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise Stopped

    def _land_all(self) -> None:
        while self._readers.flying:
            self._land(1.0)

    def _land(self, patience: float) -> None:
        """Take in a batch that comes back."""
        came = self._readers.landed(patience)
        if came is None:
            return
        batch, ended = came
        unit = batch.unit
        self._landed(batch)
        ended.result()
        if isinstance(batch.failed, Stopped):
            self.report.out_of_time = True
        elif batch.failed:
            self.report.away.setdefault(unit.place.name, str(batch.failed))
        self.report.waiting += [f"{unit.place.name}: {task.name}" for task in batch.not_staged]
        unit.left, unit.whole = unit.left - 1, unit.whole and batch.whole
        self._close_if_over(unit)

    def _landed(self, batch: Batch) -> None:
        """Take in what was found of those files that were read."""
        unit, sound = batch.unit, list[Line]()
        for task, damage in batch.found:
            size = max(unit.there.sizes.get(task.path, 0), 0)
            unit.files, unit.bytes = unit.files + 1, unit.bytes + size
            if damage:
                unit.damage.append(damage)
            else:
                sound.append({"checked": list(task.key), "bytes": size, "damage": []})
        self.report.files += len(batch.found)
        self.record.add(*sound)

    # an object that was read

    def _close_if_over(self, unit: Unit) -> None:
        if unit.left or not unit.handed_out or not unit.whole:
            return
        self._open.remove(unit)
        if unit.damage and self._changed(unit):
            return
        line = unit.line(now())
        self.record.add(line)
        self._take_over(line)
        if unit.damage:
            unit.note(self.order.custody, self.report.audit, self.order.unnoted)

    def _changed(self, unit: Unit) -> bool:
        """Look again at an object that seems damaged: if it is another by now, begin anew with it."""
        fresh = look(self.order.places, self.order.custody, unit.looked.truth.folder)
        name = unit.place.name
        if destroyed(self.order.custody, unit.looked.truth.identifier) or (name in fresh.away):
            self.report.away |= {name: fresh.away[name]} if name in fresh.away else {}
            return True
        if not unit.looked.same(fresh, name) and unit.tries < _AGAIN and name in fresh.there:
            self._unit(Unit(fresh, unit.place, tries=unit.tries + 1))
            return True
        unit.forget_what_went(fresh)
        return False
