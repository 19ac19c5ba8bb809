"""The catalog of a home: kept beside the archive, made again where it is not there or not sound, and asked.

cache/catalog.sqlite       all objects, as they were when the archive was last walked over
cache/catalog.new/         a card for each object that was archived or destroyed since: read with it, and put in later

It is built in a folder of this machine, copied to a hidden name, synced and renamed: of several makers the last counts,
and a reader has a whole file. Where the cache cannot be written, it is used from where it was built.
"""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import batched
from pathlib import Path

from terp.storage import files
from terp.storage.archive.catalog.card import DAMAGED, DESTROYED, THERE, Card
from terp.storage.archive.catalog.making import Folder, build, missing, order
from terp.storage.archive.catalog.query import Query
from terp.storage.archive.catalog.reader import card_of, is_as_told, tombstone_card
from terp.storage.archive.catalog.reading import card_now
from terp.storage.archive.catalog.shelf import Beside, listed, put
from terp.storage.archive.catalog.tables import Index, is_catalog
from terp.storage.archive.catalog.walking import seen
from terp.storage.archive.custody import slug
from terp.storage.archive.ocfl import place
from terp.storage.errors import DiskTrouble

FEW = 1000  # objects that are walked over before each search, and held against the archive after it
_MOST_NEW = 200  # cards beside the catalog before they are put into it


@dataclass(frozen=True)
class Refreshed:
    """What a walk found: how many objects there are, how many were read, how many are gone, and whether it was kept."""

    objects: int
    read: int
    gone: int
    made_again: bool


def _silent(_: str) -> None:
    pass


class Catalog:
    """The catalog of the archive in a folder. A catalog that is stale, damaged or gone is never an error.

    `told` is given sentences about what takes long. Raises DiskTrouble where the archive cannot be read, or nothing can
    be written even to the temporary folder of this machine.
    """

    def __init__(self, archive: Path, cache: Path, custody: Path, told: Callable[[str], None] = _silent) -> None:
        self.archive, self.path = archive, cache / "catalog.sqlite"
        self._beside = Beside(cache / "catalog.new")
        self.tombstones, self._told = custody / "tombstones", told
        self._here: Folder | None = None  # where it is while the cache cannot be written

    def made(self) -> datetime | None:
        """Return when the archive was last walked over; None where there is no catalog."""
        with suppress(OSError):
            return datetime.fromtimestamp(self._file().stat().st_mtime, UTC)
        return None

    # asking

    def search(self, query: Query, limit: int | None = None) -> tuple[list[Card], int]:
        """Return the cards of what a query finds, the best first, and how many there are beyond any limit.

        A small archive is walked over first. Of few that are found each is looked at in the archive.
        """
        if len(self) <= FEW:
            self.refresh()

        def ask(indexes: list[Index]) -> tuple[list[Card], int]:
            rows, total = _found(indexes, query, limit)
            return [index.card(number) for index, number in rows], total

        cards, total = self._asked(ask)
        return self._as_they_are(cards, look=len(cards) <= FEW), total

    def each(self, query: Query) -> Iterator[Card]:
        """Yield the cards of all that a query finds, as `search` returns them, without holding them all at once."""
        if len(self) <= FEW:
            self.refresh()
        try:
            with self._indexes() as indexes:
                rows, total = _found(indexes, query, None)
                for some in batched(rows, FEW):
                    cards = [index.card(number) for index, number in some]
                    yield from self._as_they_are(cards, look=total <= FEW)
        except sqlite3.DatabaseError as error:
            raise DiskTrouble(f"{self._file()}: the catalog cannot be read: {error}") from error

    def _as_they_are(self, cards: list[Card], look: bool) -> list[Card]:
        """Return cards, or what is left where an object was destroyed; if asked, each is held against its object."""
        stones = {path.stem: path for path in listed(self.tombstones)}
        cards = [_stone_of(card, stones) or card for card in cards] if stones else cards
        return [self._as_it_is(card) for card in cards] if look else cards

    def find(self, identifier: str) -> Card | None:
        """Return the card of an object, as it is in the archive now; None where there is none and was none.

        `identifier` may be another name that the object's metadata tell, as a DOI.
        """
        path = place(identifier).as_posix()
        if stone := tombstone_card(self.tombstones / f"{slug(identifier)}.json"):
            return stone
        if self._usable():
            for card in self._asked(lambda indexes: _named(indexes, path, identifier)):
                return self._as_it_is(card)
        return card_now(self.archive, path)

    def beginning(self, start: str, most: int = 10) -> list[str]:
        """Return identifiers that begin so, as the catalog knows them."""
        if not start or not self._usable():
            return []
        found = self._asked(lambda indexes: {name for index in indexes for name in index.beginning(start, most)})
        return sorted(found)[:most]

    def __len__(self) -> int:
        return self._asked(lambda indexes: len(indexes[-1]), beside=False)

    def _as_it_is(self, card: Card) -> Card:
        """Return a card held against its object."""
        if card.state == DESTROYED:
            return card
        if card.state == THERE and is_as_told(self.archive / card.path, card.inventory):
            return card
        gone = replace(card, state=DAMAGED, why="it is not in the archive any more; restore it from another copy")
        return card_now(self.archive, card.path) or gone

    def _asked[T](self, ask: Callable[[list[Index]], T], beside: bool = True) -> T:
        """Ask the catalog and what is beside it; one that cannot be asked is made again, once."""
        try:
            with self._indexes(beside) as indexes:
                return ask(indexes)
        except (sqlite3.DatabaseError, OSError):
            self.make()
        try:
            with self._indexes(beside) as indexes:
                return ask(indexes)
        except (sqlite3.DatabaseError, OSError) as error:
            raise DiskTrouble(f"{self._file()}: the catalog cannot be read just after it was made: {error}") from error

    @contextmanager
    def _indexes(self, beside: bool = True) -> Iterator[list[Index]]:
        """Open what is to be asked: the catalog, and before it one of what is newer, if there is any."""
        with ExitStack() as stack:
            base = stack.enter_context(Index.opened(self._file()))
            new = self._new_to(base) if beside else []
            yield [stack.enter_context(Index.of(new)), base] if new else [base]

    def _new_to(self, base: Index) -> list[Card]:
        """Return the cards beside the catalog that say something else than it does, in order."""
        cards = [card for card in self._beside.cards() if base.at(card.path) != card and self._counts(card)]
        return sorted(cards, key=lambda card: order(card.path))

    def _counts(self, card: Card) -> bool:
        """Say whether what a card tells of has not gone since."""
        return card.state == DESTROYED or (self.archive / card.path).is_dir()

    def _file(self) -> Path:
        return self._here.path / self.path.name if self._here else self.path

    def _usable(self) -> bool:
        return is_catalog(self._file())

    # keeping

    def noted(self, identifier: str) -> bool:
        """Have what is known of one object that was archived, changed or destroyed just now; say whether that is kept.

        Never fails: what is not kept is found by the next walk.
        """
        with suppress(OSError, DiskTrouble, sqlite3.Error):
            stone = tombstone_card(self.tombstones / f"{slug(identifier)}.json")
            card = stone or card_of(self.archive, place(identifier).as_posix())
            self._beside.put(slug(identifier), card)
            if len(self._beside) > _MOST_NEW and self._usable():
                with Index.opened(self._file()) as base:
                    known = {path: inventory for path, (_, inventory) in base.known().items()}
                self._renew(known | {one.path: one.inventory for one in self._beside.cards()}, walked=False)
            return True
        return False

    def destroyed(self, identifier: str) -> None:
        """Forget all that was known of an object that was destroyed, but for its tombstone; raises DiskTrouble."""
        self._beside.remove(slug(identifier))
        self.refresh()

    def refresh(self) -> Refreshed:
        """Walk over the archive and make the catalog again if anything in it is another; only that is read."""
        with files.disk(self.archive):
            return self._renew(seen(self.archive), walked=True)

    def make(self) -> Refreshed:
        """Make the catalog from nothing but the archive."""
        with files.disk(self.archive):
            return self._write(seen(self.archive), (), None)

    def _renew(self, there: Mapping[str, str], walked: bool) -> Refreshed:
        """Make the catalog again where it does not say what `there` (folders and inventories) does."""
        if not self._usable():
            return self._write(there, (), None)
        try:
            with Index.opened(self._file()) as base:
                return self._compared(there, base, walked)
        except sqlite3.DatabaseError:
            return self._write(there, (), None)

    def _compared(self, there: Mapping[str, str], base: Index, walked: bool) -> Refreshed:
        known, stones = base.known(), self._stones()
        gone = sum(state != DESTROYED and path not in there for path, (state, _) in known.items())
        kept = {path for path, (state, told) in known.items() if state == THERE and told == there.get(path)}
        news = sorted(there.keys() - kept - stones.keys())
        same = len(news) <= FEW and all(base.at(path) == card_now(self.archive, path) for path in news)
        if not same or gone or base.destroyed() != [stones[path] for path in sorted(stones, key=order)]:
            return replace(self._write(there, kept, base), gone=gone)
        if walked:
            with suppress(OSError):
                os.utime(self._file())
        self._beside.sweep(base)
        return Refreshed(len(there), len(news), 0, made_again=False)

    def _write(self, there: Mapping[str, str], kept: Collection[str], base: Index | None) -> Refreshed:
        """Build a catalog of what is there, taking from `base` what is kept, and show it."""
        stones = self._stones()
        unread = missing(there, kept, stones)
        if len(unread) > FEW:
            self._told(f"making the catalog: {len(unread):,} objects are read")
        here, objects = build(self.archive, self.path.name, there, unread, stones, base)
        self._show(here)
        return Refreshed(objects, len(unread), 0, made_again=True)

    def _stones(self) -> dict[str, Card]:
        """Return the cards of all tombstones, by the folder that the object had."""
        found = filter(None, map(tombstone_card, listed(self.tombstones)))
        return {card.path: card for card in found}

    def _show(self, here: Folder) -> None:
        """Put a catalog where all look for it; where that cannot be, use it from where it was built."""
        try:
            put(here.path / self.path.name, self.path)
        except DiskTrouble as trouble:
            self._told(f"the catalog is used from {here.path} and not kept: {trouble}")
            self._here = here
        else:
            self._here = None
            here.remove()


def _stone_of(card: Card, stones: Mapping[str, Path]) -> Card | None:
    """Return the card of the tombstone of an object, if there is one among those given by the object's slug."""
    path = stones.get(slug(card.identifier))
    return tombstone_card(path) if path else None


def _named(indexes: list[Index], path: str, identifier: str) -> list[Card]:
    """Return the cards of the object in a folder, or else of those that have a name; what is newer comes first."""
    there = [card for index in indexes if (card := index.at(path))]
    return there or [card for index in indexes for card in index.named(identifier)]


def _found(indexes: list[Index], query: Query, limit: int | None) -> tuple[list[tuple[Index, int]], int]:
    """Return what is found in all, the newer first and in place of the older, and how many there are in all."""
    *newer, base = indexes
    rows, count = list[tuple[Index, int]](), 0
    replaced = {number for index in newer for number in base.numbers_at(index.known())}
    for index in indexes:
        without = replaced if index is base else ()
        numbers, found = index.found(query, None if limit is None else max(limit - len(rows), 0), without)
        rows += [(index, number) for number in numbers]
        count += found
    return rows, count
