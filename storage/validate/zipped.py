"""A ZIP64 file as docs/archivists.md tells it ("The ZIP, exactly"), read field by field; nothing is ever unpacked.

PKWARE APPNOTE 6.3: end records 4.3.14 to 4.3.16, directory 4.3.12, local header 4.3.7, ZIP64 field 4.5.3. Sizes that
a file claims are believed as far as the file is long.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from terp.storage.validate.findings import RESTORE, TAKE_OUT, Findings, shown
from terp.storage.validate.strict import conflicts

PAGE = 4096
_ZIP64, _ALIGNED = 0x0001, 0xA11E
_ALL16, _ALL32 = 0xFFFF, 0xFFFFFFFF
_BY, _NEEDED, _UTF8, _DAY, _MODE = 0x032D, 45, 0x0800, 0x0021, 0x81A40000  # Unix and 4.5; 1980-01-01; 0644
_END_NAMES = (
    *("mark", "length", "made by", "needs", "disk", "disk of directory", "members here", "members", "size", "start"),
    *("mark of locator", "disk of end", "place of end", "disks"),
    *("mark of end", "disk", "disk", "members", "members", "size", "start", "comment"),
)
_ENDS = struct.Struct("<4sQHHLLQQQQ4sLQL4sHHHHLLH")
_END32 = 22  # bytes of the last of them
_RECORD_NAMES = (
    *("mark", "made by", "needs", "flags", "method", "time", "date", "CRC-32", "size stored", "size"),
    *("length of name", "length of extra", "comment", "disk", "attributes", "mode", "offset"),
)
_RECORD = struct.Struct("<4s6H3L5H2L")
_HEADER_NAMES = (
    *("mark", "needs", "flags", "method", "time", "date", "CRC-32", "size stored", "size"),
    *("length of name", "length of extra"),
)
_HEADER = struct.Struct("<4s5H3L2H")


@dataclass(frozen=True)
class Entry:
    """A member: where its header and its data begin, the size and CRC-32 that the directory says."""

    name: str
    start: int
    offset: int
    size: int
    crc32: int

    @property
    def end(self) -> int:
        """Where what follows it begins."""
        return self.offset + self.size


def members(file: BinaryIO, found: Findings) -> list[Entry] | None:
    """Return the members that the directory of a ZIP tells, in order, or None where there is no directory to read.

    Everything in the file that is not data has been checked then.
    """
    size = file.seek(0, os.SEEK_END)
    there = _directory(file, size, found)
    if there is None:
        return None
    start, length, count = there
    entries = list(_records(file, start, length, count, found))
    _names([entry.name for entry in entries], found)
    _order([entry.name for entry in entries], found)
    at = 0
    for entry in entries:
        if entry.start != at:
            found.error("P6", "", f"begins at byte {entry.start}, where {at} was expected", RESTORE, entry.name)
        elif entry.end > start:
            found.error("P6", "", "ends after the directory begins", RESTORE, entry.name)
        else:
            _header(file, entry, found)
        at = entry.end
    if at != start:
        found.error("P6", "", "has something between its last member and its directory, or too little", RESTORE)
    return entries


def _directory(file: BinaryIO, size: int, found: Findings) -> tuple[int, int, int] | None:
    """Return start, length and number of records of the directory, by the records at the end of the file."""
    if size < _ENDS.size:
        found.error("P1", "", f"has {size} bytes, too few for a package", RESTORE)
        return None
    file.seek(size - _ENDS.size)
    said = _ENDS.unpack(file.read(_ENDS.size))
    count, length, start = said[7:10]
    wanted = (
        *(b"PK\x06\x06", 44, _BY, _NEEDED, 0, 0, count, count, length, start),
        *(b"PK\x06\x07", 0, size - _ENDS.size, 1),
        *(b"PK\x05\x06", 0, 0, _ALL16, _ALL16, _ALL32, _ALL32, 0),
    )
    if wrong := _differing(_END_NAMES, said, wanted):
        found.error("P1", "", f"does not end as a package: {wrong} at its end is another; it may be cut off", RESTORE)
    if start + length == size - _ENDS.size:
        return start, length, count
    if not wrong:
        found.error("P1", "", "is longer or shorter than it says", RESTORE)
    count, length, start = said[-4:-1]  # it may be a ZIP as other tools make it
    return (start, length, count) if start + length == size - _END32 else None


def _differing(names: Sequence[str], said: Sequence[object], wanted: Sequence[object]) -> str:
    return ", ".join(name for name, one, other in zip(names, said, wanted, strict=True) if one != other)


def _records(file: BinaryIO, start: int, length: int, count: int, found: Findings) -> Iterator[Entry]:
    """Yield what the records of the directory say."""
    file.seek(start)
    left = length
    for number in range(count):
        head = file.read(min(_RECORD.size, left))
        if len(head) < _RECORD.size or not head.startswith(b"PK\x01\x02"):
            found.error("P2", "", f"has a directory that is torn at record {number + 1} of {count}", RESTORE)
            return
        said = _RECORD.unpack(head)
        lengths = said[10:13]
        left -= _RECORD.size + sum(lengths)
        if left < 0:
            found.error("P2", "", f"has a directory that is torn at record {number + 1} of {count}", RESTORE)
            return
        label, extra, _ = (file.read(each) for each in lengths)
        yield _record(said, label, extra, found)
    if left:
        found.error("P2", "", f"has {left} bytes in its directory after its {count} records", RESTORE)


def _record(said: tuple[object, ...], label: bytes, extra: bytes, found: Findings) -> Entry:
    name = _name(label, found)
    crc32, size, stored = said[7], said[9], said[8]
    assert isinstance(crc32, int)
    assert isinstance(size, int)
    start = said[16]
    exact = len(extra) == 28 and extra.startswith(struct.pack("<HH", _ZIP64, 24))
    if exact:
        size, stored, start = struct.unpack("<3Q", extra[4:])
    wanted = (
        *(b"PK\x01\x02", _BY, _NEEDED, _UTF8, 0, 0, _DAY, crc32, _ALL32, _ALL32),
        *(len(label), 28, 0, 0, 0, _MODE, _ALL32),
    )
    if said[4]:
        what = f"is compressed by method {said[4]}, and is not unpacked: a package only stores"
        found.error("P2", "", what, "unpack it with a tool of your trust and pack it anew", name)
    elif (wrong := _differing(_RECORD_NAMES, said, wanted)) or not exact or size != stored:
        what = f"is told otherwise in the directory than in a package: {wrong or 'its sizes'}"
        found.error("P2", "", what, RESTORE, name)
    assert isinstance(start, int)
    header = _HEADER.size + len(label) + 26
    return Entry(name, start, -(-(start + header) // PAGE) * PAGE, size, crc32)


def _header(file: BinaryIO, entry: Entry, found: Findings) -> None:
    """Check all that stands before the data of a member."""
    label = entry.name.encode(errors="surrogateescape")
    file.seek(entry.start)
    before = file.read(entry.offset - entry.start)
    padding = entry.offset - entry.start - _HEADER.size - len(label) - 26
    wanted = (
        *(b"PK\x03\x04", _NEEDED, _UTF8, 0, 0, _DAY, entry.crc32, _ALL32, _ALL32),
        *(len(label), 26 + padding),
    )
    said = _HEADER.unpack_from(before)
    rest = label + struct.pack("<HHQQHHH", _ZIP64, 16, entry.size, entry.size, _ALIGNED, 2 + padding, PAGE)
    wrong = _differing(_HEADER_NAMES, said, wanted)
    if not wrong and before[_HEADER.size :] != rest + bytes(padding):
        wrong = "name, sizes or padding"
    if wrong:
        what = f"has another header than the directory says: {wrong}"
        found.error("P3", "", what, RESTORE, entry.name)


# names


def _name(label: bytes, found: Findings) -> str:
    try:
        return label.decode()
    except UnicodeDecodeError:
        name = label.decode(errors="surrogateescape")
        found.error("P4", "", "has a name that is not in UTF-8", RESTORE, shown(name))
        return name


def _names(names: Sequence[str], found: Findings) -> None:
    for name in names:
        if any(part in ("", ".", "..") for part in name.split("/")):
            what = "has a name that leads elsewhere; it is written nowhere"
            found.error("P4", "", what, TAKE_OUT, name)
        elif any(letter < " " or letter in "\\\x7f" for letter in name):
            found.error("P4", "", "has a name with letters that not all systems know", RESTORE, name)
    for name in conflicts(names):
        found.error("P4", "", "is there twice, or is a file and a folder", RESTORE, name)


def _order(names: Sequence[str], found: Findings) -> None:
    """The metadata first, from the top down, then all else by name."""
    if not names or names[0] != "zarr.json":
        found.error("P5", "", "does not begin with zarr.json: it is no Zarr group", RESTORE)
    ranks = [(0, name.count("/"), name) if name.split("/")[-1] == "zarr.json" else (1, 0, name) for name in names]
    for name, rank, after in zip(names[1:], ranks, ranks[1:], strict=False):
        if after < rank:
            found.error("P5", "", "is out of order", RESTORE, name)
