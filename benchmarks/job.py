"""What a candidate is handed, and how it says when its work begins and ends.

This is imported in the environment of every peer: it needs NumPy and zarr, and nothing of terp.
"""

import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Values = np.ndarray[Any, Any]
WORKERS = 2
STEP = 0.25  # GiB: the sizes of all rows are multiples of it


@dataclass(frozen=True)
class Job:
    """One row at one size in one folder: data to read in `source`, results to write in `result`."""

    folder: Path
    gib: float
    harness: socket.socket | None = None

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def result(self) -> Path:
        return self.folder / "result"

    @property
    def steps(self) -> int:
        """The size in quarters of a GiB."""
        return round(self.gib / STEP)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """What is done in here counts, until its results are on the disk; what came before is set-up."""
        self._say(b"begin")
        yield
        sync(self.result)
        self._say(b"end")

    def _say(self, word: bytes) -> None:
        if self.harness:
            self.harness.sendall(word)
            self.harness.recv(1)  # the harness looks at all processes before it lets go


@dataclass(frozen=True)
class Candidate:
    """A way to do a row's work. `peer`: the requirements file of its environment; none is terp's own."""

    run: Callable[[Job], None]
    peer: str = ""


@dataclass(frozen=True)
class Row:
    """A headline benchmark.

    `make` writes the data; `expected` works a sample of the results out with NumPy, `found` reads the same sample of
    what a candidate wrote. They agree if they differ by less than `tolerance` of the largest value.
    """

    title: str
    make: Callable[[Job], None]
    expected: Callable[[Job], Values]
    found: Callable[[Job], Values]
    candidates: dict[str, Candidate]
    tolerance: float = 1e-4
    cap: int | None = None  # bytes that one process may take


def warm_cache(folder: Path) -> None:
    """Read all files of a folder, so that they lie in the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                buffer = bytearray(8 << 20)
                while file.readinto(buffer):
                    pass


def sync(folder: Path) -> None:
    """Have all files of a folder on the disk."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(_sync, files))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
