"""What happened to an object after it was archived, as PREMIS: from what its custody noted, event by event."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from terp.storage.canonical import canonical
from terp.storage.metadata import premis

# what custody notes: what PREMIS calls it, and with what outcome; any other event keeps its own name
_KINDS = {
    "copied": ("replication", "success"),
    "damage found": ("fixity check", "failure"),
    "copy lost": ("replication", "failure"),
    "destroyed": ("deletion", "success"),
    "exported": ("dissemination", "success"),
    "ingested": ("ingestion", "success"),
    "repaired": ("recovery", "success"),
}
_ROLES = {"by": "implementer", "signed": "authorizer"}
_CUSTODIAN = "terp (custody)"


def with_history(document: premis.Premis, identifier: str, entries: Iterable[Mapping[str, Any]]) -> premis.Premis:
    """Return a PREMIS document with what custody noted of the object after its ingest, as `Events.of` returns it.

    What custody noted stands in the note of each outcome as canonical JSON. Who acted is added to the agents.
    """
    names = {one.agentIdentifierValue for actor in document.agent for one in actor.agentIdentifier}
    agents, events = list(document.agent), list(document.event)
    known = {one.eventIdentifier.eventIdentifierValue for one in events}
    for entry in entries:
        made = _event(identifier, entry)
        if made.eventIdentifier.eventIdentifierValue in known:
            continue
        events.append(made)
        for name, kind in _actors(entry):
            if name not in names:
                names.add(name)
                agents.append(premis.agent(name, name, kind))
    return replace(document, event=tuple(events), agent=tuple(agents))


def _event(identifier: str, entry: Mapping[str, Any]) -> premis.Event:
    noted = str(entry["event"])
    kind, outcome = _KINDS.get(noted, ("validation", "success"))
    made = premis.event(
        f"{identifier}/custody/{entry['number']:06}",
        kind,
        str(entry["time"]),
        objects=[identifier],
        agents=_acting(entry),
        outcome=outcome,
        detail=noted,
        note=canonical(entry["facts"]).decode(),
    )
    return made if noted in _KINDS else replace(made, eventType=premis.Term(noted))


def _acting(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return who acted, each with the role."""
    people = [(name, role) for fact, role in _ROLES.items() for name in _names(entry["facts"].get(fact))]
    return people or [(_CUSTODIAN, "executing program")]


def _actors(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return who acted, each with the kind of agent."""
    return [(name, "software" if name == _CUSTODIAN else "person") for name, _ in _acting(entry)]


def _names(fact: Any) -> list[str]:
    return [str(one) for one in (fact if isinstance(fact, list) else [fact]) if one]
