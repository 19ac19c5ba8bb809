"""Where what is in a package: each byte of it belongs to the data of one member, to what is between, or to the end.

By the table beside the package (members.json), or, where no sound one is left, by the ZIP's own directory. Written
from PKWARE's APPNOTE (6.3, sections 4.3 to 4.5) and the description of the profile, apart from what writes packages:
what the one gets wrong, the other does not repeat.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from terp.storage.audit.damage import Spot

DATA, HEADER, END = "data", "header", "end"
_PAGE = 4096
_ENDS = 56 + 20 + 22  # bytes of the three records that end a ZIP64

type Reads = Callable[[int, int], bytes]  # so many bytes from an offset, fewer where the file ends


@dataclass(frozen=True)
class Part:
    """Some bytes of a package and how they are known: by BLAKE3 or CRC-32, or because they follow from the members."""

    start: int
    stop: int
    kind: str
    member: str = ""
    blake3: str = ""
    crc32: int = 0
    key: str = ""  # of the data in the whole product, which may be cut into several packages
    deflated: bool = False
    crc32_again: int | None = None  # as the member's own header says it


@dataclass(frozen=True)
class Layout:
    """All parts of a package, in order and without gaps, and the arrays of the product (by path)."""

    parts: tuple[Part, ...]
    arrays: Mapping[str, Mapping[str, Any]]

    @property
    def size(self) -> int:
        """Size of the package in bytes."""
        return self.parts[-1].stop

    def written(self, number: int) -> bytes | None:
        """Return the bytes of a part that is no data; None where they do not follow from what is known."""
        part = self.parts[number]
        if part.kind == HEADER:
            data = self.parts[number + 1]
            made = _header(part.member, data.crc32, data.stop - data.start, part.start)
        elif part.kind == END:
            made = _end(self.parts)
        else:
            return None
        return made if len(made) == part.stop - part.start else None

    def at(self, byte: int) -> int | None:
        """Return the number of the part that has a byte; None behind the end."""
        return next((number for number, part in enumerate(self.parts) if part.start <= byte < part.stop), None)

    def spot(self, number: int, start: int, stop: int, also: str = "") -> Spot:
        """Return a part, or bytes of it, as a reader sees it; `also` is added to the words."""
        part = self.parts[number]
        if part.kind == END:
            return Spot(start, stop, "the central directory, between the members and the end")
        if part.kind == HEADER:
            return Spot(start, stop, f"the header of the member {part.member}, between the members", part.member)
        array, region = self._region(part.key)
        what = f"the member {part.member}{_words(array, region)}{also}"
        return Spot(start, stop, what, part.member, array, region)

    def _region(self, key: str) -> tuple[str, dict[str, tuple[int, int]] | None]:
        path, chunks, place = key.rpartition("/c/") if "/c/" in key else (key.removesuffix("/c"), "", "")
        about = self.arrays.get(path)
        if about is None or not chunks:
            return path.removesuffix("zarr.json").strip("/"), None
        places = zip(about["dims"], about["shape"], about["shard"], map(int, place.split("/")), strict=True)
        return path, {dim: (at * step, min((at + 1) * step, size)) for dim, size, step, at in places}


def _words(array: str, region: Mapping[str, tuple[int, int]] | None) -> str:
    if region is None:
        return f": {array}" if array else ""
    return f": the array {array}, {', '.join(f'{dim} {start} to {stop}' for dim, (start, stop) in region.items())}"


def layouts(table: bytes) -> dict[str, Layout]:
    """Return the layouts that a table tells of, by the SHA-512 of the package; raises ValueError for what is none."""
    try:
        plain = json.loads(table)
        packages = plain["packages"] if "packages" in plain else [plain["package"]]
        arrays = {
            f"{group['path']}/{one['name']}".strip("/"): one for group in plain["groups"] for one in group["arrays"]
        }
        inside: list[list[Mapping[str, Any]]] = [[] for _ in packages]
        for member in plain["members"]:
            inside[member.get("package", 0)].append(member)
        return {
            about["sha512"]: Layout(_parts(map(_data, members), about["size"]), arrays)
            for about, members in zip(packages, inside, strict=True)
        }
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no table of members: {error!r}") from error


def _data(member: Mapping[str, Any]) -> Part:
    start, name = int(member["offset"]), str(member["name"])
    about = str(member["blake3"]), int(member["crc32"], 16), str(member.get("key", name))
    return Part(start, start + int(member["size"]), DATA, name, *about)


def _parts(members: Iterator[Part], size: int) -> tuple[Part, ...]:
    """Put what is between the members between them; raises ValueError where they do not follow each other."""
    parts, at = list[Part](), 0
    for part in members:
        if not at < part.start <= part.stop <= size:
            raise ValueError(f"{part.member} does not follow what is before it")
        parts += [Part(at, part.start, HEADER, part.member), part]
        at = part.stop
    if at >= size:
        raise ValueError("nothing follows the last member")
    return (*parts, Part(at, size, END))


# what a package has between its members


def _number(value: int, length: int) -> bytes:
    return value.to_bytes(length, "little")


_FIXED = _number(45, 2) + _number(0x800, 2) + bytes(4) + _number(0x21, 2)  # version, UTF-8, stored, 1 January 1980
_ELSEWHERE = b"\xff" * 4  # a size or an offset that is in the ZIP64 field


def _header(name: str, crc32: int, size: int, start: int) -> bytes:
    label, sizes = name.encode(), _number(1, 2) + _number(16, 2) + _number(size, 8) * 2
    fill = -(start + 30 + len(label) + len(sizes) + 6) % _PAGE
    extra = sizes + _number(0xA11E, 2) + _number(2 + fill, 2) + _number(_PAGE, 2) + bytes(fill)
    lengths = _number(len(label), 2) + _number(len(extra), 2)
    return b"PK\3\4" + _FIXED + _number(crc32, 4) + _ELSEWHERE * 2 + lengths + label + extra


def _record(name: str, crc32: int, size: int, start: int) -> bytes:
    label = name.encode()
    extra = _number(1, 2) + _number(24, 2) + _number(size, 8) * 2 + _number(start, 8)
    about = b"PK\1\2" + _number(45, 1) + _number(3, 1) + _FIXED + _number(crc32, 4) + _ELSEWHERE * 2
    lengths = _number(len(label), 2) + _number(len(extra), 2) + bytes(2)
    return about + lengths + bytes(4) + _number(0o100644 << 16, 4) + _ELSEWHERE + label + extra


def _end(parts: Sequence[Part]) -> bytes:
    pairs = zip(parts[:-1:2], parts[1::2], strict=True)
    records = b"".join(_record(d.member, d.crc32, d.stop - d.start, header.start) for header, d in pairs)
    count, start = _number(len(parts) // 2, 8), parts[-1].start
    where = _number(len(records), 8) + _number(start, 8)
    versions = _number(45, 1) + _number(3, 1) + _number(45, 2)
    end64 = b"PK\6\6" + _number(44, 8) + versions + bytes(8) + count * 2 + where
    locator = b"PK\6\7" + bytes(4) + _number(start + len(records), 8) + _number(1, 4)
    return records + end64 + locator + b"PK\5\6" + bytes(4) + b"\xff" * 12 + bytes(2)


# a ZIP without its table


_DEFLATED = 8  # the method
_DESCRIPTOR = 8  # the flag of members whose sizes come behind them


@dataclass(frozen=True)
class _Record:
    """A member as the central directory tells of it: `size` as it is stored, `whole` as it is."""

    name: str
    start: int
    size: int
    whole: int
    crc32: int
    method: int


def from_directory(read: Reads, size: int) -> Layout | None:
    """Return the layout of a ZIP by its own central directory; None where that is damaged too.

    `read` gives bytes from an offset. Data are known by their CRC-32 alone.
    """
    try:
        parts = tuple(_walked(*_directory(read, size), read))
    except (ValueError, IndexError, UnicodeDecodeError):
        return None
    if not parts or parts[0].start:
        return None
    return Layout((*parts, Part(parts[-1].stop, size, END)), {})


def _directory(read: Reads, size: int) -> tuple[list[_Record], int]:
    """Return the records of the central directory, and where it starts."""
    tail = read(max(0, size - _ENDS), _ENDS)
    at = tail.rindex(b"PK\5\6")
    length, start = _int(tail, at + 12, 4), _int(tail, at + 16, 4)
    if start == 2**32 - 1 or length == 2**32 - 1:
        at = tail.rindex(b"PK\6\6")
        length, start = _int(tail, at + 40, 8), _int(tail, at + 48, 8)
    if start + length > size:
        raise ValueError("it points past its end")
    return list(_records(read(start, length))), start


def _records(data: bytes) -> Iterator[_Record]:
    at = 0
    while at < len(data):
        if data[at : at + 4] != b"PK\1\2" or _int(data, at + 8, 2) & _DESCRIPTOR:
            raise ValueError("no record of a directory, or of a member that something follows")
        crc32, size, whole, start = (_int(data, at + offset, 4) for offset in (16, 20, 24, 42))
        label, extra, comment = (_int(data, at + offset, 2) for offset in (28, 30, 32))
        name = data[at + 46 : at + 46 + label].decode()
        if size == 2**32 - 1:
            field = at + 46 + label
            whole, size, start = (_int(data, field + offset, 8) for offset in (4, 12, 20))
        yield _Record(name, start, size, whole, crc32, _int(data, at + 10, 2))
        at += 46 + label + extra + comment
    if at != len(data):
        raise ValueError("its last record is cut off")


def _walked(records: Sequence[_Record], end: int, read: Reads) -> Iterator[Part]:
    """Yield the parts of a ZIP whose members follow each other, each ending where the next begins.

    What a member's own header says is heard beside: whichever of them is damaged, two of three agree.
    """
    at = 0
    for record, following in zip(records, [*(one.start for one in records[1:]), end], strict=True):
        header = read(record.start, 30)
        behind = record.start + 30 + _int(header, 26, 2) + _int(header, 28, 2)
        size = _most([record.size, _int(header, 18, 4), following - behind])
        data = following - size
        if record.start != at or data < record.start + 30 or read(following, 2) != b"PK":
            raise ValueError("the members do not follow each other")
        yield Part(record.start, data, HEADER, record.name)
        deflated = _most([record.method == _DEFLATED, _int(header, 8, 2) == _DEFLATED, record.size != record.whole])
        about = record.name, "", record.crc32, record.name, deflated, _int(header, 14, 4)
        yield Part(data, following, DATA, *about)
        at = following


def _most[T](said: Sequence[T]) -> T:
    """Return what most say, the first of them where all differ."""
    return Counter(said).most_common(1)[0][0]


def _int(data: bytes, at: int, length: int) -> int:
    if len(data) < at + length:
        raise ValueError("too short")
    return int.from_bytes(data[at : at + length], "little")
