"""Erase what was condemned, and look whether anything of it is left: in the archive, in working folders, in places.

A file counts as one of an object's where it lies below what was condemned, bears its name, or has the size and the
SHA-512 of one of its files, wherever it is. What others have too (the code, the environment, the decision, the
descriptions of formats) and what is too small to say anything of itself does not count.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from terp.storage.archive.custody import slug
from terp.storage.archive.ocfl import place as place_of
from terp.storage.archive.ocfl import sha512_of
from terp.storage.environment import is_lock
from terp.storage.errors import NotStaged
from terp.storage.files import disk, make_folders, rename, sync_folder
from terp.storage.home import Home
from terp.storage.places.place import Place, Stored

OTHERS_TOO = {
    *("flow.py", "source.zip", "inputs.sha256", "changes.diff", "policy.toml", "FORMATS.md"),
    *("LEESMIJ.md", "terp.zip", "0=ocfl_object_1.1"),
}
_SAYS_NOTHING = 64  # bytes below which files of different things are the same
_READ = 64 << 20  # bytes up to which a file in a place is read to be told from another of its size
QUARANTINE, REPAIRS = "quarantine", "repairs"  # in custody: files moved aside, and on their way there
_GOING = Path("extensions", "terp-destroying")
_OBJECTS = re.compile(r"[0-9a-f]{3}/[0-9a-f]{3}/[0-9a-f]{3}/[^/]+")


def _others_too(name: str) -> bool:
    return name in OTHERS_TOO or is_lock(name)


@dataclass(frozen=True)
class Wanted:
    """What an object's files are known by: SHA-512s by size, and the names of those files."""

    digests: Mapping[int, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Mapping[str, Mapping[str, Any]]) -> "Wanted":
        """Take in a specification's files: size and SHA-512 by path."""
        found: dict[int, dict[str, str]] = {}
        for path, about in files.items():
            if not _others_too(path.rpartition("/")[2]) and about["size"] >= _SAYS_NOTHING:
                found.setdefault(about["size"], {})[about["sha512"]] = path
        return cls(found)

    def has(self, path: Path, size: int) -> str:
        """Return the path of the object's file that a file is the same as; "" where it is none."""
        same = self.digests.get(size)
        return same.get(sha512_of(path), "") if same else ""


def walk(root: Path, but: Sequence[str] = (), through: bool = False) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files below a folder, but for some, by their path from it, with what is known of them; no link.

    `through`: but for links to folders in `root` itself, as of a home whose products are on scratch.
    """
    stack = [""]
    while stack:
        folder = stack.pop()
        with disk(root / folder), suppress(FileNotFoundError), os.scandir(root / folder) as found:
            for item in found:
                name = f"{folder}/{item.name}" if folder else item.name
                with suppress(FileNotFoundError):
                    if item.is_dir(follow_symlinks=through and not folder):
                        stack += [] if name in but else [name]
                    elif item.is_file(follow_symlinks=False) and name not in but:
                        yield name, item.stat(follow_symlinks=False)


def object_at(name: str) -> str:
    """Return the folder of the archived object that a file of the archive or of a place belongs to; "" if none."""
    found = _OBJECTS.match(name)
    return found.group() if found else ""


def strays(home: Home, wanted: Wanted, but: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Find the same files elsewhere in a home: those of other archived objects, and all others, each as which file.

    `but` are paths from the home that are not looked at.
    """
    held: dict[str, str] = {}
    found: dict[str, str] = {}
    archive = f"{home.archive.relative_to(home.root).as_posix()}/"
    for name, about in walk(home.root, [*but, *records(home)], through=True):
        with disk(name), suppress(FileNotFoundError):
            if same := wanted.has(home.root / name, about.st_size):
                within = object_at(name.removeprefix(archive)) if name.startswith(archive) else ""
                (held if within else found)[within or name] = same
    return held, found


def records(home: Home) -> list[str]:
    """Return what custody keeps of objects, by its path from the home: records, and not what was moved aside."""
    with disk(home.custody):
        kept = home.custody.iterdir() if home.custody.is_dir() else ()
        return [one.relative_to(home.root).as_posix() for one in kept if one.name not in (QUARANTINE, REPAIRS)]


def aside(home: Home, identifier: str) -> Path:
    """Return where repairs have moved files to that were in an object and not of it (terp.storage.repair)."""
    return home.custody / QUARANTINE / slug(identifier)


# in the archive


def withdraw(archive: Path, identifier: str) -> None:
    """Take an object out of an archive in one step, and remove it; whatever was done before is gone on with."""
    home, going = archive / place_of(identifier), archive / _GOING / slug(identifier)
    with disk(home):
        if home.is_dir():
            make_folders(going.parent)
            shutil.rmtree(going, ignore_errors=True)  # a former one of that name: no destruction leaves two
            rename(home, going)
            sync_folder(going.parent)
            sync_folder(home.parent)
        _remove_tree(going)
        for empty in (*home.parents[:3], going.parent):
            with suppress(OSError):
                empty.rmdir()
                sync_folder(empty.parent)


def remove(path: Path) -> None:
    """Remove a folder or a file; a folder is first renamed, so that it is never seen half removed."""
    with disk(path):
        going = path.with_name(f".going-{path.name}")
        if path.is_dir() and not path.is_symlink():
            _remove_tree(going)
            rename(path, going)
        else:
            path.unlink(missing_ok=True)
        _remove_tree(going)
        if path.parent.is_dir():
            sync_folder(path.parent)


def _remove_tree(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
        sync_folder(folder.parent)


# in places


def files_at(place: Place, identifier: str) -> Iterator[Stored]:
    """Yield the files of an object in a place: it lies there as it does in the archive."""
    yield from place.list(f"{place_of(identifier).as_posix()}/")


def remove_at(place: Place, identifier: str) -> None:
    """Remove all files of an object from a place, first those without which it is no object."""
    place.clear(f"{place_of(identifier).as_posix()}/")


def left_at(place: Place, identifier: str, wanted: Wanted) -> tuple[int, list[str]]:
    """Look at all files in a place; return how many there are, and which of them are still the object's."""
    count, left = 0, []
    name_of = place_of(identifier).name
    for one in place.list():
        count += 1
        if name_of in one.name.split("/"):
            left.append(f"{one.name} in the place {place.name}")
        elif one.size in wanted.digests and not object_at(one.name) and (same := _same(place, one, wanted)):
            left.append(f"{one.name} in the place {place.name}, which is {same}")
    return count, left


def _same(place: Place, one: Stored, wanted: Wanted) -> str:
    """Return the object's file that one in a place is; one that is large or on tape is told by name and size."""
    known = wanted.digests[one.size]
    by_name = next((path for path in known.values() if path.rpartition("/")[2] == one.name.rpartition("/")[2]), "")
    if one.size > _READ:
        return by_name
    digest = hashlib.sha512()
    try:
        for block in place.read(one.name):
            digest.update(block)
    except FileNotFoundError:
        return ""
    except NotStaged:
        return by_name
    return known.get(digest.hexdigest(), "")
