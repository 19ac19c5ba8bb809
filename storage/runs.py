"""Rows of one size in a file, proven run by run: who reads one of a million reads and proves 256 of them.

NAME.rows   the rows
NAME.sums   the BLAKE3 of each run of rows; whoever holds the BLAKE3 of this file can prove any row
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from terp.storage.errors import BadProduct
from terp.storage.files import disk, read_at

_RUN = 256  # rows that are proven together
_DIGEST = 32  # bytes of a BLAKE3
_KEPT = 64  # runs that a reader remembers

Rows = np.ndarray[Any, Any]
Read = Callable[[str, int, int], bytes]  # bytes of a file by name, start and length; fewer where it ends


def names(name: str) -> tuple[str, str]:
    """Return the names of the two files."""
    return f"{name}.rows", f"{name}.sums"


def written(name: str, rows: Iterable[Rows], write: Callable[[str, bytes], None]) -> str:
    """Write rows in order, by a function of file name and content; return the digest by which they are proven."""
    some = list(rows)
    raw = b"".join(one.tobytes() for one in some)
    step = _RUN * some[0].dtype.itemsize * int(np.prod(some[0].shape[1:]))
    sums = b"".join(blake3(raw[at : at + step]).digest() for at in range(0, len(raw), step))
    write(names(name)[0], raw)
    write(names(name)[1], sums)
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
    """Rows of a type; raises BadProduct, which says of `where`, when they are not those of the digest."""

    def __init__(self, name: str, kind: np.dtype[Any], total: int, digest: str, read: Read, where: str) -> None:
        self.kind, self.total, self._read, self._where = kind, total, read, where
        self._rows, sums = names(name)
        self._sums = read(sums, 0, -(-total // _RUN) * _DIGEST)
        if blake3(self._sums).hexdigest() != digest:
            raise self._damaged(sums)
        self._run = lru_cache(maxsize=_KEPT)(self._proven)

    def row(self, number: int) -> Any:
        """Return one row."""
        return self._run(number // _RUN)[number % _RUN]

    def span(self, start: int, stop: int) -> Rows:
        """Return some rows that follow each other, read at once and each proven."""
        first, last = start // _RUN, -(-stop // _RUN)
        length = (min(last * _RUN, self.total) - first * _RUN) * self.kind.itemsize
        raw = self._read(self._rows, first * self._step, length)
        for run in range(first, last):
            self._prove(run, raw[(run - first) * self._step : (run - first + 1) * self._step])
        rows: Rows = np.frombuffer(raw, self.kind)[start - first * _RUN : stop - first * _RUN]
        return rows

    @property
    def _step(self) -> int:
        return _RUN * self.kind.itemsize

    def _proven(self, run: int) -> Rows:
        raw = self._read(self._rows, run * self._step, self._step)
        self._prove(run, raw)
        return np.frombuffer(raw, self.kind)

    def _prove(self, run: int, raw: bytes) -> None:
        if blake3(raw).digest() != self._sums[run * _DIGEST : (run + 1) * _DIGEST]:
            raise self._damaged(self._rows)

    def _damaged(self, name: str) -> BadProduct:
        return BadProduct(f"{name} of {self._where} is damaged: run again to seal the product anew")
