"""Short ways to say in PREMIS what an archive has to say: an entity, its files, what happened, by whom.

Identifiers are of the type "local" unless they are told as URNs or URLs, which say themselves what they are.
"""

from collections.abc import Iterable, Mapping, Sequence

from terp.storage.errors import BadMetadata
from terp.storage.metadata.premis.model import (
    Agent,
    Event,
    EventDetailInformation,
    EventOutcomeDetail,
    EventOutcomeInformation,
    LicenseDocumentationIdentifier,
    LicenseInformation,
    OtherRightsInformation,
    Rights,
    RightsGranted,
    RightsStatement,
)
from terp.storage.metadata.premis.names import (
    AgentIdentifier,
    EventIdentifier,
    LinkingAgentIdentifier,
    LinkingObjectIdentifier,
    ObjectIdentifier,
    RightsStatementIdentifier,
    Term,
)
from terp.storage.metadata.premis.objects import (
    File,
    Fixity,
    Format,
    FormatDesignation,
    FormatRegistry,
    IntellectualEntity,
    ObjectCharacteristics,
    RelatedObjectIdentifier,
    Relationship,
    Representation,
)

_LIST = "http://id.loc.gov/vocabulary/preservation/"

# of the list of event types of the Library of Congress, with their codes there
EVENT_TYPES: Mapping[str, str] = {
    "creation": "cre",
    "deletion": "del",
    "dissemination": "dis",
    "fixity check": "fix",
    "information package creation": "ipc",
    "ingestion": "ing",
    "message digest calculation": "mes",
    "migration": "mig",
    "recovery": "rec",
    "replication": "rep",
    "validation": "val",
}


def _kind(identifier: str) -> Term:
    scheme = identifier.partition(":")[0].lower()
    return Term({"urn": "URN", "http": "URL", "https": "URL", "doi": "DOI"}.get(scheme, "local"))


def _identified(identifier: str) -> tuple[ObjectIdentifier, ...]:
    return (ObjectIdentifier(_kind(identifier), identifier),)


def relation(kind: str, subtype: str, others: Iterable[str]) -> Relationship:
    """Return how an object is related to others: as in `relation("structural", "represents", ["urn:..."])`."""
    related = tuple(RelatedObjectIdentifier(_kind(one), one) for one in others)
    return Relationship(Term(kind), Term(subtype), related)


def entity(identifier: str, name: str = "", related: Sequence[Relationship] = ()) -> IntellectualEntity:
    """Return what is kept, whatever its form."""
    return IntellectualEntity(_identified(identifier), originalName=name or None, relationship=tuple(related))


def representation(identifier: str, represents: str, files: Iterable[str]) -> Representation:
    """Return what renders an entity: the files that do."""
    parts = [relation("structural", "represents", [represents]), relation("structural", "has part", files)]
    return Representation(_identified(identifier), relationship=tuple(parts))


def file(
    identifier: str,
    *,
    name: str,
    size: int,
    digests: Mapping[str, str],
    format_name: str,
    format_version: str | None = None,
    registry: tuple[str, str] | None = None,
    related: Sequence[Relationship] = (),
) -> File:
    """Return a file of `size` bytes; `digests` by algorithm (SHA-512), `registry` as ("PRONOM", "fmt/817")."""
    known = FormatRegistry(Term(registry[0]), Term(registry[1])) if registry else None
    facts = ObjectCharacteristics(
        compositionLevel=0,
        fixity=tuple(Fixity(Term(algorithm), value) for algorithm, value in digests.items()),
        size=size,
        format=(Format(FormatDesignation(Term(format_name), format_version), known),),
    )
    return File(
        objectIdentifier=_identified(identifier),
        objectCharacteristics=(facts,),
        originalName=name,
        relationship=tuple(related),
    )


def event(
    identifier: str,
    kind: str,
    when: str,
    *,
    objects: Iterable[str],
    agents: Iterable[tuple[str, str]],
    outcome: str = "success",
    detail: str = "",
    note: str = "",
) -> Event:
    """Return what happened to `objects` at `when` (2026-11-28T20:00:00Z): `kind` is one of EVENT_TYPES.

    `agents` are their identifiers with their roles ("implementer", "executing program"), `detail` how it was done,
    `note` more about its outcome. BadMetadata where the kind is not known.
    """
    if kind not in EVENT_TYPES:
        raise BadMetadata(f"{kind!r} is no kind of event; known are {', '.join(EVENT_TYPES)}")
    listed = Term(kind, "eventType", f"{_LIST}eventType", f"{_LIST}eventType/{EVENT_TYPES[kind]}")
    notes = (EventOutcomeDetail(note),) if note else ()
    return Event(
        EventIdentifier(_kind(identifier), identifier),
        listed,
        when,
        (EventDetailInformation(detail),) if detail else (),
        (EventOutcomeInformation(Term(outcome), notes),),
        tuple(LinkingAgentIdentifier(_kind(one), one, (Term(role),)) for one, role in agents),
        tuple(LinkingObjectIdentifier(_kind(one), one) for one in objects),
    )


def agent(identifier: str, name: str, kind: str, version: str | None = None, note: str = "") -> Agent:
    """Return who acts: `kind` is "person", "organization" or "software"."""
    if kind not in ("person", "organization", "software"):
        raise BadMetadata(f"an agent is a person, an organization or software, and no {kind!r}")
    named, notes = (Term(name),), (note,) if note else ()
    return Agent((AgentIdentifier(_kind(identifier), identifier),), named, Term(kind), version, notes)


def rights(
    identifier: str,
    objects: Iterable[str],
    *,
    licence: tuple[str, str] | None = None,
    ground: str = "",
    granted: Sequence[RightsGranted] = (),
) -> Rights:
    """Return what may be done with objects: by a licence (its URL and what it says) or on another ground."""
    links = tuple(LinkingObjectIdentifier(_kind(one), one) for one in objects)
    known = RightsStatementIdentifier(_kind(identifier), identifier)
    terms, other = None, None
    if licence:
        terms = LicenseInformation((LicenseDocumentationIdentifier(_kind(licence[0]), licence[0]),), licence[1])
    else:
        other = OtherRightsInformation(Term("policy"), otherRightsNote=(ground,))
    statement = RightsStatement(
        known,
        Term("license" if licence else "other"),
        licenseInformation=terms,
        otherRightsInformation=other,
        rightsGranted=tuple(granted),
        linkingObjectIdentifier=links,
    )
    return Rights((statement,))
