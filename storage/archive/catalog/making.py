"""Build a catalog: in a folder of this machine, out of cards that are taken over and cards that are read now."""

import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from terp.storage.archive.catalog.card import Card
from terp.storage.archive.catalog.reading import cards_now
from terp.storage.archive.catalog.shelf import forget_dead
from terp.storage.archive.catalog.tables import Index, write
from terp.storage.errors import DiskTrouble

_PREFIX = "terp-catalog-"  # of folders in the temporary folder of this machine


class Folder:
    """A folder of this machine, for as long as somebody holds it."""

    def __init__(self) -> None:
        forget_dead(Path(tempfile.gettempdir()), f"{_PREFIX}*")
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.remove = weakref.finalize(self, shutil.rmtree, self.path, True)


def missing(there: Iterable[str], kept: Collection[str], stones: Collection[str]) -> list[str]:
    """Return the folders of the objects that have to be read, in order."""
    return [path for path in sorted(there, key=order) if path not in kept and path not in stones]


def build(
    archive: Path,
    name: str,
    there: Iterable[str],
    unread: Sequence[str],
    stones: Mapping[str, Card],
    base: Index | None,
) -> tuple[Folder, int]:
    """Build a catalog of what is there; return the folder it is in, by its name, and how many cards it has.

    `unread`: folders of objects that are read, as `missing` gives them; the cards of the others are taken from `base`.
    `stones`: cards of what was destroyed, by folder.
    Raises DiskTrouble.
    """
    read, new = cards_now(archive, unread), set(unread)
    paths = sorted({*there, *stones}, key=order)
    cards = (stones.get(path) or (base.at(path) if base and path not in new else next(read)) for path in paths)
    here = Folder()
    try:
        return here, write(here.path / name, filter(None, cards))
    except sqlite3.Error as error:
        raise DiskTrouble(f"{here.path}: the catalog cannot be written there ({error}): set TMPDIR") from error


def order(path: str) -> tuple[str, str]:
    """Sort folders of objects by the identifiers that they are named by."""
    return unquote(path.rpartition("/")[2]), path
