"""Files that are really there: written whole, synced, and made visible in one step.

File systems lie (late visibility, failing sync, repeated renames reported as failed); every promise that terp
makes about bytes on disk goes through this module.
"""

import errno
import os
import secrets
import time
from collections.abc import Buffer, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from terp.storage.errors import DiskTrouble
from terp.storage.syncing import at_once

PATIENCE = 30.0  # seconds a network file system may take to show what another node has written
GLANCE = 2.0  # seconds for a second look at what should have been there for long
_SYNC_TRIES = 3
_UNLINKABLE = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)  # no hard links here

_REASONS = {
    errno.ENOSPC: "the disk is full: free space or choose another TERP_HOME, then do the same again",
    errno.EDQUOT: "your quota is used up: free space or choose another TERP_HOME, then do the same again",
    errno.EFBIG: "the file would be larger than is allowed here (see `ulimit -f`)",
    errno.EIO: "the disk reports an input/output error: check it, then do the same again",
    errno.EROFS: "the file system is read-only: choose another TERP_HOME",
    errno.EACCES: "you may not read or write there: choose another TERP_HOME or ask its owner",
    errno.EPERM: "you may not read or write there: choose another TERP_HOME or ask its owner",
    errno.EISDIR: "a folder stands where a file should be: move it, then do the same again",
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
        raise DiskTrouble(f"{error.filename2 or error.filename or path}: {reason}") from error


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


def write_file[T](
    path: Path, write: Callable[[int], T], mode: int = 0o666, sync: Callable[[int, Path], None] = at_once
) -> T:
    """Make a file that must not be there yet, let `write` fill its descriptor, sync it; return what `write` returned.

    An error of sync says nothing about what reached the disk: the file is thrown away and written again, a few times.
    Raises OSError when that fails too; nothing is left then.
    """
    for left in reversed(range(_SYNC_TRIES)):
        try:
            return _write_once(path, write, mode, sync)
        except OSError as error:
            if error.errno != errno.EIO or not left:
                raise
    raise AssertionError("unreachable")


def _write_once[T](path: Path, write: Callable[[int], T], mode: int, sync: Callable[[int, Path], None]) -> T:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        try:
            result = write(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        sync(descriptor, path)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
    return result


def write_all(descriptor: int, data: Buffer) -> None:
    """Write all of it, however little the system takes at a time."""
    view = memoryview(data).cast("B")
    while view:
        written = os.write(descriptor, view)
        if not written:
            raise OSError(errno.EIO, "the disk takes no more and does not say why")
        view = view[written:]


def read_at(descriptor: int, start: int, length: int) -> bytes:
    """Return so many bytes of a file, however few the system gives at a time; fewer only where the file ends."""
    parts, left = list[bytes](), length
    while left and (part := os.pread(descriptor, left, start + length - left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def read_file(path: Path) -> bytes:
    """Return the bytes of a file; raises FileNotFoundError, and DiskTrouble for all else."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError:
        with disk(path):
            raise


def write_new(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write and sync a file that must not be there yet; nothing is left of it on failure."""
    write_file(path, lambda descriptor: write_all(descriptor, data), mode)


def replace(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Put whole new content at `path` in one step, durably; its mode is less what the umask takes."""
    with disk(path):
        fresh = _beside(path)
        write_new(fresh, data, mode)
        try:
            rename(fresh, path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def create_once(path: Path, data: bytes) -> None:
    """Make a file that is never seen without its content; raises FileExistsError where another has been made.

    Its name is not yet durable.
    """
    fresh = _beside(path)
    write_new(fresh, data)
    try:
        _link(fresh, path)
    except OSError as error:
        if error.errno not in _UNLINKABLE:
            raise
        write_new(path, data)
    finally:
        with suppress(OSError):
            fresh.unlink()


def publish(fresh: Path, final: Path, still_mine: Callable[[], None]) -> None:
    """Make a synced file visible as `final`; never silently over another's file.

    A hard link fails where something stands already. That can only be an unrecorded leftover, and it is replaced
    after `still_mine` has said once more (by not raising) that the caller may.
    """
    try:
        _link(fresh, final)
    except OSError as error:
        still_mine()
        if error.errno not in (errno.EEXIST, *_UNLINKABLE):
            raise
        rename(fresh, final)
    fresh.unlink(missing_ok=True)


def forget(paths: Iterable[Path]) -> None:
    """Remove files that nobody wants; what cannot be removed goes with its folder."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def rename(old: Path, new: Path) -> None:
    """Rename; a failure reported for what did happen (a network file system repeats requests) is no failure."""
    _told(lambda: old.replace(new), old, new)


def move(old: Path, new: Path) -> None:
    """Move a file into another folder, durably; the folder is made."""
    make_folders(new.parent)
    rename(old, new)
    sync_folder(new.parent)
    sync_folder(old.parent)


def _link(old: Path, new: Path) -> None:
    _told(lambda: os.link(old, new), old, new)


def _told(operation: Callable[[], object], old: Path, new: Path) -> None:
    file = old.stat()
    try:
        operation()
    except OSError:
        if not (new.exists() and os.path.samestat(new.stat(), file)):
            raise


def patiently[T](look: Callable[[], T], unready: type[Exception], patience: float = PATIENCE) -> T:
    """Return what `look` returns, looking again for `patience` seconds while it raises `unready`."""
    deadline, pause = time.monotonic() + patience, 0.01
    while True:
        try:
            return look()
        except unready:
            if time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 2, 1.0)


def await_file(path: Path, size: int | None = None, patience: float = PATIENCE) -> None:
    """Wait until a file that another node wrote can be seen here, with its whole size.

    Raises FileNotFoundError when it stays unseen for `patience` seconds.
    """
    patiently(lambda: _see(path, size), FileNotFoundError, patience)


def _see(path: Path, size: int | None) -> None:
    with suppress(FileNotFoundError):
        found = path.stat().st_size
        if size is None or found == size:
            return
    with suppress(OSError):
        os.listdir(path.parent)  # makes NFS look again
    raise FileNotFoundError(errno.ENOENT, "not visible as it was written", str(path))


def sizes_below(root: Path, folder: str = "", but: Collection[str] = ()) -> Iterator[tuple[str, int]]:
    """Walk the files below a folder of `root`, but for those below some, by their path from `root`, with their sizes.

    Raises DiskTrouble.
    """
    stack = [folder]
    while stack:
        path = stack.pop()
        start = f"{path}/" if path else ""
        with disk(root / path), suppress(FileNotFoundError, NotADirectoryError), os.scandir(root / path) as found:
            for item in found:
                name = start + item.name
                if item.is_dir(follow_symlinks=False):
                    stack += [name] if name not in but else []
                    continue
                try:
                    size = item.stat(follow_symlinks=False).st_size
                except FileNotFoundError:  # of this one, not of those that follow
                    continue
                yield name, size
