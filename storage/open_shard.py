"""Stored shards that are open: proven to be the recorded ones before anything of them is believed."""

import math
import os
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from terp.storage.codec import Values
from terp.storage.errors import Damaged, Missing
from terp.storage.shard import ABSENT, INDEX_CRC_BYTES

_ASKED = 128 << 10  # bytes that every Linux takes at once: what is beyond its read-ahead it leaves out, in silence
_MOST_KEPT = 16  # shards that a thread keeps open: descriptors are few


@dataclass(frozen=True)
class Extent:
    """Where a stored shard is: a file, or a part of one, of `size` bytes from `start`; its tag in hex digits."""

    path: Path
    start: int
    size: int
    tag: str


class OpenShard:
    """An open shard of so many inner chunks, proven to be the recorded one; `index`: offset and length of each."""

    def __init__(self, descriptor: int, extent: Extent, key: str, owner: str, chunks: int) -> None:
        self.descriptor, self.extent, self.key, self.owner = descriptor, extent, key, owner
        self._prove()
        self.index = self._index(chunks)

    @classmethod
    def at(cls, extent: Extent, key: str, owner: str, chunks: int) -> "OpenShard":
        """Open a shard; raises Missing or Damaged where it is not there, or not the one that was recorded."""
        try:
            descriptor = os.open(extent.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Missing(f"{key} of {owner} is gone") from None
        except OSError as error:
            raise Damaged(f"{key} of {owner} cannot be read: {error.strerror}") from None
        try:
            return cls(descriptor, extent, key, owner, chunks)
        except BaseException:
            os.close(descriptor)
            raise

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.descriptor)

    def _index(self, chunks: int) -> Values:
        size = 16 * chunks
        raw = self._read(self.extent.size - size - INDEX_CRC_BYTES, size + INDEX_CRC_BYTES)
        if google_crc32c.value(raw[:size]) != int.from_bytes(raw[size:].tobytes(), "little"):
            raise self._damaged("its index is not what was stored (CRC32C)")
        found: Values = np.frombuffer(raw[:size].tobytes(), "<u8").reshape(chunks, 2)
        return found

    def chunk(self, offset: int, length: int, out: Values | None = None) -> Values:
        """Return stored bytes of a chunk: in `out`, or in a buffer that the thread's next chunk overwrites."""
        if offset == ABSENT or offset + length > self.extent.size:
            raise self._damaged("it lacks a chunk")
        return self._read(offset, length, out)

    def ahead(self, offset: int, length: int) -> None:
        """Have the disk read stored bytes while something else is done, where the system can."""
        if offset + length <= self.extent.size and hasattr(os, "posix_fadvise"):
            for at in range(offset, offset + length, _ASKED):
                place, size = self.extent.start + at, min(_ASKED, offset + length - at)
                os.posix_fadvise(self.descriptor, place, size, os.POSIX_FADV_WILLNEED)

    def _prove(self) -> None:
        try:
            size, end = os.fstat(self.descriptor).st_size, self.extent.start + self.extent.size
        except OSError as error:
            raise self._unreadable(error) from None
        if size < end or (self.extent.start == 0 and size != end):
            raise Damaged(f"{self.key} of {self.owner} has {size} bytes where {end} were recorded")
        tag = bytes.fromhex(self.extent.tag)
        if self._read(0, len(tag)).tobytes() != tag:
            raise Damaged(f"{self.key} of {self.owner} is not the shard that was recorded")

    def _read(self, start: int, length: int, out: Values | None = None) -> Values:
        if length < 0 or start < 0:
            raise self._damaged("it is too short")
        buffer = buffers.stored(length) if out is None else out
        at = 0
        while at < length:
            try:
                got = os.preadv(self.descriptor, [buffer[at:]], self.extent.start + start + at)
            except OSError as error:
                raise self._unreadable(error) from None
            if not got:
                raise self._damaged("it was cut short while it was read")
            at += got
        return buffer

    def _unreadable(self, error: OSError) -> Damaged:
        return Damaged(f"{self.key} of {self.owner} cannot be read: {error.strerror}")

    def _damaged(self, why: str) -> Damaged:
        return Damaged(f"{self.key} of {self.owner} is damaged: {why}")


class _Kept(threading.local):
    """Shards that a thread keeps open, by what it knows them by."""

    shards: dict[Hashable, OpenShard] | None = None


_kept = _Kept()


@contextmanager
def kept_open() -> Iterator[None]:
    """Shards that this thread reads meanwhile stay open and proven: for who reads them in many parts."""
    shards: dict[Hashable, OpenShard] = {}
    _kept.shards = shards
    try:
        yield
    finally:
        _kept.shards = None
        for shard in shards.values():
            with suppress(OSError):  # of a file that was only read
                shard.close()


@contextmanager
def kept(one: Hashable, opened: Callable[[], OpenShard]) -> Iterator[OpenShard]:
    """Open a shard, or take it as it was kept open; one that disappoints is opened anew the next time."""
    shards = _kept.shards
    shard = (shards.pop(one, None) if shards is not None else None) or opened()
    try:
        yield shard
    except BaseException:
        shard.close()
        raise
    if shards is None:
        shard.close()
        return
    shards[one] = shard
    if len(shards) > _MOST_KEPT:
        shards.pop(next(iter(shards))).close()  # the one that was wanted longest ago


class _Buffers(threading.local):
    """Memory of a thread that is used again for each chunk: to touch new memory costs as much as to read it.

    `held` is the chunk whose values lie in the room for a decoded one: which of which open shard.
    """

    def __init__(self) -> None:
        self.held: tuple[OpenShard, int] | None = None
        self._stored: Values = np.empty(0, np.uint8)
        self._chunk: Values = np.empty(0, np.uint8)

    def stored(self, length: int) -> Values:
        """Return room for stored bytes."""
        if self._stored.size < length:
            self._stored = np.empty(length + length // 4, np.uint8)
        return self._stored[:length]

    def chunk(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Values:
        """Return room for a decoded chunk."""
        size = math.prod(shape) * dtype.itemsize
        if self._chunk.size < size:
            self._chunk = np.empty(size, np.uint8)
        return self._chunk[:size].view(dtype).reshape(shape)


buffers = _Buffers()
