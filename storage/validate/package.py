"""A terp package, `NAME.zarr.zip` and the table of its members beside it, held against its documentation, not its code.

The rules, by number: docs/archivists.md. The file is read once, whatever number of digests is made of it; nothing is
unpacked, and a size that is claimed takes no memory.
"""

import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from blake3 import blake3

from terp.storage.validate.findings import LET_IN, RESTORE, TAKE_OUT, Findings
from terp.storage.validate.reading import Reader, open_plain, reason
from terp.storage.validate.table import TABLE, Package, Table, check_root, read_table, tables_for
from terp.storage.validate.zipped import Entry, members

STANDARD = "terp"
_BLOCK = 4 << 20
_TAG = 16  # bytes


def check_packages(path: Path, found: Findings, reader: Reader) -> int:
    """Validate a package with its table, or all packages of a table; return how many. `found` is of their folder."""
    names = [path.name] if path.name.endswith(TABLE) else tables_for(path.name)
    name = next((name for name in names if os.path.lexists(path.with_name(name))), names[0])
    beside = found.below(name)
    table = read_table(path.with_name(name), beside)
    if table:
        check_root(table, path.parent, beside)
    every = [one.name for one in table.packages] if table else []
    packages = every if path.name == name else [path.name]
    for one in packages:
        if os.path.lexists(path.with_name(one)):
            reader.files, reader.bytes = (
                reader.files + 1,
                reader.bytes + check_package(path.with_name(one), table, found),
            )
        else:
            found.error("P9", one, f"is missing: {name} names it", RESTORE)
    return len(packages)


def check_package(path: Path, table: Table | None, found: Findings, *, whole: bool = True) -> int:
    """Validate a package and read all of it; return its size.

    Not `whole`: the digests of the file were looked at already, only what is within is wanted.
    """
    found = found.below(path.name)
    known = table.package(path.name) if table else None
    if table and not known:
        found.error("P9", "", "is not in the table of members beside it", RESTORE)
    try:
        with open(open_plain(path), "rb") as file:
            entries = members(file, found)
            size = os.fstat(file.fileno()).st_size
            if entries is None and known:
                entries = [Entry(row.name, row.offset, row.offset, row.size, row.crc32) for row in known.rows.values()]
            checking = _Checking(file, size, entries or [], known, table.regions if table else {}, found)
            checking.run(whole)
    except OSError as error:
        found.error("P1", "", f"cannot be read: {reason(error)}", LET_IN)
        return 0
    return size


@dataclass
class _Checking:
    """A package being read; `known` is what its table says of it."""

    file: BinaryIO
    size: int
    entries: Sequence[Entry]
    known: Package | None
    regions: Mapping[str, str]
    found: Findings

    def run(self, whole: bool) -> None:
        self._compare()
        sums = {"sha512": hashlib.sha512(), "sha256": hashlib.sha256()} if whole else {}
        for entry, crc32, digest in _digests(self.file, self.size, self.entries, list(sums.values()), self.found):
            row = self.known.rows.get(entry.name) if self.known else None
            where = f" {self.regions[row.key]}:" if row and row.key in self.regions else ""
            if crc32 != entry.crc32:
                self.found.error("P7", "", f"is damaged:{where} its CRC-32 is another", RESTORE, entry.name)
            elif row and digest != row.blake3:
                what = f"is another than was packed:{where} its BLAKE3 is another"
                self.found.error("P10", "", what, RESTORE, entry.name)
            elif row and row.values and self._tag(entry) != row.values[: 2 * _TAG]:
                what = f"is not that of its row:{where} it begins with the digest of other values"
                self.found.error("P13", "", what, RESTORE, entry.name)
        if self.known and whole:
            if self.size != self.known.size:
                what = f"has {self.size:,} bytes where its table says {self.known.size:,}"
                self.found.error("P11", "", what, RESTORE)
            for name, made in sums.items():
                if made.hexdigest() != self.known.digests[name]:
                    self.found.error("P11", "", f"has another {name.upper()} than its table says", RESTORE)

    def _tag(self, entry: Entry) -> str:
        """Return what a shard begins with: the first bytes of the BLAKE3 of its values (architecture.md)."""
        return os.pread(self.file.fileno(), _TAG, entry.offset).hex()

    def _compare(self) -> None:
        """Hold the directory against the table."""
        if not self.known:
            return
        there = {one.name: (one.offset, one.size, one.crc32) for one in self.entries}
        told = {row.name: (row.offset, row.size, row.crc32) for row in self.known.rows.values()}
        for name in sorted(told.keys() - there.keys()):
            self.found.error("P9", "", "is in the table, and not in the package", RESTORE, name)
        for name in sorted(there.keys() - told.keys()):
            self.found.error("P9", "", "is not in the table", TAKE_OUT, name)
        for name in sorted(there.keys() & told.keys()):
            if there[name] != told[name]:
                what = "has another place, size or CRC-32 in the table than in the package"
                self.found.error("P9", "", what, RESTORE, name)


@dataclass
class _Part:
    """A member while the file passes by."""

    entry: Entry
    crc32: int
    digest: Any

    def take(self, block: memoryview, at: int) -> None:
        """Take what of a block, that lies at byte `at` of the file, is of this member."""
        part = block[max(0, self.entry.offset - at) : max(0, self.entry.end - at)]
        if part:
            self.crc32 = zlib.crc32(part, self.crc32)
            self.digest.update(part)


def _digests(
    file: BinaryIO, size: int, entries: Sequence[Entry], sums: Sequence[Any], found: Findings
) -> Iterator[tuple[Entry, int, str]]:
    """Read the file once; yield CRC-32 and BLAKE3 of each member, while `sums` take all of it on other threads."""
    parts = list(reversed(_apart(entries, size, found)))
    open_parts: list[_Part] = []
    with ThreadPoolExecutor(max(1, len(sums))) as threads:
        for at, block in _blocks(file, threads, sums):
            end = at + len(block)
            while parts and parts[-1].offset < end:
                open_parts.append(_Part(parts.pop(), 0, blake3()))
            for part in open_parts:
                part.take(block, at)
            for part in [part for part in open_parts if part.entry.end <= end]:
                yield part.entry, part.crc32, part.digest.hexdigest()
            open_parts = [part for part in open_parts if part.entry.end > end]
    for rest in [*open_parts, *(_Part(entry, 0, blake3()) for entry in reversed(parts))]:  # empty ones at the very end
        yield rest.entry, rest.crc32, rest.digest.hexdigest()


def _apart(entries: Sequence[Entry], size: int, found: Findings) -> list[Entry]:
    """Return members in the order in which they lie, without those that lie in others or beyond the end of the file."""
    apart, end = list[Entry](), 0
    for entry in sorted(entries, key=lambda one: (one.offset, one.size)):
        if entry.end > size:
            found.error("P6", "", "is cut off: the file ends before it does", RESTORE, entry.name)
        elif entry.offset < end:
            found.error("P6", "", "lies in the bytes of another member", RESTORE, entry.name)
        else:
            apart.append(entry)
            end = entry.end
    return apart


def _blocks(file: BinaryIO, threads: ThreadPoolExecutor, sums: Sequence[Any]) -> Iterator[tuple[int, memoryview]]:
    """Yield the file in blocks; while one is looked at it is summed, and only then its memory is used again."""
    buffers, waiting = [memoryview(bytearray(_BLOCK)) for _ in range(2)], list[Future[None]]()
    file.seek(0)
    at = turn = 0
    while count := file.readinto(buffers[turn]):  # type: ignore[attr-defined]
        for future in waiting:
            future.result()
        block = buffers[turn][:count]
        waiting = [threads.submit(digest.update, block) for digest in sums]
        yield at, block
        at, turn = at + count, 1 - turn
    for future in waiting:
        future.result()
