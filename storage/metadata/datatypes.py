"""Whether a text is of a type of XML Schema: libxml2 decides, so that a text that passes here passes there."""

import re
from functools import cache
from typing import Any

from lxml import etree

LIKE = {
    "language": "a language as nl or en-GB",
    "anyURI": "a URL",
    "date": "a day as 2026-11-28",
    "gYearMonth": "a month as 2026-11",
    "gYear": "a year as 2026",
    "dateTime": "a time as 2026-11-28T20:00:00Z",
    "duration": "a term as P10Y",
}
DAYS = ("date", "gYearMonth", "gYear")


def is_one_of(kinds: tuple[str, ...], text: str) -> bool:
    """Tell whether a text is of one of these types, by their names in XML Schema; a URL has no blanks either."""
    return any(_is(kind, text) for kind in kinds)


def wanted(kinds: tuple[str, ...]) -> str:
    """Return in words what a text of one of these types looks like."""
    return " or ".join(LIKE[kind] for kind in kinds)


@cache
def _schema(kind: str) -> Any:
    xsd = "http://www.w3.org/2001/XMLSchema"
    declared = f'<s:schema xmlns:s="{xsd}"><s:element name="value" type="s:{kind}"/></s:schema>'
    return etree.XMLSchema(etree.fromstring(declared))


def _is(kind: str, text: str) -> bool:
    made = etree.Element("value")
    made.text = text
    return bool(_schema(kind).validate(made)) and not (kind == "anyURI" and re.search(r"\s", text))
