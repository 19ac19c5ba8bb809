"""The ledger of a product: what of it is done, in append-only segments, one a controller.

A segment is a text file; each line is the CRC32C of its JSON in eight hex digits, a space, and the JSON. The first
line says who holds it and how long the older segments were when it began: what was added to them later came
from a controller that had been replaced, and does not count. A torn or altered line is a line that does not count.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import orjson

from terp.storage.errors import Busy, Fenced, StorageError
from terp.storage.files import GLANCE, create_once, disk, patiently, sync_folder, write_all
from terp.storage.holder import Holder
from terp.storage.shard import Stored


@dataclass(frozen=True)
class Record:
    """One region that is done: which, in which generation, what was stored for each array, and how it came about."""

    group: str
    index: int
    generation: int
    stored: dict[str, Stored]
    seconds: float
    worker: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "group": self.group,
            "index": self.index,
            "generation": self.generation,
            "stored": {name: one.to_json() for name, one in self.stored.items()},
            "seconds": self.seconds,
            "worker": self.worker,
        }

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Record":
        """Read back what `to_json` gave."""
        stored = {name: Stored(*fields) for name, fields in plain["stored"].items()}
        return cls(plain["group"], plain["index"], plain["generation"], stored, plain["seconds"], plain["worker"])


Place = tuple[str, int]  # group path and region number
Gone = Callable[[Holder], bool]  # what knows of a holder elsewhere that it is gone

_HELD: set[Path] = set()  # segments that this process holds: its last word may not have reached the disk


class Ledger:
    """Read and, for the one controller that has claimed it, extended.

    `records` holds what counts now; `generations` how often each region was begun anew; `spoilt` how many
    lines did not count.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.epoch = 0  # ours, once claimed
        self._descriptor = -1
        self._torn = False  # whether our last line may be there in part
        self.reload()

    def reload(self) -> None:
        """Read all segments again; raises DiskTrouble."""
        self.records: dict[Place, Record] = {}
        self.generations: dict[Place, int] = {}
        self.spoilt = 0
        with disk(self.folder):
            segments = self._segments()
            limits: dict[str, int] = {}
            for _, path in segments:
                header = next(_lines(path, None)[0], None)
                for name, size in (header or {}).get("after", {}).items():
                    limits[name] = min(size, limits.get(name, size))
            for _, path in segments:
                self._replay(path, limits.get(path.name))

    def _segments(self) -> list[tuple[int, Path]]:
        return sorted((int(p.stem), p) for p in self.folder.glob("[0-9]*.log"))

    def _replay(self, path: Path, limit: int | None) -> None:
        lines, spoilt = _lines(path, limit)
        self.spoilt += spoilt
        for line in lines:
            if "void" in line:
                place = (line["void"][0], line["void"][1])
                self.records.pop(place, None)
                self.generations[place] = line["generation"]
            elif "group" in line:
                record = Record.from_json(line)
                self.records[record.group, record.index] = record

    def holder(self) -> Holder | None:
        """Return who holds the newest segment, or None when nobody does any more.

        Raises Busy when the segment does not say who.
        """
        with disk(self.folder):
            segments = self._segments()
            return patiently(lambda: _holder(segments[-1][1]), Busy, GLANCE) if segments else None

    def claim(self, take_over: "bool | Gone" = False) -> None:
        """Become the controller: begin a new segment.

        Raises Busy when another controller lives, or may live and is not to be taken over from: `take_over` says so of
        any, or is asked about the one that there is.
        """
        with disk(self.folder):
            segments = self._segments()  # before asking who holds: who begins after this has the number that is next
        holder = None if take_over is True else self.holder()
        if holder is not None and not (holder.is_gone() or (callable(take_over) and take_over(holder))):
            raise Busy(f"this work is being done by {holder}: {holder.advice()}")
        with disk(self.folder):
            epoch = segments[-1][0] + 1 if segments else 1
            after = {path.name: _size(path) for _, path in segments}
            self._begin(epoch, {"epoch": epoch, "holder": Holder.me().to_json(), "after": after})

    def _begin(self, epoch: int, header: dict[str, Any]) -> None:
        path = self.folder / f"{epoch:06}.log"
        try:
            create_once(path, _frame(header))
        except FileExistsError:
            raise Busy("another controller has just begun this work: look with `terp status`") from None
        self.epoch = epoch
        _HELD.add(path.resolve())
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
            sync_folder(self.folder)
            self.reload()
        except BaseException:
            self.release()
            raise

    def check(self) -> None:
        """Raise Fenced when a newer controller has begun."""
        newest = max((epoch for epoch, _ in self._segments()), default=0)
        if newest != self.epoch:
            raise Fenced(
                f"a newer controller (epoch {newest}) has taken this work over from this one (epoch {self.epoch}): "
                "nothing is lost, look with `terp status`"
            )

    def append(self, records: Iterable[Record]) -> None:
        """Record regions that are visible and durable; returns when the records are durable too."""
        records = list(records)
        self._write([record.to_json() for record in records])
        self.records.update(((r.group, r.index), r) for r in records)

    def void(self, place: Place, why: str) -> None:
        """Say that a region does not count any more; what replaces it is of the next generation."""
        generation = self.generations.get(place, 0) + 1
        self._write([{"void": list(place), "generation": generation, "why": why}])
        self.records.pop(place, None)
        self.generations[place] = generation

    def release(self) -> None:
        """Say, where it can still be said, that this controller is done."""
        if self._descriptor >= 0:
            with suppress(StorageError):
                self._write([{"released": True}])
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1
        _HELD.discard((self.folder / f"{self.epoch:06}.log").resolve())

    def _write(self, lines: list[dict[str, Any]]) -> None:
        self.check()
        data = b"\n" * self._torn + b"".join(map(_frame, lines))
        with disk(self.folder):
            self._torn = True
            write_all(self._descriptor, data)
            os.fsync(self._descriptor)
            self._torn = False


def _frame(line: dict[str, Any]) -> bytes:
    text = orjson.dumps(line)
    return b"%08x %b\n" % (google_crc32c.value(text), text)


def _lines(path: Path, limit: int | None) -> tuple[Iterator[dict[str, Any]], int]:
    """Return the lines of a segment that count, and how many do not."""
    raw = path.read_bytes()[:limit].split(b"\n")
    good = [line[9:] for line in raw if line[8:9] == b" " and line[:8] == b"%08x" % google_crc32c.value(line[9:])]
    return (orjson.loads(line) for line in good), sum(map(bool, raw)) - len(good)


def _holder(path: Path) -> Holder | None:
    lines = list(_lines(path, None)[0])
    if lines and "released" in lines[-1]:
        return None
    header = next((line for line in lines if "holder" in line), None)
    if header is None:
        raise Busy(f"{path} does not say who works here: if you know that nobody does, say so with --take-over")
    holder = Holder.from_json(header["holder"])
    return None if holder.is_me() and path.resolve() not in _HELD else holder


def _size(path: Path) -> int:
    with path.open("rb") as file:  # opening makes a network file system look again
        return os.fstat(file.fileno()).st_size
