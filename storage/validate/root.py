"""An OCFL storage root, 1.0 or 1.1 (section 4): every object in it, and nothing else."""

import os
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from terp.storage.validate.findings import ASK_MAKER, LET_IN, RESTORE, TAKE_OUT, Findings, shown
from terp.storage.validate.ocfl import REGISTERED, check_object, extensions
from terp.storage.validate.reading import Reader, digest_of, hex_length, look, read_text, reason
from terp.storage.validate.strict import BadText, parse

MARK = re.compile(r"0=ocfl_(1\.[01])")
_LAYOUT = "ocfl_layout.json"
_TUPLES: dict[str, Any] = {"digestAlgorithm": "sha256", "tupleSize": 3, "numberOfTuples": 3}


def check_root(home: Path, found: Findings, reader: Reader) -> int:
    """Validate a storage root and read all of its objects; return how many there are."""
    declared = _declaration(home, found)
    place = _layout(home, found)
    _extensions(home, found)
    where: dict[str, str] = {}
    number = 0
    for folder in _objects(home, found):
        number += 1
        one = check_object(home / folder, found.below(folder), reader)
        if declared and one.declared > declared:
            what = f"is an object of OCFL {one.declared} in a storage root of {declared}"
            found.error("E081", folder, what, ASK_MAKER)
        said = one.believed[0].said if one.believed else None
        if not said or not said.id:
            continue
        if said.id in where:
            what = f"has the identifier {shown(said.id)}, as the object in {shown(where[said.id])} has"
            found.error("E037", folder, what, "keep the one that is right, and take the other out of there")
        where.setdefault(said.id, folder)
        if place and (wanted := place(said.id)) != folder:
            what = f"has the identifier {shown(said.id)}, whose place is {shown(wanted)}"
            found.error("E083", folder, what, "move it there, or restore the object that belongs here")
    return number


def _declaration(home: Path, found: Findings) -> str:
    names = sorted(path.name for path in home.glob("0=*"))
    if len(names) != 1:
        what = f"holds {len(names)} declarations" if names else "lacks a declaration"
        found.error("E076" if names else "E069", "", f"{what} that it is an OCFL storage root", RESTORE)
    for name in names:
        match = MARK.fullmatch(name)
        if not match:
            found.error("E079", name, "declares no storage root of OCFL 1.0 or 1.1", RESTORE)
            continue
        try:
            if read_text(home / name) != f"{name[2:]}\n".encode():
                found.error("E080", name, "is altered: it holds what its name says, and a line end", RESTORE)
        except BadText as bad:
            found.error("E080", name, str(bad), RESTORE)
        return match[1]
    return ""


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _extensions(home: Path, found: Findings) -> None:
    if not _is_folder(home / "extensions"):
        return
    tree = look(home / "extensions")
    tree.files = {f"extensions/{name}": size for name, size in tree.files.items()}
    tree.folders = {f"extensions/{name}": count for name, count in tree.folders.items()}
    extensions(tree, found, "E112", "W016")
    for name in tree.links:
        found.error("E090", f"extensions/{name}", "is a symbolic link, and is not followed", TAKE_OUT)


def _objects(home: Path, found: Findings) -> Iterator[str]:
    """Yield the folders of objects; name what is in none."""
    left = [""]
    while left:
        folder = left.pop()
        try:
            with os.scandir(home / folder) as entries:
                names = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            found.error("E072", folder, f"cannot be read: {reason(error)}", LET_IN)
            continue
        if folder and any(entry.name.startswith("0=ocfl_object_") for entry in names):
            yield folder
            continue
        if folder and not names:
            found.error("E073", folder, "is an empty folder", TAKE_OUT)
        inside = [entry for entry in names if entry.is_dir(follow_symlinks=False)]
        for entry in names:
            _stray(entry, folder, bool(inside), found)
        below = [f"{folder}/{entry.name}" if folder else entry.name for entry in inside]
        left += reversed([name for name in below if name != "extensions"])


def _stray(entry: "os.DirEntry[str]", folder: str, branches: bool, found: Findings) -> None:
    """Name what is in a folder of the hierarchy and is no folder; files at the top are nobody's business (E087)."""
    name = f"{folder}/{entry.name}" if folder else entry.name
    if entry.is_symlink():
        found.error("E090", name, "is a symbolic link, and is not followed", TAKE_OUT)
    elif entry.is_dir(follow_symlinks=False) or (not folder and entry.is_file(follow_symlinks=False)):
        return
    elif not entry.is_file(follow_symlinks=False):
        found.error("E089", name, "is neither a file nor a folder, and is not opened", TAKE_OUT)
    elif branches:
        found.error("E084", name, "is a file of no object", TAKE_OUT)
    else:
        what = "is a file of no object: there is no declaration of an object beside it"
        found.error("E072", name, what, "restore the object from a copy, or take the file out of there")


# layouts


class _Layout:
    """Where objects are by their identifier: the extensions 0002, 0003 and 0004."""

    def __init__(self, extension: str, config: dict[str, Any]) -> None:
        said = _TUPLES | config
        self._flat = extension.startswith("0002")
        self._named = extension.startswith("0003")
        self._short = config.get("shortObjectRoot") is True
        self._algorithm, self._size, self._count = (
            str(said["digestAlgorithm"]),
            said["tupleSize"],
            said["numberOfTuples"],
        )
        tuples = (self._size, self._count)
        if not all(type(one) is int and 0 <= one <= 32 for one in tuples) or not hex_length(self._algorithm):
            raise ValueError("tuples or digests of no use")

    def __call__(self, identifier: str) -> str:
        if self._flat:
            return identifier
        digest = digest_of(self._algorithm, identifier.encode())
        tuples = [digest[self._size * at : self._size * (at + 1)] for at in range(self._count)]
        last = digest[self._size * self._count :] if self._short else digest
        return "/".join([*tuples, _encoded(identifier, digest) if self._named else last])


def _encoded(identifier: str, digest: str) -> str:
    plain = set(string.ascii_letters + string.digits + "-_")
    letters = (chr(byte) if chr(byte) in plain else f"%{byte:02x}" for byte in identifier.encode())
    name = "".join(letters)
    return name if len(name) <= 100 else f"{name[:100]}-{digest}"


def _layout(home: Path, found: Findings) -> _Layout | None:
    """Return how objects are placed, where the root says it and it is known here."""
    if not os.path.lexists(home / _LAYOUT):
        return None
    try:
        said = parse(read_text(home / _LAYOUT))
    except BadText as bad:
        found.error("E070", _LAYOUT, str(bad), RESTORE)
        return None
    words = [said.get(key) for key in ("extension", "description")] if isinstance(said, dict) else []
    if not words or not all(isinstance(word, str) for word in words):
        found.error("E070", _LAYOUT, "does not say both extension and description", RESTORE)
        return None
    extension: str = said["extension"]
    if extension not in REGISTERED:
        found.error("E071", _LAYOUT, f"names {shown(extension)}, which is no registered extension", ASK_MAKER)
        return None
    if not extension.startswith(("0002", "0003", "0004")):
        return None
    return _configured(home, extension, found)


def _configured(home: Path, extension: str, found: Findings) -> _Layout | None:
    name = f"extensions/{extension}/config.json"
    try:
        folders = (home / "extensions", home / "extensions" / extension)
        config = parse(read_text(home / name)) if all(map(_is_folder, folders)) and (home / name).exists() else {}
        return _Layout(extension, config if isinstance(config, dict) else {})
    except (BadText, ValueError, TypeError, KeyError) as bad:
        what = "cannot be read as the parameters of the layout"
        found.error("E071", name, f"{what}: it {bad}" if isinstance(bad, BadText) else what, RESTORE)
        return None
