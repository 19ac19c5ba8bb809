"""A terp package, `NAME.zarr.zip` and the table of its members beside it, held against its documentation, not its code.

The rules, by number: docs/archivists.md. The file is read once, whatever number of digests is made of it; nothing is
unpacked, and a size that is claimed takes no memory.
"""

import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from blake3 import blake3

from terp.storage.validate.findings import LET_IN, RESTORE, TAKE_OUT, Findings
from terp.storage.validate.reading import open_plain, reason
from terp.storage.validate.table import Row, Table, read_table
from terp.storage.validate.zipped import Entry, members

STANDARD, SUFFIX, TABLE = "terp", ".zarr.zip", ".members.json"
_BLOCK = 4 << 20


def check_package(path: Path, table: Path | None, found: Findings, *, whole: bool = True) -> int:
    """Validate a package and read all of it; return its size. `found` is of the folder in which it is.

    Not `whole`: the digests of the file and of its table were looked at already, only what is within is wanted.
    """
    known = None
    if table is not None:
        known = read_table(table, found.below(table.name) if whole else Findings(STANDARD))
    found = found.below(path.name)
    try:
        with open(open_plain(path), "rb") as file:
            entries = members(file, found)
            size = os.fstat(file.fileno()).st_size
            if entries is None and known:
                entries = [Entry(row.name, row.offset, row.offset, row.size, row.crc32) for row in known.rows.values()]
            _check(file, size, entries or [], known, found, whole)
    except OSError as error:
        found.error("P1", "", f"cannot be read: {reason(error)}", LET_IN)
        return 0
    return size


def _check(
    file: BinaryIO, size: int, entries: Sequence[Entry], table: Table | None, found: Findings, whole: bool
) -> None:
    if table:
        _compare(entries, table, found)
    sums = [hashlib.sha512(), hashlib.sha256()] if whole else []
    rows = table.rows if table else {}
    for entry, crc32, digest in _digests(file, size, entries, sums, found):
        row = rows.get(entry.name)
        where = f", {table.regions[entry.name]}," if table and entry.name in table.regions else ""
        if crc32 != entry.crc32:
            found.error("P7", "", f"is damaged:{where} its CRC-32 is another", RESTORE, entry.name)
        elif row and digest != row.blake3:
            found.error("P10", "", f"is another than was packed:{where} its BLAKE3 is another", RESTORE, entry.name)
    if table and whole:
        said = table.package
        if size != said["size"]:
            found.error("P11", "", f"has {size:,} bytes where its table says {said['size']:,}", RESTORE)
        for name, made in zip(("sha512", "sha256"), sums, strict=True):
            if made.hexdigest() != said[name]:
                found.error("P11", "", f"has another {name.upper()} than its table says", RESTORE)


def _compare(entries: Sequence[Entry], table: Table, found: Findings) -> None:
    """Hold the directory against the table."""
    there = {entry.name: Row(entry.name, entry.offset, entry.size, entry.crc32, "") for entry in entries}
    for name in sorted(table.rows.keys() - there.keys()):
        found.error("P9", "", "is in the table, and not in the package", RESTORE, name)
    for name in sorted(there.keys() - table.rows.keys()):
        found.error("P9", "", "is not in the table", TAKE_OUT, name)
    for name in sorted(there.keys() & table.rows.keys()):
        one, other = there[name], table.rows[name]
        if (one.offset, one.size, one.crc32) != (other.offset, other.size, other.crc32):
            found.error("P9", "", "has another place, size or CRC-32 in the table than in the package", RESTORE, name)


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
