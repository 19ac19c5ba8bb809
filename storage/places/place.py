"""What a place of copies can do, whatever it is made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from terp.storage.errors import BadPackage

BLOCK = 4 << 20  # bytes that are moved at a time


@dataclass(frozen=True)
class Stored:
    """A file in a place: its name and its size in bytes."""

    name: str
    size: int


class Place(Protocol):
    """Files by name, each whole or not there. Names are relative POSIX paths; those that lead elsewhere are refused.

    All raise PlaceTrouble where the place does not answer or refuses, and NotStaged where something is still on tape.
    """

    name: str
    kind: str

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield the files whose names begin with a prefix, by name; also what was never put there by terp."""

    def read(self, name: str, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a file from an offset, in blocks; raises FileNotFoundError where there is none."""

    def put(self, name: str, source: Path) -> None:
        """Store a file under a name, whole or not at all; what stands there is replaced in one step."""

    def write(self, name: str, data: bytes) -> None:
        """Store some bytes under a name, whole or not at all."""

    def delete(self, name: str) -> None:
        """Remove a file, for good; that it is gone already is no matter."""

    def stage(self, names: Sequence[str]) -> Sequence[str]:
        """Ask for files to be brought where they can be read; return those that are not there yet."""


def checked(name: str) -> str:
    """Return a name that stays below the place; raises BadPackage."""
    parts = name.split("/")  # an absolute name begins with an empty part
    if {"", ".", ".."} & set(parts) or "\0" in name or "\\" in name:
        raise BadPackage(f"{name!r} is no name of a file in a place: it leads elsewhere")
    return name
