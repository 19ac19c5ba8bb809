"""How an inner chunk is stored: the codecs of Zarr v3 that terp writes and reads by itself.

Each chunk is its values, little-endian in C order, compressed by Blosc or as they are, and a CRC32C behind them. Which
compressor serves depends on the data (measured: docs/decisions/011): numbers with noise in their last bits go through
LZ4 as fast as memory is copied, what is kept is worth Zstandard, the noise of visibilities does not shrink at all.
"""

import struct
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np

from terp.storage.errors import BadProduct, Damaged

numcodecs.blosc.use_threads = False  # with threads it gives other bytes each time
_blosc_decode = numcodecs.blosc.Blosc.decode


def _decode_whole(self: Any, buf: Any, out: Any = None) -> Any:
    """Decode what Blosc made, if it is all there: the library reads on behind the end of what was cut short."""
    lengths = _blosc_lengths(np.frombuffer(buf, np.uint8))
    if lengths[1] != memoryview(buf).nbytes:
        raise RuntimeError(f"{memoryview(buf).nbytes} bytes are there of a chunk of {lengths[1]}")
    return _blosc_decode(self, buf, out)


numcodecs.blosc.Blosc.decode = _decode_whole  # for chunks that zarr-python reads: wrong numbers came of it else

_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}  # as Blosc numbers them
_COMPRESSORS = ("zstd", "lz4")
_CRC_BYTES = 4
_HEADER_BYTES = 16  # of what Blosc made

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Codec:
    """A compressor with its level and its shuffle, or none; written "zstd-1-bitshuffle", or "none".

    `summed`: with a CRC32C behind each chunk, as all that terp writes; what others wrote may have none.
    """

    compressor: str = ""
    level: int = 0
    shuffle: str = "noshuffle"
    summed: bool = True

    @classmethod
    def named(cls, name: str) -> "Codec":
        """Return the codec of a name; raises BadProduct that lists what there is."""
        if name == "none":
            return cls()
        compressor, _, rest = name.partition("-")
        level, _, shuffle = rest.partition("-")
        if compressor in _COMPRESSORS and shuffle in _SHUFFLES and level.isdigit() and 1 <= int(level) <= 9:
            return cls(compressor, int(level), shuffle)
        raise BadProduct(
            f"{name!r} is no codec: write none, or {' or '.join(_COMPRESSORS)}, a level from 1 to 9 and "
            f"{', '.join(_SHUFFLES)}, as in zstd-1-bitshuffle"
        )

    def __str__(self) -> str:
        return f"{self.compressor}-{self.level}-{self.shuffle}" if self.compressor else "none"

    def metadata(self, dtype: np.dtype[Any]) -> list[dict[str, Any]]:
        """Return the codecs as `zarr.json` names them (bytes, blosc and crc32c codecs 1.0)."""
        little = {"name": "bytes", "configuration": {"endian": "little"}} if dtype.itemsize > 1 else {"name": "bytes"}
        blosc = {
            "typesize": dtype.itemsize,
            "cname": self.compressor,
            "clevel": self.level,
            "shuffle": self.shuffle,
            "blocksize": 0,
        }
        middle = [{"name": "blosc", "configuration": blosc}] if self.compressor else []
        return [little, *middle, {"name": "crc32c"}]

    def encode(self, chunk: Values) -> tuple[Any, bytes]:
        """Return the stored bytes of a chunk (contiguous, little-endian) and the CRC32C that goes behind them.

        Without a compressor the bytes are those of the chunk itself: to be written before it changes.
        """
        data: Any = chunk.reshape(-1).view(np.uint8)
        if self.compressor:
            shuffle, name = _SHUFFLES[self.shuffle], self.compressor.encode()
            data = numcodecs.blosc.compress(data, name, self.level, shuffle, 0, chunk.dtype.itemsize)
        return data, struct.pack("<I", google_crc32c.value(data))

    def _checked(self, stored: Values, size: int) -> Values:
        """Return the stored bytes before any CRC32C, proven, and of so many bytes of values; raises Damaged."""
        data = stored[:-_CRC_BYTES] if self.summed else stored
        self.demand_sum(data, stored[data.size :])
        if self._lengths(data) != (size, data.size):  # else what a buffer held before would stay in a part of it
            raise Damaged("a chunk of it has another length than its values")
        return data

    def is_plain(self, length: int, size: int) -> bool:
        """Say whether `length` stored bytes are values of `size` bytes as they are, and the sum behind them, if any."""
        return not self.compressor and length == size + (_CRC_BYTES if self.summed else 0)

    def demand_sum(self, data: Values, stored: Values) -> None:
        """Raise Damaged where the sum that was stored behind a chunk is not that of its bytes."""
        if self.summed and google_crc32c.value(data) != int.from_bytes(stored.tobytes(), "little"):
            raise Damaged("a chunk of it is not what was stored (CRC32C)")

    def decode(self, stored: Values, out: Values) -> None:
        """Put the values of a stored chunk into `out` (contiguous); raises Damaged."""
        plain = out.reshape(-1).view(np.uint8)
        data = self._checked(stored, plain.size)
        if not self.compressor:
            plain[:] = data
            return
        try:
            numcodecs.blosc.decompress(data, plain)
        except (RuntimeError, ValueError) as error:
            raise Damaged(f"a chunk of it cannot be decoded ({error})") from None

    def _lengths(self, data: Values) -> tuple[int, int]:
        """Return the length of the values and of what is stored of them, as the stored bytes say."""
        return _blosc_lengths(data) if self.compressor else (data.size, data.size)


def _blosc_lengths(data: Values) -> tuple[int, int]:
    """Return the length of the values and of what is stored of them, as Blosc's header says; 0 where there is none."""
    if data.size < _HEADER_BYTES:
        return 0, 0
    _, plain, _, stored = struct.unpack_from("<4I", data)
    return plain, stored


def suited(dtype: np.dtype[Any], kept: bool) -> Codec:
    """Return the codec for values of a type; `kept`: made to be archived, so smaller is worth more than faster."""
    if dtype.kind == "c":
        return Codec()
    if kept:
        return Codec("zstd", 1, "bitshuffle")
    return Codec("lz4", 5, "shuffle" if dtype.kind == "f" else "bitshuffle")
