"""New files reach the disk: each by itself, or many small ones together.

A disk that keeps a journal, and one that is asked over a network, take many files in little more time than one.
"""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

_MOST_BYTES = 8 << 20  # that wait for the disk: more is worth a sync of its own
_MOST_FILES = 64  # that are open meanwhile: few of what a process may have


def begin_sync(descriptor: int, start: int, length: int) -> None:
    """Have the system begin to write a part of a file to the disk, while more of it is made; nothing is promised.

    It sees no error and hides none from the sync that follows (Linux, sync_file_range(2)).
    """
    begin = _sync_file_range()
    if begin is not None:
        begin(descriptor, start, length, 2)  # SYNC_FILE_RANGE_WRITE


@cache
def _sync_file_range() -> Any:
    try:
        begin = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError):
        return None
    begin.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return begin


class Waiting:
    """New files of a thread that are written and open, and not synced yet."""

    def __init__(self) -> None:
        self._open: list[int] = []
        self._paths: list[Path] = []
        self._bytes = 0

    def take(self, descriptor: int, path: Path) -> bool:
        """Keep one more, and close it in the end; or say that these are as many as should wait."""
        size = os.fstat(descriptor).st_size
        if self._bytes + size > _MOST_BYTES or len(self._open) >= _MOST_FILES:
            return False
        begin_sync(descriptor, 0, size)
        self._paths.append(path)
        self._open.append(descriptor)
        self._bytes += size
        return True

    def sync(self) -> None:
        """Make all of them durable, and close them; raises OSError."""
        for descriptor in self._open:
            os.fsync(descriptor)
        while self._open:
            os.close(self._open.pop())
        self._paths.clear()

    def forget(self) -> None:
        """Close and remove those that are not known to be durable."""
        for descriptor in self._open:
            with suppress(OSError):
                os.close(descriptor)
        for path in self._paths:
            with suppress(OSError):
                path.unlink()


class _Thread(threading.local):
    """What each thread has put off, if it does so."""

    waiting: Waiting | None = None


_thread = _Thread()


def at_once(descriptor: int, path: Path) -> None:  # noqa: ARG001 (as a way to sync has it)
    """Make a new file durable, and close it."""
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def in_the_end(descriptor: int, path: Path) -> None:
    """Do so when all are that this thread has `put_off`; at once where it has not, or has many."""
    taken = False
    try:
        taken = _thread.waiting is not None and _thread.waiting.take(descriptor, path)
    finally:
        if not taken:
            at_once(descriptor, path)


@contextmanager
def put_off() -> Iterator[Waiting]:
    """Let this thread's new files that may be synced `in_the_end` wait until who does this syncs them.

    Those that are not synced when it is over, or raises, are removed.
    """
    waiting = _thread.waiting = Waiting()
    try:
        yield waiting
    finally:
        _thread.waiting = None
        waiting.forget()
