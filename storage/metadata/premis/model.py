"""Events, agents and rights of PREMIS 3.0, and the document that holds them with the objects.

Left out of PREMIS are bitstreams, environments, signatures, inhibitors, extensions, documents about rights other than
licences, and links by XML ids: a file that has them is refused by `read`, not read in part.
"""

from dataclasses import dataclass

from terp.storage.errors import BadMetadata
from terp.storage.metadata import binding
from terp.storage.metadata.binding import attribute
from terp.storage.metadata.premis.names import (
    AgentIdentifier,
    EventIdentifier,
    LinkingAgentIdentifier,
    LinkingEventIdentifier,
    LinkingObjectIdentifier,
    LinkingRightsStatementIdentifier,
    RightsStatementIdentifier,
    Term,
)
from terp.storage.metadata.premis.objects import File, IntellectualEntity, Representation

NAMESPACE = "http://www.loc.gov/premis/v3"
SCHEMA = "http://www.loc.gov/standards/premis/v3/premis.xsd"


@dataclass(frozen=True)
class EventDetailInformation:
    """How an event went about its work."""

    eventDetail: str | None = None


@dataclass(frozen=True)
class EventOutcomeDetail:
    """More about what came of an event."""

    eventOutcomeDetailNote: str


@dataclass(frozen=True)
class EventOutcomeInformation:
    """What came of an event ("success", "failure"), and more about it."""

    eventOutcome: Term | None = None
    eventOutcomeDetail: tuple[EventOutcomeDetail, ...] = ()


@dataclass(frozen=True)
class Event:
    """Something that happened to objects: what, when, how, with what outcome, by whom."""

    eventIdentifier: EventIdentifier
    eventType: Term
    eventDateTime: str
    eventDetailInformation: tuple[EventDetailInformation, ...] = ()
    eventOutcomeInformation: tuple[EventOutcomeInformation, ...] = ()
    linkingAgentIdentifier: tuple[LinkingAgentIdentifier, ...] = ()
    linkingObjectIdentifier: tuple[LinkingObjectIdentifier, ...] = ()


@dataclass(frozen=True)
class Agent:
    """Who did something: a person, an organisation, or software of some version."""

    agentIdentifier: tuple[AgentIdentifier, ...]
    agentName: tuple[Term, ...] = ()
    agentType: Term | None = None
    agentVersion: str | None = None
    agentNote: tuple[str, ...] = ()
    linkingEventIdentifier: tuple[LinkingEventIdentifier, ...] = ()
    linkingRightsStatementIdentifier: tuple[LinkingRightsStatementIdentifier, ...] = ()


@dataclass(frozen=True)
class StartAndEndDate:
    """From when until when; without an end still so."""

    startDate: str
    endDate: str | None = None


@dataclass(frozen=True)
class CopyrightInformation:
    """Whether there is copyright, and in which country (ISO 3166)."""

    copyrightStatus: Term
    copyrightJurisdiction: Term
    copyrightStatusDeterminationDate: str | None = None
    copyrightNote: tuple[str, ...] = ()
    copyrightApplicableDates: StartAndEndDate | None = None


@dataclass(frozen=True)
class LicenseDocumentationIdentifier:
    """Where a licence can be read."""

    licenseDocumentationIdentifierType: Term
    licenseDocumentationIdentifierValue: str
    licenseDocumentationRole: Term | None = None


@dataclass(frozen=True)
class LicenseInformation:
    """A licence: where it can be read, and what it says."""

    licenseDocumentationIdentifier: tuple[LicenseDocumentationIdentifier, ...] = ()
    licenseTerms: str | None = None
    licenseNote: tuple[str, ...] = ()
    licenseApplicableDates: StartAndEndDate | None = None


@dataclass(frozen=True)
class StatuteInformation:
    """A law on which rights rest: country, citation, and what it means here."""

    statuteJurisdiction: Term
    statuteCitation: Term
    statuteInformationDeterminationDate: str | None = None
    statuteNote: tuple[str, ...] = ()
    statuteApplicableDates: StartAndEndDate | None = None


@dataclass(frozen=True)
class OtherRightsInformation:
    """Another ground, as a policy or a contract."""

    otherRightsBasis: Term
    otherRightsApplicableDates: StartAndEndDate | None = None
    otherRightsNote: tuple[str, ...] = ()


@dataclass(frozen=True)
class RightsGranted:
    """What may be done ("use", "disseminate", "delete"), under which restrictions, from when until when."""

    act: Term
    restriction: tuple[Term, ...] = ()
    termOfGrant: StartAndEndDate | None = None
    termOfRestriction: StartAndEndDate | None = None
    rightsGrantedNote: tuple[str, ...] = ()


@dataclass(frozen=True)
class RightsStatement:
    """What may be done with objects, and on what basis ("copyright", "license", "statute", "other")."""

    rightsStatementIdentifier: RightsStatementIdentifier
    rightsBasis: Term
    copyrightInformation: CopyrightInformation | None = None
    licenseInformation: LicenseInformation | None = None
    statuteInformation: tuple[StatuteInformation, ...] = ()
    otherRightsInformation: OtherRightsInformation | None = None
    rightsGranted: tuple[RightsGranted, ...] = ()
    linkingObjectIdentifier: tuple[LinkingObjectIdentifier, ...] = ()
    linkingAgentIdentifier: tuple[LinkingAgentIdentifier, ...] = ()


@dataclass(frozen=True)
class Rights:
    """Statements of rights that belong together."""

    rightsStatement: tuple[RightsStatement, ...]


@dataclass(frozen=True)
class Premis:
    """A PREMIS document: objects, what happened to them, by whom, on what rights."""

    object: tuple[IntellectualEntity | Representation | File, ...]
    event: tuple[Event, ...] = ()
    agent: tuple[Agent, ...] = ()
    rights: tuple[Rights, ...] = ()
    version: str = attribute(default="3.0")


def write(document: Premis) -> bytes:
    """Return the PREMIS 3.0 file of a document; BadMetadata where a text has a character that XML cannot hold.

    What is incomplete is written as it is: ask `complaints` first.
    """
    return binding.to_bytes(binding.build(document, "premis", NAMESPACE, SCHEMA))


def read(data: bytes, where: str = "the PREMIS file") -> Premis:
    """Return what a PREMIS 3.0 file tells; BadMetadata, in words that begin with `where`, when it is not read whole."""
    root = binding.parse(data, where)
    if root.tag != f"{{{NAMESPACE}}}premis":
        raise BadMetadata(f"{where} is no PREMIS 3: it begins with {root.tag}, not with premis of {NAMESPACE}")
    document: Premis = binding.read(Premis, root, where)
    return document
