"""The loop that a person would write for one job on one machine: shards of Zarr v3, LZ4, CRC32C, and nothing else.

No digests, no ledger, no proof of what is read: what a reader and writer can reach on this machine.
"""

import os
import struct
import threading
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np

Values = np.ndarray[Any, Any]
ROWS, COLUMNS = 512, 1024  # of an inner chunk: 2 MiB of float32
_LOCAL = threading.local()


def write(path: Path, block: Values) -> None:
    """Write one shard (rows, columns), float32, and sync it."""
    index, offset, waiting = [], 0, 0
    parts: list[bytes] = []
    scratch = np.empty((ROWS, COLUMNS), "f4")
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    for row in range(0, block.shape[0], ROWS):
        for column in range(0, block.shape[1], COLUMNS):
            scratch[...] = block[row : row + ROWS, column : column + COLUMNS]
            data = bytes(numcodecs.blosc.compress(scratch, b"lz4", 5, 1, 0, 4))
            parts += [data, struct.pack("<I", google_crc32c.value(data))]
            index += [offset, len(data) + 4]
            offset += len(data) + 4
            waiting += len(data)
            if waiting > 4 << 20:
                os.writev(descriptor, parts)
                parts, waiting = [], 0
    table = struct.pack(f"<{len(index)}Q", *index)
    os.writev(descriptor, [*parts, table, struct.pack("<I", google_crc32c.value(table))])
    os.fsync(descriptor)
    os.close(descriptor)


def read(path: Path, out: Values) -> None:
    """Read one shard into `out`."""
    chunks = (out.shape[0] // ROWS) * (out.shape[1] // COLUMNS)
    descriptor = os.open(path, os.O_RDONLY)
    size = os.fstat(descriptor).st_size
    table = os.pread(descriptor, 16 * chunks + 4, size - 16 * chunks - 4)
    assert google_crc32c.value(table[:-4]) == int.from_bytes(table[-4:], "little")
    index = np.frombuffer(table[:-4], "<u8").reshape(-1, 2)
    if not hasattr(_LOCAL, "stored"):
        _LOCAL.stored, _LOCAL.chunk = np.empty(4 * ROWS * COLUMNS + 4096, "u1"), np.empty((ROWS, COLUMNS), "f4")
    number = 0
    for row in range(0, out.shape[0], ROWS):
        for column in range(0, out.shape[1], COLUMNS):
            offset, length = map(int, index[number])
            number += 1
            stored = _LOCAL.stored[:length]
            os.preadv(descriptor, [stored], offset)
            assert google_crc32c.value(stored[:-4]) == int.from_bytes(stored[-4:].tobytes(), "little")
            numcodecs.blosc.decompress(stored[:-4], _LOCAL.chunk)
            out[row : row + ROWS, column : column + COLUMNS] = _LOCAL.chunk
    os.close(descriptor)
