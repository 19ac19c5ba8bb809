"""Write one shard: a file of the Zarr v3 codec `sharding_indexed`, index at the end, a CRC32C on every part.

A strict subset of the Zarr v3 specification (sharding codec 1.0; bytes, blosc and crc32c codecs 1.0), so that any
Zarr reader reads it. The file begins with a tag, which the index does not point to and other readers do not see: the
BLAKE3 of its values, cut to 16 bytes. The index's own CRC32C proves no shard: it is the same for all whose chunks
have the same lengths. Read by `terp.storage.sharded`.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from blake3 import blake3
from isal import isal_zlib

from terp.storage.codec import Codec, Values
from terp.storage.files import write_all, write_file
from terp.storage.grid import Array, chunk_slices
from terp.storage.syncing import begin_sync, in_the_end

ABSENT = 2**64 - 1  # offset and length of an inner chunk that is not stored
TAG_BYTES = 16
INDEX_CRC_BYTES = 4
_ON_ITS_WAY = 8 << 20  # bytes after which the disk begins with them, while the next are made


STORED = np.dtype([("size", "<u8"), ("crc32", "<u4"), ("spare", "<u4"), ("blake3", "V32"), ("values", "V32")])


@dataclass(frozen=True)
class Stored:
    """What is remembered of one stored shard.

    `size` in bytes; `blake3` of the stored bytes (fixity); `values` the BLAKE3 of type, shape and decoded values
    (identity), with whose first bytes the file begins: a tag by which a reader of a part proves the whole; `crc32`
    for ZIP.
    """

    size: int
    blake3: str
    values: str
    crc32: int

    @property
    def tag(self) -> str:
        """The first bytes of the file, in hex digits."""
        return self.values[: 2 * TAG_BYTES]

    def to_row(self) -> tuple[int, int, int, bytes, bytes]:
        """Return it as a value of the type STORED."""
        return self.size, self.crc32, 0, bytes.fromhex(self.blake3), bytes.fromhex(self.values)

    @classmethod
    def from_row(cls, row: Any) -> "Stored":
        """Read back what `to_row` gave."""
        return cls(int(row["size"]), bytes(row["blake3"]).hex(), bytes(row["values"]).hex(), int(row["crc32"]))


def array_metadata(array: Array) -> dict[str, Any]:
    """Return the `zarr.json` of an array (Zarr v3 core specification, section "Array metadata")."""
    dtype = np.dtype(array.dtype)
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(array.shard)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": _fill(dtype)[1],
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": list(array.chunk),
                    "codecs": Codec.named(array.codec).metadata(dtype),
                    "index_codecs": Codec().metadata(np.dtype("u8")),
                    "index_location": "end",
                },
            }
        ],
        "attributes": dict(array.attrs),
        "dimension_names": list(array.dims),
    }


def _fill(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return the fill value, as a number and as JSON: never a plausible measurement where NaN exists."""
    if dtype.kind == "f":
        return np.nan, "NaN"
    if dtype.kind == "c":
        return complex(np.nan, np.nan), ["NaN", "NaN"]
    return (False, False) if dtype.kind == "b" else (0, 0)


def values_digest(block: Values) -> str:
    """Return the BLAKE3 of type, shape and values (little-endian, C order) of a block."""
    little = np.asarray(block, dtype=block.dtype.newbyteorder("<"), order="C")
    digest = blake3(f"{little.dtype.str}{little.shape}".encode())
    digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def write_shard(path: Path, array: Array, block: Values) -> Stored:
    """Encode a block as one shard in a new file, synced at once or with others (`put_off`).

    Raises OSError; nothing is left then.
    """
    values = values_digest(block)
    return write_file(path, lambda descriptor: _Shard(descriptor, array, block, values).write(), sync=in_the_end)


class _Shard:
    """A shard while it is written, and the digests of what is handed to the disk, made while it is in cache."""

    def __init__(self, descriptor: int, array: Array, block: Values, values: str) -> None:
        self.descriptor, self.array, self.block, self.values = descriptor, array, block, values
        self.size, self.crc32, self.blake3 = 0, 0, blake3()
        self.begun = 0  # bytes that are on their way to the disk

    def write(self) -> Stored:
        """Write tag, chunks in C order, and index."""
        codec, index = Codec.named(self.array.codec), []
        self._put(bytes.fromhex(self.values)[:TAG_BYTES])
        for chunk in _chunks(self.array, self.block):
            if chunk is None:
                index += [ABSENT, ABSENT]
                continue
            data, crc = codec.encode(chunk)
            index += [self.size, len(data) + len(crc)]
            self._put(data, crc)
        table = struct.pack(f"<{len(index)}Q", *index)
        self._put(table, struct.pack("<I", google_crc32c.value(table)))
        return Stored(self.size, self.blake3.hexdigest(), self.values, self.crc32)

    def _put(self, *parts: Any) -> None:
        for part in parts:
            self.blake3.update(part)
            self.crc32 = isal_zlib.crc32(part, self.crc32)
            self.size += len(part)
            write_all(self.descriptor, part)
        if self.size - self.begun >= _ON_ITS_WAY:
            begin_sync(self.descriptor, self.begun, self.size - self.begun)
            self.begun = self.size


def _chunks(array: Array, block: Values) -> Iterator[Values | None]:
    """Walk the inner chunks in C order, contiguous and little-endian, padded at the edges; None outside the block.

    Each is valid until the next.
    """
    dtype = np.dtype(array.dtype).newbyteorder("<")
    buffer = np.empty(array.chunk, dtype)
    for _, slices in chunk_slices(array, block.shape):
        if slices is None:
            yield None
            continue
        inside: tuple[Any, ...] = (*slices, ...)  # the dots: of an array without dimensions a view too
        part = block[inside]
        if part.shape == array.chunk and part.flags.c_contiguous and part.dtype == dtype:
            yield part
            continue
        if part.shape != array.chunk:
            buffer[...] = _fill(dtype)[0]
        buffer[tuple(slice(0, n) for n in part.shape)] = part
        yield buffer
