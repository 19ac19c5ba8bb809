"""Dask workers that part from one process, which imports once what all of them need: processes of one thread each.

In a job, a worker that is killed takes the others with it, so SLURM's own word for how it died (OUT_OF_MEMORY) is seen;
another takes the place of one that dies by itself, as compiled code can. Beside a controller another takes the place of
any that ends, the controller is told how it did, and all end with the controller, however that ends. What is silent for
so long that the scheduler has given it up, as code that holds Python's lock may be, is ended everywhere.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.synchronize import Event
from typing import Any
from urllib.parse import urlsplit

from terp.cluster.crew import ENDED
from terp.cluster.errors import NoWorkers
from terp.cluster.launch import WORKER_SETTINGS, address_towards

_GRACE = 5.0  # seconds for workers to end when another has died
_LATE = 1.25  # times the seconds after which the scheduler gives a worker up: after that it has nothing to lose
_BEAT = 1.0  # seconds between signs of life to the parent
_LIVES = 5  # workers that one place in a job may have, one after the other
_KILLED = (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)  # from outside: by SLURM, or the kernel for memory
_LOOK = 0.5  # seconds between looks at the memory that workers hold
_FULL = 0.95  # of the memory that a worker may hold: more, and the machine may have none left to end it in time
_HOW = "fork" if sys.platform == "linux" else "spawn"  # macOS' own libraries do not bear the first


@dataclass(frozen=True)
class Terms:
    """What workers are to be.

    `scheduler` is its address and `security` what Dask wants to know of the keys; `name` begins their names. They stop
    looking for the scheduler after `death_timeout` seconds, and may be silent for `patience` (0: for ever). `memory` is
    what one may hold, in bytes (0: somebody else sees to that); `preload` names modules that are imported first.
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

    @property
    def most(self) -> float:
        """The bytes of memory above which a worker is ended."""
        return _FULL * self.memory or float("inf")


class Family:
    """Workers, and places for them; `controller` is at the other end of a line where they are beside it."""

    def __init__(self, terms: Terms, controller: connection.Connection | None = None) -> None:
        self.terms, self.controller = terms, controller
        self.code, self.ending = 0, False

    def work(self) -> int:
        """Start the workers and wait until all have left; return the exit code: that of the first that was killed.

        Raises NoWorkers where one would hold too much as it begins: they would be ended for it, one after the other.
        """
        if _held(os.getpid()) > self.terms.most:
            has, may = _held(os.getpid()) >> 20, self.terms.memory >> 20
            raise NoWorkers(f"a worker holds {has} MiB of memory before any data, and may hold {may}: take fewer")
        self.children = [_Child(self.terms, place, self.controller is not None) for place in range(self.terms.workers)]
        signal.signal(signal.SIGTERM, lambda *_: self.end())
        left = list(self.children)
        while left:
            line = [self.controller] if self.controller and not self.ending else []
            ended = connection.wait([*line, *(one.process.sentinel for one in left)], self._patience())
            if self.controller in ended:  # nothing is said on it any more: it has ended
                self.end()
            for child in left:
                child.end_if_it_must()
            for child in [one for one in left if one.process.sentinel in ended]:
                child.process.join()
                if not self._renewed(child):
                    left.remove(child)
        return self.code

    def _patience(self) -> float:
        return _LOOK if self.terms.memory else _GRACE

    def end(self) -> None:
        """End all of them."""
        self.ending = True
        deadline = time.monotonic() + _GRACE
        processes = [child.process for child in self.children]
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            process.join(max(deadline - time.monotonic(), 0.1))
            if process.is_alive():
                process.kill()

    def _renewed(self, child: "_Child") -> bool:
        """Have another take the place of a worker that ended, where that is right; else that may end all others."""
        code, name, pid, how = child.process.exitcode or 0, child.name, child.process.pid, child.how()
        if not self.ending and not self.code and child.again():
            if self.controller is None:
                print(f"terp: worker {child.place} {how}; another takes its place", file=sys.stderr, flush=True)
            else:
                with suppress(OSError):  # it may have ended meanwhile
                    self.controller.send((name, f"process {pid} {how}"))
            return True
        if code and not self.code:
            self.code = 128 - code if code < 0 else code
            self.end()
        return False


class _Child:
    """A place for a worker: a process, and another when it ends; in a job only if it did so by itself."""

    def __init__(self, terms: Terms, place: int, beside: bool) -> None:
        self.terms, self.place, self.beside = terms, place, beside
        self.life, self.deaths = 0, 0
        self._context: Any = multiprocessing.get_context(_HOW)
        self.start()

    def start(self) -> None:
        self.at_work, self.beat = self._context.Event(), self._context.Value("d", time.monotonic(), lock=False)
        self.ended = ""  # why we ended it
        self.name = f"{self.terms.name}.{self.place}-{self.life}"
        self.process = self._context.Process(target=_serve, args=(self.terms, self.name, self.at_work, self.beat))
        self.process.start()

    def how(self) -> str:
        """Return in words how the worker came to its end."""
        code = self.process.exitcode or 0
        if code == ENDED:
            return "was told to end"
        return self.ended or f"died ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"

    def again(self) -> bool:
        """Start anew after the end of one that had worked; in a job only if that says nothing of the job."""
        code = self.process.exitcode or 0
        self.deaths += code != ENDED
        if not self.at_work.is_set() or not (self.beside or self._died_by_itself(code)):
            return False
        self.life += 1
        self.start()
        return True

    def _died_by_itself(self, code: int) -> bool:
        return code != 0 and (code not in _KILLED or bool(self.ended)) and self.deaths < _LIVES

    def end_if_it_must(self) -> None:
        """Kill a worker that holds too much, or is silent for longer than the scheduler waits: nothing else would."""
        limit = self.terms.patience * _LATE + _GRACE
        if self.terms.patience and self.at_work.is_set() and time.monotonic() - self.beat.value > limit:
            self._kill("was silent for too long")
        held = _held(self.process.pid) if self.terms.memory else 0
        if held > self.terms.most:
            self._kill(f"held {held >> 20} MiB of memory, where it may hold {self.terms.memory >> 20}")

    def _kill(self, why: str) -> None:
        self.ended = self.ended or why
        self.process.kill()


def _held(process: int) -> int:
    """Return the bytes of memory that a process holds."""
    import psutil

    with suppress(psutil.Error):
        return int(psutil.Process(process).memory_info().rss)
    return 0


def _serve(terms: Terms, name: str, at_work: Event, beat: Any) -> None:
    """Be one worker."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    asyncio.run(_work(terms, name, at_work, beat))


def _leave(*_: Any) -> None:
    """End at once: what is written is written, all else is made again."""
    with suppress(Exception):
        sys.stdout.flush()
    os._exit(128 + signal.SIGTERM)


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


async def _work(terms: Terms, name: str, at_work: Event, beat: Any) -> None:
    import dask
    from distributed import Worker

    preloads = [*WORKER_SETTINGS["distributed.worker.preload"], *terms.preload]
    dask.config.set({**WORKER_SETTINGS, "distributed.worker.preload": preloads})
    logging.getLogger("distributed").setLevel(logging.WARNING)
    logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)  # what a stage raises is told by the controller
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
        at_work.set()
        beating = asyncio.create_task(_move(beat))
        await worker.finished()
        beating.cancel()


async def _move(beat: Any) -> None:
    """Say that one is alive, for as long as Python's lock can be had."""
    while True:
        beat.value = time.monotonic()
        await asyncio.sleep(_BEAT)
