"""Write and read shards of 256 MiB: `python -m benchmarks.shards`; terp beside a hand-written loop and zarr-python.

A float32 sensor field in inner chunks of 2 MiB, LZ4 level 5 with byte shuffle and CRC32C, two threads, a shard each.
Writing is synced; reading is into memory that is there, once from the page cache and once from the disk. terp proves
each shard that it reads, and makes the digests of fixity and identity as it writes: their cost is told apart.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from blake3 import blake3
from isal import isal_zlib

from benchmarks.by_hand import Shards
from benchmarks.rates import Seconds, run
from terp.storage.grid import Array
from terp.storage.shard import Stored, array_metadata, values_digest, write_shard
from terp.storage.sharded import Extent, ShardedArray

ROWS, COLUMNS = 16384, 4096  # of a shard: 256 MiB
THREADS = 2
Values = np.ndarray[Any, Any]


def field(shards: int) -> Values:
    """Return what a sensor gives: a slow walk with noise in the last bits."""
    random = np.random.default_rng(1)
    walk = np.cumsum(random.normal(size=(ROWS, COLUMNS)).astype("f4"), axis=0) * np.float32(0.01) + 10
    return np.concatenate([walk + np.float32(number) for number in range(shards)])


class Peer:
    """A way to write and read the shards of one array in a folder."""

    def __init__(self, folder: Path, shards: int) -> None:
        shape = (shards * ROWS, COLUMNS)
        self.array = Array("v", ("t", "x"), shape, "float32", (ROWS, COLUMNS), (512, 1024), codec="lz4-5-shuffle")
        self.folder = folder
        for number in range(shards):
            self.path(number).parent.mkdir(parents=True)
        (folder / "zarr.json").write_text(json.dumps(array_metadata(self.array)))
        self.by_hand = Shards(folder)

    def path(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"c/{number}/0"

    def write(self, number: int, block: Values) -> None:
        """Write a shard, and sync it."""
        self.by_hand.write((number, 0), block)

    def read(self, number: int, out: Values) -> None:
        """Read a shard."""
        self.by_hand.read((number, 0), out)


class Terp(Peer):
    """terp's own, with digests and proof."""

    def __init__(self, folder: Path, shards: int) -> None:
        super().__init__(folder, shards)
        self.stored: dict[int, Stored] = {}
        self.reader = ShardedArray(self.array, "v", self.locate, "the benchmark")

    def digest(self, number: int, block: Values) -> None:
        """Make the digests of a shard alone, with all of it in memory."""
        values_digest(block)
        stored = self.path(number).read_bytes()
        blake3(stored).digest()
        isal_zlib.crc32(stored)

    def locate(self, place: tuple[int, ...]) -> Extent:
        """Where a shard is."""
        stored = self.stored[place[0]]
        return Extent(self.path(place[0]), 0, stored.size, stored.tag)

    def write(self, number: int, block: Values) -> None:
        """Write a shard."""
        self.path(number).unlink(missing_ok=True)
        self.stored[number] = write_shard(self.path(number), self.array, block)

    def read(self, number: int, out: Values) -> None:
        """Read a shard."""
        self.reader.read([slice(number * ROWS, (number + 1) * ROWS), slice(0, COLUMNS)], out=out)


class Zarr(Peer):
    """zarr-python, with one of its two pipelines of codecs."""

    pipeline = "zarr.core.codec_pipeline.BatchedCodecPipeline"

    def opened(self) -> Any:
        """The array."""
        with zarr.config.set({"codec_pipeline.path": self.pipeline, "array.write_empty_chunks": True}):
            return zarr.open_array(self.folder, mode="r+")

    def write(self, number: int, block: Values) -> None:
        """Write a shard."""
        with zarr.config.set({"array.write_empty_chunks": True}):
            self.opened()[number * ROWS : (number + 1) * ROWS] = block
        descriptor = os.open(self.path(number), os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def read(self, number: int, out: Values) -> None:
        """Read a shard."""
        out[...] = self.opened()[number * ROWS : (number + 1) * ROWS]


class Fused(Zarr):
    """The faster one."""

    pipeline = "zarr.core.codec_pipeline.FusedCodecPipeline"


PEERS: dict[str, type[Peer]] = {"by hand": Peer, "terp": Terp, "zarr-python": Zarr, "zarr-python, fused": Fused}


def measure(shards: int, rounds: int, place: Path) -> Seconds:
    """Return seconds of each peer's writing and reading, interleaved round by round."""
    data, out = field(shards), np.zeros((shards * ROWS, COLUMNS), "f4")
    found: Seconds = {name: {} for name in PEERS}
    blocks = [slice(number * ROWS, (number + 1) * ROWS) for number in range(shards)]
    with ThreadPoolExecutor(THREADS) as pool:

        def timed(name: str, what: str, work: Callable[[int, Values], None], on: Values) -> None:
            began = time.perf_counter()
            list(pool.map(lambda number: work(number, on[blocks[number]]), range(shards)))
            found[name].setdefault(what, []).append(time.perf_counter() - began)

        for number in range(rounds):
            for name, kind in PEERS.items():
                peer = kind(place / f"{name}-{number}", shards)
                timed(name, "write", peer.write, data)
                for what in ("read", "read cold"):
                    if what == "read cold":
                        forget(peer.folder)
                    out[:: ROWS // 8] = 0
                    timed(name, what, peer.read, out)
                    assert np.array_equal(out[:: ROWS // 8], data[:: ROWS // 8]), f"{name} gave back other numbers"
                if isinstance(peer, Terp):
                    timed(name, "digests", peer.digest, data)
                shutil.rmtree(peer.folder)
    return found


def forget(folder: Path) -> None:
    """Have the kernel forget what it holds of files."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


if __name__ == "__main__":
    run(__doc__, ROWS * COLUMNS * 4, "by hand", measure)
