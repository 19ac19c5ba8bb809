"""The rows of a ledger: one of the same size for each region that was recorded."""

import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from terp.storage.shard import STORED, Stored

NOTHING = np.dtype(("<u4", (0, 2)))  # what is noted of inputs where there are none
_AT_ONCE = 1 << 14  # rows that are in memory at a time

Rows = np.ndarray[Any, Any]  # of `row_type`


@dataclass(frozen=True)
class Record:
    """One region that is done: which, in which generation, what was stored for each array, and how it came about.

    `reads` is what was read for it (see lineage.py), `remarks` what was noticed meanwhile (see remarks.py).
    """

    group: str
    index: int
    generation: int
    stored: dict[str, Stored]
    seconds: float
    worker: str
    reads: tuple[tuple[int, int], ...] = ()
    remarks: tuple[str, ...] = ()


def row_type(arrays: int, reads: np.dtype[Any] = NOTHING) -> np.dtype[Any]:
    """Return the type of the rows of a ledger: of products with at most so many arrays in a group.

    `reads` is the type of what is noted of their inputs; `when` a region was recorded are seconds since 1970.
    """
    return np.dtype(
        [
            ("index", "<u8"),
            ("group", "<u2"),
            ("remarks", "<u2"),
            ("generation", "<u4"),
            ("seconds", "<f4"),
            ("worker", "<u4"),
            ("stored", STORED, (max(arrays, 1),)),
            ("reads", reads),
            ("when", "<u4"),
            ("crc32c", "<u4"),
        ]
    )


def sound_rows(path: Path, limit: int | None, kind: np.dtype[Any]) -> Iterator[tuple[Rows, int]]:
    """Walk a segment, some rows at a time: those that are sound, and how many are not."""
    left, step = sys.maxsize if limit is None else limit, _AT_ONCE * kind.itemsize
    with suppress(FileNotFoundError), path.open("rb") as file:  # a controller may be killed before it has made it
        while raw := file.read(min(step, left)):
            yield _sound(raw, kind)
            left -= len(raw)
            if len(raw) < step:
                return  # what is added meanwhile is not looked at: the last row may have been half of one


def _sound(raw: bytes, kind: np.dtype[Any]) -> tuple[Rows, int]:
    size = kind.itemsize
    whole = len(raw) // size
    rows = np.frombuffer(raw, kind, whole)
    bodies = map(itemgetter(0), struct.iter_unpack(f"{size - 4}s4x", raw[: whole * size]))
    sound = np.fromiter(map(google_crc32c.value, bodies), "<u4", whole) == rows["crc32c"]
    return rows[sound], int((~sound).sum()) + (len(raw) % size > 0)
