"""Files that were added to a place: nothing is thrown away, they are moved to where they do no harm.

`custody/quarantine/OBJECT/PLACE/MOMENT/...`; of a link what it points to is kept, in a file of its name and `.link`.
"""

import hashlib
import secrets
from datetime import UTC, datetime
from pathlib import Path

from terp.storage import files
from terp.storage.archive.custody import slug
from terp.storage.places import Folder, Place
from terp.storage.repair.noting import Change, Intent


def move_aside(place: Place, name: str, custody: Path, intent: Intent, path: str) -> str:
    """Move a file out of a place, and return where to (relative to custody); "" for a folder in which nothing was."""
    if name.endswith("/"):
        intent.will(Change(path, "", ""))
        place.delete(f"{name}nothing")  # it removes the folders that are empty then
        return ""
    moment = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    target = custody / "quarantine" / (slug(intent.identifier) if intent.identifier else "root") / place.name / moment
    target = target / Path(path).name
    with files.disk(target):
        files.make_folders(target.parent)
        digest = _kept(place, name, target)
        files.sync_folder(target.parent)
    kept = target.relative_to(custody).as_posix()
    intent.will(Change(path, digest, "", (), kept))
    place.delete(name)
    return kept


def _kept(place: Place, name: str, target: Path) -> str:
    link = place.root / name if isinstance(place, Folder) else None
    if link is not None and link.is_symlink():
        files.write_new(target.with_name(f"{target.name}.link"), f"{link.readlink()}\n".encode())
        return ""

    def write(out: int) -> str:
        digest = hashlib.sha512()
        for block in place.read(name):
            digest.update(block)
            files.write_all(out, block)
        return digest.hexdigest()

    try:
        return files.write_file(target, write)
    except FileNotFoundError:  # somebody else has just moved it
        return ""
