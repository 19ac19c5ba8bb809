"""What a candidate is handed, and how it says when its work begins and ends.

This is imported in the environment of every peer: it needs NumPy and zarr, and nothing of terp.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.bandwidth import Bandwidth

Values = np.ndarray[Any, Any]
WORKERS = 2
STEP = 0.25  # GiB: the sizes of all rows are multiples of it


@dataclass(frozen=True)
class Job:
    """One row at one size in one folder: data to read in `source`, results to write in `result`."""

    folder: Path
    gib: float
    harness: socket.socket | None = None
    told: dict[str, float] = field(default_factory=dict)  # what the candidate has measured itself

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

    @property
    def nbytes(self) -> int:
        return round(self.gib * 2**30)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """What is done in here counts, until its results are on the disk; what came before is set-up."""
        self._say(b"begin")
        yield
        sync(self.result)
        self._say(b"end")

    def over(self) -> None:
        """Hand over what the candidate has told; the last that it does."""
        if self.harness:
            self.harness.sendall(json.dumps(self.told).encode() + b"\n")

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
class Column:
    """A value that is told of each run: its key there, its heading in the table, and by how much it is multiplied.

    `relative`: also told as a multiple of HAND's. `peak`: the largest of the runs, not their median. `compared`: of two
    commits. `some`: not all candidates tell it.
    """

    key: str
    heading: str
    scale: float = 1
    digits: int = 2
    relative: bool = False
    peak: bool = False
    compared: bool = True
    some: bool = False


MEASURED = (
    Column("wall", "wall s", relative=True),
    Column("cpu", "CPU s", relative=True),
    Column("pss", "PSS MiB", 2**-20, 0, peak=True),
    Column("setup", "set-up s", digits=1, compared=False),
)
ASIDE = tuple(Column(one.key, one.heading, one.scale, one.digits, peak=one.peak) for one in MEASURED[:3])


@dataclass(frozen=True)
class Moves:
    """Bytes that any way has to move: out of the page cache, from the disk, into memory decoded, onto the disk."""

    cached: int = 0
    disk: int = 0
    memory: int = 0
    written: int = 0


def streamed(job: Job, stored: int) -> Moves:
    """The data out of the page cache, as they are stored; the result onto the disk, as it is."""
    return Moves(cached=size(job.source), written=stored)


def decoded(job: Job, stored: int) -> Moves:
    """The same, with data that lie decoded in memory before they can be worked on."""
    return Moves(cached=size(job.source), memory=job.nbytes, written=stored)


@dataclass(frozen=True)
class Row:
    """A headline benchmark.

    `make` writes the data; `expected` works a sample of the results out with NumPy, `found` reads the same sample of
    what a candidate wrote. They agree if they differ by less than `tolerance` of the largest value. `moves` tells what
    has to be moved, given the bytes that HAND's result takes on the disk.
    """

    title: str
    make: Callable[[Job], None]
    expected: Callable[[Job], Values]
    found: Callable[[Job], Values]
    candidates: dict[str, Candidate]
    tolerance: float = 1e-4
    cap: int | None = None  # bytes that one process may take
    moves: Callable[[Job, int], Moves] = streamed
    columns: tuple[Column, ...] = MEASURED


@dataclass(frozen=True)
class Told:
    """A benchmark whose candidates tell the values of most of its columns, and check their results themselves.

    `floor`: what its first column cannot be below.
    """

    title: str
    columns: tuple[Column, ...]
    candidates: dict[str, Candidate]
    floor: "Callable[[Bandwidth], float]"


def size(folder: Path) -> int:
    """Return the bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


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
