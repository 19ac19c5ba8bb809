"""Write one shard: a file of the Zarr v3 codec `sharding_indexed`, index at the end, a CRC32C on every part.

A strict subset of the Zarr v3 specification (sharding codec 1.0; bytes, blosc and crc32c codecs 1.0), so that any
Zarr reader reads it. The file begins with a tag, which the index does not point to and other readers do not see: the
BLAKE3 of all that follows, cut to 16 bytes. The index's own CRC32C proves no shard: it is the same for all whose chunks
have the same lengths. Encoders run single-threaded: with threads blosc gives other bytes each time.
"""

import struct
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np
from blake3 import blake3

from terp.storage.files import write_all, write_file
from terp.storage.grid import Array, chunk_slices

numcodecs.blosc.use_threads = False

_ABSENT = 2**64 - 1  # offset and length of an inner chunk that is not stored
_LEVEL = 1
_COMPRESSOR = "zstd"
TAG_BYTES = 16


@dataclass(frozen=True)
class Stored:
    """What is remembered of one stored shard.

    `size` in bytes; `blake3` of the stored bytes (fixity); `values` the BLAKE3 of type, shape and decoded values
    (identity); `tag` the first bytes of the file, by which a reader of a part proves the whole; `crc32` for ZIP.
    """

    size: int
    blake3: str
    values: str
    tag: str
    crc32: int

    def to_json(self) -> list[Any]:
        """Return the fields in order."""
        return list(asdict(self).values())


def array_metadata(array: Array) -> dict[str, Any]:
    """Return the `zarr.json` of an array (Zarr v3 core specification, section "Array metadata")."""
    dtype = np.dtype(array.dtype)
    crc = {"name": "crc32c"}
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    one_byte: dict[str, Any] = {"name": "bytes"}
    blosc = {
        "typesize": dtype.itemsize,
        "cname": _COMPRESSOR,
        "clevel": _LEVEL,
        "shuffle": "bitshuffle",
        "blocksize": 0,
    }
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
                    "codecs": [
                        little if dtype.itemsize > 1 else one_byte,
                        {"name": "blosc", "configuration": blosc},
                        crc,
                    ],
                    "index_codecs": [little, crc],
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


def values_digest(block: np.ndarray[Any, Any]) -> str:
    """Return the BLAKE3 of type, shape and values (little-endian, C order) of a block."""
    little = np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("<"))
    digest = blake3(f"{little.dtype.str}{little.shape}".encode())
    digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def write_shard(path: Path, array: Array, block: np.ndarray[Any, Any]) -> Stored:
    """Encode a block as one shard in a new file, synced. Raises OSError; nothing is left then."""
    parts = _encode(array, block)
    parts.insert(0, _tag(parts))

    def write(descriptor: int) -> None:
        for part in parts:
            write_all(descriptor, part)

    write_file(path, write)
    fixity, crc32 = blake3(), 0
    for part in parts:
        fixity.update(part)
        crc32 = zlib.crc32(part, crc32)
    size = sum(map(len, parts))
    return Stored(size, fixity.hexdigest(), values_digest(block), parts[0].hex(), crc32)


def _tag(parts: list[bytes]) -> bytes:
    digest = blake3()
    for part in parts:
        digest.update(part)
    return bytes(digest.digest(length=TAG_BYTES))


def _encode(array: Array, block: np.ndarray[Any, Any]) -> list[bytes]:
    """Return the parts of the shard file behind its tag, in order."""
    dtype = np.dtype(array.dtype).newbyteorder("<")
    whole = np.empty(array.chunk, dtype)
    index, offset, parts = [], TAG_BYTES, []
    for _, slices in chunk_slices(array, block.shape):
        if slices is None:
            index += [_ABSENT, _ABSENT]
            continue
        part = block[slices]
        if part.shape != array.chunk:
            whole[...] = _fill(dtype)[0]
            whole[tuple(slice(0, n) for n in part.shape)] = part
            part = whole
        data = _encode_chunk(np.ascontiguousarray(part, dtype=dtype))
        parts.append(data)
        index += [offset, len(data)]
        offset += len(data)
    table = struct.pack(f"<{len(index)}Q", *index)
    return [*parts, table + struct.pack("<I", google_crc32c.value(table))]


def _encode_chunk(chunk: np.ndarray[Any, Any]) -> bytes:
    data = bytes(
        numcodecs.blosc.compress(
            chunk.reshape(-1).view(np.uint8) if chunk.dtype.itemsize == 1 else chunk,
            _COMPRESSOR.encode(),
            _LEVEL,
            numcodecs.blosc.BITSHUFFLE,
            0,
            chunk.dtype.itemsize,
        )
    )
    return data + struct.pack("<I", google_crc32c.value(data))
