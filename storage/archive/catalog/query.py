"""What one may ask of the catalog: words and typed conditions, all of which have to hold.

    surface "area mean" temp*        words, phrases and beginnings, anywhere in what is known of an object
    variable:salinity person:Jansen  words in one field
    time:1990..2000                  overlaps; one end may be left out, and a single year, month or day is meant whole
    bbox:3,50,7,54                   overlaps: west, south, east, north in degrees; across 180 as 170,-10,-170,10
    openness:open size:1GB.. archived:2026-11
    -flow:imaging                    does not hold

`"..."` takes what stands in it as words, also a colon: `"12:00"`, `title:"Sea of Azov"`.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from terp.storage.errors import BadQuery

_MOST = 100  # terms of a query
_TERM = re.compile(r'(?P<minus>-?)(?:(?P<field>[A-Za-z]\w*):)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))(?=\s|$)')
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(i?)B?", re.IGNORECASE)
_MOMENT = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d)?)?)?)?)?")
_STATES = ("there", "damaged", "destroyed")

type Values = list[Any]


@dataclass(frozen=True)
class _Condition:
    """SQL that may hold of an object, with its values; `words` is an expression of FTS5 instead."""

    sql: str = ""
    values: tuple[Any, ...] = ()
    words: str = ""


@dataclass(frozen=True)
class Query:
    """A query that can be asked; `of` makes it of a person's words and raises BadQuery where it cannot be one."""

    conditions: tuple[tuple[bool, _Condition], ...] = ()  # each with whether it is to hold

    @classmethod
    def of(cls, text: str) -> "Query":
        """Read a query; raises BadQuery, which tells what is wrong and what is known."""
        return cls(tuple(_terms(text)))

    @property
    def words(self) -> str:
        """What of it is words that have to be there, as an expression of FTS5: how well they fit can be told."""
        return " AND ".join(one.words for holds, one in self.conditions if one.words and holds)

    def chosen(self, without: Collection[int] = ()) -> tuple[str, str, Values]:
        """Return the column of numbers, the SQL (from FROM on) that chooses what is found, and its values.

        `without`: numbers that are not looked for.
        """
        wanted, unwanted = self.words, [one.words for holds, one in self.conditions if one.words and not holds]
        number = "words.rowid" if wanted else "object.number"
        rest = [(holds, one) for holds, one in self.conditions if not one.words]
        tests = [one.sql if holds else f"NOT ({one.sql})" for holds, one in rest]
        values = [value for _, one in rest for value in one.values]
        table = "words JOIN object ON object.number = words.rowid" if wanted and rest else number.partition(".")[0]
        if wanted:  # FTS5 leaves out what must not be there in the same pass
            tests.insert(0, "words MATCH ?")
            values.insert(0, " NOT ".join([f"({wanted})", *unwanted]))
        elif unwanted:
            tests.insert(0, "object.number NOT IN (SELECT rowid FROM words WHERE words MATCH ?)")
            values.insert(0, " OR ".join(unwanted))
        if without:
            tests.append(f"{number} NOT IN (SELECT value FROM json_each(?))")  # noqa: S608
            values.append(str(list(without)))
        return number, f"FROM {table}{' WHERE ' if tests else ''}{' AND '.join(tests)}", values


def _terms(text: str) -> Iterator[tuple[bool, _Condition]]:
    at, rest = 0, text.strip()
    for _ in range(_MOST):
        if at >= len(rest):
            return
        found = _TERM.match(rest, at)
        if not found:
            raise BadQuery(f"{rest[at:]!r} cannot be read: a quotation mark has no second, or stands within a word")
        yield not found["minus"], _term(found)
        at = found.end()
        at += len(rest[at:]) - len(rest[at:].lstrip())
    if at < len(rest):
        raise BadQuery(f"a query has at most {_MOST} terms: ask for less at a time")


def _term(found: re.Match[str]) -> _Condition:
    field, said = found["field"], found["phrase"] if found["word"] is None else found["word"]
    if field is None and said.endswith(":") and found["word"]:
        raise BadQuery(f"{said} has no value: write it behind the colon, as in title:wells")
    if field is None:
        return _Condition(words=_words("", said, exact=found["word"] is None))
    if field.lower() == "urn":
        return _beginning(f"{field}:{said}")
    if field.lower() not in FIELDS:
        raise BadQuery(
            f"there is no field {field!r}: known are {', '.join(FIELDS)}; "
            f'to search for the words, put them in quotation marks: "{field}:{said}"'
        )
    return FIELDS[field.lower()].read(said)


def _words(column: str, said: str, exact: bool = False) -> str:
    """Return an expression of FTS5: all of it in quotation marks, so that nothing in it is an operator."""
    start = said.endswith("*") and not exact
    plain = "".join(one if unicodedata.category(one)[0] in "LNM" else " " for one in said)
    if not plain.strip():
        raise BadQuery(f"{said!r} has no letter or digit to search for")
    quoted = f'"{plain.strip()}"{"*" if start else ""}'
    return f"{{{column}}} : {quoted}" if column else quoted


def _in(column: str) -> Callable[[str], _Condition]:
    return lambda said: _Condition(words=_words(column, said))


def _beginning(said: str) -> _Condition:
    ends = (said, f"{said}\U0010ffff")
    other = "object.number IN (SELECT number FROM name WHERE name >= ? AND name < ?)"
    return _Condition(
        f"(+object.identifier >= ? AND +object.identifier < ? OR {other})", (*ends, *ends)
    )  # +: in order of numbers


def _digest(said: str) -> _Condition:
    if not re.fullmatch(r"[0-9a-fA-F]{6,128}", said):
        raise BadQuery(f"digest:{said}: a digest is given by at least 6 of its hexadecimal digits")
    sql = "object.number IN (SELECT number FROM digest WHERE digest >= ? AND digest < ?)"
    return _Condition(sql, (said.lower(), f"{said.lower()}g"))


def _one_of(column: str, allowed: Mapping[str, str]) -> Callable[[str], _Condition]:
    def read(said: str) -> _Condition:
        if said.lower() not in allowed:
            raise BadQuery(f"{said!r} is not one of {', '.join(allowed)}")
        return _Condition(f"{column} = ?", (allowed[said.lower()],))

    return read


def _ends(said: str, form: re.Pattern[str], name: str, example: str) -> tuple[str, str]:
    """Return both ends of a range; one may be empty."""
    first, dots, last = said.partition("..")
    ends = (first, last) if dots else (first, first)
    if not any(ends) or not all(form.fullmatch(end) for end in ends if end) or ("" not in ends and ends[0] > ends[1]):
        raise BadQuery(f"{name}:{said} cannot be read: write it as {name}:{example}")
    return ends


def _moments(name: str, begin: str, end: str) -> Callable[[str], _Condition]:
    """Texts of ISO 8601 are compared as such: what begins with the last end is still within it."""

    def read(said: str) -> _Condition:
        first, last = _ends(
            said.rstrip("Zz"), _MOMENT, name, "1990..2000-06, with dates as 1990, 1990-01 or 1990-01-31"
        )
        return _Condition(f"({begin} <> '' AND {end} >= ? AND {begin} <= ?)", (first, f"{last}~" if last else "~"))

    return read


def _size(said: str) -> _Condition:
    first, dots, last = said.partition("..")
    low, high = (_bytes(end, said) if end else None for end in (first, last if dots else ""))
    if (low is None and high is None) or not dots:
        raise BadQuery(f"size:{said} cannot be read: write it as size:1GB..2TiB; one end may be left out")
    return _Condition("size BETWEEN ? AND ?", (low or 0, 2**63 - 1 if high is None else high))


def _bytes(end: str, said: str) -> int:
    found = _SIZE.fullmatch(end)
    if not found:
        raise BadQuery(f"size:{said} cannot be read: write it as size:1GB..2TiB; one end may be left out")
    step = 1024 if found[3] else 1000
    return min(int(float(found[1]) * step ** " KMGTP".index(found[2].upper() or " ")), 2**63 - 1)


def _bbox(said: str) -> _Condition:
    try:
        west, south, east, north = (float(one) for one in said.split(","))
    except ValueError:
        west = south = east = north = float("nan")
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise BadQuery(
            f"bbox:{said} cannot be read: write west,south,east,north in degrees, as bbox:3,50,7,54; "
            "longitudes go from -180 to 180, and west is greater than east across 180"
        )
    # an object that crosses 180 covers all but what lies between its east and its west
    meets = "(CASE WHEN west <= east THEN west <= ? AND east >= ? ELSE west <= ? OR east >= ? END)"
    parts = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    both = " OR ".join([meets] * len(parts))
    values = [value for first, last in parts for value in (last, first, last, first)]
    return _Condition(f"(west IS NOT NULL AND south <= ? AND north >= ? AND ({both}))", (north, south, *values))


@dataclass(frozen=True)
class Field:
    """A field of a query: what it is about, and how what stands behind it is read."""

    about: str
    read: Callable[[str], _Condition]


_APPRAISALS = {"b": "B", "v": "V", "n": "N"}
_OPENNESS = {one: one for one in ("open", "partly", "restricted", "undecided")}

FIELDS: Mapping[str, Field] = {
    "title": Field("words of the title", _in("title")),
    "description": Field("words of the description", _in("description")),
    "variable": Field("name, standard_name or long_name of a variable", _in("variable")),
    "units": Field("units of a variable", _in("units")),
    "person": Field("name, ORCID or organisation of who made it or answers for it", _in("person")),
    "flow": Field("the flow, or the run, that made it", _in("flow")),
    "input": Field("name of a file that was read", _in("input")),
    "result": Field("name of a result", _in("result")),
    "classification": Field("words of appraisal, selection list, category and ground", _in("classification")),
    "licence": Field("words of the licence", _in("licence")),
    "digest": Field("first digits of the digest of an input (SHA-256), package (SHA-512) or of values", _digest),
    "identifier": Field("first letters of the identifier, or of another that its metadata tell", _beginning),
    "time": Field("covers some of a period", _moments("time", '"begin"', '"end"')),
    "bbox": Field("covers some of a box: west,south,east,north in degrees", _bbox),
    "archived": Field("when it was first archived", _moments("archived", "created", "created")),
    "size": Field("bytes in all, as 1GB..2TiB", _size),
    "waardering": Field("B, V or N", _one_of("waardering", _APPRAISALS)),
    "openness": Field("open, partly, restricted or undecided", _one_of("openness", _OPENNESS)),
    "is": Field("there, damaged or destroyed", _one_of("state", {one: one for one in _STATES})),
}
