"""What this machine moves in a second, measured in a few seconds: no way of doing a row can be faster than that.

The floor of a row is arithmetic: bytes that any way has to move, through these bandwidths. What has to be decoded,
computed and encoded is not in it, so it is below what can be reached, and the same for all.
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.job import Moves, Values
from benchmarks.rows.arrays import in_threads
from benchmarks.shard_peers import forget

BYTES = 256 << 20  # for each of two threads
PART = 1 << 20  # that stays in the cache
FILES = 1000  # small ones, for each of two threads
ROUNDS = 3


@dataclass(frozen=True)
class Bandwidth:
    """Bytes a second, two threads at once, the best of three rounds.

    `memory`: read and written by a copy, each counted; `cached`, `disk`: read out of the page cache, and from the
    disk; `written`: onto the disk. `files`: files of four bytes a second, made and renamed, not synced.
    """

    memory: float
    cached: float
    disk: float
    written: float
    files: float

    def floor(self, moves: Moves) -> float:
        """Return the seconds that it takes to move so much: memory and the disk may be at work at the same time."""
        memory = moves.memory / self.memory + moves.cached / self.cached
        return max(memory, moves.disk / self.disk + moves.written / self.written)


def measure(folder: Path) -> Bandwidth:
    """Measure in files of a new folder, which is gone when this returns."""
    folder.mkdir()
    paths = [folder / str(number) for number in range(2)]
    buffers = [np.ones(BYTES, "u1") for _ in paths]
    copies = [np.zeros(BYTES, "u1") for _ in paths]
    best: dict[str, float] = {}

    def timed(what: str, amount: int, work: Callable[[int], object]) -> None:
        began = time.perf_counter()
        in_threads(work, range(2))
        best[what] = max(best.get(what, 0.0), 2 * amount / (time.perf_counter() - began))

    try:
        for _ in range(ROUNDS):
            timed("memory", 2 * BYTES, lambda one: np.copyto(copies[one], buffers[one]))
            timed("written", BYTES, lambda one: write(paths[one], buffers[one]))
            timed("cached", BYTES, lambda one: read(paths[one], copies[one]))
            forget(folder)
            timed("disk", BYTES, lambda one: read(paths[one], copies[one]))
            timed("files", FILES, lambda one: many(folder / f"many-{one}"))
    finally:
        shutil.rmtree(folder)
    return Bandwidth(**best)


def write(path: Path, buffer: Values) -> None:
    """Write a new file, and have it on the disk."""
    path.unlink(missing_ok=True)
    with path.open("wb", buffering=0) as file:
        for start in range(0, buffer.size, PART):
            file.write(buffer[start : start + PART])
        os.fsync(file.fileno())


def read(path: Path, buffer: Values) -> None:
    """Read a file, each part into the same memory."""
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer[:PART]):
            pass


def many(folder: Path) -> None:
    """Make small files, each under another name first."""
    folder.mkdir(exist_ok=True)
    for number in range(FILES):
        attempt = folder / f"attempt-{number}"
        attempt.write_bytes(b"1234")
        attempt.rename(folder / str(number))
