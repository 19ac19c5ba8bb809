"""The small files of a product, each proven to be the one that was recorded whenever it is read.

No array library is needed for that: what is asked often reads them so, zarr-python by `terp.storage.reading`.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from terp.storage.errors import Damaged, Missing
from terp.storage.files import disk, read_at


class Files(Protocol):
    """Files by their Zarr keys, which are only read."""

    def names(self) -> Iterable[str]:
        """Return all keys."""

    def size_of(self, key: str) -> int | None:
        """Return the size of the file at `key` in bytes, or None where there is none."""

    def read(self, key: str, start: int, length: int) -> bytes:
        """Return `length` bytes of the file at `key`, from `start`."""


@dataclass(frozen=True)
class Proof:
    """What proves a stored file: its size and the BLAKE3 of all its bytes."""

    size: int
    blake3: str


@dataclass(frozen=True)
class ProvenFiles:
    """Files under a product's Zarr folder, each proven against its record by all its bytes whenever it is read.

    What does not match raises Damaged or Missing; fill values never stand in for data.
    """

    root: Path
    proofs: Mapping[str, Proof]
    owner: str

    def __str__(self) -> str:
        return self.owner

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
