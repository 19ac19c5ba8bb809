"""terp's own way to write and read shards, with digests and proof: what needs terp, beside `shard_peers`."""

from pathlib import Path

from blake3 import blake3
from isal import isal_zlib

from benchmarks.job import Values
from benchmarks.shard_peers import CHUNK, COLUMNS, ROWS, Peer, rows
from terp.storage.grid import Array
from terp.storage.open_shard import Extent
from terp.storage.shard import Stored, values_digest, write_shard
from terp.storage.sharded import ShardedArray


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
