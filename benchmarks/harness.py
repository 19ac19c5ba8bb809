"""Runs the candidates of a row in turn, each in a process of its own, and measures them from outside."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import environments, machine
from benchmarks.job import Job, Row, Values, warm_cache
from benchmarks.rows import load
from benchmarks.watching import Watch, cpu_seconds, family

ROOT = Path(__file__).parents[1]
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2", "DUCC0_NUM_THREADS": "2"}


class Failed(Exception):
    """A candidate did not do its work; the words say why."""


@dataclass(frozen=True)
class Run:
    """What one run of a candidate took; memory in bytes. `load`: of the machine, the minute before."""

    setup: float
    wall: float
    cpu: float
    pss: int
    largest: int
    load: float


@dataclass
class Found:
    """What is known of a candidate: its runs, how far its results were off, and why it failed if it did."""

    peer: str
    runs: list[Run] = field(default_factory=list)
    off: float = 0.0
    error: str = ""


def measure_row(
    letter: str, only: list[str] | None, place: Path, gib: float, rounds: int, limit: float
) -> dict[str, Any]:
    """Make the data of a row, measure its candidates round by round, and check each result."""
    row, job = load(letter), Job(place, gib)
    job.source.mkdir(parents=True)
    tell(f"{letter}: {row.title}; making {gib:g} GiB")
    row.make(job)
    expected = row.expected(job)
    found = {name: Found(one.peer) for name, one in row.candidates.items() if not only or name in only}
    for number in range(rounds):
        for name, one in found.items():
            if not one.error:
                measure_once(row, [letter, name], job, expected, one, limit)
                tell(f"{letter} {number + 1}/{rounds} {name}: {one.error or took(one.runs[-1])}")
    return {"title": row.title, "cap": row.cap, "candidates": {name: asdict(one) for name, one in found.items()}}


def measure_once(row: Row, which: list[str], job: Job, expected: Values, found: Found, limit: float) -> None:
    """Run a candidate once; what goes wrong is kept as its error."""
    try:
        python = environments.python(found.peer)
        words = [str(python), "-m", "benchmarks.candidate", *which, "--folder", str(job.folder), "--gib", str(job.gib)]
        machine.fill_page_cache(job.folder)
        warm_cache(job.source)
        run = measure(words, job.folder / "log", limit)
        found.off = max(found.off, check(row, job, expected))
        found.runs.append(run)
    except (Failed, environments.Missing) as error:
        found.error = str(error)
    finally:
        clear(job)


def clear(job: Job) -> None:
    """Remove all that a candidate left, but for the data."""
    for path in job.folder.iterdir():
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path != job.source:
            shutil.rmtree(path, ignore_errors=True)


def check(row: Row, job: Job, expected: Values) -> float:
    """Return by how much the results are off; raises Failed if that is too much, or there are none."""
    try:
        off = difference(row.found(job), expected)
    except Exception as error:  # a candidate may have written anything
        raise Failed(f"its results cannot be read: {error!r}") from error
    if off > row.tolerance:
        raise Failed(f"its results are off by {off:.1e}")
    return off


def measure(command: list[str], log: Path, limit: float) -> Run:
    """Run a candidate and measure from its "begin" to its "end"; raises Failed."""
    load, began = os.getloadavg()[0], time.perf_counter()
    with started(command, log) as (process, told):
        told.settimeout(limit)
        hear(told, b"begin", log, limit)
        watch, before = Watch(process), cpu_seconds(process)
        watch.start()
        start = time.perf_counter()
        told.sendall(b"!")
        hear(told, b"end", log, limit)
        wall, cpu = time.perf_counter() - start, cpu_seconds(process) - before
        watch.stop()
        return Run(start - began, wall, cpu, watch.sum, watch.largest, load)


@contextmanager
def started(command: list[str], log: Path) -> Iterator[tuple[psutil.Process, socket.socket]]:
    """Start a candidate; in the end nothing that it started is left."""
    ours, theirs = socket.socketpair()
    with ours, log.open("w") as words:
        number = theirs.fileno()
        command = [*command, "--harness", str(number)]
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": words, "stderr": words, "pass_fds": [number]}
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | THREADS, start_new_session=True, **options)
        theirs.close()
        watched = psutil.Process(process.pid)
        left: list[psutil.Process] = []
        try:
            yield watched, ours
            left = family(watched)
            with suppress(OSError, subprocess.TimeoutExpired):
                ours.sendall(b"!")
                process.wait(60)
        finally:
            for one in left or family(watched):
                with suppress(psutil.Error):
                    one.kill()
            process.wait()
            psutil.wait_procs(left, timeout=5)


def hear(told: socket.socket, word: bytes, log: Path, limit: float) -> None:
    """Wait for a word of the candidate."""
    try:
        heard = told.recv(len(word), socket.MSG_WAITALL)
    except TimeoutError:
        raise Failed(f"it took more than {limit:g} s") from None
    if heard != word:
        raise Failed(last_words(log))


def last_words(log: Path) -> str:
    """Return the last line that was written; of a traceback that is what went wrong."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it ended without a word")[:300]


def difference(found: Values, expected: Values) -> float:
    """Return the largest difference as a part of the largest value; infinite if NaN is not where it should be."""
    if found.shape != expected.shape or not np.array_equal(np.isnan(found), np.isnan(expected)):
        return float("inf")
    return float(np.nanmax(np.abs(found - expected)) / np.nanmax(np.abs(expected)))


def took(run: Run) -> str:
    """Say what a run took."""
    return f"{run.wall:.1f} s, CPU {run.cpu:.1f} s, {run.pss >> 20} MiB, set-up {run.setup:.1f} s"


def tell(line: str) -> None:
    """Tell how far it is, apart from the results."""
    print(line, file=sys.stderr, flush=True)
