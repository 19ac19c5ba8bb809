"""Entities: how things are written in a crate. A JSON-LD object with `@id` and `@type`; all else by RO-Crate 1.1."""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

Entity = dict[str, Any]

MADE_UP = "https://terp.invalid"  # a name for what has to have an URL and has none; .invalid never resolves (RFC 2606)


def file(name: str, title: str, description: str, media_type: str) -> Entity:
    """Return a file of the crate."""
    about = {"name": title, "description": description, "encodingFormat": media_type}
    return {**file_link(name), "@type": "File", **about}


def file_link(name: str) -> Entity:
    """Return a link to a file of the crate."""
    return {"@id": quote(name)}


def link(entity: Entity) -> Entity:
    """Return a link to an entity."""
    return {"@id": entity["@id"]}


def links(entities: Sequence[Entity]) -> list[Entity]:
    """Return links to entities."""
    return [link(one) for one in entities]


def value(kind: str, name: str, given: Any) -> Entity:
    """Return a named value; numbers and truth values as they are, what is neither nor text as JSON."""
    return {"@id": f"#{kind}-{quote(name)}", "@type": "PropertyValue", "name": name, "value": plain(given)}


def plain(given: Any) -> Any:
    """Return a value as JSON-LD can hold it in one property."""
    if isinstance(given, str | bool | int) or (isinstance(given, float) and math.isfinite(given)):
        return given
    return json.dumps(given, sort_keys=True, ensure_ascii=False, default=str)


def kind_of(given: Any) -> str:
    """Return the name of a value's type, as FormalParameter wants it."""
    for kind, name in ((bool, "Boolean"), (int, "Integer"), (float, "Float"), (str, "Text")):
        if isinstance(given, kind):
            return name
    return "PropertyValue"


def numbered(kind: str, number: int, given: str) -> Entity:
    """Return a value that is one of several of its kind."""
    return {"@id": f"#{kind}-{number}", "@type": "PropertyValue", "name": kind, "value": given}


def time(moment: datetime) -> str:
    """Return a time as ISO 8601, in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def compact(entity: Entity) -> Entity:
    """Return an entity without empty lists and text, and with single values in place of lists of one."""
    lists = {key: one[0] for key, one in entity.items() if isinstance(one, list) and len(one) == 1}
    return {key: lists.get(key, one) for key, one in entity.items() if one not in ([], "")}
