"""A folder that is there whole or not at all: built hidden beside its place, synced, and renamed.

Its hidden name tells whose it is, so that whoever comes next to the same place removes what a dead process left.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EEXIST, ENOTDIR, ENOTEMPTY
from pathlib import Path
from urllib.parse import quote, unquote

from terp.storage import files
from terp.storage.archive.ocfl import is_kept, sync_folders
from terp.storage.errors import BadPackage, DiskTrouble
from terp.storage.holder import Holder

_SHOWN = 40  # letters of a name that are in the hidden one: a name has 255 bytes


@contextmanager
def built(target: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it is seen as `target` when the block ends well, and gone when it does not.

    Raises BadPackage where something stands at `target` already, or it would be within an archived object, and
    DiskTrouble.
    """
    name = f".{target.name[:_SHOWN]}.part"
    _writable(target)
    sweep(target.parent, name)  # also where the last one was killed when all was done
    _free(target)
    with files.disk(target), hidden(target.parent, name) as folder:
        made = folder / "made"
        made.mkdir()
        yield made
        sync_folders(made)
        _free(target)
        _reveal(made, target)


@contextmanager
def hidden(parent: Path, name: str) -> Iterator[Path]:
    """Give a folder of our own in `parent`, gone afterwards; what dead processes left under `name` goes too."""
    sweep(parent, name)
    holder = ",".join(quote(str(value), safe=":") for value in Holder.me().to_json().values())
    folder = parent / f"{name},{secrets.token_hex(4)},{holder}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path, name: str) -> None:
    """Remove what dead processes left in `parent` under a name."""
    for other in parent.glob(f"{name},*"):
        if _is_gone(other):
            shutil.rmtree(other, ignore_errors=True)


def _free(target: Path) -> None:
    if os.path.lexists(target):
        raise BadPackage(f"{target} is there already, and nothing is written over it: choose another name")


def _writable(target: Path) -> None:
    if not target.parent.is_dir():
        raise DiskTrouble(f"{target.parent} is no folder: make it, then do the same again")
    if is_kept(target.parent):
        raise BadPackage(f"{target} would be within an archived object, which nobody may change: choose another place")


def _is_gone(folder: Path) -> bool:
    with suppress(ValueError, TypeError):
        host, boot, space, pid, *rest = (unquote(part) for part in folder.name.split(",")[2:])
        return Holder(host, boot, space, int(pid), *rest).is_gone()
    return False


def _reveal(made: Path, target: Path) -> None:
    try:
        files.rename(made, target)
    except OSError as error:
        if error.errno in (EEXIST, ENOTEMPTY, ENOTDIR):
            raise BadPackage(f"{target} was made by somebody else meanwhile: choose another name") from None
        raise
    try:
        files.sync_folder(target.parent)
    except OSError:
        with suppress(OSError):
            target.rename(made)
        raise
