"""The parts of an OCFL object on disk (https://ocfl.io/1.1/spec/): where it is, its inventories, and how it appears.

The newest sound inventory of an object is the truth, wherever it lies; the one at the top of the object follows it.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from errno import EEXIST, ENOTEMPTY
from pathlib import Path
from string import ascii_letters, digits
from typing import Any
from urllib.parse import unquote

from terp.storage.errors import BadPackage, Damaged
from terp.storage.files import await_file, disk, sync_folder, write_new

OBJECT, ROOT = "ocfl_object_1.1", "ocfl_1.1"
MARK = f"0={ROOT}"  # the file that makes a folder a storage root
_INVENTORY, _SIDECAR = "inventory.json", "inventory.json.sha512"
_BLOCK = 4 << 20


class Raced(Exception):
    """Another process made the same object or version first."""


def place(identifier: str) -> Path:
    """Return where an object is, relative to the archive (OCFL extension 0003, default parameters)."""
    digest = hashlib.sha256(identifier.encode()).hexdigest()
    safe = ascii_letters + digits + "-_"
    name = "".join(c if c in safe else "".join(f"%{byte:02x}" for byte in c.encode()) for c in identifier)
    return Path(digest[:3], digest[3:6], digest[6:9], name if len(name) <= 100 else f"{name[:100]}-{digest}")


# inventories


def newest(home: Path) -> tuple[dict[str, Any], bytes]:
    """Return the newest sound inventory of an object, and its bytes."""
    top, numbers = sound(home), _versions(home)
    if top and numbers and number_of(top[0]) == numbers[0]:
        return top  # as nearly all are: that of the version says the same, and need not be read
    folders = (home / f"v{number}" for number in numbers)
    found = [one for one in (top, next(filter(None, map(sound, folders)), None)) if one]
    if not found:
        raise BadPackage(f"{home} has no inventory that fits its checksum; restore the object from another copy")
    return max(found, key=lambda one: number_of(one[0]))


def sound(folder: Path) -> tuple[dict[str, Any], bytes] | None:
    """Return the inventory in a folder if its sidecar agrees with it."""
    with suppress(FileNotFoundError):
        data = (folder / _INVENTORY).read_bytes()
        if (folder / _SIDECAR).read_bytes() == _sidecar(data):
            return json.loads(data), data
    return None


def settle(home: Path, staging: Path) -> None:
    """Finish what a crash left: drop version folders that are not whole, copy the newest inventory to the top."""
    inventory, data = newest(home)
    for number in _versions(home):
        folder = home / f"v{number}"
        if number > number_of(inventory) and not sound(folder):
            with suppress(FileNotFoundError):
                await_file(folder / _SIDECAR)  # a network file system may show it late
            if not sound(folder):
                _demand_empty(folder)
                with suppress(FileNotFoundError):
                    folder.rename(staging / folder.name)
    while (sound(home) or ({}, b""))[1] != data:
        make_ready(staging, data)
        for name in (_INVENTORY, _SIDECAR):
            (staging / name).replace(home / name)
        sync_folder(home)
        data = newest(home)[1]  # another process may have added a version meanwhile


def demand_read(home: Path) -> None:
    """Raise Damaged where the newest version of an object has no sound inventory: what is older is not the truth."""
    there = _versions(home)  # before the inventories are read: a version that appears meanwhile has a sound one
    if there and there[0] > number_of(newest(home)[0]):
        raise Damaged(_unread(home / f"v{there[0]}"))


def _demand_empty(folder: Path) -> None:
    """Raise BadPackage where a version that no inventory tells of has content: it was whole once, and is not dropped.

    A version appears by one rename with all that is in it, so content without an inventory is damage, no torn write.
    """
    if any(path.is_file() for path in (folder / "content").rglob("*")):
        raise BadPackage(_unread(folder))


def _unread(folder: Path) -> str:
    return (
        f"{folder} has no inventory that fits its checksum, and the versions before it are not the newest: nothing was "
        "touched; `terp audit` says what is damaged, and `terp repair` mends it from a copy"
    )


def make_ready(staging: Path, data: bytes) -> None:
    """Have an inventory for the top of an object lie ready in staging, so that a full disk cannot part the two."""
    if (sound(staging) or ({}, b""))[1] != data:
        for name in (_INVENTORY, _SIDECAR):
            (staging / name).unlink(missing_ok=True)
        write_inventory(staging, data)


def write_inventory(folder: Path, data: bytes) -> None:
    """Write an inventory and its sidecar into a folder that has none."""
    for path, content in ((folder / _INVENTORY, data), (folder / _SIDECAR, _sidecar(data))):
        write_new(path, content)
        make_read_only(path)


def _sidecar(data: bytes) -> bytes:
    return f"{hashlib.sha512(data).hexdigest()}  {_INVENTORY}\n".encode()


def _versions(home: Path) -> Sequence[int]:
    """Return the numbers of the version folders, newest first."""
    try:
        names = os.listdir(home)
    except OSError:
        return []
    return sorted((int(name[1:]) for name in names if name[0] == "v" and name[1:].isdecimal()), reverse=True)


def number_of(inventory: Mapping[str, Any]) -> int:
    """Return the number of the newest version in an inventory."""
    return int(inventory["head"][1:])


def placed(home: Path, inventory: Mapping[str, Any], version: str) -> dict[str, Path]:
    """Return where the content of each logical name of a version is stored, by name."""
    state = inventory["versions"][version]["state"]
    found = {name: home / inventory["manifest"][digest][0] for digest, names in state.items() for name in names}
    return dict(sorted(found.items()))


def content(path: Path, sha512: str) -> bytes | None:
    """Return the bytes of a small file that is stored; None where it is not what was stored."""
    with disk(path):
        data = path.read_bytes()
    return data if hashlib.sha512(data).hexdigest() == sha512.lower() else None


def is_kept(folder: Path) -> bool:
    """Say whether a folder is within an object, where only what its inventory names may be."""
    return any((above / f"0={OBJECT}").exists() for above in (folder.resolve(), *folder.resolve().parents))


def identifier_of(home: Path) -> str:
    """Return the identifier of the object in a folder."""
    with suppress(BadPackage):
        return str(newest(home)[0]["id"])
    return unquote(home.name)  # damaged objects are listed too


# files and folders


def reveal(staging: Path, root: Path, rest: Path) -> None:
    """Rename the topmost folder that the root lacks; all below it is whole. Raise Raced when it lacks none."""
    for depth in range(1, len(rest.parts) + 1):
        part = Path(*rest.parts[:depth])
        if not (root / part).exists() and _renamed(staging / part, root / part):
            try:
                sync_folder((root / part).parent)
            except OSError:
                with suppress(OSError):
                    (root / part).rename(staging / part)
                raise
            return
    raise Raced


def _renamed(fresh: Path, final: Path) -> bool:
    """Rename a folder; return False when another stands there."""
    before = fresh.stat().st_ino
    try:
        fresh.rename(final)
    except OSError as error:
        if error.errno in (EEXIST, ENOTEMPTY):
            return False
        if fresh.exists() or not final.exists() or final.stat().st_ino != before:
            raise  # else it did happen: a network file system repeated the request
    return True


def link(source: Path, target: Path) -> bool:
    """Hard-link a file, giving it to the group of the archive; return False where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        return False
    with suppress(PermissionError):
        os.chown(target, -1, target.parent.stat().st_gid)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return True


def copy(source: Path, target: Path) -> str:
    """Copy a file and sync it; return the SHA-512 of what was copied."""
    digest = hashlib.sha512()
    with source.open("rb", buffering=0) as incoming, target.open("xb", buffering=0) as outgoing:
        while block := incoming.read(_BLOCK):
            digest.update(block)
            rest = memoryview(block)
            while rest:
                rest = rest[outgoing.write(rest) :]
        os.fsync(outgoing.fileno())
    return digest.hexdigest()


def make_read_only(path: Path) -> None:
    """Let those read who could read, and no one write."""
    with suppress(PermissionError):
        path.chmod(path.stat().st_mode & 0o444)


def sync_folders(top: Path) -> None:
    """Make all names below a folder durable."""
    for folder, _, _ in os.walk(top, topdown=False):
        sync_folder(Path(folder))


def sha512_of(path: Path) -> str:
    """Return the SHA-512 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def as_json(value: object) -> bytes:
    """Return JSON for people, the same each time."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
