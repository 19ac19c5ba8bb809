"""What a process of workers runs: in a job `python -m terp.cluster.worker`, beside a controller `beside`.

What workers import is imported once, before they part, so a node reads it once; and what they compute with is settled
before that.
"""

import argparse
import gc
import importlib
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from terp.cluster.errors import NoWorkers
from terp.cluster.keys import Keys
from terp.cluster.launch import PINNED
from terp.cluster.processor import pin


def main(words: Sequence[str]) -> int:
    """Run as many workers as asked for until all have left; return the exit code of the job."""
    given = _options().parse_args(words)
    keys = Keys(Path(given.keys))
    if not keys.certificate.exists():
        print("terp: the run that this job belongs to is over", file=sys.stderr)
        return 0
    return _told(lambda: _in_job(given, keys))


def beside(controller: Connection) -> int:
    """Run workers for a process on this machine, at the other end of a line; return an exit code.

    It names the modules to import first, and, once its scheduler is there, the terms.
    """
    return _told(lambda: _beside(controller))


def _told(work: Callable[[], int]) -> int:
    try:
        return work()
    except NoWorkers as error:
        print(f"terp: {error}", file=sys.stderr)
        return error.exit_code


def _in_job(given: argparse.Namespace, keys: Keys) -> int:
    os.environ.update(PINNED)
    pin(os.environ)
    from terp.cluster import walltime

    if given.seconds:
        walltime.set_end(time.time() + given.seconds)
    _prepare(given.preload)
    from terp.cluster.family import Family, Terms

    terms = Terms(
        given.scheduler,
        keys.security(),
        given.name or job_name(),
        given.workers,
        given.preload,
        given.patience,
        death_timeout=given.death_timeout,
        local_directory=given.local_directory,
        interface=given.interface,
    )
    return Family(terms).work()


def _beside(controller: Connection) -> int:
    try:
        _prepare(controller.recv())
        terms = controller.recv()
    except EOFError:  # it has ended
        return 0
    from terp.cluster.family import Family

    return Family(terms, controller).work()


def _prepare(preload: Sequence[str]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # as large as memory
    for module in ("distributed", *preload):
        importlib.import_module(module)
    gc.freeze()  # what was imported stays one and the same memory in all workers, and is not looked through at the end


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
