"""The catalog's file: its tables, how they are written, and how they are asked.

SQLite locks nothing here: a file is written where nobody else sees it, and read as one that never changes
(`immutable=1`), so a file system without locks will do. All rows go in by one order, with fixed settings: the same
cards give the same bytes with the same SQLite.
"""

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from terp.storage.archive.catalog.card import DESTROYED, Card
from terp.storage.archive.catalog.query import Query

_FORMAT = 2  # of tables and cards; a catalog of another is made again
_RANKED = 1000  # more than that nobody reads, and ranking takes its time
_WEIGHTS = "2, 5, 1, 3, 1, 3, 2, 1, 2, 1, 1"  # of the columns of words: a title says most
_MARK = int.from_bytes(b"terp")

_SETTINGS = """
PRAGMA page_size = 16384; PRAGMA encoding = 'UTF-8'; PRAGMA auto_vacuum = NONE; PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -65536; PRAGMA temp_store = FILE;
"""
_COLUMNS = "identifier, title, description, variable, units, person, flow, input, result, classification, licence"
_TABLES = f"""
PRAGMA application_id = {_MARK}; PRAGMA user_version = {_FORMAT};
CREATE TABLE place (number INTEGER PRIMARY KEY, path TEXT NOT NULL, inventory TEXT NOT NULL);
CREATE TABLE object (
    number INTEGER PRIMARY KEY, state TEXT NOT NULL, waardering TEXT NOT NULL, openness TEXT NOT NULL,
    created TEXT NOT NULL, size INTEGER NOT NULL, "begin" TEXT NOT NULL, "end" TEXT NOT NULL,
    west REAL, south REAL, east REAL, north REAL, identifier TEXT NOT NULL
);
CREATE TABLE card (number INTEGER PRIMARY KEY, card BLOB NOT NULL);
CREATE TABLE name (name TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (name, number)) WITHOUT ROWID;
CREATE TABLE digest (digest TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (digest, number)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (
    {_COLUMNS},
    content = '', tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3'
);
"""
# rows wait here: each table is then one piece of the file, put in by the order of its key
_WAITING = """
CREATE TEMP TABLE new_place AS SELECT * FROM place; CREATE TEMP TABLE new_object AS SELECT * FROM object;
CREATE TEMP TABLE new_name AS SELECT * FROM name; CREATE TEMP TABLE new_digest AS SELECT * FROM digest;
"""
_IN_ORDER = (
    "INSERT INTO object SELECT * FROM new_object ORDER BY rowid",
    "INSERT INTO place SELECT * FROM new_place ORDER BY rowid",
    "INSERT INTO name SELECT DISTINCT name, number FROM new_name ORDER BY name, number",
    "INSERT INTO digest SELECT DISTINCT digest, number FROM new_digest ORDER BY digest, number",
    "CREATE UNIQUE INDEX by_path ON place (path)",
    "CREATE INDEX by_identifier ON object (identifier)",
    "INSERT INTO words (words) VALUES ('optimize')",
    "COMMIT",
)
_INSERT_WORDS = f"INSERT INTO words (rowid, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608


# writing


def write(path: Path, cards: Iterable[Card]) -> int:
    """Write a catalog to a file that is not there yet; return how many cards are in it.

    Raises sqlite3.Error, also where the disk is full.
    """
    connection = sqlite3.connect(f"{_uri(path)}?vfs=unix-none", uri=True, isolation_level=None)
    try:
        connection.executescript(_SETTINGS)
        return fill(connection, cards)
    finally:
        connection.close()


def fill(connection: sqlite3.Connection, cards: Iterable[Card]) -> int:
    """Make the tables and put cards into them."""
    connection.executescript(f"{_TABLES} {_WAITING} BEGIN;")
    number = 0
    for number, card in enumerate(cards, 1):
        _put(connection, number, card)
    for statement in _IN_ORDER:
        connection.execute(statement)
    return number


def _put(connection: sqlite3.Connection, number: int, card: Card) -> None:
    where = (card.begin, card.end, card.west, card.south, card.east, card.north, card.identifier)
    row = (number, card.state, card.waardering, card.openness, card.created, card.size, *where)
    connection.execute("INSERT INTO new_object VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.execute("INSERT INTO new_place VALUES (?, ?, ?)", (number, card.path, card.inventory))
    connection.execute("INSERT INTO card VALUES (?, ?)", (number, card.dumps()))
    names = set(card.identifiers) - {card.identifier}
    connection.executemany("INSERT INTO new_name VALUES (?, ?)", ((name, number) for name in sorted(names)))
    digests = [*(one.sha256 for one in card.inputs), *(digest for one in card.results for digest in one.sha512)]
    digests += filter(None, (one.values for one in card.results))
    connection.executemany("INSERT INTO new_digest VALUES (?, ?)", ((one, number) for one in digests))
    connection.execute(_INSERT_WORDS, (number, *_words(card).values()))


def _words(card: Card) -> dict[str, str]:
    """Return what is found by words, by column."""
    variables = (word for one in card.variables for word in (one.name, one.standard_name, one.long_name))
    people = (word for one in card.people for word in (one.name, one.orcid, one.affiliation))
    found: dict[str, Iterable[str]] = {
        "identifier": (card.identifier, *card.identifiers),
        "title": (card.title,),
        "description": (card.description,),
        "variable": variables,
        "units": (one.units for one in card.variables),
        "person": people,
        "flow": (card.flow, card.run),
        "input": (one.name for one in card.inputs),
        "result": (one.name for one in card.results),
        "classification": (card.waardering, card.category, card.openness, card.ground, card.why),
        "licence": (card.licence,),
    }
    return {name: "\n".join(dict.fromkeys(filter(None, words))) for name, words in found.items()}


# asking


class Index:
    """A catalog that is read. Every method raises sqlite3.DatabaseError where the file is not what it should be."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Self]:
        """Open a catalog read-only, as a file that never changes; raises sqlite3.DatabaseError where it is none."""
        connection = sqlite3.connect(f"{_uri(path)}?mode=ro&immutable=1", uri=True)
        try:
            connection.executescript("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -16384;")
            asked = ("application_id", "user_version", "page_size", "page_count")
            mark, form, page, pages = (connection.execute(f"PRAGMA {one}").fetchone()[0] for one in asked)
            if (mark, form) != (_MARK, _FORMAT) or page * pages != path.stat().st_size:
                raise sqlite3.DatabaseError("no catalog of this format, or not all of it")
            yield cls(connection)
        finally:
            connection.close()

    @classmethod
    @contextmanager
    def of(cls, cards: Iterable[Card]) -> Iterator[Self]:
        """Make a catalog of a few cards in memory."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        try:
            fill(connection, cards)
            yield cls(connection)
        finally:
            connection.close()

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT max(number) FROM object").fetchone()[0] or 0)

    def found(self, query: Query, limit: int | None = None, without: Collection[int] = ()) -> tuple[list[int], int]:
        """Return the numbers of what a query finds, up to a limit, and how many there are in all.

        The best come first where all are few, else they are in order: no more is read than is shown, and of the rest
        only how many there are. `without`: numbers that are not looked for.
        """
        number, chosen, values = query.chosen(without)
        few = _RANKED + 1
        asked = f"SELECT {number} {chosen} ORDER BY {number} LIMIT ?"
        first = self._numbers(asked, [*values, few])
        if len(first) < few:
            return (self._ranked(query.words, first) if query.words else first)[:limit], len(first)
        total = self._numbers(f"SELECT count(*) {chosen}", values)[0]
        enough = limit is not None and limit <= few
        return (first[:limit] if enough else self._numbers(asked, [*values, total if limit is None else limit])), total

    def _ranked(self, words: str, numbers: list[int]) -> list[int]:
        """Return numbers, those first that words fit best."""
        if len(numbers) < 2:
            return numbers
        asked = "SELECT rowid FROM words WHERE words MATCH ? AND +rowid IN (SELECT value FROM json_each(?))"
        return self._numbers(f"{asked} ORDER BY bm25(words, {_WEIGHTS}), rowid", [words, str(numbers)])

    def _numbers(self, sql: str, values: list[Any]) -> list[int]:
        return [row[0] for row in self._connection.execute(sql, values)]

    def numbers_at(self, paths: Iterable[str]) -> set[int]:
        """Return the numbers of the objects in folders, as far as they are known."""
        return {number for path in paths for number in self._numbers("SELECT number FROM place WHERE path = ?", [path])}

    def card(self, number: int) -> Card:
        """Return a card by its number."""
        return self._cards("number = ?", number)[0]

    def at(self, path: str) -> Card | None:
        """Return the card of the object in a folder of the archive."""
        found = self._cards("number = (SELECT number FROM place WHERE path = ?)", path)
        return found[0] if found else None

    def named(self, name: str) -> list[Card]:
        """Return the cards of those that have a name: their identifier, or another that their metadata tell."""
        one = "SELECT number FROM object WHERE identifier = ?1 UNION SELECT number FROM name WHERE name = ?1"
        return self._cards(f"number IN ({one})", name)

    def _cards(self, which: str, value: str | int) -> list[Card]:
        rows = self._connection.execute(f"SELECT card FROM card WHERE {which} ORDER BY number", (value,))  # noqa: S608
        try:
            return [Card.loads(row[0]) for row in rows]
        except (ValueError, TypeError, KeyError) as error:
            raise sqlite3.DatabaseError("a card is not what it should be") from error

    def beginning(self, start: str, most: int) -> list[str]:
        """Return names that begin so."""
        own = "SELECT identifier AS name FROM object WHERE identifier >= ?1 AND identifier < ?2"
        other = "SELECT name FROM name WHERE name >= ?1 AND name < ?2"
        asked = f"{own} UNION {other} ORDER BY name LIMIT ?3"
        return [row[0] for row in self._connection.execute(asked, (start, f"{start}\U0010ffff", most))]

    def known(self) -> dict[str, tuple[str, str]]:
        """Return state and inventory of every object, by path."""
        rows = self._connection.execute("SELECT path, state, inventory FROM place JOIN object USING (number)")
        return {path: (state, inventory) for path, state, inventory in rows}

    def destroyed(self) -> list[Card]:
        """Return the cards of what was destroyed."""
        return self._cards("number IN (SELECT number FROM object WHERE state = ?)", DESTROYED)


def _uri(path: Path) -> str:
    return f"file:{quote(str(path.absolute()))}"


def is_catalog(path: Path) -> bool:
    """Say whether a file can be asked."""
    with suppress(sqlite3.DatabaseError, OSError), Index.opened(path):
        return True
    return False
