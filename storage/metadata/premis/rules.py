"""What is missing or wrong in a PREMIS document, told without its schema: also links that lead nowhere."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

from terp.storage.metadata import binding, datatypes
from terp.storage.metadata.premis.model import EventOutcomeInformation, LicenseInformation, Premis
from terp.storage.metadata.premis.objects import (
    CreatingApplication,
    Format,
    SignificantProperties,
    Storage,
)

# of these an element has one at least
_ONE_OF: dict[type, tuple[str, ...]] = {
    Format: ("formatDesignation", "formatRegistry"),
    Storage: ("contentLocation", "storageMedium"),
    SignificantProperties: ("significantPropertiesType", "significantPropertiesValue"),
    CreatingApplication: ("creatingApplicationName", "creatingApplicationVersion", "dateCreatedByApplication"),
    EventOutcomeInformation: ("eventOutcome", "eventOutcomeDetail"),
    LicenseInformation: (
        "licenseDocumentationIdentifier",
        "licenseTerms",
        "licenseNote",
        "licenseApplicableDates",
    ),
}
_URLS = ("authorityURI", "valueURI")
_TIMES = ("dateTime", *datatypes.DAYS)


def complaints(document: Premis) -> list[str]:
    """Return a sentence for each thing that is missing or wrong, with the path of its element; none: it is valid."""
    found = binding.walk(document, "premis", "premis")
    return [*(told for one in found for told in _one(*one)), *_links(document)]


def _one(name: str, value: Any, where: str) -> Iterator[str]:
    """Return what is wrong with one element, apart from those in it."""
    for part in binding.parts(type(value)) if is_dataclass(value) else ():
        if part.needed and not getattr(value, part.field):
            yield f"{where}/{part.name} is missing: PREMIS asks for at least one"
    if (names := _ONE_OF.get(type(value))) and not any(getattr(value, one) for one in names):
        yield f"{where} is empty: PREMIS asks for {' or '.join(names)}"
    if isinstance(value, Premis) and value.version != "3.0":
        yield f"{where} is of version {value.version!r}, and not of 3.0"
    if isinstance(value, int) and not 0 <= value < 1 << 63:
        yield f"{where} is {value}, and should be 0 or more and less than 2^63"
    if isinstance(value, str):
        yield from binding.faults(value, where) or _type(name, value, where)


def _type(name: str, value: str, where: str) -> Iterator[str]:
    if name == "eventDateTime" and not datatypes.is_one_of(_TIMES, value):
        yield f"{where} is {value[:40]!r}, and should be {datatypes.wanted(_TIMES)}"
    elif name in _URLS and not datatypes.is_one_of(("anyURI",), value):
        yield f"{where} has the {name} {value[:40]!r}, which is no URL"


def _links(document: Premis) -> Iterator[str]:
    """Return a sentence for each identifier that two have, and each link that leads to nothing in the document."""
    known = {
        "Object": [_of(one, "object") for thing in document.object for one in thing.objectIdentifier],
        "Event": [_of(happened.eventIdentifier, "event") for happened in document.event],
        "Agent": [_of(one, "agent") for actor in document.agent for one in actor.agentIdentifier],
        "RightsStatement": [
            _of(one.rightsStatementIdentifier, "rightsStatement")
            for stated in document.rights
            for one in stated.rightsStatement
        ],
    }
    for kind, all_of in known.items():
        for name, count in Counter(all_of).items():
            if count > 1:
                yield f"the {kind.lower()} {name[1]} is there {count} times: identifiers are of one thing"
    for kind, name in _linked(document):
        if name not in known[kind]:
            yield f"a link leads to the {kind.lower()} {name[1]}, which is not there"


def _of(identifier: Any, name: str) -> tuple[str, str]:
    """Return type and value of an identifier."""
    return getattr(identifier, f"{name}IdentifierType").value, getattr(identifier, f"{name}IdentifierValue")


def _linked(thing: Premis) -> Iterator[tuple[str, tuple[str, str]]]:
    """Return what links lead to: the kind of thing, and its identifier."""
    for name, one, _ in binding.walk(thing, "premis", "premis"):
        if name.startswith("linking") and name.endswith("Identifier"):
            kind = name.removeprefix("linking").removesuffix("Identifier")
            yield kind, _of(one, f"linking{kind}")
