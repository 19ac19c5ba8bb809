"""The controller's side of a stage: keep a bounded window of regions in flight, and make what comes back count."""

import time
import traceback
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from terp.cluster.crew import Crew, Verdict
from terp.cluster.errors import ClusterError, NoWorkers, Walled, WorkerLost
from terp.storage.errors import StorageError
from terp.storage.files import disk
from terp.storage.filling import Filling, Written
from terp.storage.ledger import Place
from terp.workflows.errors import BadStage, StageFailed, WorkflowError
from terp.workflows.running.task import Task, execute_all, named

WINDOW = 3  # regions in flight for each worker: one at work, one waiting beside it, one on its way
_LOOK = 2.0  # seconds between looks at the workers while nothing comes back
_TASK_SECONDS = 0.25  # that a task should take at least, where regions are short
_AT_MOST = 64  # regions in a task
_COUNTED = 0.5  # seconds for which the number of workers is taken to be the same
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

    `waiting` says what is waited for while there is no worker; `memory` is what a worker held at most, in bytes.
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
    memory: int = 0

    def add(self, one: Written) -> None:
        """Count a region that was recorded."""
        self.done += 1
        self.seconds += one.seconds
        self.remarks.update(one.remarks)
        self.memory = max(self.memory, one.memory)
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
        self.flying: dict[Any, list[Place]] = {}
        self.losses: Counter[Place] = Counter()
        self.tries: Counter[Place] = Counter()
        self.undecided: list[tuple[Place, str, float]] = []
        self.weights: dict[Place, float] = defaultdict(float)
        self.waiting = ""
        self.todo = deque[Place]()
        self.rest = filling.missing()
        self.alone_since: float | None = None
        self.workers, self.counted = 0, 0.0
        self.seconds, self.done = 0.0, 0  # that workers spent, on how many regions

    def run(self) -> Iterator[list[Written]]:
        """Yield what was recorded, batch by batch; now and then an empty batch while nothing comes back."""
        left = self.filling.left
        self._feed(left)
        while self.flying or left:
            arrived = [written for future in self._landed() for written in self._harvest(future)]
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
        self.seconds, self.done = self.seconds + sum(one.seconds for one in arrived), self.done + len(arrived)
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
            if not self.flying or not self.crew.busy:
                raise Walled(_WALLED)
            return
        window = WINDOW * max(self._workers(), 1)
        for _ in range(window - len(self.flying)):
            places = [self.todo.popleft()] if self.todo else list(islice(self.rest, self._at_a_time(left, window)))
            if not places:
                return
            self.flying[self._submit(places)] = places

    def _workers(self) -> int:
        """Return how many workers there are, or were a moment ago: to ask takes as long as a short region."""
        if not self.workers or time.monotonic() - self.counted > _COUNTED:
            self.workers, self.counted = len(self.crew.workers()), time.monotonic()
        return self.workers

    def _at_a_time(self, left: int, window: int) -> int:
        """Return how many regions a task is worth: short ones go together, but never so that a worker has none."""
        if not self.done:
            return 1
        fitting = int(_TASK_SECONDS / max(self.seconds / self.done, 1e-6))
        return max(min(fitting, _AT_MOST, left // (2 * window)), 1)

    def _submit(self, places: list[Place]) -> Any:
        product, (group, index) = self.filling.product, places[0]
        key = (
            f"{product.name}-{product.key[-8:]}-{group}-{index}-n{len(places)}"
            f"-g{self.filling.generation(places[0])}-e{self.filling.ledger.epoch}-t{self.tries[places[0]]}"
        )
        return self.client.submit(
            execute_all,
            self.task,
            str(product.folder),
            str(self.filling.attempts),
            places,
            self.crew.longest,
            key=key,
            pure=False,
            retries=0,
        )

    def _harvest(self, future: Any) -> list[Written]:
        """Return what a task has written; regions of one that failed are handed out again, each alone."""
        from distributed.scheduler import KilledWorker

        if future.status == "finished":
            with suppress(TimeoutError, CancelledError):
                written: list[Written] = future.result(timeout=_LOOK)
                del self.flying[future]
                return written
            return []  # it went with its worker: Dask lets another make it again
        places = self.flying.pop(future)
        error = future.exception() if future.status == "error" else None
        if error is None or isinstance(error, KilledWorker) or len(places) > 1:
            for place in places:
                self._again(place)
                if isinstance(error, KilledWorker):
                    self.undecided.append((place, str(error.last_worker.name), time.monotonic()))
            return []
        [place] = places
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
        waiting, together = [], dict[str, list[tuple[Place, Verdict]]]()
        for place, worker, since in self.undecided:
            verdict = self.crew.verdict(worker, since)
            if verdict is None:
                waiting.append((place, worker, since))
            elif verdict.counts:
                together.setdefault(verdict.why or worker, []).append((place, verdict))
        self.undecided = waiting
        for lost in together.values():
            for place, verdict in lost:
                self._blame(place, _died(verdict), 1 / len(lost))

    def _lose(self, place: Place, why: str) -> None:
        self._again(place)
        self._blame(place, why)

    def _blame(self, place: Place, why: str, share: float = 1.0) -> None:
        """Count a loss; of regions that were lost together, one is to blame, and nobody knows which."""
        self.losses[place] += 1
        self.weights[place] += share
        times = self.losses[place]
        if times >= _TRIES and self.weights[place] >= 1 - 1e-9:
            raise WorkerLost(f"region {place[1]} of {self.filling.product.name} was lost {times} times: {why}")

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
