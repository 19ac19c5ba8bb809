"""A folder as a place: another disk, another file system, a mounted share."""

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from terp.storage import files
from terp.storage.errors import BadPackage, PlaceTrouble
from terp.storage.places.place import BLOCK, Stored, checked

_PART = ".terp-part-"


class Folder:
    """Files below one folder, which has to be there: a folder that is not mounted is not made anew."""

    kind = "folder"

    def __init__(self, name: str, root: Path) -> None:
        self.name, self.root = name, root

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield the files whose names begin with a prefix, by name; links and what is no file too, of size -1."""
        with self._answers():
            top = self.root / prefix if prefix and (self.root / prefix).is_dir() else self.root
            for folder, inner, names in os.walk(top, onerror=_raise):
                inner.sort()
                for name in sorted([*names, *(one for one in inner if (Path(folder) / one).is_symlink())]):
                    path = Path(folder, name)
                    known = path.relative_to(self.root).as_posix()
                    if known.startswith(prefix):
                        yield Stored(known, path.stat().st_size if path.is_file() and not path.is_symlink() else -1)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a file from an offset, in blocks."""
        left = size
        with self._answers(), self._path(name).open("rb", buffering=0) as file:
            file.seek(offset)
            while left is None or left:
                block = file.read(BLOCK if left is None else min(BLOCK, left))
                if not block:
                    return
                left = left if left is None else left - len(block)
                yield block

    def put(self, name: str, source: Path) -> None:
        """Copy a file to a name, synced, and make it seen in one step."""
        self._made(name, _copy(source))

    def write(self, name: str, data: bytes) -> None:
        """Store some bytes under a name."""
        self._made(name, lambda descriptor: files.write_all(descriptor, data))

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

    def stage(self, names: Sequence[str]) -> Sequence[str]:
        """Return nothing: all can be read at once."""
        return []

    def _made(self, name: str, write: Callable[[int], None]) -> None:
        path = self._path(name)
        with self._answers():
            files.make_folders(path.parent)
            if not path.parent.resolve().is_relative_to(self.root.resolve()):
                raise BadPackage(f"{path.parent} leads out of the place {self.name}: remove that link")
            fresh = path.with_name(f"{_PART}{secrets.token_hex(6)}")
            try:
                files.write_file(fresh, write)
                files.rename(fresh, path)
                files.sync_folder(path.parent)
            finally:
                with suppress(OSError):
                    fresh.unlink()

    def _path(self, name: str) -> Path:
        return self.root / checked(name)

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Turn what the file system refuses into PlaceTrouble."""
        if not self.root.is_dir():
            raise PlaceTrouble(
                f"the place {self.name} is not there: {self.root} is no folder; mount it, or correct its path"
            )
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            said = files.trouble(error) or error.strerror or str(error)
            raise PlaceTrouble(f"the place {self.name} refused {error.filename or self.root}: {said}") from error


def _copy(source: Path) -> Callable[[int], None]:
    def write(descriptor: int) -> None:
        with source.open("rb", buffering=0) as file:
            while block := file.read(BLOCK):
                files.write_all(descriptor, block)

    return write


def _raise(error: OSError) -> None:
    raise error
