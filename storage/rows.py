"""The rows of a ledger: one of the same size for each region that was recorded."""

import struct
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from terp.storage.shard import STORED, Stored

Rows = np.ndarray[Any, Any]  # of `row_type`


@dataclass(frozen=True)
class Record:
    """One region that is done: which, in which generation, what was stored for each array, and how it came about."""

    group: str
    index: int
    generation: int
    stored: dict[str, Stored]
    seconds: float
    worker: str


def row_type(arrays: int) -> np.dtype[Any]:
    """Return the type of the rows of a ledger: of products with at most so many arrays in a group."""
    return np.dtype(
        [
            ("index", "<u8"),
            ("group", "<u4"),
            ("generation", "<u4"),
            ("seconds", "<f4"),
            ("worker", "<u4"),
            ("stored", STORED, (max(arrays, 1),)),
            ("spare", "<u4"),
            ("crc32c", "<u4"),
        ]
    )


def sound_rows(path: Path, limit: int | None, kind: np.dtype[Any]) -> tuple[Rows, int]:
    """Return the sound rows of a segment, and how many are not."""
    try:
        raw = path.read_bytes()[:limit]
    except FileNotFoundError:  # a controller may be killed before it has made it
        return np.zeros(0, kind), 0
    size = kind.itemsize
    whole = len(raw) // size
    rows = np.frombuffer(raw, kind, whole)
    bodies = map(itemgetter(0), struct.iter_unpack(f"{size - 4}s4x", raw[: whole * size]))
    sound = np.fromiter(map(google_crc32c.value, bodies), "<u4", whole) == rows["crc32c"]
    return rows[sound], int((~sound).sum()) + (len(raw) % size > 0)
