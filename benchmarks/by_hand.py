"""The loop that a person would write for one job on one machine: shards of Zarr v3 with CRC32C, and nothing else.

What is read is checked as terp checks it, and what is written is synced; there are no digests, no ledger and no proof
that a shard is the one that was meant. So this is what a reader and writer can reach on this machine.
"""

import json
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np

numcodecs.blosc.use_threads = False  # a task a thread: threads in threads would only be in each other's way

Values = np.ndarray[Any, Any]
Place = tuple[int, ...]
SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
CRC_BYTES = 4


class Shards:
    """An array of Zarr v3 in a folder: sharding with the index at the end, bytes, perhaps blosc, crc32c."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / "zarr.json").read_text())
        (sharding,) = told["codecs"]
        codecs = {one["name"]: one.get("configuration", {}) for one in sharding["configuration"]["codecs"]}
        assert codecs.keys() <= {"bytes", "blosc", "crc32c"}, codecs.keys()
        assert "crc32c" in codecs, "what is read could not be checked"
        self.folder, self.blosc = folder, codecs.get("blosc")
        self.dtype = np.dtype(told["data_type"])
        self.shape: Place = tuple(told["shape"])
        self.shard: Place = tuple(told["chunk_grid"]["configuration"]["chunk_shape"])
        self.chunk: Place = tuple(sharding["configuration"]["chunk_shape"])
        self.chunks = tuple(whole // part for whole, part in zip(self.shard, self.chunk, strict=True))
        self.shards = tuple(-(-whole // part) for whole, part in zip(self.shape, self.shard, strict=True))
        self._local = threading.local()

    def path(self, place: Place) -> Path:
        return self.folder / "c" / "/".join(map(str, place))

    @contextmanager
    def opened(self, place: Place) -> Iterator[Callable[[Place, Values], None]]:
        """Open a shard; what is given reads one of its chunks into a contiguous array."""
        descriptor = os.open(self.path(place), os.O_RDONLY)
        try:
            index = self._index(descriptor)
            yield lambda chunk, out: self._read(descriptor, index[chunk], out)
        finally:
            os.close(descriptor)

    def read(self, place: Place, out: Values) -> None:
        """Read a whole shard."""
        chunk = self._scratch("chunk")
        with self.opened(place) as read:
            for one in np.ndindex(self.chunks):
                read(one, chunk)
                out[self._slices(one)] = chunk[self._within(one, out.shape)]

    def write(self, place: Place, block: Values) -> None:
        """Write a shard from a block, which may end before the last chunk does."""
        chunk = self._scratch("chunk")

        def chunk_of(one: Place) -> Values:
            within = self._within(one, block.shape)
            if chunk[within].shape != self.chunk:
                chunk[...] = 0
            chunk[within] = block[self._slices(one)]
            return chunk

        self.write_chunks(place, chunk_of)

    def write_chunks(self, place: Place, chunk_of: Callable[[Place], Values]) -> None:
        """Write a shard from contiguous chunks, asked for one after the other, and sync it."""
        path = self.path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        index, offset = np.empty((*self.chunks, 2), "<u8"), 0
        with path.open("wb", buffering=0) as file:
            for one in np.ndindex(self.chunks):
                size = write_checked(file.fileno(), self._encode(chunk_of(one)))
                index[one], offset = (offset, size), offset + size
            write_checked(file.fileno(), index.tobytes())
            os.fsync(file.fileno())

    def _index(self, descriptor: int) -> Values:
        size = 16 * int(np.prod(self.chunks)) + CRC_BYTES
        stored = os.pread(descriptor, size, os.fstat(descriptor).st_size - size)
        check(stored[:-CRC_BYTES], stored[-CRC_BYTES:])
        return np.frombuffer(stored[:-CRC_BYTES], "<u8").reshape(*self.chunks, 2)

    def _read(self, descriptor: int, extent: Values, out: Values) -> None:
        offset, size = map(int, extent)
        plain, crc = out.reshape(-1).view("u1"), bytearray(CRC_BYTES)
        stored = self._scratch("stored")[: size - CRC_BYTES] if self.blosc else plain
        os.preadv(descriptor, [stored, crc], offset)
        check(stored, crc)
        if self.blosc:
            numcodecs.blosc.decompress(stored, plain)

    def _encode(self, chunk: Values) -> Any:
        plain = chunk.reshape(-1).view("u1")
        if not self.blosc:
            return plain
        name, level, shuffle = self.blosc["cname"].encode(), self.blosc["clevel"], SHUFFLES[self.blosc["shuffle"]]
        return numcodecs.blosc.compress(plain, name, level, shuffle, 0, self.dtype.itemsize)

    def _scratch(self, name: str) -> Values:
        """Memory of this thread, used again and again."""
        if not hasattr(self._local, name):
            chunk = np.empty(self.chunk, self.dtype)
            setattr(self._local, name, chunk if name == "chunk" else np.empty(chunk.nbytes + 4096, "u1"))
        memory: Values = getattr(self._local, name)
        return memory

    def _slices(self, chunk: Place) -> tuple[slice, ...]:
        return tuple(slice(at * size, (at + 1) * size) for at, size in zip(chunk, self.chunk, strict=True))

    def _within(self, chunk: Place, shape: Place) -> tuple[slice, ...]:
        """What of a chunk lies in a block of some shape."""
        ends = zip(chunk, self.chunk, shape, strict=True)
        return tuple(slice(0, max(0, min(size, whole - at * size))) for at, size, whole in ends)


def write_checked(descriptor: int, data: Any) -> int:
    """Write bytes with their CRC32C behind them; return how many were written."""
    size = len(data) + CRC_BYTES
    assert os.writev(descriptor, [data, struct.pack("<I", google_crc32c.value(data))]) == size, "the disk is full"
    return size


def check(data: Any, crc: bytes | bytearray) -> None:
    assert google_crc32c.value(data) == int.from_bytes(crc, "little"), "damaged: CRC32C"
