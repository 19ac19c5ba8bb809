"""Where the catalog lies: the file that all read, and the cards beside it of what was archived since."""

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from terp.storage import files
from terp.storage.archive.catalog.card import Card
from terp.storage.archive.catalog.tables import Index

_SETTLED = 3600.0  # seconds after which no maker that has not seen a card can still be at work
_LEFT = 86400.0  # seconds after which a hidden file is a dead maker's
_BLOCK = 4 << 20
_NO_CARD = (OSError, ValueError, TypeError, KeyError)


def put(fresh: Path, path: Path) -> None:
    """Put a catalog that was built elsewhere at `path`, in one step; raises DiskTrouble, and leaves nothing then."""
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with files.disk(path):
        files.make_folders(path.parent)
        try:
            _copy(fresh, hidden)
            files.rename(hidden, path)
        except OSError:
            with suppress(OSError):
                hidden.unlink()
            raise
        files.sync_folder(path.parent)
    forget_dead(path.parent, f".{path.name}.*")


def _copy(source: Path, target: Path) -> None:
    def blocks(descriptor: int) -> None:
        with source.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                files.write_all(descriptor, block)

    files.write_file(target, blocks)


def forget_dead(folder: Path, pattern: str) -> None:
    """Remove what makers of a catalog left that died long ago; only what is the user's own."""
    for left in folder.glob(pattern):
        with suppress(OSError):
            found = left.lstat()
            if time.time() - found.st_mtime > _LEFT and found.st_uid == os.getuid():
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


def listed(folder: Path) -> list[Path]:
    """Return the JSON files in a folder, sorted; none where there is no such folder."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(".json") and name[0] != ".")
    return []


class Beside:
    """A folder of cards that the catalog may not have yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __len__(self) -> int:
        return len(listed(self.folder))

    def put(self, name: str, card: Card) -> None:
        """Keep the card of an object, in place of an older one; raises OSError, DiskTrouble."""
        files.make_folders(self.folder)
        files.replace(self.folder / f"{name}.json", card.dumps())

    def remove(self, name: str) -> None:
        """Remove the card of an object; raises DiskTrouble."""
        path = self.folder / f"{name}.json"
        with files.disk(path):
            path.unlink(missing_ok=True)

    def cards(self) -> Iterator[Card]:
        """Yield the cards; what is none is passed by."""
        for path in listed(self.folder):
            with suppress(*_NO_CARD):
                yield Card.loads(path.read_bytes())

    def sweep(self, base: Index) -> None:
        """Remove the cards that have been in the catalog for so long that no older one can replace it any more."""
        for path in listed(self.folder):
            with suppress(*_NO_CARD):
                card = Card.loads(path.read_bytes())
                if time.time() - path.stat().st_mtime > _SETTLED and base.at(card.path) == card:
                    path.unlink()
