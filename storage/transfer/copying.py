"""Copy a file and hash it, reading each byte once."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terp.storage import files
from terp.storage.archive.ocfl import link
from terp.storage.errors import Damaged

_BLOCK = 4 << 20
_INLINE = 1 << 16  # bytes below which handing over to a thread costs more than hashing
_BOTH = ("sha256", "sha512")

Read = Callable[[int], bytes]  # up to so many bytes of something, none at its end


@dataclass(frozen=True)
class Copied:
    """What was copied: its size in bytes, and its digests in hexadecimal by the names that hashlib gives them."""

    size: int
    digests: dict[str, str]

    @property
    def sha256(self) -> str:
        """Its SHA-256."""
        return self.digests["sha256"]

    @property
    def sha512(self) -> str:
        """Its SHA-512."""
        return self.digests["sha512"]


def copy(
    source: Path,
    target: Path,
    *,
    linked: bool = False,
    sha512: str = "",
    algorithms: Sequence[str] = _BOTH,
    within: int | None = None,
) -> Copied:
    """Copy a file to where none is, synced, or hard-link it where the file system can; return its digests.

    A link at `source` is not followed; it is sought in the open folder `within`, if one is given. Raises
    Damaged where it has not the SHA-512 it should have, OSError.
    """
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        if linked and link(source, target):
            found = hashed(lambda size: os.read(descriptor, size), lambda _: None, algorithms)
        else:
            found = files.write_file(target, lambda out: _copied(descriptor, out, algorithms))
    finally:
        os.close(descriptor)
    if sha512 and found.sha512 != sha512:
        raise Damaged(f"{source} has not the SHA-512 that was recorded: `terp verify` it, and restore it from a copy")
    return found


def _copied(source: int, target: int, algorithms: Sequence[str]) -> Copied:
    os.lseek(source, 0, os.SEEK_SET)  # it may be tried again
    return hashed(lambda size: os.read(source, size), lambda block: files.write_all(target, block), algorithms)


def hashed(read: Read, take: Callable[[bytes], None], algorithms: Sequence[str] = _BOTH) -> Copied:
    """Give all that `read` returns to `take`, hashed on other threads while it is taken and the next block read."""
    digests: dict[str, Any] = {name: hashlib.new(name) for name in algorithms}
    size, hashing = 0, list[Future[None]]()
    with ThreadPoolExecutor(max(len(digests), 1)) as threads:
        for block in iter(lambda: read(_BLOCK), b""):
            for left in hashing:
                left.result()
            hashing = []
            for digest in digests.values():
                if len(block) < _INLINE:
                    digest.update(block)
                else:
                    hashing.append(threads.submit(digest.update, block))
            take(block)
            size += len(block)
        for left in hashing:
            left.result()
    return Copied(size, {name: digest.hexdigest() for name, digest in digests.items()})
