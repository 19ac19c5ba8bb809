"""Write and read shards of 256 MiB: `python -m benchmarks.shards`; terp beside a hand-written loop and zarr-python.

A float32 sensor field in inner chunks of 2 MiB, LZ4 level 5 with byte shuffle and CRC32C, two threads, a shard each.
Writing is synced; reading is into memory that is there, once from the page cache and once from the disk. terp proves
each shard that it reads, and makes the digests of fixity and identity as it writes: their cost is told apart.
"""

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from blake3 import blake3
from isal import isal_zlib

from benchmarks.rates import Seconds, run
from benchmarks.shard_peers import CHUNK, COLUMNS, ROWS, ByHand, Fused, Peer, Values, Zarr, field, forget, rows
from terp.storage.grid import Array
from terp.storage.shard import Stored, values_digest, write_shard
from terp.storage.sharded import Extent, ShardedArray

THREADS = 2


class Terp(Peer):
    """terp's own, with digests and proof."""

    def __init__(self, group: Path, shards: int) -> None:
        super().__init__(group, shards)
        shape = (shards * ROWS, COLUMNS)
        self.array = Array("v", ("t", "x"), shape, "float32", (ROWS, COLUMNS), CHUNK, codec="lz4-5-shuffle")
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
        self.reader.read([rows(number), slice(0, COLUMNS)], out=out)


PEERS: dict[str, type[Peer]] = {"by hand": ByHand, "terp": Terp, "zarr-python": Zarr, "zarr-python, fused": Fused}


def measure(shards: int, rounds: int, place: Path) -> Seconds:
    """Return seconds of each peer's writing and reading, interleaved round by round."""
    data, out = field(shards), np.zeros((shards * ROWS, COLUMNS), "f4")
    found: Seconds = {name: {} for name in PEERS}
    with ThreadPoolExecutor(THREADS) as pool:

        def timed(name: str, what: str, work: Callable[[int, Values], None], on: Values) -> None:
            began = time.perf_counter()
            list(pool.map(lambda number: work(number, on[rows(number)]), range(shards)))
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
                shutil.rmtree(place / f"{name}-{number}")
    return found


if __name__ == "__main__":
    run(__doc__, ROWS * COLUMNS * 4, "by hand", measure)
