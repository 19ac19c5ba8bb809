"""Objects of PREMIS 3.0: intellectual entities, representations and files, with what is told of each."""

from dataclasses import dataclass
from typing import ClassVar

from terp.storage.metadata.premis.names import (
    LinkingEventIdentifier,
    LinkingRightsStatementIdentifier,
    ObjectIdentifier,
    Term,
)


@dataclass(frozen=True, kw_only=True)
class PreservationLevel:
    """How well an object is to be kept, and why."""

    preservationLevelType: Term | None = None
    preservationLevelValue: Term
    preservationLevelRole: Term | None = None
    preservationLevelRationale: tuple[str, ...] = ()
    preservationLevelDateAssigned: str | None = None


@dataclass(frozen=True)
class SignificantProperties:
    """What of an object must stay as it is."""

    significantPropertiesType: Term | None = None
    significantPropertiesValue: str | None = None


@dataclass(frozen=True)
class Fixity:
    """A digest of a file: algorithm, value, who made it."""

    messageDigestAlgorithm: Term
    messageDigest: str
    messageDigestOriginator: Term | None = None


@dataclass(frozen=True)
class FormatDesignation:
    """The name of a format, and its version."""

    formatName: Term
    formatVersion: str | None = None


@dataclass(frozen=True)
class FormatRegistry:
    """Where a format is registered, under what key."""

    formatRegistryName: Term
    formatRegistryKey: Term
    formatRegistryRole: Term | None = None


@dataclass(frozen=True)
class Format:
    """A format, by its name or by the registry that has it."""

    formatDesignation: FormatDesignation | None = None
    formatRegistry: FormatRegistry | None = None
    formatNote: tuple[str, ...] = ()


@dataclass(frozen=True)
class CreatingApplication:
    """The program that made a file, its version, and when."""

    creatingApplicationName: Term | None = None
    creatingApplicationVersion: str | None = None
    dateCreatedByApplication: str | None = None


@dataclass(frozen=True, kw_only=True)
class ObjectCharacteristics:
    """A file as bytes: size, digests, format; `compositionLevel` 0 where nothing has to be unpacked first."""

    compositionLevel: int | None = None
    fixity: tuple[Fixity, ...] = ()
    size: int | None = None
    format: tuple[Format, ...]
    creatingApplication: tuple[CreatingApplication, ...] = ()


@dataclass(frozen=True)
class ContentLocation:
    """Where the bytes of an object are."""

    contentLocationType: Term
    contentLocationValue: str


@dataclass(frozen=True)
class Storage:
    """Where an object rests, and on what medium."""

    contentLocation: ContentLocation | None = None
    storageMedium: Term | None = None


@dataclass(frozen=True)
class RelatedObjectIdentifier:
    """An object that another one is related to."""

    relatedObjectIdentifierType: Term
    relatedObjectIdentifierValue: str
    relatedObjectSequence: int | None = None


@dataclass(frozen=True)
class RelatedEventIdentifier:
    """An event by which objects came to be related."""

    relatedEventIdentifierType: Term
    relatedEventIdentifierValue: str
    relatedEventSequence: int | None = None


@dataclass(frozen=True)
class Relationship:
    """How objects are related: the type ("structural", "derivation") and subtype ("represents", "has source")."""

    relationshipType: Term
    relationshipSubType: Term
    relatedObjectIdentifier: tuple[RelatedObjectIdentifier, ...]
    relatedEventIdentifier: tuple[RelatedEventIdentifier, ...] = ()


@dataclass(frozen=True)
class IntellectualEntity:
    """What is kept, whatever its form."""

    TYPE: ClassVar[str] = "intellectualEntity"
    objectIdentifier: tuple[ObjectIdentifier, ...]
    preservationLevel: tuple[PreservationLevel, ...] = ()
    significantProperties: tuple[SignificantProperties, ...] = ()
    originalName: str | None = None
    relationship: tuple[Relationship, ...] = ()
    linkingEventIdentifier: tuple[LinkingEventIdentifier, ...] = ()
    linkingRightsStatementIdentifier: tuple[LinkingRightsStatementIdentifier, ...] = ()


@dataclass(frozen=True)
class Representation:
    """All files that together render an intellectual entity."""

    TYPE: ClassVar[str] = "representation"
    objectIdentifier: tuple[ObjectIdentifier, ...]
    preservationLevel: tuple[PreservationLevel, ...] = ()
    significantProperties: tuple[SignificantProperties, ...] = ()
    originalName: str | None = None
    storage: tuple[Storage, ...] = ()
    relationship: tuple[Relationship, ...] = ()
    linkingEventIdentifier: tuple[LinkingEventIdentifier, ...] = ()
    linkingRightsStatementIdentifier: tuple[LinkingRightsStatementIdentifier, ...] = ()


@dataclass(frozen=True, kw_only=True)
class File:
    """A file; several characteristics where one has to be unpacked from another."""

    TYPE: ClassVar[str] = "file"
    objectIdentifier: tuple[ObjectIdentifier, ...]
    preservationLevel: tuple[PreservationLevel, ...] = ()
    significantProperties: tuple[SignificantProperties, ...] = ()
    objectCharacteristics: tuple[ObjectCharacteristics, ...]
    originalName: str | None = None
    storage: tuple[Storage, ...] = ()
    relationship: tuple[Relationship, ...] = ()
    linkingEventIdentifier: tuple[LinkingEventIdentifier, ...] = ()
    linkingRightsStatementIdentifier: tuple[LinkingRightsStatementIdentifier, ...] = ()
