"""Read the small files of a product through zarr-python, each proven to be the one that was recorded.

Its large arrays are read by `terp.storage.sharded`.
"""

import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from terp.storage.errors import Damaged, Missing
from terp.storage.files import disk, read_at

_OPTIONAL = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")  # zarr asks whether these are there


@dataclass(frozen=True)
class Proof:
    """What proves a stored file: its size and the BLAKE3 of all its bytes."""

    size: int
    blake3: str


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
    """A zarr v3 store that only reads; a subclass says how (`names`, `size_of`, `read`)."""

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self) -> None:
        super().__init__(read_only=True)
        self._is_open = True

    def names(self) -> Iterable[str]:
        """Return all keys."""
        raise NotImplementedError

    def size_of(self, key: str) -> int | None:
        """Return the size of the value at `key` in bytes, or None where there is none."""
        raise NotImplementedError

    def read(self, key: str, start: int, length: int) -> bytes:
        """Return `length` bytes of the value at `key`, from `start`."""
        raise NotImplementedError

    def _get(self, key: str, prototype: BufferPrototype | None, request: ByteRequest | None) -> Buffer | None:
        size = self.size_of(key)
        if size is None:
            if key.rpartition("/")[2] in _OPTIONAL:
                return None
            raise Missing(f"{key} was never recorded in {self}")
        data = self.read(key, *byte_span(size, request))
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
        return self.size_of(key) is not None

    async def getsize(self, key: str) -> int:
        """Return the size of the value at `key` in bytes."""
        size = self.size_of(key)
        if size is None:
            raise FileNotFoundError(key)
        return size

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        for name in self.names():
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with `prefix`."""
        for name in self.names():
            if name.startswith(prefix):
                yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly under `prefix`."""
        start = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
        below = {n[len(start) :].partition("/")[0] for n in self.names() if n.startswith(start)}
        for name in sorted(below):
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse: the store only reads."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse: the store only reads."""
        self._check_writable()


class ProvenStore(ReadOnlyStore):
    """Files under a product's Zarr folder, each proven against its record by all its bytes whenever it is read.

    What does not match raises Damaged or Missing; fill values never stand in for data.
    """

    def __init__(self, root: Path, proofs: Mapping[str, Proof], owner: str = "") -> None:
        super().__init__()
        self.root, self.proofs, self.owner = root, proofs, owner

    def __str__(self) -> str:
        return self.owner or str(self.root)

    def __repr__(self) -> str:
        return f"ProvenStore({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProvenStore) and (self.root, self.owner) == (other.root, other.owner)

    __hash__ = None  # type: ignore[assignment]

    def names(self) -> Iterable[str]:
        """Return all recorded keys."""
        return self.proofs

    def size_of(self, key: str) -> int | None:
        """Return the recorded size of the file at `key`."""
        proof = self.proofs.get(key)
        return None if proof is None else proof.size

    def read(self, key: str, start: int, length: int) -> bytes:
        """Return bytes of the file at `key`, after proving that it is the recorded file."""
        proof = self.proofs[key]
        with disk(self.root / key):
            try:
                descriptor = os.open(self.root / key, os.O_RDONLY)
            except FileNotFoundError:
                raise Missing(f"{key} of {self} is gone") from None
            try:
                self._prove(descriptor, key, proof)
                data = read_at(descriptor, start, length)
            finally:
                os.close(descriptor)
        if len(data) != length:
            raise Damaged(f"{key} of {self} was cut short while it was read")
        return data

    def _prove(self, descriptor: int, key: str, proof: Proof) -> None:
        size = os.fstat(descriptor).st_size
        if size != proof.size:
            raise Damaged(f"{key} of {self} has {size} bytes where {proof.size} were recorded")
        if blake3(read_at(descriptor, 0, size)).hexdigest() != proof.blake3:
            raise Damaged(f"{key} of {self} is not the file that was recorded")
