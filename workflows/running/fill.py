"""The controller's side of a stage: keep a bounded window of regions in flight, and make what comes back count."""

import time
from collections import Counter, deque
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from terp.cluster.crew import AtWork, Crew
from terp.cluster.errors import NoWorkers, Walled
from terp.storage.errors import DiskTrouble, StorageError
from terp.storage.filling import Filling
from terp.storage.ledger import Place
from terp.storage.writing import Written
from terp.workflows.errors import BadStage, WorkflowError
from terp.workflows.running.landing import Landing
from terp.workflows.running.late import Watch
from terp.workflows.running.losses import Losses
from terp.workflows.running.progress import Progress, Tell
from terp.workflows.running.raised import Raised
from terp.workflows.running.task import Task, execute_all, named

WINDOW = 3  # tasks in flight for each worker: one at work, one waiting beside it, one on its way
_LOOK = 2.0  # seconds between looks at the workers while nothing comes back
_TASK_SECONDS = 1.0  # that a task should take at least, where regions are short
_AT_MOST = 64  # regions in a task
_COUNTED = 0.5  # seconds for which the number of workers is taken to be the same
_ALONE = 120  # seconds without any worker after which the run stops
_UNSEEN = "the shard that its worker wrote was never seen here. Check the disk"
_STUCK = "it had not come back after {}. Its stage waits there for what never happens, or needs much smaller blocks"
_WALLED = "the time of this controller is nearly up; what is recorded stays, and the same command goes on"


def fill(
    task: Task, filling: Filling, crew: Crew, progress: Progress, tell: Tell, reports: Path, later: int = 0
) -> None:
    """Make all missing regions of a product. Returns when all are recorded.

    `later` regions can be worked on at once when this is done: workers are kept for them.

    Raises StageFailed with the region when the stage's code raises, and again elsewhere (see the file in `reports`),
    WorkerLost when a region is lost again and again, Walled when the controller's own time is up; what is
    recorded stays.
    """
    crew.longest = 0.0
    window = _Window(task, filling, crew, later, progress, reports)
    try:
        with crew.client.as_current():
            for batch in window.run():
                for one in batch:
                    progress.add(one)
                progress.waiting = window.waiting
                tell(progress)
    finally:
        window.close()


class _Window:
    """The tasks in flight: never more than a few for each worker, however many regions there are."""

    def __init__(self, task: Task, filling: Filling, crew: Crew, later: int, progress: Progress, reports: Path) -> None:
        self.later, self.news, self.known = later, progress.news, progress.environments
        self.task, self.filling, self.crew, self.client = task, filling, crew, crew.client
        self.landing = Landing(crew.client)
        self.flying: dict[Any, list[Place]] = {}
        self.losses = Losses(filling.product.name, crew)
        self.raised = Raised(task, filling, crew, reports)
        self.watch = Watch(crew, filling.ledger.longest)
        self.tries: Counter[Place] = Counter()
        self.twice = set[Place]()  # regions that were handed out a second time, being late
        self.ended = set[str]()  # workers that we have ended
        self.all_out = False  # whether there is nothing left to be handed out
        self.alone = ""
        self.todo = deque[Place]()
        self.rest = filling.missing()
        self.batches = groupby(filling.missing(), lambda place: (place[0], place[1] // task.together))
        self.alone_since: float | None = None
        self.workers, self.counted = 0, 0.0
        self.seconds, self.done = 0.0, 0  # that workers spent, on how many regions

    def run(self) -> Iterator[list[Written]]:
        """Yield what was recorded, batch by batch; now and then an empty batch while nothing comes back."""
        left = self.filling.left
        self._feed(left)
        while self.flying or left:
            arrived = [written for landed in self.landing.take(_LOOK) for written in self._harvest(*landed)]
            if arrived:
                arrived = self._commit(arrived)
                left -= len(arrived)
            else:
                self._look()
            self.losses.decide()
            self.crew.check()
            self._mind_the_late()
            self._feed(left)
            yield arrived

    @property
    def waiting(self) -> str:
        """What is waited for: workers, or regions that take very long."""
        return self.alone or self.crew.late

    def _commit(self, arrived: list[Written]) -> list[Written]:
        """Make regions count; return those that do: of what was handed out twice, the first."""
        self.alone, arrived = "", self.filling.fresh(arrived)
        for lost in self.filling.commit(arrived):
            self._lose(lost.place, _UNSEEN)
            arrived.remove(lost)
        self.news += filter(None, (self.raised.made(one.place) for one in arrived))
        self.seconds, self.done = self.seconds + sum(one.seconds for one in arrived), self.done + len(arrived)
        self.crew.longest = max([self.crew.longest, *(one.seconds for one in arrived)])
        self.crew.progress(len(arrived))
        if self.twice:
            self._forget_done()
        return arrived

    def _forget_done(self) -> None:
        """Take back what has come back from another worker meanwhile."""
        for future in [one for one, places in self.flying.items() if self._done(places)]:
            del self.flying[future]
            self._end(future, next((one for one in self.crew.at_work(0)[0] if one.key == future.key), None))

    def _done(self, places: list[Place]) -> bool:
        return all(self.filling.ledger.has(place) for place in places)

    def _look(self) -> None:
        """Say what is waited for while there is no worker; raise NoWorkers when none can be expected: never hang."""
        self.alone = ""
        if self.crew.strength():
            self.alone_since = None
            return
        self.alone = self.crew.waiting()
        self.alone_since = time.monotonic() if self.alone else self.alone_since or time.monotonic()
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
            places = self._next(left, window)
            self.all_out = not places
            if not places:
                return
            self._submit(places)

    def _next(self, left: int, window: int) -> list[Place]:
        """Return what to hand out next: what came back undone, what is read together, or as many as are worth it."""
        for place in self.todo:
            if not self.losses.waits(place):
                self.todo.remove(place)
                return [place]
        if self.task.together > 1:
            batch = list(next(self.batches, ("", ()))[1])
            if left >= 2 * self.task.together * self._workers():
                return batch
            self.todo.extend(batch)  # towards the end each worker shall have some
            return [self.todo.popleft()] if batch else []
        return list(islice(self.rest, self._at_a_time(left, window)))

    def _mind_the_late(self) -> None:
        """Give up regions that never come back; where nothing is left, have idle workers try those that are late."""
        flying = {one.key: one for one in self.flying if one.status == "pending"} if self.watch.due else {}
        late = self.watch.look({key: len(self.flying[one]) for key, one in flying.items()})
        for one in late.stuck:
            if one.key in flying:
                self._give_up(flying.pop(one.key), one)
        if not self.all_out or self.todo or not self.crew.renews or self.crew.closing:
            return
        slow = [place for one in late.slow if one.key in flying for place in self.flying[flying[one.key]]]
        for place, address in zip([one for one in slow if one not in self.twice], late.idle, strict=False):
            self.tries[place] += 1
            self.twice.add(place)
            self._submit([place], address)

    def _give_up(self, future: Any, late: AtWork) -> None:
        """Take regions from a worker that does not come back with them."""
        places, how = self.flying.pop(future), self.watch.compared(late.seconds)
        self._end(future, late)
        for place in places:
            self.news.append(f"region {place[1]} is taken from its worker, which has been at it for {how}")
            self._again(place)
            self.losses.blame(place, _STUCK.format(how), 1 / len(places))

    def _end(self, future: Any, at: AtWork | None) -> None:
        """Forget what a worker is at, and end the worker: nothing else would ever free it."""
        self.client.cancel([future], force=True)
        if at is not None:
            self.ended.add(at.worker)
            self.crew.end(at.address)

    def _workers(self) -> int:
        """Return how many workers there are, or were a moment ago: to ask takes as long as a short region."""
        if not self.workers or time.monotonic() - self.counted > _COUNTED:
            self.workers, self.counted = self.crew.strength(), time.monotonic()
        return self.workers

    def _at_a_time(self, left: int, window: int) -> int:
        """Return how many regions a task is worth: short ones go together, but never so that a worker has none."""
        if not self.done:
            return 1
        fitting = int(_TASK_SECONDS / max(self.seconds / self.done, 1e-6))
        return max(min(fitting, _AT_MOST, left // (2 * window)), 1)

    def _submit(self, places: list[Place], worker: str = "") -> None:
        product, (group, index) = self.filling.product, places[0]
        key = (
            f"{product.name}-{product.key[-8:]}-{group}-{index}-n{len(places)}"
            f"-g{self.filling.generation(places[0])}-e{self.filling.ledger.epoch}-t{self.tries[places[0]]}"
        )
        future = self.client.submit(
            execute_all,
            self.task,
            str(product.folder),
            str(self.filling.attempts),
            places,
            self.crew.longest,
            tuple(self.known),
            key=key,
            pure=False,
            retries=0,
            workers=[worker] if worker else self.raised.elsewhere(places[0]) or None,
            allow_other_workers=bool(worker or self.raised.elsewhere(places[0])),
        )
        self.flying[future] = places
        self.landing.expect(future)

    def _harvest(self, future: Any, written: list[Written] | None) -> list[Written]:
        """Return what a task has written; regions of one that failed are handed out again, each alone."""
        from distributed.scheduler import KilledWorker

        places = self.flying.pop(future, [])  # those of a task that was taken back are none
        if written is not None or not places:
            return written if written and places else []
        error = future.exception() if future.status == "error" else None
        if error is None or isinstance(error, KilledWorker) or len(places) > 1:
            if isinstance(error, KilledWorker) and error.last_worker.server_id not in self.ended:
                self.losses.killed(places, str(error.last_worker.name))
            for place in places:
                self._again(place)
            return []
        [place] = places
        if isinstance(error, BadStage):
            where = named(self.filling.product.group(place[0]).box(place[1]))
            raise BadStage(f"{self.filling.product.name}, region {place[1]} ({where}): {error}")
        if isinstance(error, StorageError | WorkflowError) and not isinstance(error, DiskTrouble):
            raise error
        self.raised.note(place, error.with_traceback(future.traceback()), future.key)
        self._again(place)
        return []

    def _again(self, place: Place) -> None:
        if place in self.twice and (self._done([place]) or any(place in places for places in self.flying.values())):
            return
        self.tries[place] += 1
        self.todo.append(place)

    def _lose(self, place: Place, why: str) -> None:
        self._again(place)
        self.losses.blame(place, why)

    def close(self) -> None:
        """Take back what is still in flight."""
        if self.flying:
            self.client.cancel(list(self.flying), force=True)
            self.flying.clear()
