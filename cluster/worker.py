"""What a job runs: `python -m terp.cluster.worker`, Dask workers that are processes of one thread each.

No nanny: a worker that dies takes its job with it, so SLURM's own word for how it died (OUT_OF_MEMORY) is seen. What
workers import is imported once, before they part, so a node reads it once.
"""

import argparse
import asyncio
import importlib
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing import connection
from pathlib import Path
from urllib.parse import urlsplit

from terp.cluster.keys import Keys
from terp.cluster.launch import PINNED, address_towards

_GRACE = 5.0  # seconds for workers to end when another has died


def main(words: Sequence[str]) -> int:
    """Run as many workers as asked for until all have left; return the exit code of the job."""
    given = _options().parse_args(words)
    if not Path(given.keys).is_dir():
        print("terp: the run that this job belongs to is over", file=sys.stderr)
        return 0
    os.environ.update(PINNED)
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
    options.add_argument("--interface", default="", help="network interface to listen at")
    options.add_argument("--preload", nargs="*", default=[], help="modules to import first")
    return options


def job_name() -> str:
    """Return the name of this very start of the job: a job that was put back into the queue is another worker."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", str(os.getpid()))
    return f"{job}.{os.environ.get('SLURM_RESTART_COUNT') or 0}"


def _family(given: argparse.Namespace) -> int:
    """Start the workers and wait; when one dies, end the others and say how it died."""
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_serve, args=(given, number)) for number in range(given.workers)]
    for child in children:
        child.start()
    signal.signal(signal.SIGTERM, lambda *_: _end(children))
    left = {child.sentinel: child for child in children}
    code = 0
    while left:
        for sentinel in [one for one in connection.wait(list(left)) if isinstance(one, int)]:
            child = left.pop(sentinel)
            child.join()
            if child.exitcode and not code:
                code = 128 - child.exitcode if child.exitcode < 0 else child.exitcode
                _end(list(left.values()))
    return code


def _end(children: Sequence[multiprocessing.process.BaseProcess]) -> None:
    deadline = time.monotonic() + _GRACE
    for child in children:
        if child.is_alive():
            child.terminate()
    for child in children:
        child.join(max(deadline - time.monotonic(), 0.1))
        if child.is_alive():
            child.kill()


def _serve(given: argparse.Namespace, number: int) -> None:
    """Be one worker."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))  # what is written is written, all else is made again
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_work(given, number))


async def _work(given: argparse.Namespace, number: int) -> None:
    import dask
    from distributed import Worker

    from terp.cluster.launch import WORKER_SETTINGS

    dask.config.set(WORKER_SETTINGS)
    logging.getLogger("distributed").setLevel(logging.WARNING)
    worker = Worker(
        given.scheduler,
        nthreads=1,
        name=f"{given.name or job_name()}.{number}",
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
        await worker.finished()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
