"""Starts: how often a run was begun, as the crate tells it, where that was more than once.

Each is an action after Process Run Crate 0.5 (https://w3id.org/ro/wfrun/process/0.5), of terp, which was activated.
"""

from collections.abc import Iterator
from urllib.parse import quote

from terp.storage.crate.entities import MADE_UP, Entity, file_link, link, links, numbered, time
from terp.storage.crate.workflow import SOURCE, engine
from terp.storage.provenance import Record, Start

_STATUS = "http://schema.org/{}ActionStatus"


def starts(record: Record) -> list[Entity]:
    """Return each start as an action, with what is to be said of it."""
    return [entity for number, one in enumerate(record.starts, 1) for entity in _start(number, one, record)]


def _start(number: int, one: Start, record: Record) -> Iterator[Entity]:
    facts = [numbered(f"start-{number} {name}", number, given) | _named(number, name) for name, given in one.facts]
    yield {
        "@id": f"#start-{number}",
        "@type": "ActivateAction",
        "name": f"Start {number} of {one.run}",
        "description": f"{one.ending}; of the regions, {one.left} were left to be made when it began",
        "startTime": time(one.started),
        "endTime": time(one.ended),
        "instrument": link(engine(record)),
        "object": file_link(SOURCE),
        "additionalProperty": links(facts),
        "actionStatus": _STATUS.format("Completed" if one.well else "Failed"),
        **({} if one.well else {"error": one.ending}),
    }
    yield from (engine(record), *facts)


def _named(number: int, name: str) -> Entity:
    return {
        "@id": f"#start-{number}-{quote(name)}",
        "name": name,
        "propertyID": f"{MADE_UP}/start/{quote(name)}",
    }
