"""What a job runs: `python -m terp.cluster.worker`, Dask workers that are processes of one thread each.

No nanny: a worker that is killed takes its job with it, so SLURM's own word for how it died (OUT_OF_MEMORY) is seen.
One that dies by itself, as compiled code can, is alone in that: another takes its place, and the others go on. So it is
with one that is silent for so long that the scheduler has given it up, as code that holds Python's lock may be.
What workers import is imported once, before they part, so a node reads it once.
"""

import argparse
import asyncio
import importlib
import logging
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing import connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from terp.cluster.crew import ENDED
from terp.cluster.errors import NoWorkers
from terp.cluster.keys import Keys
from terp.cluster.launch import PINNED, address_towards
from terp.cluster.processor import pin

_GRACE = 5.0  # seconds for workers to end when another has died
_LATE = 1.25  # times the seconds after which the scheduler gives a worker up: after that it has nothing to lose
_BEAT = 1.0  # seconds between signs of life to the parent
_LIVES = 5  # workers that one place in a job may have, one after the other
_KILLED = (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)  # from outside: by SLURM, or the kernel for memory


def main(words: Sequence[str]) -> int:
    """Run as many workers as asked for until all have left; return the exit code of the job."""
    given = _options().parse_args(words)
    if not Keys(Path(given.keys)).certificate.exists():
        print("terp: the run that this job belongs to is over", file=sys.stderr)
        return 0
    os.environ.update(PINNED)
    try:
        pin(os.environ)
    except NoWorkers as error:
        print(f"terp: {error}", file=sys.stderr)
        return error.exit_code
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # as large as memory
    from terp.cluster import walltime

    if given.seconds:
        walltime.set_end(time.time() + given.seconds)
    for module in given.preload:
        importlib.import_module(module)
    return _family(given)


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="terp.cluster.worker", description=main.__doc__)
    options.add_argument("scheduler", help="address, tls://...")
    options.add_argument("--name", default="", help="what begins the name of a worker (default: the job's id)")
    options.add_argument("--nthreads", type=int, default=1, choices=[1])
    options.add_argument("--memory-limit", help="said by dask-jobqueue; SLURM itself holds workers to it")
    options.add_argument("--death-timeout", type=float, default=60.0, help="seconds to wait for the scheduler")
    options.add_argument("--local-directory", default="", help="for what Dask spills: on the node's own disk")
    options.add_argument("--workers", type=int, default=1, help="processes")
    options.add_argument("--keys", required=True, help="the folder with the keys of the run")
    options.add_argument("--seconds", type=float, default=0.0, help="time limit of the job")
    options.add_argument(
        "--patience", type=float, default=0.0, help="seconds that a worker may be silent (0: for ever)"
    )
    options.add_argument("--interface", default="", help="network interface to listen at")
    options.add_argument("--preload", nargs="*", default=[], help="modules to import first")
    return options


def job_name() -> str:
    """Return the name of this very start of the job: a job that was put back into the queue is another worker."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", str(os.getpid()))
    return f"{job}.{os.environ.get('SLURM_RESTART_COUNT') or 0}"


class _Child:
    """A place for a worker: a process, and another when it dies by itself."""

    def __init__(self, given: argparse.Namespace, place: int) -> None:
        self.given, self.place, self.life, self.deaths = given, place, 0, 0
        self._context = multiprocessing.get_context("fork")
        self.start()

    def start(self) -> None:
        self.at_work, self.beat = self._context.Event(), self._context.Value("d", time.monotonic(), lock=False)
        self.silent = False
        name = f"{self.given.name or job_name()}.{self.place}-{self.life}"
        self.process = self._context.Process(target=_serve, args=(self.given, name, self.at_work, self.beat))
        self.process.start()

    def again(self) -> bool:
        """Start anew after a death that says nothing of the job: had it worked, and was it not killed from outside."""
        code = self.process.exitcode or 0
        self.deaths += code != ENDED
        if not self.at_work.is_set() or (code in _KILLED and not self.silent) or self.deaths >= _LIVES:
            return False
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        what = "was told to end" if code == ENDED else "was silent for too long" if self.silent else f"died ({how})"
        print(f"terp: worker {self.place} {what}; another takes its place", file=sys.stderr, flush=True)
        self.life += 1
        self.start()
        return True

    def end_if_silent(self) -> None:
        """Kill a worker that has not moved for longer than the scheduler waits for it: nothing else would end it."""
        limit = self.given.patience * _LATE + _GRACE
        if self.given.patience and self.at_work.is_set() and time.monotonic() - self.beat.value > limit:
            self.silent = True
            self.process.kill()


def _family(given: argparse.Namespace) -> int:
    """Start the workers and wait; when one is killed, end the others and say how it died."""
    children = [_Child(given, place) for place in range(given.workers)]
    signal.signal(signal.SIGTERM, lambda *_: _end([child.process for child in children]))
    left, code = list(children), 0
    while left:
        ended = connection.wait([child.process.sentinel for child in left], timeout=_GRACE)
        for child in left:
            child.end_if_silent()
        for child in [one for one in left if one.process.sentinel in ended]:
            child.process.join()
            if child.process.exitcode and not code and child.again():
                continue
            left.remove(child)
            if child.process.exitcode and not code:
                code = 128 - child.process.exitcode if child.process.exitcode < 0 else child.process.exitcode
                _end([one.process for one in left])
    return code


def _end(processes: Sequence[multiprocessing.process.BaseProcess]) -> None:
    deadline = time.monotonic() + _GRACE
    for process in processes:
        if process.is_alive():
            process.terminate()
    for process in processes:
        process.join(max(deadline - time.monotonic(), 0.1))
        if process.is_alive():
            process.kill()


def _serve(given: argparse.Namespace, name: str, at_work: Event, beat: Any) -> None:
    """Be one worker."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))  # what is written is written, all else is made again
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_work(given, name, at_work, beat))


async def _work(given: argparse.Namespace, name: str, at_work: Event, beat: Any) -> None:
    import dask
    from distributed import Worker

    from terp.cluster.launch import WORKER_SETTINGS

    preloads = [*WORKER_SETTINGS["distributed.worker.preload"], *given.preload]
    dask.config.set({**WORKER_SETTINGS, "distributed.worker.preload": preloads})
    logging.getLogger("distributed").setLevel(logging.WARNING)
    logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)  # what a stage raises is told by the controller
    worker = Worker(
        given.scheduler,
        nthreads=1,
        name=name,
        security=Keys(Path(given.keys)).security(),
        protocol="tls://",
        host=None if given.interface else address_towards(urlsplit(given.scheduler).hostname or ""),
        interface=given.interface or None,
        memory_limit=0,
        death_timeout=given.death_timeout,
        local_directory=given.local_directory or None,
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
