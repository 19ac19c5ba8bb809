"""A chain of events, as custody holds it or a place tells it: each line names the BLAKE3 of the line before.

Such a chain tells of all that is altered but for the loss of its last lines; so it is kept in several places, each of
which can only be the same or lag behind. What a place keeps ends in a line that names the BLAKE3 of the last event:
without it, or with another, the file is damaged there, and bears no witness to its last line.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from terp.storage.canonical import canonical

NOTHING = "0" * 64


class Forked(Exception):
    """Two chains tell something different of one event: which of them is true is for a person to say."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(frozen=True)
class Chain:
    """The events of an object as lines, as far as each fits the one before; `whole` where nothing is beyond that."""

    slug: str
    lines: tuple[bytes, ...]
    whole: bool = True

    @property
    def identifier(self) -> str:
        """The identifier of the object; "" where nothing tells it."""
        return str(json.loads(self.lines[0])["object"]) if self.lines else ""

    def entries(self, after: int = 0) -> list[dict[str, Any]]:
        """Return the events behind the one of a number."""
        return [json.loads(line) for line in self.lines[after:]]


def slug(identifier: str) -> str:
    """Return the name by which custody knows an object: 32 hexadecimal digits of the SHA-256 of its identifier."""
    return hashlib.sha256(identifier.encode()).hexdigest()[:32]


def digest(line: bytes) -> str:
    """Return the BLAKE3 by which the next line names a line."""
    return blake3(line).hexdigest()


def event(line: bytes, name: str, number: int) -> dict[str, Any] | None:
    """Return a line as it reads, where it is the event of that number of that object; else None."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        entry = json.loads(line)
        told = {"number", "time", "event", "before", "object", "facts"} == entry.keys() and entry["number"] == number
        if told and canonical(entry) == line and isinstance(entry["facts"], dict) and slug(entry["object"]) == name:
            return dict(entry)
    return None


def chained(name: str, lines: Iterable[bytes]) -> Chain:
    """Return the chain that some lines are, up to the first that does not fit."""
    found, before = list[bytes](), NOTHING
    for line in lines:
        entry = event(line, name, len(found) + 1)
        if entry is None or entry["before"] != before:
            return Chain(name, tuple(found), whole=False)
        found.append(line)
        before = digest(line)
    return Chain(name, tuple(found))


def held_as(name: str, held: Mapping[int, bytes]) -> Chain:
    """Return the chain that the events are which custody holds, by their numbers."""
    found = chained(name, (held[number] for number in range(1, len(held) + 1) if number in held))
    return found if len(found.lines) == len(held) else Chain(name, found.lines, whole=False)


def packed(chain: Chain) -> bytes:
    """Return a chain as it is kept in a place: a line for each event, and one that names its end."""
    before = digest(chain.lines[-1]) if chain.lines else NOTHING
    return b"".join(line + b"\n" for line in (*chain.lines, _end(before, len(chain.lines))))


def unpacked(name: str, data: bytes) -> Chain:
    """Return the chain that a place keeps, as far as it can be believed."""
    *lines, end = data.removesuffix(b"\n").split(b"\n")
    chain = chained(name, lines)
    if chain.whole and data == packed(chain):
        return chain
    return Chain(name, chained(name, [*lines, end]).lines, whole=False)


def _end(before: str, count: int) -> bytes:
    return canonical({"before": before, "events": count})


def missing(held: Mapping[int, bytes], told: Chain) -> list[tuple[int, bytes]]:
    """Return those events of a chain that is told which are not held, or are held as what they cannot have been.

    Raises Forked where what is held and what is told contradict each other, and the one may be as true as the other.
    """
    found = list[tuple[int, bytes]]()
    for number, line in enumerate(told.lines, 1):
        mine = held.get(number)
        if mine is None or (mine != line and _disproved(held, number, told.lines)):
            found.append((number, line))
        elif mine != line:
            if number == len(told.lines) and not told.whole:
                return found  # the end of a damaged file is no witness
            raise Forked(number)
    return found


def _disproved(held: Mapping[int, bytes], number: int, told: Sequence[bytes]) -> bool:
    """Say whether what is held cannot be the event: it is none, or the event behind it, told alike, names another."""
    name = slug(str(json.loads(told[0])["object"]))
    if event(held[number], name, number) is None:
        return True
    behind = told[number] if number < len(told) else None
    return behind is not None and held.get(number + 1) == behind
