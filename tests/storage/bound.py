"""What the tests of metadata share: schemas, the same XML whatever its blanks, and any value of a class."""

from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, get_args

from hypothesis import strategies as some
from lxml import etree

from terp.storage.metadata import binding

NAMES = some.text(
    some.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=9
)
TEXTS = some.one_of(NAMES, some.sampled_from([" ", "a\tb\r\nc", "<&>'\"]]>", "Café het Hoekje", "\U0001f30d", "\x85"]))


@cache
def schema(path: Path) -> etree.XMLSchema:
    """Return the schema in a file, without any network."""
    return etree.XMLSchema(etree.parse(path, etree.XMLParser(no_network=True)))


def wrong(schema: etree.XMLSchema, data: bytes) -> list[str]:
    """Return what a schema finds wrong with a file."""
    schema.validate(etree.fromstring(data))
    return [str(one.message) for one in schema.error_log]


def same(data: bytes) -> bytes:
    """Return canonical XML without the blanks between elements."""
    root = etree.fromstring(data, etree.XMLParser(remove_blank_text=True, remove_comments=True))
    return bytes(etree.tostring(root, method="c14n"))


def anything(kind: Any, most: int = 2, **texts: some.SearchStrategy[str]) -> some.SearchStrategy[Any]:
    """Return any value of a class that is bound to XML, with up to `most` of what it may have often.

    `texts` are those of elements by their names.
    """

    def one(part: binding.Part) -> some.SearchStrategy[Any]:
        kinds = get_args(part.kind) or (part.kind,)
        single = some.one_of([value(kind, part.name) for kind in kinds])
        if part.many:
            least = some.integers(0, 19).map(
                lambda number: int(part.needed and number > 0)
            )  # what must be is seldom absent
            return least.flatmap(lambda size: some.lists(single, min_size=size, max_size=most).map(tuple))
        return some.none() | single if part.optional else single

    def value(kind: Any, name: str) -> some.SearchStrategy[Any]:
        if kind is str:
            return texts.get(name, texts.get("text", TEXTS))
        if kind is int:
            return some.integers(-(10**17), 10**17)
        if kind is Decimal:
            return some.decimals(-180, 180, places=5)
        return anything(kind, most, **texts)

    return some.deferred(lambda: some.builds(kind, **{part.field: one(part) for part in binding.parts(kind)}))
