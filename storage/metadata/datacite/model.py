"""The model of DataCite 4.7 as far as a data set needs it, element by element, and its XML.

Left out are related items, polygons and line breaks in descriptions: a file that has them is refused by `read`, not
read in part.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from terp.storage.errors import BadMetadata
from terp.storage.metadata import binding
from terp.storage.metadata.binding import LANGUAGE, attribute, content, element

NAMESPACE = "http://datacite.org/schema/kernel-4"
SCHEMA = "https://schema.datacite.org/meta/kernel-4.7/metadata.xsd"

ORCID, ROR = "ORCID", "ROR"  # schemes of identifiers of people and of organisations


@dataclass(frozen=True)
class Identifier:
    """By what the data set is known: a DOI, where it has one."""

    value: str = content()
    identifierType: str = attribute(required=True)


@dataclass(frozen=True)
class Name:
    """A name, "Family, Given" of a person; `nameType` is Personal or Organizational."""

    value: str = content()
    nameType: str | None = attribute()
    language: str | None = attribute(LANGUAGE)


@dataclass(frozen=True)
class NameIdentifier:
    """By what someone is known, as an ORCID."""

    value: str = content()
    nameIdentifierScheme: str = attribute(required=True)
    schemeURI: str | None = attribute()


@dataclass(frozen=True)
class Affiliation:
    """For whom someone works, and by what that is known, as a ROR."""

    value: str = content()
    affiliationIdentifier: str | None = attribute()
    affiliationIdentifierScheme: str | None = attribute()
    schemeURI: str | None = attribute()


@dataclass(frozen=True)
class Creator:
    """One of those who made the data, in order of what they did."""

    creatorName: Name
    givenName: str | None = None
    familyName: str | None = None
    nameIdentifier: tuple[NameIdentifier, ...] = ()
    affiliation: tuple[Affiliation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Contributor:
    """Someone else who has to do with the data, and how (RightsHolder, HostingInstitution, ...)."""

    contributorType: str = attribute(required=True)
    contributorName: Name
    givenName: str | None = None
    familyName: str | None = None
    nameIdentifier: tuple[NameIdentifier, ...] = ()
    affiliation: tuple[Affiliation, ...] = ()


@dataclass(frozen=True)
class Title:
    """A title, the main one without a type."""

    value: str = content()
    titleType: str | None = attribute()
    language: str | None = attribute(LANGUAGE)


@dataclass(frozen=True)
class Publisher:
    """Who makes the data available."""

    value: str = content()
    publisherIdentifier: str | None = attribute()
    publisherIdentifierScheme: str | None = attribute()
    schemeURI: str | None = attribute()
    language: str | None = attribute(LANGUAGE)


@dataclass(frozen=True)
class ResourceType:
    """What it is, in words and from the list."""

    value: str = content()
    resourceTypeGeneral: str = attribute(default="Dataset")


@dataclass(frozen=True)
class Subject:
    """What it is about: a keyword, or a term of a list."""

    value: str = content()
    subjectScheme: str | None = attribute()
    schemeURI: str | None = attribute()
    valueURI: str | None = attribute()
    classificationCode: str | None = attribute()
    language: str | None = attribute(LANGUAGE)


@dataclass(frozen=True)
class Date:
    """A date or a span of them ("1982-01-01/2010-12-31"), and of what (Created, Issued, Coverage, ...)."""

    value: str = content()
    dateType: str = attribute(required=True)
    dateInformation: str | None = attribute()


@dataclass(frozen=True)
class AlternateIdentifier:
    """Another mark by which it is known, and of what type."""

    value: str = content()
    alternateIdentifierType: str = attribute(required=True)


@dataclass(frozen=True)
class RelatedIdentifier:
    """Something it is related to: code, inputs, other versions."""

    value: str = content()
    relatedIdentifierType: str = attribute(required=True)
    relationType: str = attribute(required=True)
    resourceTypeGeneral: str | None = attribute()
    relationTypeInformation: str | None = attribute()
    relatedMetadataScheme: str | None = attribute()
    schemeURI: str | None = attribute()
    schemeType: str | None = attribute()


@dataclass(frozen=True)
class Rights:
    """A licence or another statement of rights."""

    value: str = content()
    rightsURI: str | None = attribute()
    rightsIdentifier: str | None = attribute()
    rightsIdentifierScheme: str | None = attribute()
    schemeURI: str | None = attribute()
    language: str | None = attribute(LANGUAGE)


@dataclass(frozen=True)
class Description:
    """A description, and of what type (Abstract, Methods, ...)."""

    value: str = content()
    descriptionType: str = attribute(default="Abstract")
    language: str | None = attribute(LANGUAGE)


@dataclass(frozen=True)
class Point:
    """A place on Earth: degrees east and north, WGS 84."""

    ANY_ORDER: ClassVar = True
    pointLongitude: Decimal
    pointLatitude: Decimal


@dataclass(frozen=True)
class Box:
    """A part of Earth between degrees, WGS 84; where west is more than east it goes over 180."""

    ANY_ORDER: ClassVar = True
    westBoundLongitude: Decimal
    eastBoundLongitude: Decimal
    southBoundLatitude: Decimal
    northBoundLatitude: Decimal


@dataclass(frozen=True)
class GeoLocation:
    """Where the data are about: a name, a point, a box."""

    ANY_ORDER: ClassVar = True
    geoLocationPlace: str | None = None
    geoLocationPoint: Point | None = None
    geoLocationBox: Box | None = None


@dataclass(frozen=True)
class FunderIdentifier:
    """By what a funder is known."""

    value: str = content()
    funderIdentifierType: str = attribute(required=True)
    schemeURI: str | None = attribute()


@dataclass(frozen=True)
class AwardNumber:
    """The number of a grant."""

    value: str = content()
    awardURI: str | None = attribute()


@dataclass(frozen=True)
class FundingReference:
    """Who paid, and by which grant."""

    ANY_ORDER: ClassVar = True
    funderName: str
    funderIdentifier: FunderIdentifier | None = None
    awardNumber: AwardNumber | None = None
    awardTitle: str | None = None


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A data set as it is cited."""

    ANY_ORDER: ClassVar = True
    identifier: Identifier
    creators: tuple[Creator, ...] = element("creator", within="creators")
    titles: tuple[Title, ...] = element("title", within="titles")
    publisher: Publisher
    publicationYear: str
    resourceType: ResourceType
    subjects: tuple[Subject, ...] = element("subject", within="subjects")
    contributors: tuple[Contributor, ...] = element("contributor", within="contributors")
    dates: tuple[Date, ...] = element("date", within="dates")
    language: str | None = None
    alternateIdentifiers: tuple[AlternateIdentifier, ...] = element(
        "alternateIdentifier", within="alternateIdentifiers"
    )
    relatedIdentifiers: tuple[RelatedIdentifier, ...] = element("relatedIdentifier", within="relatedIdentifiers")
    sizes: tuple[str, ...] = element("size", within="sizes")
    formats: tuple[str, ...] = element("format", within="formats")
    version: str | None = None
    rightsList: tuple[Rights, ...] = element("rights", within="rightsList")
    descriptions: tuple[Description, ...] = element("description", within="descriptions")
    geoLocations: tuple[GeoLocation, ...] = element("geoLocation", within="geoLocations")
    fundingReferences: tuple[FundingReference, ...] = element("fundingReference", within="fundingReferences")


def write(resource: Resource) -> bytes:
    """Return the DataCite file of a data set; BadMetadata where a text has a character that XML cannot hold.

    What is incomplete is written as it is: ask `complaints` first.
    """
    return binding.to_bytes(binding.build(resource, "resource", NAMESPACE, SCHEMA))


def read(data: bytes, where: str = "the DataCite file") -> Resource:
    """Return what a DataCite file tells; BadMetadata, in words that begin with `where`, when it is not read whole."""
    root = binding.parse(data, where)
    if root.tag != f"{{{NAMESPACE}}}resource":
        raise BadMetadata(f"{where} is no DataCite 4: it begins with {root.tag}, not with resource of {NAMESPACE}")
    resource: Resource = binding.read(Resource, root, where)
    return resource
