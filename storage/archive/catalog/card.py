"""A card: what the catalog knows of one object. It follows from the object's folder alone."""

from dataclasses import dataclass, field, fields
from typing import Any, Self

import orjson

THERE, DAMAGED, DESTROYED = "there", "damaged", "destroyed"
_LONGEST = 20_000  # characters of one text: a catalog is no place for more


@dataclass(frozen=True)
class Variable:
    """An array of a result: its name, and CF's names and units where it tells them."""

    name: str
    result: str = ""
    standard_name: str = ""
    long_name: str = ""
    units: str = ""


@dataclass(frozen=True)
class Person:
    """Someone who made an object, or an organisation that answers for it."""

    name: str
    role: str
    orcid: str = ""
    affiliation: str = ""


@dataclass(frozen=True)
class Input:
    """A file that was read, by its SHA-256."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Result:
    """A result in an object: its packages with their SHA-512, their size in bytes, the digest of its values."""

    name: str
    packages: tuple[str, ...]
    sha512: tuple[str, ...]
    size: int
    values: str = ""


@dataclass(frozen=True)
class Card:
    """What is known of an object; what its metadata do not tell is empty.

    `path`: its folder, relative to the archive. `inventory`: the SHA-512 of its newest inventory. `created`, `updated`:
    of the first and newest version. `begin`, `end`: ISO 8601 in UTC. `west` to `north`: degrees; where west is greater
    than east the box crosses 180 degrees. `openness`: open, partly, restricted or undecided.
    """

    path: str
    identifier: str
    state: str = THERE
    why: str = ""
    inventory: str = ""
    version: str = ""
    created: str = ""
    updated: str = ""
    size: int = 0
    files: int = 0
    title: str = ""
    description: str = ""
    flow: str = ""
    run: str = ""
    licence: str = ""
    waardering: str = ""
    category: str = ""
    openness: str = "undecided"
    ground: str = ""
    keep_until: str = ""
    begin: str = ""
    end: str = ""
    west: float | None = None
    south: float | None = None
    east: float | None = None
    north: float | None = None
    identifiers: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()
    variables: tuple[Variable, ...] = ()
    people: tuple[Person, ...] = ()
    inputs: tuple[Input, ...] = ()

    def dumps(self) -> bytes:
        """Return it as JSON, the same each time."""
        return orjson.dumps(self)

    @classmethod
    def loads(cls, data: bytes | str) -> Self:
        """Return the card that `dumps` wrote; raises ValueError, TypeError or KeyError where it is none."""
        plain = orjson.loads(data)
        for name, kind in _PARTS.items():
            plain[name] = tuple(kind(**_hashable(one)) for one in plain[name])
        plain["identifiers"] = tuple(plain["identifiers"])
        if plain.keys() != {one.name for one in fields(cls)}:
            raise ValueError("a card of another format")
        return cls(**plain)


_PARTS: dict[str, Any] = {"results": Result, "variables": Variable, "people": Person, "inputs": Input}


def _hashable(plain: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}


@dataclass
class Draft:
    """Facts of a card, gathered from one file after another; who comes first counts, and lists add up."""

    facts: dict[str, Any] = field(default_factory=dict)

    def say(self, **facts: Any) -> None:
        """Add facts that are not known yet."""
        for name, value in facts.items():
            if value not in ("", None, (), []):
                self.facts.setdefault(name, value)

    def add(self, name: str, values: Any) -> None:
        """Add to a list what is not in it yet."""
        self.facts[name] = tuple(dict.fromkeys((*self.facts.get(name, ()), *values)))


def text(value: Any) -> str:
    """Return what is said as one text without control characters; "" for what is no text.

    Metadata are written by anyone, and end up on terminals.
    """
    if isinstance(value, str) and len(value) < _LONGEST and value.isprintable() and "  " not in value:
        return value.strip()  # nearly all are
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(text, value)))[:_LONGEST]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    sound = str(value)[:_LONGEST].encode(errors="replace").decode()
    return " ".join("".join(one if one.isprintable() else " " for one in sound).split())
