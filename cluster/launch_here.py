"""The workers of a run on this machine: a family of processes (`worker`) that ends with this one, however that ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe
from typing import Any

from terp.cluster import processor as processors
from terp.cluster.crew import Crew, Verdict
from terp.cluster.errors import NoWorkers
from terp.cluster.family import Terms, ended
from terp.cluster.launch import PINNED, connected, scheduler

_PATIENCE = 120  # seconds until all workers must have come
_LOOK = 0.01  # seconds between looks for them
_WORD = 5.0  # seconds in which it must have been said how a worker came to its end
_GRACE = 10.0  # seconds for all of them to end
# No module is named, so that nothing of this process's own script is run again; only this line leads here.
_START = """
import signal, sys
from multiprocessing.connection import Connection
heard = {signal.SIGINT, signal.SIGHUP}
for number in heard:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
controller = Connection(int(sys.argv[1]))
try:
    sys.path[:] = controller.recv()
except EOFError:
    sys.exit()
from terp.cluster.worker import beside
sys.exit(beside(controller))
"""


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_of_memory(workers: int) -> int:
    """Return the bytes that each of so many workers may hold here."""
    from distributed.system import MEMORY_LIMIT

    return int(MEMORY_LIMIT / workers)


@contextmanager
def launch_here(
    workers: int | None = None, memory: int | None = None, preload: Sequence[str] = (), processor: str = ""
) -> Iterator[Crew]:
    """Start Dask workers on this machine, processes of one thread each; yield them behind a `distributed.Client`.

    `workers` defaults to the cores that may be used; `memory` bytes a worker may hold (default: its share of
    the machine); `preload` names modules that workers import before they begin; `processor` is the level that they
    compute at. Raises NoWorkers when they do not come.
    """
    import dask
    from dask.utils import parse_timedelta
    from distributed.security import Security

    level, count, security = processor or processors.usual(), workers or cores(), Security.temporary()
    processors.demand(level)
    with (
        Beside(preload, PINNED | processors.settings(level)) as beside,  # imports while a scheduler starts
        scheduler(security, "127.0.0.1", {}) as cluster,
        connected(cluster, security) as client,
    ):
        terms = Terms(
            cluster.scheduler_address,
            security,
            "here",
            count,
            preload,
            parse_timedelta(dask.config.get("distributed.scheduler.worker-ttl") or 0),
            memory or share_of_memory(count),
            settings=dask.config.config,
        )
        try:
            beside.work(terms, lambda: len(cluster.scheduler.workers))
            yield Here(client, beside)
        finally:
            beside.end()


class Beside:
    """The process that workers part from, and a line to it: it ends when nobody holds this end of the line."""

    def __init__(self, preload: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it; it imports `preload` at once."""
        self.line, theirs = Pipe()
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
        with theirs, _no_interrupt():
            self.process = subprocess.Popen(
                [sys.executable, *flags, "-P", "-c", _START, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
                pass_fds=[theirs.fileno()],
            )
        self._say(sys.path)
        self._say(tuple(preload))

    def __enter__(self) -> "Beside":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def work(self, terms: Terms, there: Callable[[], int]) -> None:
        """Have workers come; `there` says how many have. Raises NoWorkers when they do not."""
        self._say(terms)
        end = time.monotonic() + _PATIENCE
        while there() < terms.workers:
            self.check()
            if time.monotonic() > end:
                came = f"{there()} of {terms.workers} workers came within {_PATIENCE} s"
                raise NoWorkers(f"{came}: take fewer (--workers)")
            time.sleep(_LOOK)

    def check(self) -> None:
        """Raise NoWorkers where the process has ended by itself."""
        code = self.process.poll()
        if code is not None:
            how = f"the workers on this machine have ended ({ended(code)})"
            raise NoWorkers(f"{how}: see above what they said, then run again")

    def heard(self) -> Iterator[tuple[str, str]]:
        """Yield the names of workers that have ended, and how, as far as that was not yet heard."""
        try:
            while self.line.poll():
                yield self.line.recv()
        except (OSError, EOFError):  # `check` says so
            return

    def end(self) -> None:
        """End it, and all workers with it, at once."""
        self.line.close()
        try:
            self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _say(self, what: Any) -> None:
        try:
            self.line.send(what)
        except OSError:
            self.process.wait()
            self.check()


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Have what is started meanwhile not be ended by Ctrl-C, or with its terminal, before it sees to that itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Here(Crew):
    """Workers on this machine: another takes the place of each that ends."""

    def __init__(self, client: Any, beside: Beside) -> None:
        super().__init__(client)
        self.beside = beside
        self._ends: dict[str, str] = {}  # how workers came to their end, by name

    def check(self) -> None:
        """Raise NoWorkers where there will be none any more."""
        self._ends.update(self.beside.heard())
        self.beside.check()

    def verdict(self, worker: str, since: float) -> Verdict | None:
        """Return how a worker came to its end, as soon as that is said."""
        self._ends.update(self.beside.heard())
        if worker in self._ends:
            return Verdict(True, self._ends[worker])
        return Verdict(True) if time.monotonic() - since > _WORD else None
