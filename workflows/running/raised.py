"""What regions raised, and where: another worker tries them once more; what is raised again is told, with a report."""

import json
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terp.cluster.crew import Crew
from terp.storage.errors import StorageError
from terp.storage.files import disk
from terp.storage.filling import Filling
from terp.storage.ledger import Place
from terp.storage.scrub import without_secrets
from terp.workflows.errors import StageFailed
from terp.workflows.running.task import Task, named, read_box

_TRIES = 3  # how often a region is tried at most, where the same worker got hold of it again


@dataclass
class _First:
    """What a region raised first, how often it has raised since, where, and which workers may do better."""

    error: BaseException
    at: set[str]
    others: list[str]
    times: int = 1


class Raised:
    """The regions of one product that raised; `reports` is the folder for what is told of them."""

    def __init__(self, task: Task, filling: Filling, crew: Crew, reports: Path) -> None:
        self.task, self.filling, self.crew, self.reports = task, filling, crew, reports
        self._first: dict[Place, _First] = {}

    def note(self, place: Place, error: BaseException, key: str) -> None:
        """Note what a region raised in the Dask task `key`; it is to be tried again, elsewhere.

        Raises what it raised first, or StageFailed, where it has been tried elsewhere, or there is no other worker.
        """
        at, others = self.crew.raised_at(key)
        first = self._first.get(place)
        if first is None:
            self._first[place] = _First(error, set(at), others)
            self._write(place, error, "w")
            return
        first.times += 1
        if others and set(at) <= first.at and first.times < _TRIES:
            return
        same = _line(first.error) == _line(error)
        if not same:
            self._write(place, error, "a")
        if isinstance(first.error, StorageError) and isinstance(error, StorageError):
            raise first.error
        raise self._failed(place, first.error, "" if same else f"; tried again: {_line(error)}") from first.error

    def elsewhere(self, place: Place) -> list[str]:
        """Return the addresses of workers that should try a region, if it matters."""
        return self._first[place].others if place in self._first else []

    def made(self, place: Place) -> str:
        """Return what is to be told of a region that was made: that it raised before, if it did."""
        first = self._first.pop(place, None)
        if first is None:
            return ""
        told = f"{self._words(place)} raised {_line(first.error)}"
        return f"{told}, and was made when it was tried again: see {self._report(place)}"

    def _words(self, place: Place) -> str:
        return f"region {place[1]} ({named(self.filling.product.group(place[0]).box(place[1]))})"

    def _report(self, place: Place) -> Path:
        return self.reports / f"failure-{self.filling.product.name}-{place[1]}.txt"

    def _failed(self, place: Place, error: BaseException, again: str) -> StageFailed:
        return StageFailed(
            f"{self.filling.product.name} failed on {self._words(place)}: {_line(error)}{again}. What is done stays; "
            f"mend the stage and run again. The traceback is in {self._report(place)}"
        )

    def _write(self, place: Place, error: BaseException, how: str) -> None:
        report = self._report(place)
        told = self._made_of(place) if how == "w" else "\nTried again:\n"
        with disk(report), report.open(how) as file:
            file.write(without_secrets(told + "\n" + "".join(traceback.format_exception(error))))

    def _made_of(self, place: Place) -> str:
        """Say what a region is made of: the part of each input, that one's seal, and the parameters."""
        group, task = self.filling.product.group(place[0]), self.task
        lines = [f"{self.filling.product.name}, {self._words(place)}", f"product: {self.filling.product.key}"]
        for one in task.inputs:
            box = named(read_box(task, group, place[1]))
            lines.append(f"input: {Path(one.folder).name}/{one.group}, sealed with the values {one.values}: {box}")
        lines.append(f"parameters: {json.dumps(without_secrets(_plain(task.parameters)), sort_keys=True)}")
        return "\n".join(lines) + "\n"


def _plain(parameters: Any) -> Any:
    return json.loads(json.dumps(dict(parameters), default=repr))


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
