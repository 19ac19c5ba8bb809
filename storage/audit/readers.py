"""The threads of an audit: files are handed to them a batch at a time, and what they found is taken in by one thread.

A batch costs one word between threads, however many files are in it; that is what small files were slow by.
"""

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from terp.storage.audit.checking import Task, check
from terp.storage.audit.damage import Damage
from terp.storage.audit.unit import Unit
from terp.storage.errors import NotStaged, PlaceTrouble
from terp.storage.machine import cores
from terp.storage.places import Place

_WINDOW = 4  # batches that wait for each thread
_BYTES, _FILES = 8 << 20, 64  # of a batch: more is handed out no cheaper, and is lost when all is cut off


class Stopped(Exception):
    """The time is up."""


@dataclass
class Batch:
    """Files of an object that one thread reads: `found` is what came of those that were read so far.

    `failed` ended it before its end; the files behind that were not read.
    """

    unit: Unit
    tasks: Sequence[Task]
    found: list[tuple[Task, Damage | None]] = field(default_factory=list)
    not_staged: list[Task] = field(default_factory=list)
    failed: PlaceTrouble | Stopped | None = None

    @property
    def whole(self) -> bool:
        """Whether all of it was read."""
        return len(self.found) == len(self.tasks)

    def read(self, others: Sequence[Place], aside: ThreadPoolExecutor, count: Callable[[int], object]) -> None:
        """Read the files."""
        try:
            for task in self.tasks:
                try:
                    self.found.append((task, check(task, others, aside, count)))
                except NotStaged:
                    self.not_staged.append(task)
        except (PlaceTrouble, Stopped) as failed:
            self.failed = failed


def batches(unit: Unit, tasks: Sequence[Task]) -> Iterator[Batch]:
    """Yield tasks of an object in batches: a large file alone, small files together."""
    batch, weight = list[Task](), 0
    for task in tasks:
        batch.append(task)
        weight += max(unit.there.sizes.get(task.path, 0), 0)
        if weight >= _BYTES or len(batch) >= _FILES:
            yield Batch(unit, batch)
            batch, weight = [], 0
    if batch:
        yield Batch(unit, batch)


class Readers:
    """So many threads that read (0: one for each core), and as many that hash large blocks aside."""

    def __init__(self, threads: int) -> None:
        threads = threads or cores()
        self._readers, self._aside = ThreadPoolExecutor(threads), ThreadPoolExecutor(threads)
        self._most, self.flying = _WINDOW * threads, 0
        self._done = queue.SimpleQueue[tuple[Batch, Future[None]]]()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is being read; what waits is not begun where something failed."""
        self._readers.shutdown(cancel_futures=error is not None)
        self._aside.shutdown()

    @property
    def full(self) -> bool:
        """Whether enough waits to be read."""
        return self.flying >= self._most

    def submit[T](self, work: Callable[[], T]) -> Future[T]:
        """Have something else done by a thread that reads."""
        return self._readers.submit(work)

    def read(self, batch: Batch, others: Sequence[Place], count: Callable[[int], object]) -> None:
        """Have a batch read; `others` may have sound copies, `count` is told of bytes and may raise Stopped."""
        self.flying += 1
        future = self._readers.submit(batch.read, others, self._aside, count)
        future.add_done_callback(lambda done: self._done.put((batch, done)))

    def landed(self, patience: float) -> tuple[Batch, Future[None]] | None:
        """Return a batch that came back, and whether it ended as it should; None where none does in some seconds."""
        try:
            came = self._done.get(timeout=patience)
        except queue.Empty:
            return None
        self.flying -= 1
        return came
