"""What a place of copies can do, whatever it is made of."""

import errno
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from terp.storage.errors import BadPackage, Damaged, PlaceTrouble
from terp.storage.files import disk

BLOCK = 4 << 20  # bytes that are moved at a time
PART = ".terp-part-"  # how the names of files begin that are not yet whole

type Told = Callable[[int], object]

_REASONS = {
    errno.ENOSPC: "it is full: free space there, then do the same again",
    errno.EDQUOT: "your quota there is used up: free space or ask for more, then do the same again",
    errno.EFBIG: "the file would be larger than is allowed there",
    errno.EIO: "it reports an input/output error: have it checked, then do the same again",
    errno.EROFS: "it is read-only: mount it for writing",
    errno.EACCES: "you may not read or write there: ask its owner",
    errno.EPERM: "you may not read or write there: ask its owner",
    errno.ENOTDIR: "a file stands where a folder should be: move it",
    errno.EISDIR: "a folder stands where a file should be: move it",
    errno.ELOOP: "a link stands where a file should be: remove it",
}


@dataclass(frozen=True)
class Stored:
    """A file in a place: its name and its size in bytes; -1 for what is no file, as a link."""

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

    def put(self, name: str, source: Path, sha512: str | None = None, told: Told = int) -> None:
        """Store a file under a name, whole or not at all; what stands there is replaced in one step.

        With `sha512`, what is read must have it, else Damaged is raised and nothing is stored. `told` hears of bytes.
        """

    def write(self, name: str, data: bytes) -> None:
        """Store some bytes under a name, whole or not at all."""

    def delete(self, name: str) -> None:
        """Remove a file, for good; that it is gone already is no matter."""

    def clear(self, prefix: str) -> int:
        """Remove all below a prefix for good, also what was cut short, and prove it; return how many bytes went."""

    def sweep(self, prefix: str = "") -> None:
        """Remove what a `put` that was cut short left below a prefix; nobody else may put there meanwhile."""

    def stage(self, names: Sequence[str]) -> Sequence[str]:
        """Ask for files to be brought where they can be read; return those that are not there yet."""


def cleared(place: Place, prefix: str) -> int:
    """Do what `clear` says file by file, an inventory first: an object that is half gone is none."""
    there = list(place.list(prefix))
    for one in sorted(there, key=lambda one: not one.name.removeprefix(prefix).startswith("inventory.json")):
        place.delete(one.name)
    place.sweep(prefix)
    if left := next(iter(place.list(prefix)), None):
        raise PlaceTrouble(f"the place {place.name} still has {left.name}, which was removed: look at it")
    return sum(max(one.size, 0) for one in there)


def swept(place: Place, prefix: str) -> None:
    """Remove the parts of files below a prefix of a place that shows them as files."""
    for one in list(place.list(prefix)):
        if one.name.rpartition("/")[2].startswith(PART):
            place.delete(one.name)


def checked(name: str) -> str:
    """Return a name that stays below the place; raises BadPackage."""
    parts = name.split("/")  # an absolute name begins with an empty part
    if {"", ".", ".."} & set(parts) or "\0" in name or "\\" in name:
        raise BadPackage(f"{name!r} is no name of a file in a place: it leads elsewhere")
    return name


def prefix_of(prefix: str) -> str:
    """Return the beginning of names that stay below the place; raises BadPackage."""
    if prefix.rstrip("/"):
        checked(prefix.removesuffix("/"))
    return prefix.lstrip("/")


def listed(place: str, name: str) -> str:
    """Return a name that a place says it has; raises PlaceTrouble for one that leads elsewhere."""
    try:
        return checked(name)
    except BadPackage:
        said = "which leads elsewhere: somebody else wrote there; look at it, and remove that"
        raise PlaceTrouble(f"the place {place} lists {name!r}, {said}") from None


def refusal(error: OSError) -> str:
    """Return in words why a place refused."""
    return _REASONS.get(error.errno or 0, "") or error.strerror or str(error)


def blocks(source: Path, sha512: str | None = None, told: Told = int) -> Iterator[bytes]:
    """Yield the bytes of a file here; raises Damaged behind the last of them where they have not that SHA-512."""
    digest = hashlib.sha512()
    with disk(source), source.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            if sha512 is not None:
                digest.update(block)
            yield block
            told(len(block))
    if sha512 is not None and digest.hexdigest() != sha512:
        raise Damaged(f"{source} is not what was stored: its SHA-512 is another")


def whole(source: Path, sha512: str | None = None, told: Told = int) -> bytes:
    """Return all that `blocks` yields."""
    return b"".join(blocks(source, sha512, told))
