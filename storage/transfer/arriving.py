"""What somebody else made comes in: copied to a hidden folder of our own, hashed on the way, nothing of it believed.

A link is not followed, a name that leads elsewhere is refused, and how much it is was told and held against limits
before the first byte is copied. A ZIP has to store its members as they are: then it holds no more than its own size.
"""

import errno
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from terp.storage import files
from terp.storage.errors import BadPackage, DiskTrouble
from terp.storage.meter import size as readable
from terp.storage.package.packing import check_names
from terp.storage.package.table import MEMBERS, PACKAGE
from terp.storage.transfer.copying import Copied, copy, hashed

FILES, BYTES = 100_000, 1 << 44  # at most, unless more is asked for: 16 TiB
_ROOM = 0.98  # of what is free on a disk that may be filled


@dataclass(frozen=True)
class Limits:
    """How many files, and how many bytes in all, may come in at once."""

    files: int = FILES
    bytes: int = BYTES


@dataclass(frozen=True)
class Arrived:
    """What was copied into `folder`: its files by path, with their digests; folders that hold nothing."""

    folder: Path
    files: dict[str, Copied]
    empty: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Its size."""
        return sum(one.size for one in self.files.values())


def arrive(source: Path, folder: Path, limits: Limits, say: Callable[[str], None]) -> Arrived:
    """Copy a folder, a package or what is in a ZIP into an empty folder; raises BadPackage, DiskTrouble."""
    with files.disk(source):
        about = os.lstat(source)
        if stat.S_ISDIR(about.st_mode):
            return _folder(source, folder, limits, say)
        if not stat.S_ISREG(about.st_mode):
            raise BadPackage(f"{source} is neither a folder nor a file: name what is to be imported itself")
        if source.name.endswith(PACKAGE):
            return _package(source, folder, limits, say)
        with _archive(source) as held:
            return _unpacked(source, held, folder, limits, say)


def _folder(source: Path, folder: Path, limits: Limits, say: Callable[[str], None]) -> Arrived:
    found, empty = dict[str, int](), list[str]()
    for path, size in _walk(source, empty):
        found[path] = size
        _demand_few(source, len(found), limits)
    _demand_fitting(source, found, folder, limits, say)
    copied = {}
    for path in sorted(found):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with _above(source, path) as within:
            copied[path] = copy(Path(target.name), target, within=within)
        if copied[path].size != found[path]:
            raise BadPackage(f"{path!r} in {source} changed while it was copied: import it when nobody writes there")
    return Arrived(folder, copied, tuple(sorted(empty)))


@contextmanager
def _above(source: Path, path: str) -> Iterator[int]:
    """Give the open folder that a file is in; a folder that has become a link since it was seen is not followed."""
    folder = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in PurePosixPath(path).parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise BadPackage(f"{path!r} in {source} became a link while it was copied, and is not followed") from None
        raise
    finally:
        os.close(folder)


def _walk(source: Path, empty: list[str]) -> Iterator[tuple[str, int]]:
    stack = [""]
    while stack:
        path = stack.pop()
        with os.scandir(source / path) as inside:
            there = list(inside)
        if not there and path:
            empty.append(path)
        for one in there:
            name = f"{path}/{one.name}" if path else one.name
            about = one.stat(follow_symlinks=False)
            if stat.S_ISDIR(about.st_mode):
                stack.append(name)
            elif stat.S_ISREG(about.st_mode):
                yield name, about.st_size
            else:
                what = "a link" if one.is_symlink() else "no plain file"
                raise BadPackage(f"{name!r} in {source} is {what}, and is not followed: put the file itself there")


def _package(source: Path, folder: Path, limits: Limits, say: Callable[[str], None]) -> Arrived:
    """A package on its own, with its table where that lies beside it."""
    beside = source.with_name(source.name.removesuffix(PACKAGE) + MEMBERS)
    paths = {one.name: one for one in (source, beside) if one.is_file() and not one.is_symlink()}
    _demand_fitting(source, {name: one.stat().st_size for name, one in paths.items()}, folder, limits, say)
    return Arrived(folder, {name: copy(one, folder / name) for name, one in paths.items()})


@contextmanager
def _archive(source: Path) -> Iterator[zipfile.ZipFile]:
    try:
        held = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise BadPackage(f"{source} is no folder and no ZIP that can be read: {error}") from None
    with held:
        yield held


def _unpacked(source: Path, held: zipfile.ZipFile, folder: Path, limits: Limits, say: Callable[[str], None]) -> Arrived:
    members = [one for one in held.infolist() if not one.is_dir()]
    _demand_few(source, len(members), limits)
    for one in members:
        _demand_plain(source, one)
    if members:
        check_names(one.filename for one in members)
    sizes = {one.filename: one.file_size for one in members}
    if sum(sizes.values()) > source.stat().st_size:
        raise BadPackage(f"{source} says that it holds more than its own size: it is a ZIP bomb, and is not unpacked")
    _demand_fitting(source, sizes, folder, limits, say)
    copied = {}
    for one in members:
        target = folder / one.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            copied[one.filename] = files.write_file(target, partial(_member, held, one))
        except (zipfile.BadZipFile, EOFError, ValueError) as error:
            raise BadPackage(f"{one.filename} in {source} is damaged ({error}): have it sent again") from None
    inside = {one.filename.rstrip("/") for one in held.infolist() if one.is_dir()}
    full = {str(above) for name in copied for above in PurePosixPath(name).parents}
    return Arrived(folder, copied, tuple(sorted(inside - full)))


def _member(held: zipfile.ZipFile, one: zipfile.ZipInfo, out: int) -> Copied:
    with held.open(one) as incoming:
        return hashed(incoming.read, lambda block: files.write_all(out, block))


def _demand_plain(source: Path, one: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(one.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise BadPackage(f"{one.filename!r} in {source} is a link or no plain file, and is not followed")
    if one.flag_bits & 1:
        raise BadPackage(f"{one.filename!r} in {source} is encrypted: an archive keeps nothing that it cannot read")
    if one.compress_type != zipfile.ZIP_STORED or one.compress_size != one.file_size:
        raise BadPackage(
            f"{one.filename!r} in {source} is compressed, so that nobody can say beforehand how much it is: unpack it "
            "yourself and import the folder"
        )


def _demand_few(source: Path, count: int, limits: Limits) -> None:
    if count > limits.files:
        raise BadPackage(f"{source} has more than {limits.files:,} files: if that is meant, say so with --most-files")


def _demand_fitting(
    source: Path, sizes: dict[str, int], folder: Path, limits: Limits, say: Callable[[str], None]
) -> None:
    """Tell how much it is; raise BadPackage where that is nothing or too much, DiskTrouble where there is no room."""
    if not sizes:
        raise BadPackage(f"{source} holds no file: there is nothing to import")
    check_names(sizes)
    total = sum(sizes.values())
    say(f"{source}: {len(sizes):,} files, {readable(total)}")
    if total > limits.bytes:
        raise BadPackage(
            f"{source} is {readable(total)}, more than {readable(limits.bytes)}: if that is meant, say so with "
            "--most-bytes"
        )
    about = os.statvfs(folder)
    if total > about.f_bavail * about.f_frsize * _ROOM:
        raise DiskTrouble(f"{source} is {readable(total)}, and less is free at {folder.parent}: free space first")
