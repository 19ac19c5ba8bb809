"""Read the small files of a product through zarr-python, each proven to be the one that was recorded.

Its large arrays are read by `terp.storage.sharded`.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from terp.storage.errors import Missing
from terp.storage.proven import Files

_OPTIONAL = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")  # zarr asks whether these are there


def byte_span(size: int, request: ByteRequest | None) -> tuple[int, int]:
    """Return (start, length) of a zarr byte request in a value of `size` bytes."""
    match request:
        case RangeByteRequest(start, end):
            return start, min(end, size) - start
        case OffsetByteRequest(offset):
            return offset, size - offset
        case SuffixByteRequest(suffix):
            return max(size - suffix, 0), min(suffix, size)
    return 0, size


class ReadOnlyStore(Store):
    """A zarr v3 store over files that are only read."""

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, files: Files) -> None:
        super().__init__(read_only=True)
        self.files = files
        self._is_open = True

    def __str__(self) -> str:
        return str(self.files)

    def __repr__(self) -> str:
        return f"ReadOnlyStore({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReadOnlyStore) and self.files == other.files

    __hash__ = None  # type: ignore[assignment]  # as every Zarr store

    def _get(self, key: str, prototype: BufferPrototype | None, request: ByteRequest | None) -> Buffer | None:
        size = self.files.size_of(key)
        if size is None:
            if key.rpartition("/")[2] in _OPTIONAL:
                return None
            raise Missing(f"{key} was never recorded in {self}")
        data = self.files.read(key, *byte_span(size, request))
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the value at `key`, or a part of it."""
        return self._get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of several values."""
        return [self._get(key, prototype, request) for key, request in key_ranges]

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **_: Any,
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Yield parts of one value; our errors come through as they are, not in an exception group."""
        yield [(i, self._get(key, prototype, request)) for i, request in enumerate(byte_ranges)]

    async def exists(self, key: str) -> bool:
        """Say whether there is a value at `key`."""
        return self.files.size_of(key) is not None

    async def getsize(self, key: str) -> int:
        """Return the size of the value at `key` in bytes."""
        size = self.files.size_of(key)
        if size is None:
            raise FileNotFoundError(key)
        return size

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        for name in self.files.names():
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with `prefix`."""
        for name in self.files.names():
            if name.startswith(prefix):
                yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly under `prefix`."""
        start = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
        below = {n[len(start) :].partition("/")[0] for n in self.files.names() if n.startswith(start)}
        for name in sorted(below):
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse: the store only reads."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse: the store only reads."""
        self._check_writable()
