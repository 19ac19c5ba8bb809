"""Dask workers that part from one process, which imports once what all of them need: processes of one thread each.

In a job, a worker that is killed takes the others with it, so SLURM's own word for how it died (OUT_OF_MEMORY) is seen;
another takes the place of one that dies by itself, as compiled code can. Beside a controller another takes the place of
any that ends, the controller is told how it did, and all end with the controller, however that ends. What is silent for
so long that the scheduler has given it up, as code that holds Python's lock may be, is ended everywhere.
"""

import asyncio
import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any
from urllib.parse import urlsplit

from terp.cluster.crew import ENDED
from terp.cluster.errors import NoWorkers
from terp.cluster.launch import WORKER_SETTINGS, address_towards, quiet

_GRACE = 1.0  # seconds for workers to end by themselves: what is written is written
_LATE = 1.25  # times the seconds after which the scheduler gives a worker up: after that it has nothing to lose
_SLACK = 5.0  # and seconds besides
_BEAT = 1.0  # seconds between signs of life to the parent
_LIVES = 5  # workers that one place in a job may have, or that may end in a row before they are at work
_KILLED = (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)  # from outside: by SLURM, or the kernel for memory
_LOOK = 0.5  # seconds between looks at what workers hold, and whether they are there
_FULL = 0.95  # of the memory that a worker may hold: more, and the machine may have none left to end it in time
_HOW = "fork" if sys.platform == "linux" else "spawn"  # macOS' own libraries do not bear the first
_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True)
class Terms:
    """What workers are to be.

    `scheduler` is its address and `security` what Dask wants to know of the keys; `name` begins their names. They stop
    looking for the scheduler after `death_timeout` seconds, and may be silent for `patience` (0: for ever). `memory` is
    what one may hold, in bytes (0: somebody else sees to that); `preload` names modules that are imported first, and
    `settings` are Dask's.
    """

    scheduler: str
    security: Any
    name: str
    workers: int = 1
    preload: Sequence[str] = ()
    patience: float = 0.0
    memory: int = 0
    death_timeout: float = 60.0
    local_directory: str = ""
    interface: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def most(self) -> float:
        """The bytes of memory above which a worker is ended."""
        return _FULL * self.memory or float("inf")


class Family:
    """Workers, and places for them; `controller` is at the other end of a line where they are beside it."""

    def __init__(self, terms: Terms, controller: connection.Connection | None = None) -> None:
        self.terms, self.controller = terms, controller
        self.children: list[_Child] = []
        self.code, self.ending = 0, False

    def work(self) -> int:
        """Start the workers and wait until all have left; return the exit code: that of the first that was killed.

        Raises NoWorkers where one would hold too much as it begins: they would be ended for it, one after the other.
        """
        held = _held(os.getpid())
        if held > self.terms.most:
            has = f"a worker holds {held >> 20} MiB of memory before any data"
            raise NoWorkers(f"{has}, and may hold {self.terms.memory >> 20}: take fewer")
        told, tell = os.pipe()
        os.set_blocking(tell, False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(tell)  # whichever thread the signal comes to
        try:
            for place in range(self.terms.workers):
                self.children.append(_Child(self.terms, place, self.controller is not None))
            self._watch(told)
        except OSError as error:
            raise NoWorkers(f"a worker could not be started: {error.strerror}") from None
        finally:
            self._end()
        return self.code

    def _watch(self, told: int) -> None:
        """See to the workers until all have left, or are to: as somebody says, or as the controller has ended."""
        line: list[Any] = [told, self.controller] if self.controller else [told]
        left = list(self.children)
        while left:
            ready = connection.wait([*line, *(one.process.sentinel for one in left)], _LOOK)
            if any(one in ready for one in line):
                self._end()
            for child in left:
                child.end_if_it_must()
            for child in [one for one in left if one.process.exitcode is not None]:
                if not self._renewed(child):
                    left.remove(child)

    def _end(self) -> None:
        """End all of them; those that do not hear it, as they hold Python's lock, as well."""
        self.ending = True
        processes = [child.process for child in self.children]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + _GRACE
        while time.monotonic() < deadline and any(process.exitcode is None for process in processes):
            connection.wait([one.sentinel for one in processes if one.exitcode is None], _LOOK)
        for process in processes:
            process.kill()
            process.join()

    def _renewed(self, child: "_Child") -> bool:
        """Have another take the place of a worker that ended, where that is right; else that may end all others."""
        code, name, pid, how = child.process.exitcode or 0, child.name, child.process.pid, child.how()
        if not self.ending and child.again():
            self._tell(child.place, name, f"process {pid}", how)
            return True
        if code and not self.code:
            self.code = 128 - code if code < 0 else code
        if code and not self.ending:
            print(f"terp: worker {child.place} {how}", file=sys.stderr, flush=True)
            self._end()
        return False

    def _tell(self, place: int, name: str, process: str, how: str) -> None:
        if self.controller is None:
            print(f"terp: worker {place} {how}; another takes its place", file=sys.stderr, flush=True)
            return
        with suppress(OSError):  # it may have ended meanwhile
            self.controller.send((name, f"{process} {how}"))


class _Child:
    """A place for a worker: a process, and another when it ends; in a job only if it did so by itself."""

    def __init__(self, terms: Terms, place: int, beside: bool) -> None:
        self.terms, self.place, self.beside = terms, place, beside
        self.life, self.deaths, self.vain = 0, 0, 0
        self._context: Any = multiprocessing.get_context(_HOW)
        self.start()

    def start(self) -> None:
        self.beat = self._context.Value("d", 0.0, lock=False)  # when it was last heard of
        self.ended = ""  # why we ended it
        self.name = f"{self.terms.name}.{self.place}-{self.life}"
        words = (self.terms, self.name, self.beat, self.beside)
        process = self._context.Process(target=_serve, args=words, daemon=True)
        with _not_ended():
            process.start()
        self.process = process

    def how(self) -> str:
        """Return in words how the worker came to its end."""
        code = self.process.exitcode or 0
        return "was told to end" if code == ENDED else self.ended or f"died ({ended(code)})"

    def again(self) -> bool:
        """Start anew after the end of one that had worked; in a job only if that says nothing of the job."""
        code, worked = self.process.exitcode or 0, self.beat.value > 0
        self.deaths += code != ENDED
        self.vain = 0 if worked else self.vain + 1
        if self.beside:
            renewed = (worked or self.life > 0) and self.vain < _LIVES
        else:
            by_itself = code != 0 and (code not in _KILLED or bool(self.ended))
            renewed = worked and by_itself and self.deaths < _LIVES
        if renewed:
            self.life += 1
            self.start()
        return renewed

    def end_if_it_must(self) -> None:
        """Kill a worker that holds too much, or is silent for longer than the scheduler waits: nothing else would."""
        limit = self.terms.patience * _LATE + _SLACK
        if self.terms.patience and self.beat.value and time.monotonic() - self.beat.value > limit:
            self._kill("was silent for too long")
        held = _held(self.process.pid) if self.terms.memory else 0
        if held > self.terms.most:
            self._kill(f"held {held >> 20} MiB of memory, where it may hold {self.terms.memory >> 20}")

    def _kill(self, why: str) -> None:
        self.ended = self.ended or why
        self.process.kill()


def ended(code: int) -> str:
    """Return in words what an exit code says, as Python has it: negative for a signal."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}" if code < 0 else f"exit code {code}"


@contextmanager
def _not_ended() -> Iterator[None]:
    """Have SIGTERM wait: what is started meanwhile must first be known, and know what to do then."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _held(process: int) -> int:
    """Return the bytes of memory that a process holds."""
    import psutil

    with suppress(psutil.Error):
        return int(psutil.Process(process).memory_info().rss)
    return 0


def _serve(terms: Terms, name: str, beat: Any, beside: bool) -> None:
    """Be one worker."""
    from dask.multiprocessing import default_initializer

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _end_with_the_parent()
    default_initializer()  # or numpy's random numbers were the same in all of them
    logging.getLogger("distributed").setLevel(logging.WARNING)
    logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)  # what a stage raises is told by the controller
    with quiet() if beside else nullcontext():
        asyncio.run(_work(terms, name, beat))


def _leave(*_: Any) -> None:
    """End at once: what is written is written, all else is made again."""
    with suppress(Exception):
        sys.stdout.flush()
    os._exit(128 + signal.SIGTERM)


def _end_with_the_parent() -> None:
    """Have this process end when its parent has, however that ends and whatever it is at."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent.pid:  # before it was asked for
            os._exit(1)
    else:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


async def _work(terms: Terms, name: str, beat: Any) -> None:
    import dask
    from distributed import Worker

    preloads = [*WORKER_SETTINGS["distributed.worker.preload"], *terms.preload]
    dask.config.update(dask.config.config, terms.settings)
    dask.config.set({**WORKER_SETTINGS, "distributed.worker.preload": preloads})
    worker = Worker(
        terms.scheduler,
        nthreads=1,
        name=name,
        security=terms.security,
        protocol="tls://",
        host=None if terms.interface else address_towards(urlsplit(terms.scheduler).hostname or ""),
        interface=terms.interface or None,
        memory_limit=0,
        death_timeout=terms.death_timeout,
        local_directory=terms.local_directory or None,
        dashboard=False,
        dashboard_address="127.0.0.1:0",
    )
    async with worker:
        beat.value = time.monotonic()
        beating = asyncio.create_task(_move(beat))
        await worker.finished()
        beating.cancel()


async def _move(beat: Any) -> None:
    """Say that one is alive, for as long as Python's lock can be had."""
    while True:
        beat.value = time.monotonic()
        await asyncio.sleep(_BEAT)
