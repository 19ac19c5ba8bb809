"""A folder as a place: another disk, another file system, a mounted share."""

import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate, islice
from pathlib import Path

from terp.storage import files
from terp.storage.errors import BadPackage, PlaceTrouble
from terp.storage.places.place import BLOCK, PART, Stored, Told, blocks, checked, cleared, prefix_of, refusal, swept

_BEHIND = 4096  # bytes that are asked for where a file should be over: it may have grown


class Folder:
    """Files below one folder, which has to be there: a folder that is not mounted is not made anew."""

    kind = "folder"

    def __init__(self, name: str, root: Path) -> None:
        self.name, self.root = name, root

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield the files whose names begin with a prefix, by name; links and what is no file too, of size -1."""
        prefix = prefix_of(prefix)
        top = prefix.rpartition("/")[0]
        with self._answers():
            for name, one in _below(str(self._inside(top)), f"{top}/" if top else ""):
                if name.startswith(prefix):
                    yield Stored(name, one.stat().st_size if one.is_file(follow_symlinks=False) else -1)

    def empty_folders(self, prefix: str = "") -> Iterator[str]:
        """Yield the folders whose names begin with a prefix and in which nothing is."""
        prefix = prefix_of(prefix)
        with self._answers():
            for folder, inner, names in os.walk(self._inside(prefix.rpartition("/")[0])):
                known = Path(folder).relative_to(self.root).as_posix()
                if not inner and not names and known != "." and known.startswith(prefix):
                    yield known

    def read(self, name: str, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a file from an offset, in blocks."""
        at, stop = offset, sys.maxsize if size is None else offset + size
        with self._answers(), _opened(self._path(name)) as (descriptor, there):
            while at < stop:
                step = max(there - at, _BEHIND)  # no more is asked for than is there: memory costs more than the read
                block = os.pread(descriptor, min(BLOCK, stop - at, step), at)
                if not block:
                    return
                at += len(block)
                yield block

    def put(self, name: str, source: Path, sha512: str | None = None, told: Told = int) -> None:
        """Copy a file to a name, synced, and make it seen in one step."""

        def fill(descriptor: int) -> None:
            for block in blocks(source, sha512, told):
                files.write_all(descriptor, block)

        self.made(name, fill)

    def write(self, name: str, data: bytes) -> None:
        """Store some bytes under a name."""
        self.made(name, lambda descriptor: files.write_all(descriptor, data))

    def made[T](self, name: str, write: Callable[[int], T]) -> T:
        """Make a file that `write` fills, by its descriptor, and that is seen when it is whole."""
        path = self._path(name)
        with self._answers():
            files.make_folders(path.parent)
            self._inside(name.rpartition("/")[0])
            fresh = path.with_name(f"{PART}{secrets.token_hex(6)}")
            try:
                result = files.write_file(fresh, write)
                files.rename(fresh, path)
                files.sync_folder(path.parent)
            except FileNotFoundError as error:
                raise PlaceTrouble(f"the place {self.name} went away: {error.filename} is gone; mount it") from error
            finally:
                with suppress(OSError):
                    fresh.unlink()
        return result

    def delete(self, name: str) -> None:
        """Remove a file, and the folders that it leaves empty."""
        path = self._path(name)
        with self._answers():
            with suppress(FileNotFoundError):
                path.unlink()
            for above in path.relative_to(self.root).parents[:-1]:
                with suppress(OSError):
                    (self.root / above).rmdir()
            nearest = next(one for one in path.parents if one.is_dir())
            files.sync_folder(nearest)

    def clear(self, prefix: str) -> int:
        """Remove all below a prefix, and prove it; return how many bytes went."""
        return cleared(self, prefix)

    def sweep(self, prefix: str = "") -> None:
        """Remove the parts of files below a prefix."""
        swept(self, prefix)

    def stage(self, names: Sequence[str]) -> Sequence[str]:
        """Return nothing: all can be read at once."""
        return []

    def _path(self, name: str) -> Path:
        self._inside(checked(name).rpartition("/")[0])
        return self.root / name

    def _inside(self, name: str) -> Path:
        """Return the folder of a name; raises BadPackage where a link leads from it out of the place."""
        way = accumulate(name.split("/"), "{}/{}".format, initial=os.fspath(self.root))
        folder = self.root / name
        if not any(map(os.path.islink, islice(way, 1, None))):
            return folder  # what has no link on its way needs not be resolved, which costs more than a small file
        real, root = os.path.realpath(folder), os.path.realpath(self.root)
        if real != root and not real.startswith(f"{root.rstrip('/')}/"):
            raise BadPackage(f"{folder} leads out of the place {self.name}: remove that link")
        return folder

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Turn what the file system refuses into PlaceTrouble."""
        if not os.path.isdir(self.root):
            raise PlaceTrouble(
                f"the place {self.name} is not there: {self.root} is no folder; mount it, or correct its path"
            )
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            where = error.filename or self.root
            raise PlaceTrouble(f"the place {self.name} refused {where}: {refusal(error)}") from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, int]]:
    """Open what is a file and no link to one; give its descriptor and its size."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        yield descriptor, about.st_size
    finally:
        os.close(descriptor)


def _below(folder: str, name: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield all that is no folder below a folder, by name; names begin with that of the folder."""
    try:
        found = [(one.name + "/" * one.is_dir(follow_symlinks=False), one) for one in os.scandir(folder)]
    except FileNotFoundError:  # a prefix below which there is nothing
        return
    for known, one in sorted(found, key=lambda item: item[0]):
        if known.endswith("/"):
            yield from _below(one.path, name + known)
        else:
            yield name + known, one
