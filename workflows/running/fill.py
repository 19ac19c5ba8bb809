"""The controller's side of a stage: keep a bounded window of regions in flight, and make what comes back count."""

import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from terp.cluster.crew import Crew, Verdict
from terp.cluster.errors import ClusterError, NoWorkers, Walled, WorkerLost
from terp.storage.errors import StorageError
from terp.storage.files import disk
from terp.storage.filling import Filling, Written
from terp.storage.ledger import Place
from terp.workflows.errors import BadStage, StageFailed, WorkflowError
from terp.workflows.running.task import Task, execute, named

WINDOW = 3  # regions in flight for each worker: one at work, one waiting beside it, one on its way
_LOOK = 2.0  # seconds between looks at the workers while nothing comes back
_ALONE = 120  # seconds without any worker after which the run stops
_TRIES = 3  # how often one region may be lost with its worker or its file
_UNSEEN = "the shard that its worker wrote was never seen here. Check the disk"
_DIED = "the workers that took it died{how}. It may need {cure}, or smaller blocks"
_HERE = "more memory than a worker has: try fewer workers (--workers)"
_THERE = "more memory (`memory_per_core` of the site) or more time (`walltime`)"
_WALLED = "the time of this controller is nearly up; what is recorded stays, and the same command goes on"


@dataclass
class Progress:
    """How far a stage is: regions done before, done now, in all; seconds of work; remarks; when one last came back.

    `waiting` says what is waited for while there is no worker.
    """

    name: str
    total: int
    before: int
    done: int = 0
    seconds: float = 0.0
    remarks: Counter[str] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)
    landed: float = field(default_factory=time.monotonic)
    waiting: str = ""

    def add(self, one: Written) -> None:
        """Count a region that was recorded."""
        self.done += 1
        self.seconds += one.seconds
        self.remarks.update(one.remarks)
        self.landed = time.monotonic()

    @property
    def rate(self) -> float:
        """Regions a second since the first was handed out."""
        return self.done / max(time.monotonic() - self.started, 1e-6)


Tell = Callable[[Progress], None]


def fill(
    task: Task, filling: Filling, crew: Crew, progress: Progress, tell: Tell, reports: Path, later: int = 0
) -> None:
    """Make all missing regions of a product. Returns when all are recorded.

    `later` regions can be worked on at once when this is done: workers are kept for them.

    Raises StageFailed with the region when the stage's code raises (its traceback goes to a file in `reports`),
    WorkerLost when a region is lost again and again, Walled when the controller's own time is up; what is
    recorded stays.
    """
    crew.longest = 0.0
    window = _Window(task, filling, crew, later)
    try:
        with crew.client.as_current():
            for batch in window.run():
                for one in batch:
                    progress.add(one)
                progress.waiting = window.waiting
                tell(progress)
    except (StorageError, ClusterError, WorkflowError):
        raise
    except _Raised as raised:
        raise _stage_failed(progress.name, filling, raised, reports) from raised.error
    finally:
        window.close()


class _Raised(Exception):
    """What the stage's code raised, and where."""

    def __init__(self, place: Place, error: BaseException) -> None:
        super().__init__(str(error))
        self.place, self.error = place, error


class _Window:
    """The regions in flight: never more than a few for each worker, however many there are."""

    def __init__(self, task: Task, filling: Filling, crew: Crew, later: int) -> None:
        self.later = later
        self.task, self.filling, self.crew, self.client = task, filling, crew, crew.client
        self.flying: dict[Any, Place] = {}
        self.losses: Counter[Place] = Counter()
        self.tries: Counter[Place] = Counter()
        self.undecided: list[tuple[Place, str, float]] = []
        self.waiting = ""
        self.todo = deque[Place]()
        self.rest = filling.missing()
        self.alone_since: float | None = None

    def run(self) -> Iterator[list[Written]]:
        """Yield what was recorded, batch by batch; now and then an empty batch while nothing comes back."""
        places = list(self.rest)
        self.rest, left = iter(places), len(places)
        self._feed(left)
        while self.flying or left:
            arrived = [written for future in self._landed() if (written := self._harvest(future)) is not None]
            if arrived:
                arrived = self._commit(arrived)
                left -= len(arrived)
            else:
                self._look()
            self._decide()
            self.crew.check()
            self._feed(left)
            yield arrived

    def _commit(self, arrived: list[Written]) -> list[Written]:
        """Make regions count; return those that do."""
        for lost in self.filling.commit(arrived):
            self._lose(lost.place, _UNSEEN)
            arrived.remove(lost)
        self.crew.longest = max([self.crew.longest, *(one.seconds for one in arrived)])
        self.crew.progress(len(arrived))
        return arrived

    def _landed(self) -> list[Any]:
        from distributed import wait

        with suppress(TimeoutError, CancelledError):  # what was cancelled is one of those that ended
            wait(list(self.flying), timeout=_LOOK, return_when="FIRST_COMPLETED")
        return [future for future in self.flying if future.status in ("finished", "error", "cancelled")]

    def _look(self) -> None:
        """Say what is waited for while there is no worker; raise NoWorkers when none can be expected: never hang."""
        self.waiting = ""
        if self.crew.workers():
            self.alone_since = None
            return
        self.waiting = self.crew.waiting()
        self.alone_since = time.monotonic() if self.waiting else self.alone_since or time.monotonic()
        if time.monotonic() - self.alone_since > _ALONE:
            raise NoWorkers(f"no Dask worker has been there for {_ALONE} s: see the log of the run, then run again")

    def _feed(self, left: int) -> None:
        """Hand out as much as the workers can have in flight; nothing when the controller is to end."""
        self.crew.need(left, self.filling.product.name, self.later)
        if self.crew.closing:
            if not self.flying:
                raise Walled(_WALLED)
            return
        room = WINDOW * max(len(self.crew.workers()), 1) - len(self.flying)
        for _ in range(room):
            place = self.todo.popleft() if self.todo else next(self.rest, None)
            if place is None:
                return
            self.flying[self._submit(place)] = place

    def _submit(self, place: Place) -> Any:
        group, index = place
        product = self.filling.product
        key = (
            f"{product.name}-{product.key[-8:]}-{group}-{index}"
            f"-g{self.filling.generation(place)}-e{self.filling.ledger.epoch}-t{self.tries[place]}"
        )
        return self.client.submit(
            execute,
            self.task,
            str(product.folder),
            str(self.filling.attempts),
            group,
            index,
            self.crew.longest,
            key=key,
            pure=False,
            retries=0,
        )

    def _harvest(self, future: Any) -> Written | None:
        from distributed.scheduler import KilledWorker

        if future.status == "finished":
            with suppress(TimeoutError, CancelledError):
                written: Written = future.result(timeout=_LOOK)
                del self.flying[future]
                return written
            return None  # it went with its worker: Dask lets another make it again
        place = self.flying.pop(future)
        error = future.exception() if future.status == "error" else None
        if error is None or isinstance(error, KilledWorker):
            self._again(place)
            if isinstance(error, KilledWorker):
                self.undecided.append((place, str(error.last_worker.name), time.monotonic()))
            return None
        if isinstance(error, BadStage):
            where = named(self.filling.product.group(place[0]).box(place[1]))
            raise BadStage(f"{self.filling.product.name}, region {place[1]} ({where}): {error}")
        if isinstance(error, StorageError | WorkflowError):
            raise error
        raise _Raised(place, error.with_traceback(future.traceback()))

    def _again(self, place: Place) -> None:
        self.tries[place] += 1
        self.todo.append(place)

    def _decide(self) -> None:
        """Count the losses of which it is known by now how the worker ended; one by preemption is nobody's fault."""
        waiting = []
        for place, worker, since in self.undecided:
            verdict = self.crew.verdict(worker, since)
            if verdict is None:
                waiting.append((place, worker, since))
            elif verdict.counts:
                self._blame(place, _died(verdict))
        self.undecided = waiting

    def _lose(self, place: Place, why: str) -> None:
        self._again(place)
        self._blame(place, why)

    def _blame(self, place: Place, why: str) -> None:
        self.losses[place] += 1
        if self.losses[place] >= _TRIES:
            raise WorkerLost(f"region {place[1]} of {self.filling.product.name} was lost {_TRIES} times: {why}")

    def close(self) -> None:
        """Take back what is still in flight."""
        if self.flying:
            self.client.cancel(list(self.flying), force=True)
            self.flying.clear()


def _died(verdict: Verdict) -> str:
    how = f" (the last time: {verdict.why})" if verdict.why else ""
    return _DIED.format(how=how, cure=_THERE if verdict.why else _HERE)


def _stage_failed(name: str, filling: Filling, raised: _Raised, reports: Path) -> StageFailed:
    group, index = raised.place
    where = named(filling.product.group(group).box(index))
    report = reports / f"failure-{name.partition(' ')[0]}-{index}.txt"
    error = raised.error
    with disk(report):
        report.write_text(f"{name}, region {index} ({where})\n\n" + "".join(traceback.format_exception(error)))
    return StageFailed(
        f"{name} failed on region {index} ({where}): {type(error).__name__}: {error}. What is done stays; "
        f"mend the stage and run again. The traceback is in {report}"
    )
