"""The files of a ledger, one pair a controller: their lines, what of them counts, and how one region was made.

What they hold is told in ledger.py.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import orjson

from terp.storage.errors import BadProduct
from terp.storage.files import disk, read_at
from terp.storage.rows import row_type

_AT_ONCE = 1 << 13  # rows that are in memory at a time: they stay in the caches

Line = dict[str, Any]


@dataclass(frozen=True)
class Making:
    """How a region was made: by which worker, in how many seconds, when, and how often it was begun anew before.

    `when` it was recorded are seconds since 1970, 0 where nobody noted that.
    """

    worker: str
    seconds: float
    when: int
    generation: int


def frame(line: Line) -> bytes:
    """Return a line as it is written."""
    text = orjson.dumps(line)
    return b"%08x %b\n" % (google_crc32c.value(text), text)


def lines(path: Path, limit: int | None) -> tuple[Iterator[Line], int]:
    """Return the lines of a segment that count, and how many do not."""
    raw = path.read_bytes()[:limit].split(b"\n")
    good = [line[9:] for line in raw if line[8:9] == b" " and line[:8] == b"%08x" % google_crc32c.value(line[9:])]
    return (orjson.loads(line) for line in good), sum(map(bool, raw)) - len(good)


def segments(folder: Path) -> list[tuple[int, Path]]:
    """Return the segments of a ledger, the oldest first."""
    return sorted((int(p.stem), p) for p in folder.glob("[0-9]*.log") if p.stem.isdecimal())


def limits(found: list[tuple[int, Path]]) -> dict[str, int]:
    """Return how much of which file counts: what was there when the next controller began."""
    known = dict[str, int]()
    for _, path in found:
        header = next(lines(path, None)[0], None)
        for name, size in (header or {}).get("after", {}).items():
            known.setdefault(name, size)  # who comes later may see less of it, or more
    return known


def demand_size(path: Path, size: int) -> None:
    """Raise FileNotFoundError where a file is not that long, as far as can be seen yet."""
    if size_of(path) < size:
        raise FileNotFoundError(path)


def size_of(path: Path) -> int:
    """Return how long a file is by now; 0 where it is not there."""
    try:
        with path.open("rb") as file:  # opening makes a network file system look again
            return os.fstat(file.fileno()).st_size
    except FileNotFoundError:  # its controller was killed before it made it, or makes it too late
        return 0


def making(folder: Path, arrays: int, reads: np.dtype[Any], group: int, index: int) -> Making:
    """Return how a recorded region was made; of a ledger whose rows are of these arrays and reads, not all is read.

    Raises BadProduct where no row that counts tells of it.
    """
    kind = row_type(arrays, reads)
    with disk(folder):
        known = limits(found := segments(folder))
        for _, path in reversed(found):  # of equal ones the later counts
            file = path.with_suffix(".rows")
            size = min(known.get(file.name, 2**63), file.stat().st_size if file.exists() else 0)
            row = _last_sound(file, kind, size // kind.itemsize, group, index)
            if row is not None:
                names = {
                    one["number"]: one["worker"] for one in lines(path, known.get(path.name))[0] if "worker" in one
                }
                worker = str(names.get(int(row["worker"]), ""))
                return Making(worker, float(row["seconds"]), int(row["when"]), int(row["generation"]))
    raise BadProduct(f"the ledger in {folder} has no row of region {index}: run the same command again")


def _last_sound(file: Path, kind: np.dtype[Any], count: int, group: int, index: int) -> Any:
    """Return the last sound row of a region; read, not mapped: a disk that fails would end the process then."""
    if not count:
        return None
    with file.open("rb") as source:
        for stop in range(count, 0, -_AT_ONCE):
            first = max(stop - _AT_ONCE, 0)
            raw = read_at(source.fileno(), first * kind.itemsize, (stop - first) * kind.itemsize)
            rows = np.frombuffer(raw, kind, len(raw) // kind.itemsize)
            for row in rows[(rows["index"] == index) & (rows["group"] == group)][::-1]:
                if google_crc32c.value(row.tobytes()[:-4]) == row["crc32c"]:
                    return row
    return None
