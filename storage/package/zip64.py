"""ZIP64 as terp writes it: each part of the file that is not data, as a function of what it describes.

The profile: PKWARE APPNOTE 6.3 sections 4.3 to 4.5, method 0, no data descriptors, every size and offset in a ZIP64
extra field, fixed date and mode, each member's data on a page boundary (extra field 0xa11e, "data stream alignment").
Writing and reading share these functions: nothing is left to chance, so a reader can demand every byte.
"""

import struct
from dataclasses import dataclass

ALIGNMENT = 4096  # bytes; a page, so that members can be mapped into memory

_VERSION, _UNIX, _UTF8, _MODE, _DATE = 45, 3 << 8, 1 << 11, 0o100644 << 16, 1 << 5 | 1
_ALL16, _ALL32 = 2**16 - 1, 2**32 - 1  # "see the ZIP64 field"
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_END = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, _ALL16, _ALL16, _ALL32, _ALL32, 0)
TAIL = _END64.size + _LOCATOR.size + len(_END)  # bytes after the central directory


@dataclass(frozen=True)
class Entry:
    """A member of a package: `offset` is where its data begin, counted in bytes from the start of the file."""

    name: str
    offset: int
    size: int
    crc32: int
    blake3: str | None = None


def local(name: str, crc32: int, size: int, start: int) -> bytes:
    """Return the header of a member that starts at byte `start`, padded so that its data are aligned."""
    label = name.encode()
    length = _LOCAL.size + len(label) + 20 + 6
    padding = -(start + length) % ALIGNMENT
    extra = struct.pack("<2H2Q", 1, 16, size, size) + struct.pack("<3H", 0xA11E, 2 + padding, ALIGNMENT)
    lengths = len(label), len(extra) + padding
    head = _LOCAL.pack(b"PK\3\4", _VERSION, _UTF8, 0, 0, _DATE, crc32, _ALL32, _ALL32, *lengths)
    return head + label + extra + bytes(padding)


def central(entry: Entry, start: int) -> bytes:
    """Return the record in the central directory of a member whose header starts at byte `start`."""
    label = entry.name.encode()
    extra = struct.pack("<2H3Q", 1, 24, entry.size, entry.size, start)
    about = _UNIX | _VERSION, _VERSION, _UTF8, 0, 0, _DATE, entry.crc32, _ALL32, _ALL32
    return _CENTRAL.pack(b"PK\1\2", *about, len(label), len(extra), 0, 0, 0, _MODE, _ALL32) + label + extra


def tail(count: int, size: int, start: int) -> bytes:
    """Return what follows a central directory of `count` records and `size` bytes that starts at byte `start`."""
    about = _END64.size - 12, _UNIX | _VERSION, _VERSION, 0, 0
    end64 = _END64.pack(b"PK\6\6", *about, count, count, size, start)
    return end64 + _LOCATOR.pack(b"PK\6\7", 0, start + size, 1) + _END


def read_central(records: bytes, at: int) -> tuple[str, int, int, int]:
    """Return name, CRC-32 and size said by the record at byte `at`, and the number of bytes it takes.

    Raises ValueError where there is no record; what else it holds is for the caller to compare.
    """
    if len(records) < at + _CENTRAL.size:
        raise ValueError("too short")
    fields = _CENTRAL.unpack_from(records, at)
    label, extra = at + _CENTRAL.size, at + _CENTRAL.size + fields[10]
    size = int.from_bytes(records[extra + 4 : extra + 12], "little")
    return records[label:extra].decode(), fields[7], size, _CENTRAL.size + fields[10] + 28


def read_tail(data: bytes) -> tuple[int, int, int]:
    """Return count, size and start of the central directory said by the last bytes of a file, or raise ValueError."""
    if len(data) != TAIL:
        raise ValueError("too short")
    count, size, start = _END64.unpack_from(data)[-3:]
    if start + size >= 2**63 or data != tail(count, size, start):
        raise ValueError("not the end of a package")
    return count, size, start
