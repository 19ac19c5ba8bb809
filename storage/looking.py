"""Look at the files of a product: which there are, of what size, and whether one is what was recorded."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import batched
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from blake3 import blake3

from terp.storage.files import read_at, sizes_below
from terp.storage.grid import Array, Group
from terp.storage.shard import INDEX_CRC_BYTES

Sizes = np.ndarray[Any, Any]

_AT_ONCE = 1024  # names of files that are taken apart at a time


def sizes_found(data: Path, groups: Sequence[Group]) -> tuple[dict[str, Sizes], dict[str, int]]:
    """Return the sizes in bytes of the shards by group, (regions, arrays), and of all other files by their Zarr key.

    A shard that is not there has -1. Memory is 8 bytes a shard, and the names of what is no shard. Raises DiskTrouble.
    """
    found = {group.path: np.full((group.regions, len(group.arrays)), -1, np.int64) for group in groups}
    homes = {f"{group.home(array)}/c" for group in groups for array in group.arrays if array.dims}
    others = dict(sizes_below(data, but=homes))
    for group in groups:
        for column, array in enumerate(group.arrays):
            for some in batched(_files_of(data, group.home(array), others), _AT_ONCE):
                _sort_in(some, group, array, found[group.path][:, column], others)
    return found, others


def _files_of(data: Path, home: str, others: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Walk what may be shards of an array; that of one without dimensions has been found among the others."""
    yield from sizes_below(data, f"{home}/c")
    if (key := f"{home}/c") in others:
        yield key, others.pop(key)


def _sort_in(
    some: Sequence[tuple[str, int]], group: Group, array: Array, column: Sizes, others: dict[str, int]
) -> None:
    """Put the sizes of some files into an array's column, and what is no shard of it to the others."""
    regions = group.regions_of(array, [key for key, _ in some])
    sizes = np.fromiter((size for _, size in some), np.int64, len(some))
    column[regions[regions >= 0]] = sizes[regions >= 0]
    others.update(some[number] for number in np.flatnonzero(regions < 0))


class _Block(threading.local):
    """Memory of a thread to read into: to touch new memory costs as much as to read it."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(4 << 20))


_block = _Block()


def check_file(path: Path | str, size: int, digest: str) -> str | None:
    """Read a file whole and hold it against its size and BLAKE3; return what is wrong with it, or None."""
    return _looked(path, size, lambda descriptor: _blake3(descriptor, size) == digest)


def check_shard(path: Path | str, size: int, tag: bytes, chunks: int) -> str | None:
    """Hold a shard of so many chunks against its size, tag and index; return what is wrong with it, or None."""
    index = 16 * chunks + INDEX_CRC_BYTES

    def is_that(descriptor: int) -> bool:
        table = read_at(descriptor, size - index, index)
        crc = int.from_bytes(table[-INDEX_CRC_BYTES:], "little")
        return read_at(descriptor, 0, len(tag)) == tag and google_crc32c.value(table[:-INDEX_CRC_BYTES]) == crc

    return _looked(path, size, is_that)


def _looked(path: Path | str, size: int, is_that: Callable[[int], bool]) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor).st_size
            if found != size:
                return f"has {found} bytes where {size} were recorded"
            return None if is_that(descriptor) else "has other bytes than were recorded"
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return "is gone"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _blake3(descriptor: int, size: int) -> str:
    if size > len(_block.memory):
        with suppress(AttributeError, OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    made, left = blake3(), size
    while left > 0 and (count := os.readv(descriptor, [_block.memory[:left]])):
        made.update(_block.memory[:count])
        left -= count
    return made.hexdigest()
