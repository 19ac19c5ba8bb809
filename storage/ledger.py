"""The ledger of a product: what of it is done, in append-only segments, one a controller.

NNNNNN.log    text: each line is the CRC32C of its JSON in eight hex digits, a space, and the JSON. The first says who
              holds the segment and how long the older ones were when it began: what was added to them later came from
              a controller that had been replaced, and does not count. Others say what counts no more, and who works.
NNNNNN.rows   rows of one size, one for each region that was recorded, the last four bytes of each its CRC32C

A torn or altered line or row is one that does not count. What is kept in memory is a bit for each region, and so the
same for a thousand as for a million; digests are read when they are wanted.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from terp.storage.errors import Busy, Fenced, StorageError
from terp.storage.files import GLANCE, PATIENCE, await_file, create_once, disk, patiently, sync_folder, write_all
from terp.storage.grid import Group
from terp.storage.holder import Holder
from terp.storage.remarks import Remarks
from terp.storage.rows import NOTHING, Record, Rows, row_type, sound_rows
from terp.storage.segments import demand_size, frame, lines, segments, size_of
from terp.storage.segments import limits as what_counts

_AT_ONCE = 4096  # regions that are looked up at a time
_SPAN = 1 << 18  # regions of which all rows are in memory: for each span the ledger is walked once


Place = tuple[str, int]  # group path and region number
Gone = Callable[[Holder], bool]  # what knows of a holder elsewhere that it is gone

_HELD: set[Path] = set()  # segments that this process holds: its last word may not have reached the disk


class Ledger:
    """Read and, for the one controller that has claimed it, extended.

    `groups` are those of the product; `generations` tells how often a region was begun anew; `spoilt` how many lines
    and rows did not count.
    """

    def __init__(self, folder: Path, groups: Sequence[Group] = (), reads: "np.dtype[Any]" = NOTHING) -> None:
        self.folder, self.groups = folder, groups
        self.type = row_type(max((len(group.arrays) for group in groups), default=0), reads)
        self.epoch = 0  # ours, once claimed
        self._numbers = {group.path: number for number, group in enumerate(groups)}
        self._workers: dict[str, int] = {}
        self._log = self._rows = -1
        self._torn = False  # whether our last line may be there in part
        self.reload()

    def reload(self) -> None:
        """Read all segments again; raises DiskTrouble."""
        self._done = [np.zeros(group.regions, bool) for group in self.groups]
        self.generations: dict[Place, int] = {}
        self._remarks = Remarks()
        self.spoilt = 0
        with disk(self.folder):
            self._limits = self._read_lines()
            for rows, spoilt in self._counting():
                self.spoilt += spoilt
                for number, done in enumerate(self._done):
                    done[rows["index"][rows["group"] == number]] = True

    def _read_lines(self) -> dict[str, int]:
        """Take in the lines of all segments; return how much of which file counts."""
        found = segments(self.folder)
        limits = what_counts(found)
        for _, path in found:
            some, spoilt = lines(path, limits.get(path.name))
            self.spoilt += spoilt
            for line in some:
                self._remarks.learn(line)
                if "void" in line and line["void"][0] in self._numbers:
                    place = line["void"][0], line["void"][1]
                    self.generations[place] = max(line["generation"], self.generations.get(place, 0))
        return limits

    def _counting(self) -> Iterator[tuple[Rows, int]]:
        """Walk the rows that count: sound, of regions that there are, of their last generation; and how many do not."""
        begun = [self._begun(group) for group in self.groups]
        for _, path in segments(self.folder):
            limit = self._limits.get(f"{path.stem}.rows")
            for rows, spoilt in sound_rows(path.with_suffix(".rows"), limit, self.type):
                known, counts = np.zeros((2, len(rows)), bool)
                for number, generations in enumerate(begun):
                    here = np.flatnonzero((rows["group"] == number) & (rows["index"] < len(generations)))
                    known[here] = True
                    counts[here] = rows["generation"][here] >= generations[rows["index"][here]]
                yield rows[counts], spoilt + int((~known).sum())

    def _begun(self, group: Group) -> "np.ndarray[Any, Any]":
        """Return the generation that counts, for each region of a group."""
        found = np.zeros(group.regions, np.uint32)
        for (path, index), generation in self.generations.items():
            if path == group.path and index < group.regions:
                found[index] = generation
        return found

    def has(self, place: Place) -> bool:
        """Say whether a region is recorded."""
        return bool(self._done[self._numbers[place[0]]][place[1]])

    @property
    def count(self) -> int:
        """How many regions are recorded."""
        return sum(int(done.sum()) for done in self._done)

    def longest(self) -> float:
        """Return the seconds that the longest of the recorded regions took; 0 where there is none."""
        with disk(self.folder):
            return max((float(rows["seconds"].max()) for rows, _ in self._counting() if len(rows)), default=0.0)

    def missing(self) -> Iterator[Place]:
        """Walk the regions that are not recorded, in order."""
        for group, done in zip(self.groups, self._done, strict=True):
            for start in range(0, group.regions, _AT_ONCE):
                for index in np.flatnonzero(~done[start : start + _AT_ONCE]):
                    yield group.path, start + int(index)

    def stored(self, group: Group) -> Iterator[tuple[Rows, Rows]]:
        """Walk a group's recorded regions, many at a time: their numbers, and what was stored for them: (n, arrays)."""
        return self._column(group, "stored", len(group.arrays))

    def reads(self, group: Group) -> Iterator[tuple[Rows, Rows]]:
        """Walk a group's recorded regions, many at a time: their numbers, and what was read for them."""
        return self._column(group, "reads", self.type["reads"].shape[0])

    def _column(self, group: Group, field: str, width: int) -> Iterator[tuple[Rows, Rows]]:
        for first in range(0, group.regions, _SPAN):
            yield self._span(group, range(first, min(first + _SPAN, group.regions)), field, width)

    def _span(self, group: Group, regions: range, field: str, width: int) -> tuple[Rows, Rows]:
        """Return those of some regions that are recorded: rows lie in the order in which regions were made."""
        kind, number = self.type[field], self._numbers[group.path]
        found = np.zeros((len(regions), width, *kind.shape[1:]), kind.base)
        there = np.zeros(len(regions), bool)
        with disk(self.folder):
            for rows, _ in self._counting():
                here = rows[rows["group"] == number]
                here = here[(here["index"] >= regions.start) & (here["index"] < regions.stop)]
                found[here["index"] - regions.start] = here[field][:, :width]  # of equal ones the later counts
                there[here["index"] - regions.start] = True
        return np.flatnonzero(there) + regions.start, found if there.all() else found[there]

    def remarks(self) -> dict[str, int]:
        """Return what was remarked on recorded regions, and on how many."""
        with disk(self.folder):
            return self._remarks.counted(rows for rows, _ in self._counting())

    def holder(self) -> Holder | None:
        """Return who holds the newest segment, or None when nobody does any more.

        Raises Busy when the segment does not say who.
        """
        with disk(self.folder):
            found = segments(self.folder)
            return patiently(lambda: _holder(found[-1][1]), Busy, GLANCE) if found else None

    def claim(self, take_over: "bool | Gone" = False, prepare: Callable[[int], object] = lambda _: None) -> None:
        """Become the controller: begin a new segment, after `prepare` has been called with its number.

        Raises Busy when another controller lives, or may live and is not to be taken over from: `take_over` says so of
        any, or is asked about the one that there is.
        """
        with disk(self.folder):
            found = segments(self.folder)  # before asking who holds: who begins after this has the number that is next
        holder = None if take_over is True else self.holder()
        if holder is not None and not (holder.is_gone() or (callable(take_over) and take_over(holder))):
            raise Busy(f"this work is being done by {holder}: {holder.advice()}")
        with disk(self.folder):
            epoch = found[-1][0] + 1 if found else 1
            after = {file.name: size for _, log in found for file, size in self._sizes(log).items()}
            prepare(epoch)
            self._begin(epoch, {"epoch": epoch, "holder": Holder.me().to_json(), "after": after})

    def _sizes(self, log: Path) -> dict[Path, int]:
        """Return how long the files of a segment are: what is not counted now will never be.

        Rows are waited for where a line tells of a worker, or a newer segment of their length.
        """
        rows = log.with_suffix(".rows")
        worked = any("worker" in line for line in lines(log, None)[0])
        if self._limits.get(rows.name, worked):
            with suppress(FileNotFoundError):  # they are lost
                await_file(rows, patience=PATIENCE)
                patiently(lambda: demand_size(rows, self._limits.get(rows.name, 0)), FileNotFoundError, PATIENCE)
        return {file: size_of(file) for file in (log, rows)}

    def _begin(self, epoch: int, header: dict[str, Any]) -> None:
        path = self.folder / f"{epoch:06}.log"
        try:
            create_once(path, frame(header))
        except FileExistsError:
            raise Busy("another controller has just begun this work: look with `terp status`") from None
        self.epoch = epoch
        _HELD.add(path.resolve())
        try:
            self._log = os.open(path, os.O_WRONLY | os.O_APPEND)
            self._rows = os.open(path.with_suffix(".rows"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            sync_folder(self.folder)
            self.reload()
        except BaseException:
            self.release()
            raise

    def check(self) -> None:
        """Raise Fenced when a newer controller has begun."""
        newest = max((epoch for epoch, _ in segments(self.folder)), default=0)
        if newest != self.epoch:
            raise Fenced(
                f"a newer controller (epoch {newest}) has taken this work over from this one (epoch {self.epoch}): "
                "nothing is lost, look with `terp status`"
            )

    def append(self, records: Iterable[Record]) -> None:
        """Record regions that are visible and durable; returns when the records are durable too."""
        records = list(records)
        if not records:
            return
        self._introduce(records)
        rows = np.zeros(len(records), self.type)
        for row, record in zip(rows, records, strict=True):
            number = self._numbers[record.group]
            stored = [record.stored[array.name].to_row() for array in self.groups[number].arrays]
            row["index"], row["group"], row["generation"] = record.index, number, record.generation
            row["seconds"], row["worker"] = record.seconds, self._workers[record.worker]
            if record.remarks:
                row["remarks"] = self._remarks.bits(record.remarks)
            row["stored"][: len(stored)] = stored
            row["when"] = time.time()
            if record.reads:
                row["reads"] = record.reads
            row["crc32c"] = google_crc32c.value(row.tobytes()[:-4])
        self.check()
        with disk(self.folder):
            whole = -os.fstat(self._rows).st_size % self.type.itemsize  # behind a torn one
            write_all(self._rows, bytes(whole) + rows.tobytes())
            os.fsync(self._rows)
        for record in records:
            self._done[self._numbers[record.group]][record.index] = True

    def _introduce(self, records: Sequence[Record]) -> None:
        """Give the workers and the remarks a number that have none."""
        new = [name for name in dict.fromkeys(record.worker for record in records) if name not in self._workers]
        numbered = {name: len(self._workers) + number for number, name in enumerate(new)}
        told = self._remarks.new(one for record in records for one in record.remarks)
        if numbered or told:
            self._write([*({"worker": name, "number": number} for name, number in numbered.items()), *told])
            self._workers |= numbered
            for line in told:
                self._remarks.learn(line)

    def void(self, place: Place, why: str) -> None:
        """Say that a region does not count any more; what replaces it is of the next generation."""
        generation = self.generations.get(place, 0) + 1
        self._write([{"void": list(place), "generation": generation, "why": why}])
        self._done[self._numbers[place[0]]][place[1]] = False
        self.generations[place] = generation

    def release(self) -> None:
        """Say, where it can still be said, that this controller is done."""
        if self._log >= 0:
            with suppress(StorageError):
                self._write([{"released": True}])
        for descriptor in (self._log, self._rows):
            with suppress(OSError):
                os.close(descriptor)
        self._log = self._rows = -1
        _HELD.discard((self.folder / f"{self.epoch:06}.log").resolve())

    def _write(self, some: list[dict[str, Any]]) -> None:
        self.check()
        data = b"\n" * self._torn + b"".join(map(frame, some))
        with disk(self.folder):
            self._torn = True
            write_all(self._log, data)
            os.fsync(self._log)
            self._torn = False


def _holder(path: Path) -> Holder | None:
    found = list(lines(path, None)[0])
    if found and "released" in found[-1]:
        return None
    header = next((line for line in found if "holder" in line), None)
    if header is None:
        raise Busy(f"{path} does not say who works here: if you know that nobody does, say so with --take-over")
    holder = Holder.from_json(header["holder"])
    return None if holder.is_me() and path.resolve() not in _HELD else holder
