"""What is missing or wrong in a DataCite resource, told without its schema. The lists are those of 4.7."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from terp.storage.metadata import binding, datatypes
from terp.storage.metadata.datacite.model import Box, GeoLocation, Resource

_RESOURCES = """Audiovisual Award Book BookChapter Collection ComputationalNotebook ConferencePaper ConferenceProceeding
    DataPaper Dataset Dissertation Event Image Instrument InteractiveResource Journal JournalArticle Model
    OutputManagementPlan PeerReview PhysicalObject Poster Preprint Presentation Project Report Service Software Sound
    Standard StudyRegistration Text Workflow Other"""
_LISTS: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "nameType": "Personal Organizational",
        "titleType": "AlternativeTitle Subtitle TranslatedTitle Other",
        "descriptionType": "Abstract Methods SeriesInformation TableOfContents TechnicalInfo Other",
        "resourceTypeGeneral": _RESOURCES,
        "dateType": """Accepted Available Collected Copyrighted Coverage Created Issued Other Submitted Updated Valid
            Withdrawn""",
        "contributorType": """ContactPerson DataCollector DataCurator DataManager Distributor Editor HostingInstitution
            Other Producer ProjectLeader ProjectManager ProjectMember RegistrationAgency RegistrationAuthority
            RelatedPerson ResearchGroup RightsHolder Researcher Sponsor Supervisor Translator WorkPackageLeader""",
        "relatedIdentifierType": """ARK arXiv bibcode CSTR DOI EAN13 EISSN Handle IGSN ISBN ISSN ISTC LISSN LSID PMID
            PURL RAiD RRID SWHID UPC URL URN w3id""",
        "relationType": """IsCitedBy Cites IsSupplementTo IsSupplementedBy IsContinuedBy Continues IsNewVersionOf
            IsPreviousVersionOf IsPartOf HasPart IsPublishedIn IsReferencedBy References IsDocumentedBy Documents
            IsCompiledBy Compiles IsVariantFormOf IsOriginalFormOf IsIdenticalTo HasMetadata IsMetadataFor Reviews
            IsReviewedBy IsDerivedFrom IsSourceOf Describes IsDescribedBy HasVersion IsVersionOf Requires IsRequiredBy
            Obsoletes IsObsoletedBy Collects IsCollectedBy HasTranslation IsTranslationOf Other""",
    }.items()
}
_LISTS["funderIdentifierType"] = frozenset(["ISNI", "GRID", "ROR", "Crossref Funder ID", "Other"])
_NEW = {"resourceTypeGeneral": {"Poster", "Presentation"}, "relatedIdentifierType": {"RAiD", "SWHID"}}
_NEW["relationType"] = {"Other"}
_URLS = frozenset(["schemeURI", "valueURI", "rightsURI", "awardURI", "classificationCode"])
_YEAR = re.compile(r"[0-9]{4}")


def complaints(resource: Resource) -> list[str]:
    """Return a sentence for each thing that is missing or wrong, with the path of its element; none: it is valid."""
    return [told for found in binding.walk(resource, "resource", "resource") for told in _one(*found)]


def cautions(resource: Resource) -> list[str]:
    """Return a sentence for each thing that is allowed, but that DataCite 4.6 or a registration does not take."""
    return list(_cautions(resource))


def _cautions(resource: Resource) -> Iterator[str]:
    if resource.identifier.identifierType != "DOI":
        yield "resource/identifier is no DOI: it cannot be registered with DataCite"
    for name, value, where in binding.walk(resource, "resource", "resource"):
        if name == "relationTypeInformation" or (isinstance(value, str) and value in _NEW.get(name, ())):
            yield f"{where}: {name} {value!r} is new in DataCite 4.7"


def _one(name: str, value: Any, where: str) -> Iterator[str]:
    """Return what is wrong with one element, apart from those in it."""
    if isinstance(value, Resource):
        for needed in (one for one in ("creators", "titles") if not getattr(value, one)):
            yield f"{where}/{needed} is missing: DataCite asks for at least one"
    elif isinstance(value, Decimal):
        limit = 180 if name.endswith("Longitude") else 90
        if not value.is_finite() or abs(value) > limit:
            yield f"{where} is {value}; degrees are from -{limit} to {limit}"
    elif isinstance(value, str):
        if value or not where.endswith("/resourceType"):  # where words beside the list are free
            yield from binding.faults(value, where) or _type(name, value, where)
    elif isinstance(value, Box) and _upside_down(value):
        yield f"{where} has its south, {value.southBoundLatitude}, above its north, {value.northBoundLatitude}"
    elif value == GeoLocation():
        yield f"{where} is empty: name a place, a point or a box"


def _upside_down(box: Box) -> bool:
    south, north = box.southBoundLatitude, box.northBoundLatitude
    return south.is_finite() and north.is_finite() and south > north


def _type(name: str, value: str, where: str) -> Iterator[str]:
    if name in _LISTS and value not in _LISTS[name]:
        yield f"{where} has the {name} {value!r}; DataCite knows {', '.join(sorted(_LISTS[name]))}"
    elif name == "publicationYear" and not _YEAR.fullmatch(value):
        yield f"{where} is {value!r}, and should be a year as 2026"
    elif name in ("language", binding.LANGUAGE) and not datatypes.is_one_of(("language",), value):
        yield f"{where} has the language {value!r}, and should have {datatypes.LIKE['language']}"
    elif name in _URLS and not datatypes.is_one_of(("anyURI",), value):
        yield f"{where} has the {name} {value!r}, which is no URL"
