"""Files that were added to a place: nothing is thrown away, they are moved to where they do no harm.

`custody/quarantine/OBJECT/PLACE/MOMENT/...`; of a link what it points to is kept, in a file of its name and `.link`.
"""

import hashlib
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from terp.storage import files
from terp.storage.archive.custody import slug
from terp.storage.places import Folder, Place
from terp.storage.repair.noting import PART, Change, Intent


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
        files.make_folders(custody / "repairs")
        fresh = custody / "repairs" / f"{PART}{secrets.token_hex(8)}"
        digest, suffix = _kept(place, name, fresh)
        target = target.with_name(target.name + suffix)
        files.rename(fresh, target)
        files.sync_folder(target.parent)
    kept = target.relative_to(custody).as_posix()
    intent.will(Change(path, digest, "", (), kept))
    place.delete(name)
    return kept


def _kept(place: Place, name: str, target: Path) -> tuple[str, str]:
    """Write what is there to a file; return its SHA-512, and what is put behind its name."""
    link = place.root / name if isinstance(place, Folder) else None
    if link is not None and link.is_symlink():
        files.write_new(target, f"{link.readlink()}\n".encode())
        return "", ".link"

    def write(out: int) -> str:
        digest = hashlib.sha512()
        with suppress(FileNotFoundError):  # somebody else has just moved it
            for block in place.read(name):
                digest.update(block)
                files.write_all(out, block)
        return digest.hexdigest()

    return files.write_file(target, write), ""
