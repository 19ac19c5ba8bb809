"""Texts and names from strangers: JSON as RFC 8259 has it and no more, of a limited size, no key twice, no NaN."""

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

LARGEST = 256 << 20  # bytes of a text that is read whole: an inventory of half a million files


class BadText(Exception):
    """A text is not what it should be; says what is wrong."""


def parse(data: bytes) -> Any:
    """Return the value that a JSON text says, or raise BadText."""
    text = decode(data)
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except RecursionError:
        raise BadText("is nested too deeply to be meant") from None
    except ValueError as error:
        raise BadText(f"is not JSON: {error}") from None


def decode(data: bytes) -> str:
    """Return text in UTF-8, or raise BadText."""
    if data.startswith(b"\xef\xbb\xbf"):
        raise BadText("begins with a byte order mark, which JSON may not have")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadText(f"is not in UTF-8: byte {error.start}") from None


def is_text(value: object) -> bool:
    """Say whether a value is a text that can be written: JSON may hold halves of letters, which no file name can."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def conflicts(paths: Iterable[str]) -> list[str]:
    """Return paths that are there twice or are folders of others: what lies in a folder is next to it when sorted."""
    ordered = sorted(tuple(path.split("/")) for path in paths)
    return ["/".join(one) for one, after in pairwise(ordered) if after[: len(one)] == one]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen = set[str]()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return made


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")
