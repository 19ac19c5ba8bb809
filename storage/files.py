"""Files that are really there: written whole, synced, and made visible in one step.

File systems lie (late visibility, failing sync, repeated renames reported as failed); every promise that terp
makes about bytes on disk goes through this module.
"""

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from terp.storage.errors import DiskTrouble

PATIENCE = 30.0  # seconds a network file system may take to show what another node has written

_REASONS = {
    errno.ENOSPC: "the disk is full: free space or choose another TERP_HOME, then do the same again",
    errno.EDQUOT: "your quota is used up: free space or choose another TERP_HOME, then do the same again",
    errno.EFBIG: "the file would be larger than is allowed here (see `ulimit -f`)",
    errno.EIO: "the disk reports an input/output error: check it, then do the same again",
    errno.EROFS: "the file system is read-only: choose another TERP_HOME",
    errno.EACCES: "you may not read or write there: choose another TERP_HOME or ask its owner",
    errno.EPERM: "you may not read or write there: choose another TERP_HOME or ask its owner",
    errno.ENOTDIR: "a file stands where a folder should be: move it, or choose another TERP_HOME",
}


def trouble(error: OSError) -> str:
    """Return what is wrong with the disk and what a person can do, or "" where it is not the disk."""
    return _REASONS.get(error.errno or 0, "")


@contextmanager
def disk(path: Path | str) -> Iterator[None]:
    """Turn an OSError on `path` into a DiskTrouble that says what to do."""
    try:
        yield
    except OSError as error:
        reason = trouble(error) or f"{error.strerror or error}"
        raise DiskTrouble(f"{error.filename or path}: {reason}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable that something else has written."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path) -> None:
    """Make a folder and its parents, each made durable in its own parent."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
    sync_folder(folder.parent)


def write_new(path: Path, data: bytes) -> None:
    """Write and sync a file that must not be there yet; nothing is left of it on failure."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def replace(path: Path, data: bytes) -> None:
    """Put whole new content at `path` in one step, durably."""
    with disk(path):
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        write_new(fresh, data)
        _settle(lambda: fresh.replace(path), fresh, path)
        sync_folder(path.parent)


def publish(fresh: Path, final: Path, still_mine: Callable[[], None]) -> None:
    """Make a synced file visible as `final`; never silently over another's file.

    A hard link fails where something stands already. That can only be an unrecorded leftover, and it is replaced
    after `still_mine` has said once more (by not raising) that the caller may.
    """
    try:
        os.link(fresh, final)
    except FileExistsError:
        if not final.samefile(fresh):  # a network file system may repeat a link that had worked
            still_mine()
            _settle(lambda: fresh.replace(final), fresh, final)
            return
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV):
            raise
        _settle(lambda: fresh.replace(final), fresh, final)  # no hard links on this file system
        return
    with suppress(FileNotFoundError):
        fresh.unlink()


def _settle(rename: Callable[[], object], fresh: Path, final: Path) -> None:
    """Rename; a failure reported for a rename that did happen (NFS retransmission) is no failure."""
    before = fresh.stat()
    try:
        rename()
    except OSError:
        if fresh.exists() or not final.exists() or final.stat().st_ino != before.st_ino:
            raise


def await_file(path: Path, size: int | None = None, patience: float = PATIENCE) -> None:
    """Wait until a file that another node wrote can be seen here, with its whole size.

    Raises FileNotFoundError when it stays unseen for `patience` seconds.
    """
    deadline, pause = time.monotonic() + patience, 0.01
    while True:
        with suppress(FileNotFoundError):
            found = path.stat().st_size
            if size is None or found == size:
                return
        if time.monotonic() > deadline:
            raise FileNotFoundError(errno.ENOENT, "not visible as it was written", str(path))
        with suppress(OSError):
            os.listdir(path.parent)  # makes NFS look again
        time.sleep(pause)
        pause = min(pause * 2, 1.0)
