"""Ways to write and read shards of 256 MiB that need nothing of terp: a class each, made in the peer's environment.

A float32 sensor field in inner chunks of 2 MiB, LZ4 level 5 with byte shuffle, a checksum behind each. Each way is
handed whole shards by two threads, and has what it writes on the disk when it is done.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows.arrays import FUSED, ZARRS, Layout, use_pipeline

ROWS, COLUMNS = 16384, 4096  # of a shard: 256 MiB
CHUNK = (512, 1024)
GRID = (ROWS // CHUNK[0], COLUMNS // CHUNK[1])  # of the chunks of a shard
Values = np.ndarray[Any, Any]


def field() -> Values:
    """Return what a sensor gives: a slow walk with noise in the last bits."""
    random = np.random.default_rng(1)
    return np.cumsum(random.normal(size=(ROWS, COLUMNS)).astype("f4"), axis=0) * np.float32(0.01) + 10


def forget(folder: Path) -> None:
    """Have the kernel forget what it holds of files."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def rows(number: int) -> slice:
    """The rows of a shard."""
    return slice(number * ROWS, (number + 1) * ROWS)


class Peer:
    """A way to write and read the shards of the array `v` of a group in a folder."""

    def __init__(self, group: Path, shards: int) -> None:
        self.shards, shape = shards, (shards * ROWS, COLUMNS)
        self.folder = Layout("v", ("t", "x"), shape, CHUNK, (ROWS, COLUMNS), "f4").create(group)
        for number in range(shards):
            self.path(number).parent.mkdir(parents=True)

    def path(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"c/{number}/0"

    def write(self, number: int, block: Values) -> None:
        """Write a shard, and sync it."""
        raise NotImplementedError

    def read(self, number: int, out: Values) -> None:
        """Read a shard into memory that is there."""
        raise NotImplementedError

    def digest(self, number: int, block: Values) -> None:
        """Make the digests of a shard alone, of those who do."""
        raise NotImplementedError

    def sample(self, step: int) -> Values | None:
        """Return each step-th row of what was written, if that can be read in this environment alone."""
        return None


class ByHand(Peer):
    """The loop that a person would write."""

    def __init__(self, group: Path, shards: int) -> None:
        from benchmarks.by_hand import Shards

        super().__init__(group, shards)
        self.by_hand = Shards(self.folder)

    def write(self, number: int, block: Values) -> None:
        self.by_hand.write((number, 0), block)

    def read(self, number: int, out: Values) -> None:
        self.by_hand.read((number, 0), out)


class Zarr(Peer):
    """zarr-python, with the pipeline of codecs that it has by itself."""

    pipeline = "zarr.core.codec_pipeline.BatchedCodecPipeline"

    def __init__(self, group: Path, shards: int) -> None:
        import zarr

        super().__init__(group, shards)
        zarr.config.set({"array.write_empty_chunks": True})
        use_pipeline(self.pipeline, 1)  # for the chunks in a shard too, which ask for it as they are used
        self.array: Any = zarr.open_array(self.folder, mode="r+")

    def write(self, number: int, block: Values) -> None:
        self.array[rows(number)] = block
        sync(self.path(number))

    def read(self, number: int, out: Values) -> None:
        from zarr.core.buffer.cpu import NDBuffer

        self.array.get_basic_selection(rows(number), out=NDBuffer.from_numpy_array(out))


class Fused(Zarr):
    """zarr-python with its faster pipeline."""

    pipeline = FUSED


class Zarrs(Zarr):
    """zarr-python with the pipeline of zarrs."""

    pipeline = ZARRS


class Tensorstore(Peer):
    """tensorstore, which syncs what it writes."""

    def __init__(self, group: Path, shards: int) -> None:
        import tensorstore

        super().__init__(group, shards)
        limits = {"data_copy_concurrency": {"limit": 2}, "file_io_concurrency": {"limit": 4}}
        context = tensorstore.Context({**limits, "cache_pool": {"total_bytes_limit": 0}})
        place = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(self.folder)}}
        self.array: Any = tensorstore.open(place, open=True, context=context).result()

    def write(self, number: int, block: Values) -> None:
        self.array[rows(number)].write(block).result()

    def read(self, number: int, out: Values) -> None:
        out[...] = self.array[rows(number)].read().result()


class Hdf5(Peer):
    """HDF5 files, a shard each: chunks encoded and decoded here, written and read as they are by h5py.

    Any reader of HDF5 with the Blosc filter reads them. The CRC32C of the chunks are an array beside them, as HDF5's
    own checksum, Fletcher-32, is slower than all else here. h5py lets one thread at a time into HDF5.
    """

    def __init__(self, group: Path, shards: int) -> None:
        import hdf5plugin
        import numcodecs.blosc

        numcodecs.blosc.use_threads = False
        self.shards, self.folder, self.blosc = shards, group, numcodecs.Blosc("lz4", 5, numcodecs.Blosc.SHUFFLE)
        self.filters = hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE)
        group.mkdir(parents=True)

    def path(self, number: int) -> Path:
        return self.folder / f"{number}.h5"

    def write(self, number: int, block: Values) -> None:
        import google_crc32c
        import h5py

        sums = np.empty(GRID, "u4")
        with h5py.File(self.path(number), "w", libver="latest") as file:
            data = file.create_dataset("v", block.shape, "f4", chunks=CHUNK, **self.filters)
            for chunk in np.ndindex(GRID):
                stored = self.blosc.encode(np.ascontiguousarray(block[within(chunk)]))
                sums[chunk] = google_crc32c.value(stored)
                data.id.write_direct_chunk(corner(chunk), stored)
            file["crc32c"] = sums
        sync(self.path(number))

    def read(self, number: int, out: Values) -> None:
        import google_crc32c
        import h5py

        with h5py.File(self.path(number), "r") as file:
            data, sums = file["v"], file["crc32c"][:]
            for chunk in np.ndindex(GRID):
                _, stored = data.id.read_direct_chunk(corner(chunk))
                assert google_crc32c.value(stored) == sums[chunk], "damaged: CRC32C"
                out[within(chunk)] = np.frombuffer(self.blosc.decode(stored), "f4").reshape(CHUNK)

    def sample(self, step: int) -> Values | None:
        """Read by HDF5 itself, with its own filters."""
        import h5py

        told: Values = np.concatenate([h5py.File(self.path(one))["v"][::step] for one in range(self.shards)])
        return told


def corner(chunk: tuple[int, ...]) -> tuple[int, ...]:
    """Where a chunk begins in its shard."""
    return tuple(at * size for at, size in zip(chunk, CHUNK, strict=True))


def within(chunk: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of its shard that a chunk is."""
    return tuple(slice(at, at + size) for at, size in zip(corner(chunk), CHUNK, strict=True))


def sync(path: Path) -> None:
    """Have a file on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


PEERS: dict[str, type[Peer]] = {
    "HAND": ByHand,
    "zarr-python": Zarr,
    "zarr-python, fused": Fused,
    "zarrs": Zarrs,
    "tensorstore": Tensorstore,
    "h5py, direct chunks": Hdf5,
}
