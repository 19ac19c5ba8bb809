"""Package: a complete product as one ZIP64 file that only stores, the same bytes every time and everywhere.

Order of members as in OME-NGFF RFC-9: the root's `zarr.json`, then the others breadth-first, then everything else by
name. How the file is laid out: terp.storage.package.zip64.
"""

import hashlib
import os
import secrets
from collections.abc import Buffer, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3
from isal import isal_zlib

from terp.storage.errors import BadPackage, Damaged, Missing
from terp.storage.files import disk, publish, read_at, sync_folder, write_all
from terp.storage.package.zip64 import TAIL, Entry, central, local, read_central, read_tail, tail
from terp.storage.syncing import begin_sync

_BLOCK = 4 << 20  # bytes read and hashed at a time
_ON_ITS_WAY = 32 << 20  # bytes after which the disk begins to write, while more is read and hashed
_INLINE = 1 << 16  # bytes below which handing over to a thread costs more than hashing


@dataclass(frozen=True)
class Member:
    """A file to pack: its name in the package, where it is, its size in bytes and, where recorded, its digests.

    A member without `crc32` is read into memory whole; one with `data` is not read at all.
    """

    name: str
    path: Path
    size: int
    crc32: int | None = None
    blake3: str | None = None
    data: bytes | None = None

    @classmethod
    def of_bytes(cls, name: str, data: bytes) -> "Member":
        """Return a member that is in memory."""
        return cls(name, Path(name), len(data), isal_zlib.crc32(data), blake3(data).hexdigest(), data)


@dataclass(frozen=True)
class Packed:
    """A package as it was written: size in bytes, digests of the whole file, and its members in order."""

    path: Path
    size: int
    sha256: str
    sha512: str
    members: tuple[Entry, ...]


def pack(members: Iterable[Member], target: Path) -> Packed:
    """Write members into a new package at `target`, reading each once; nothing is left of it on failure.

    Raises BadPackage for names that cannot be packed, Damaged or Missing (naming the member) where a file is not
    the one recorded, DiskTrouble where the file system refuses.
    """
    ordered = _in_order(members)
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    with disk(target):
        try:
            packed = _write(ordered, fresh, target)
            publish(fresh, target, lambda: None)
        except BaseException:
            _unlink(fresh)
            raise
        try:
            sync_folder(target.parent)
        except OSError:
            _unlink(target)
            raise
    return packed


def read_directory(path: Path) -> tuple[Entry, ...]:
    """Return the members of a package, in order, after checking every byte of it that is not data.

    Raises BadPackage where a byte differs from what `pack` writes, DiskTrouble where the file cannot be read.
    """
    with disk(path), path.open("rb") as file:
        entries = tuple(_entries(file, path))
    _in_order(Member(entry.name, path, entry.size) for entry in entries)
    return entries


def check_names(names: Iterable[str]) -> None:
    """Raise BadPackage unless all names are plain relative paths, each there once and none a folder of another."""
    ordered = sorted(names)
    folders = {name[:at] for name in ordered for at, letter in enumerate(name) if letter == "/"}
    for name, after in zip(ordered, [*ordered[1:], None], strict=True):
        if not _is_portable(name):
            raise BadPackage(f"{name!r} cannot be the name of a member; use plain relative names with '/'")
        if name == after or name in folders:
            raise BadPackage(f"{name!r} is there twice, or is a file and a folder; give each member its own name")


def _unlink(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


# what may be in, and in which order


def _in_order(members: Iterable[Member]) -> list[Member]:
    ordered = sorted(members, key=lambda member: rank(member.name))
    check_names(member.name for member in ordered)
    if not ordered or ordered[0].name != "zarr.json":
        raise BadPackage("there is no zarr.json at the top; only a complete Zarr v3 group can be packed")
    return ordered


def rank(name: str) -> tuple[int, int, str]:
    """Return by what the members of a package are in order."""
    if name.rpartition("/")[2] == "zarr.json":
        return 0, name.count("/"), name
    return 1, 0, name


def _is_portable(name: str) -> bool:
    plain = all(part not in ("", ".", "..") for part in name.split("/"))
    legal = not any(letter < " " or letter in "\\\x7f" or "\ud800" <= letter <= "\udfff" for letter in name)
    return plain and legal and len(name.encode()) < 2**16


# writing


class _Stream:
    """Bytes on their way into a file: hashed on two other threads while they are written."""

    def __init__(self, descriptor: int, threads: ThreadPoolExecutor) -> None:
        self.offset = self._begun = 0
        self.sha512, self.sha256 = hashlib.sha512(), hashlib.sha256()
        self._descriptor, self._threads = descriptor, threads
        self._hashing: list[Future[None]] = []

    def write(self, data: Buffer) -> None:
        self.settle()
        rest = memoryview(data)
        self.offset += len(rest)
        for digest in (self.sha512, self.sha256):
            if len(rest) < _INLINE:
                digest.update(rest)
            else:
                self._hashing.append(self._threads.submit(digest.update, rest))
        write_all(self._descriptor, rest)
        if self.offset - self._begun >= _ON_ITS_WAY:
            begin_sync(self._descriptor, self._begun, self.offset - self._begun)
            self._begun = self.offset

    def settle(self) -> None:
        """Wait until what was written has been hashed; the caller may then reuse its memory."""
        for future in self._hashing:
            future.result()
        self._hashing.clear()


def _write(ordered: list[Member], fresh: Path, target: Path) -> Packed:
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with ThreadPoolExecutor(2) as threads:
            stream = _Stream(descriptor, threads)
            entries = _write_all(stream, ordered)
            stream.settle()
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return Packed(target, stream.offset, stream.sha256.hexdigest(), stream.sha512.hexdigest(), tuple(entries))


def _write_all(stream: _Stream, ordered: list[Member]) -> list[Entry]:
    buffers = [memoryview(bytearray(_BLOCK)) for _ in range(2)]  # one is filled while the other is hashed
    entries, directory = [], []
    for member in ordered:
        start = stream.offset
        entry = _write_member(stream, member, buffers)
        entries.append(entry)
        directory.append(central(entry, start))
    start = stream.offset
    records = b"".join(directory)
    stream.write(records + tail(len(entries), len(records), start))
    return entries


def _write_member(stream: _Stream, member: Member, buffers: list[memoryview]) -> Entry:
    stream.settle()  # the last block of the member before may still be in a buffer, and not yet hashed
    blocks, crc32 = _blocks(member, buffers), member.crc32
    if crc32 is None:  # the header comes before the data and holds their CRC-32
        whole = b"".join(blocks)
        blocks, crc32 = iter([whole]), isal_zlib.crc32(whole)
    stream.write(local(member.name, crc32, member.size, stream.offset))
    start, found, digest = stream.offset, 0, blake3()
    for block in blocks:
        stream.write(block)
        found = isal_zlib.crc32(block, found)
        digest.update(block)
    size = stream.offset - start
    if size != member.size:
        raise _damaged(member, f"it has {size} bytes where {member.size} were recorded")
    if found != crc32 or digest.hexdigest() != (member.blake3 or digest.hexdigest()):
        raise _damaged(member, "its bytes are not those that were recorded")
    return Entry(member.name, start, size, crc32, digest.hexdigest())


def _blocks(member: Member, buffers: list[memoryview]) -> Iterator[Buffer]:
    """Yield the content of a file, up to one byte more than it should have."""
    if member.data is not None:
        yield member.data
        return
    left = member.size + 1
    try:
        with disk(member.path), member.path.open("rb", buffering=0) as file:
            for buffer in cycle(buffers):
                count = file.readinto(buffer[:left])
                if not count:
                    return
                left -= count
                yield buffer[:count] if member.crc32 is not None else bytes(buffer[:count])
    except Exception as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise Missing(f"{member.name}: {member.path} is gone; put it back or compute it again") from error
        raise


def _damaged(member: Member, what: str) -> Damaged:
    return Damaged(f"{member.name}: {what}; put {member.path} back as it was or compute it again")


# reading


def _entries(file: BinaryIO, path: Path) -> Iterator[Entry]:
    """Walk the directory and the members together: what the one says must be where the other ends."""
    count, end, records = _directory(file, path)
    at = start = 0
    for _ in range(count):
        try:
            name, crc32, size, length = read_central(records, at)
        except ValueError as error:
            raise _bad(path, "its directory is torn") from error
        header = local(name, crc32, size, start)
        entry = Entry(name, start + len(header), size, crc32)
        there = read_at(file.fileno(), start, len(header))  # and nothing around it
        same = there == header and records[at : at + length] == central(entry, start)
        if not same or entry.offset + size > end:
            raise _bad(path, f"its member {name!r} is not where or what its directory says")
        yield entry
        at, start = at + length, entry.offset + size
    if at != len(records) or start != end:
        raise _bad(path, "there is something between its last member and its directory")


def _directory(file: BinaryIO, path: Path) -> tuple[int, int, bytes]:
    """Return the number of members, where the central directory starts, and its bytes."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL))
    try:
        count, length, start = read_tail(file.read())
    except ValueError as error:
        raise _bad(path, "it does not end as one") from error
    if start + length != size - TAIL:
        raise _bad(path, "it is longer or shorter than it says")
    file.seek(start)
    return count, start, file.read(length)


def _bad(path: Path, what: str) -> BadPackage:
    return BadPackage(f"{path} is not a whole terp package: {what}; fetch it again or restore it from a copy")
