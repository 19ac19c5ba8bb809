"""Reading what others have made: no link is followed, nothing but plain files is opened, nothing is changed.

Files are read in parallel, each once, whatever the number of digests that are asked of it: hashlib works outside of
Python's lock.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import batched
from pathlib import Path
from typing import Any

from terp.storage.validate.strict import LARGEST, BadText

_BLOCK = 1 << 20  # bytes read at a time: they stay in the cache of the core that hashes them
_BATCH = 10_000  # files handed out at a time

_BLAKE2B = {f"blake2b-{bits}": partial(hashlib.blake2b, digest_size=bits // 8) for bits in (160, 256, 384, 512)}
_NAMES = {name: name for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")}
_NAMES |= {"sha512/256": "sha512_256"} | {f"sha3-{bits}": f"sha3_{bits}" for bits in (224, 256, 384, 512)}
_MAKERS: dict[str, Callable[[], Any]] = {
    **_BLAKE2B,
    **{name: partial(hashlib.new, known, usedforsecurity=False) for name, known in _NAMES.items()},
}


def hex_length(algorithm: str) -> int:
    """Return how many letters a digest has, 0 where the algorithm is not known here."""
    maker = _MAKERS.get(algorithm)
    return 2 * maker().digest_size if maker else 0


def digest_of(algorithm: str, data: bytes) -> str:
    """Return a digest of bytes, in lower-case hex, by an algorithm that is known here."""
    made = _MAKERS[algorithm]()
    made.update(data)
    return str(made.hexdigest())


@dataclass
class Tree:
    """All names below a folder, relative to it, each by what it is; `unreadable` says why."""

    files: dict[str, int] = field(default_factory=dict)  # with their sizes in bytes
    folders: dict[str, int] = field(default_factory=dict)  # with the number of names in each
    links: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)  # pipes, devices, sockets
    unreadable: dict[str, str] = field(default_factory=dict)
    same: list[tuple[str, str]] = field(default_factory=list)  # two names of one file


def look(top: Path) -> Tree:
    """Return what is below a folder, without reading it."""
    tree, left, inodes = Tree(), [""], dict[tuple[int, int], str]()
    while left:
        folder = left.pop()
        try:
            with os.scandir(top / folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            tree.unreadable[folder] = reason(error)
            continue
        if folder:
            tree.folders[folder] = len(found)
        for entry in found:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                left.append(name)
            else:
                _note(tree, inodes, entry, name)
    return tree


def _note(tree: Tree, inodes: dict[tuple[int, int], str], entry: "os.DirEntry[str]", name: str) -> None:
    if entry.is_symlink():
        tree.links.append(name)
    elif not entry.is_file(follow_symlinks=False):
        tree.special.append(name)
    else:
        try:
            about = entry.stat(follow_symlinks=False)
        except OSError as error:
            tree.unreadable[name] = reason(error)
            return
        tree.files[name] = about.st_size
        if about.st_nlink > 1:
            first = inodes.setdefault((about.st_dev, about.st_ino), name)
            tree.same += [(first, name)] if first != name else []


def reason(error: OSError) -> str:
    """Return why something could not be read, in words."""
    return (error.strerror or str(error)).lower()


def open_plain(path: Path) -> int:
    """Open a plain file to read; raise OSError for anything else, at once."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "it is no plain file")
    return descriptor


def read_text(path: Path) -> bytes:
    """Return the bytes of a file that should be a text; raise BadText where it is too large or cannot be read."""
    try:
        with open(open_plain(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST:
                raise BadText(f"has {size:,} bytes, and more than {LARGEST:,} are not read: it can hardly be meant")
            return file.read(size + 1)  # what is asked for is set aside, so no more than there is
    except OSError as error:
        raise BadText(f"cannot be read: {reason(error)}") from None


class Reader:
    """Reads on all processors there are; counts files and bytes that it has read to the end."""

    def __init__(self, threads: int = 0) -> None:
        self.files = self.bytes = 0
        self.threads = threads or _processors()
        self._pool = ThreadPoolExecutor(self.threads)

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def digests(
        self, top: Path, wanted: Mapping[str, Collection[str]], sizes: Mapping[str, int]
    ) -> Iterator[tuple[str, dict[str, str] | str]]:
        """Yield, for each name below a folder, its digests by algorithm in lower-case hex, or why it cannot be read.

        The largest come first, so that no processor is left alone with one of them at the end.
        """
        names = sorted(wanted, key=lambda name: (-sizes[name], name))
        for batch in batched(names, _BATCH):
            for name, found in zip(batch, self._pool.map(lambda n: _hashed(top / n, wanted[n]), batch), strict=True):
                if isinstance(found, dict):
                    self.files, self.bytes = self.files + 1, self.bytes + sizes[name]
                yield name, found


def _hashed(path: Path, algorithms: Collection[str]) -> dict[str, str] | str:
    digests = {name: _MAKERS[name]() for name in algorithms}
    try:
        with open(open_plain(path), "rb", buffering=0) as file:
            buffer = memoryview(bytearray(min(os.fstat(file.fileno()).st_size, _BLOCK) or 1))
            while count := file.readinto(buffer):
                for digest in digests.values():
                    digest.update(buffer[:count])
    except OSError as error:
        return reason(error)
    return {name: digest.hexdigest() for name, digest in digests.items()}


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
