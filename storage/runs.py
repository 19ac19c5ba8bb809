"""Rows of one size in a file, proven run by run: who reads one of a million reads and proves 256 of them.

NAME.rows   the rows
NAME.sums   for each run of rows its BLAKE3, and behind that perhaps a digest of something else that is to be known of
            the run; whoever holds the BLAKE3 of this file can prove any row
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from blake3 import blake3

from terp.storage.errors import BadProduct
from terp.storage.files import disk, read_at, write_all
from terp.storage.tree import DIGEST, FAN, Runs

RUN = FAN  # rows that are proven together: in a manifest those below one node
_KEPT = 64  # runs that a reader remembers

Rows = np.ndarray[Any, Any]
Read = Callable[[str, int, int], bytes]  # bytes of a file by name, start and length; fewer where it ends
Called = Callable[[str], str]  # what people call a file, by its name
Walk = Callable[[], Iterable[Rows]]


class Put(Protocol):
    """Makes a file by its name, of what a function writes to its descriptor, which may be called again."""

    def __call__[T](self, name: str, write: Callable[[int], T], /) -> T:
        """Return what the function returned."""


def names(name: str) -> tuple[str, str]:
    """Return the names of the two files."""
    return f"{name}.rows", f"{name}.sums"


def written(name: str, size: int, rows: Walk, put: Put, beside: Callable[[], Sequence[bytes]] | None = None) -> str:
    """Write rows of so many bytes each, in order; return the digest by which they are proven.

    `rows` walks them, some at a time, and is asked to again when the disk did not take them; none is kept. `beside`
    returns a digest more for each run, when they were walked.
    """

    def write(descriptor: int) -> list[bytes]:
        sums = Runs(RUN * size)
        for some in rows():
            raw = some.tobytes()
            write_all(descriptor, raw)
            sums.add(raw)
        return sums.digests()

    digests = put(names(name)[0], write)
    more = beside() if beside else [b""] * len(digests)
    sums = b"".join(own + other for own, other in zip(digests, more, strict=True))
    put(names(name)[1], lambda descriptor: write_all(descriptor, sums))
    return blake3(sums).hexdigest()


def files_in(folder: Path) -> Read:
    """Return how to read the files of a folder."""

    def read(name: str, start: int, length: int) -> bytes:
        path = folder / name
        with disk(path):
            try:
                with path.open("rb", buffering=0) as file:
                    return read_at(file.fileno(), start, length)
            except FileNotFoundError:
                return b""

    return read


class ProvenRows:
    """Rows of a type; raises BadProduct, which names the file as it is `called`, when they are not those of the digest.

    `more` is whether a digest of something else stands beside the sum of each run.
    """

    def __init__(
        self, name: str, kind: np.dtype[Any], total: int, digest: str, read: Read, called: Called, more: bool = False
    ) -> None:
        self.kind, self.total, self._read, self._called = kind, total, read, called
        self._rows, sums = names(name)
        size = 2 * DIGEST if more else DIGEST
        raw = read(sums, 0, -(-total // RUN) * size)
        if blake3(raw).hexdigest() != digest:
            raise self.damaged(sums)
        self._sums = np.frombuffer(raw, np.uint8).reshape(-1, size)
        self.run = lru_cache(maxsize=_KEPT)(self._proven)

    @property
    def beside(self) -> bytes:
        """What stands beside the sums of all runs, one behind the other."""
        return self._sums[:, DIGEST:].tobytes()

    def row(self, number: int) -> Any:
        """Return one row."""
        return self.run(number // RUN)[number % RUN]

    def span(self, start: int, stop: int) -> Rows:
        """Return some rows that follow each other, read at once and each proven."""
        first, last = start // RUN, -(-stop // RUN)
        length = (min(last * RUN, self.total) - first * RUN) * self.kind.itemsize
        raw = self._read(self._rows, first * self._step, length)
        for run in range(first, last):
            self._prove(run, raw[(run - first) * self._step : (run - first + 1) * self._step])
        rows: Rows = np.frombuffer(raw, self.kind)[start - first * RUN : stop - first * RUN]
        return rows

    def damaged(self, name: str) -> BadProduct:
        """Return the error that one of the files is not as it was written."""
        return BadProduct(f"{self._called(name)} is damaged: run again to seal the product anew")

    @property
    def _step(self) -> int:
        return RUN * self.kind.itemsize

    def _proven(self, run: int) -> Rows:
        raw = self._read(self._rows, run * self._step, min(RUN, self.total - run * RUN) * self.kind.itemsize)
        self._prove(run, raw)
        return np.frombuffer(raw, self.kind)

    def _prove(self, run: int, raw: bytes) -> None:
        if blake3(raw).digest() != self._sums[run, :DIGEST].tobytes():
            raise self.damaged(self._rows)
