"""Runs the candidates of a row in turn, each in a process of its own, and measures them from outside."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import environments, machine
from benchmarks.bandwidth import Bandwidth
from benchmarks.job import Column, Job, Row, Told, Values, size, warm_cache
from benchmarks.rows import load
from benchmarks.watching import Watch, cpu_seconds, family

ROOT = Path(__file__).parents[1]
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2", "DUCC0_NUM_THREADS": "2"}


class Failed(Exception):
    """A candidate did not do its work; the words say why."""


@dataclass(frozen=True)
class Asked:
    """How rows are measured: at what size, how often, in which folder; all candidates, or `only` some."""

    place: Path
    gib: float
    rounds: int
    limit: float  # seconds after which a candidate has failed
    only: list[str] | None = None


@dataclass
class Found:
    """What is known of a candidate: its runs, how far its results were off, and why it failed if it did.

    A run: seconds (`setup`, `wall`, `cpu`), bytes of memory (`pss`, `largest`), the `load` of the machine the minute
    before, and what the candidate told. `stored`: the bytes that its result took on the disk.
    """

    peer: str
    runs: list[dict[str, float]] = field(default_factory=list)
    off: float = 0.0
    stored: int = 0
    error: str = ""


def measure_row(letter: str, asked: Asked, rates: Bandwidth) -> dict[str, Any]:
    """Make the data of a row, measure its candidates round by round, and check each result."""
    row, job = load(letter), Job(asked.place / letter, asked.gib)
    names = [name for name in row.candidates if not asked.only or name in asked.only]
    found = {name: Found(row.candidates[name].peer) for name in names}
    about: dict[str, Any] = {"title": row.title, "columns": [asdict(one) for one in row.columns]}
    tell(f"{letter}: {row.title}")
    job.source.mkdir(parents=True)
    try:
        if isinstance(row, Told):
            in_rounds(letter, found, asked.rounds, lambda name, one: measure_once(row, [letter, name], job, one, asked))
            about |= {"floor": row.floor(rates)}
        else:
            row.make(job)
            right = row.expected(job)
            in_rounds(
                *(letter, found, asked.rounds),
                lambda name, one: measure_once(row, [letter, name], job, one, asked, right),
            )
            about |= {"size": f"{asked.gib:g} GiB", "cap": row.cap, **floor(row, job, rates, found)}
    finally:
        shutil.rmtree(job.folder, ignore_errors=True)
    return {**about, "candidates": {name: asdict(one) for name, one in found.items()}}


def in_rounds(letter: str, found: dict[str, Found], rounds: int, once: Callable[[str, Found], None]) -> None:
    """Have each candidate have its turn in each round, unless it failed before; what goes wrong is its error."""
    columns = load(letter).columns
    for number in range(rounds):
        for name, one in found.items():
            if one.error:
                continue
            try:
                once(name, one)
            except (Failed, environments.Missing) as error:
                one.error = str(error)
            tell(f"{letter} {number + 1}/{rounds} {name}: {one.error or took(one.runs[-1], columns)}")


def measure_once(
    row: Row | Told, which: list[str], job: Job, found: Found, asked: Asked, right: Values | None = None
) -> None:
    """Run a candidate once; check what it wrote, and that it told what it has to."""
    log = job.folder / "log"
    try:
        words = command(which, found.peer, job)
        machine.fill_page_cache(asked.place)
        warm_cache(job.source)
        run = measure(words, log, asked.limit)
        if isinstance(row, Row) and right is not None:
            found.off = max(found.off, check(row, job, right))
            found.stored = size(job.result)
        if any(one.key not in run for one in row.columns if not one.some):
            raise Failed(last_words(log))
        found.runs.append(run)
    finally:
        clear(job)


def command(which: list[str], peer: str, job: Job) -> list[str]:
    """The command that runs a candidate."""
    python = environments.python(peer)
    return [str(python), "-m", "benchmarks.candidate", *which, "--folder", str(job.folder), "--gib", str(job.gib)]


def floor(row: Row, job: Job, rates: Bandwidth, found: dict[str, Found]) -> dict[str, Any]:
    """Return what has to be moved, with the result stored as HAND does, and the seconds that it takes."""
    stored = {name: one.stored for name, one in found.items() if one.stored}
    if not stored:
        return {"floor": None}
    moves = row.moves(job, stored.get("HAND") or min(stored.values()))
    return {"moves": asdict(moves), "floor": rates.floor(moves)}


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


def measure(command: list[str], log: Path, limit: float) -> dict[str, float]:
    """Run a candidate, measure from its "begin" to its "end", and hear what it tells then; raises Failed."""
    load, began = os.getloadavg()[0], time.perf_counter()
    with started(command, log) as (process, told, left):
        told.settimeout(limit)
        hear(told, b"begin", log, limit)
        before = cpu_seconds(process)
        with Watch(process) as watch:
            start = time.perf_counter()
            told.sendall(b"!")
            hear(told, b"end", log, limit)
            wall, cpu = time.perf_counter() - start, cpu_seconds(process) - before
        left.extend(family(process))
        run = {"setup": start - began, "wall": wall, "cpu": cpu, "pss": watch.sum, "largest": watch.largest}
        told.sendall(b"!")
        return {**run, "load": load, **json.loads(hear_line(told, limit) or b"{}")}


@contextmanager
def started(command: list[str], log: Path) -> Iterator[tuple[psutil.Process, socket.socket, list[psutil.Process]]]:
    """Start a candidate; in the end nothing that it started is left, nor what is in the list that is yielded."""
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
            yield watched, ours, left
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
        finally:
            left += family(watched)
            for one in left:
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


def hear_line(told: socket.socket, limit: float) -> bytes:
    """Wait for a line of the candidate, or for its end."""
    heard = b""
    while not heard.endswith(b"\n"):
        try:
            more = told.recv(1 << 16)
        except TimeoutError:
            raise Failed(f"it took more than {limit:g} s") from None
        if not more:
            return b""
        heard += more
    return heard


def last_words(log: Path) -> str:
    """Return the last line that was written; of a traceback that is what went wrong."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it ended without a word")[:300]


def difference(found: Values, expected: Values) -> float:
    """Return the largest difference as a part of the largest value; infinite if NaN is not where it should be."""
    if found.shape != expected.shape or not np.array_equal(np.isnan(found), np.isnan(expected)):
        return float("inf")
    return float(np.nanmax(np.abs(found - expected)) / np.nanmax(np.abs(expected)))


def took(run: dict[str, float], columns: tuple[Column, ...]) -> str:
    """Say what a run took."""
    shown = [one for one in columns if one.key in run]
    return ", ".join(f"{one.heading} {run[one.key] * one.scale:.{one.digits}f}" for one in shown)


def tell(line: str) -> None:
    """Tell how far it is, apart from the results."""
    print(line, file=sys.stderr, flush=True)
