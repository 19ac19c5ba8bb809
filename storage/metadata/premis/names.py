"""Terms and identifiers of PREMIS 3.0, and the links that name them."""

from dataclasses import dataclass

from terp.storage.metadata.binding import attribute, content


@dataclass(frozen=True)
class Term:
    """A text that may be of a controlled list: the list's name, its URI, and that of the term (stringPlusAuthority)."""

    value: str = content()
    authority: str | None = attribute()
    authorityURI: str | None = attribute()
    valueURI: str | None = attribute()


@dataclass(frozen=True)
class ObjectIdentifier:
    """By what an object is known."""

    objectIdentifierType: Term
    objectIdentifierValue: str


@dataclass(frozen=True)
class EventIdentifier:
    """By what an event is known."""

    eventIdentifierType: Term
    eventIdentifierValue: str


@dataclass(frozen=True)
class AgentIdentifier:
    """By what an agent is known."""

    agentIdentifierType: Term
    agentIdentifierValue: str


@dataclass(frozen=True)
class RightsStatementIdentifier:
    """By what a statement of rights is known."""

    rightsStatementIdentifierType: Term
    rightsStatementIdentifierValue: str


@dataclass(frozen=True)
class LinkingObjectIdentifier:
    """An object that something is about, and in what role."""

    linkingObjectIdentifierType: Term
    linkingObjectIdentifierValue: str
    linkingObjectRole: tuple[Term, ...] = ()


@dataclass(frozen=True)
class LinkingEventIdentifier:
    """An event that something took part in."""

    linkingEventIdentifierType: Term
    linkingEventIdentifierValue: str


@dataclass(frozen=True)
class LinkingAgentIdentifier:
    """An agent that did something, and in what role."""

    linkingAgentIdentifierType: Term
    linkingAgentIdentifierValue: str
    linkingAgentRole: tuple[Term, ...] = ()


@dataclass(frozen=True)
class LinkingRightsStatementIdentifier:
    """The statement of rights that holds for something."""

    linkingRightsStatementIdentifierType: Term
    linkingRightsStatementIdentifierValue: str
