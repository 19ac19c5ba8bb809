"""DataCite of an archived object: how it is cited, and to what it is related."""

import re
from decimal import Decimal

from terp.storage.archive.policy import Funding
from terp.storage.metadata import datacite
from terp.storage.metadata.filling.kept import Kept
from terp.storage.provenance import Input

_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.\d{4,9}/\S+)", re.IGNORECASE)
_ROR = "https://ror.org/"
_NOWHERE = ".invalid/"  # the domain of what is not stated (RFC 2606)
_FUNDERS = {  # schemes of identifiers of funders, as DataCite calls them
    datacite.ROR: re.compile(r"ror\.org/"),
    "Crossref Funder ID": re.compile(r"10\.13039/"),
    "ISNI": re.compile(r"isni\.org/|^\d{4} \d{4} \d{4} \d{3}[\dX]$"),
    "GRID": re.compile(r"^(?:https?://(?:www\.)?grid\.ac/institutes/)?grid\."),
}
_COMMONS = re.compile(
    r"https?://creativecommons\.org/(licenses/(?P<kind>[a-z-]+)|publicdomain/zero)/(?P<version>[\d.]+)/?"
)


def datacite_of(kept: Kept, doi: str = "") -> datacite.Resource:
    """Return how an object is cited; by its DOI where it has one, else by the name that the archive gave it."""
    record, policy = kept.told, kept.policy
    other = (datacite.AlternateIdentifier(kept.identifier, "URN"),) if doi else ()
    return datacite.Resource(
        identifier=datacite.Identifier(doi, "DOI") if doi else datacite.Identifier(kept.identifier, "URN"),
        creators=(_creator(kept),),
        titles=(datacite.Title(record.title),),
        publisher=_publisher(kept),
        publicationYear=f"{kept.archived.year:04}",
        resourceType=datacite.ResourceType("Zarr v3 group"),
        subjects=tuple(datacite.Subject(name) for name in kept.coverage.variables),
        contributors=_contributors(kept),
        dates=_dates(kept),
        language=kept.languages[0],
        alternateIdentifiers=other,
        relatedIdentifiers=_related(kept),
        sizes=(f"{sum(one.size for one in kept.payload)} bytes in {len(kept.payload)} files",),
        formats=tuple(dict.fromkeys(one.media_type for one in kept.payload)),
        version=kept.version,
        rightsList=(_licence(policy.rights.licence, policy.rights.licence_name),),
        descriptions=_descriptions(kept),
        geoLocations=_places(kept),
        fundingReferences=tuple(_paid(one) for one in kept.funding),
    )


def _identified(url: str | None) -> tuple[str | None, str | None]:
    """Return the identifier of an organisation and its scheme, where that is a ROR."""
    return (url, datacite.ROR) if url and url.startswith(_ROR) else (None, None)


def _creator(kept: Kept) -> datacite.Creator:
    agent = kept.told.agent
    orcid = (datacite.NameIdentifier(agent.orcid_url, datacite.ORCID, "https://orcid.org"),) if agent.orcid_url else ()
    works = list[datacite.Affiliation]()
    if agent.affiliation and _NOWHERE not in (agent.affiliation_url or ""):
        works.append(datacite.Affiliation(agent.affiliation, *_identified(agent.affiliation_url)))
    return datacite.Creator(datacite.Name(agent.name, "Personal"), nameIdentifier=orcid, affiliation=tuple(works))


def _publisher(kept: Kept) -> datacite.Publisher:
    keeper = kept.policy.zorgdrager or kept.policy.archiefvormer
    return datacite.Publisher(keeper.naam, *_identified(keeper.identificatie))


def _contributors(kept: Kept) -> tuple[datacite.Contributor, ...]:
    holders = dict.fromkeys((kept.policy.rights.holder, *kept.policy.rights.third_parties))
    return tuple(
        datacite.Contributor(contributorType="RightsHolder", contributorName=datacite.Name(name)) for name in holders
    )


def _dates(kept: Kept) -> tuple[datacite.Date, ...]:
    found = [datacite.Date(kept.record.ended.date().isoformat(), "Created")]
    if kept.policy.decision.openness == "open unless":
        found.append(datacite.Date(kept.archived.date().isoformat(), "Available"))
    if kept.coverage.begin:
        found.append(datacite.Date(f"{kept.coverage.begin}/{kept.coverage.end}", "Coverage"))
    return tuple(found)


def _related(kept: Kept) -> tuple[datacite.RelatedIdentifier, ...]:
    flow = kept.told.flow
    found = [datacite.RelatedIdentifier(flow.url, "URL", "IsCompiledBy", "Software")] if flow.url else []
    return (*found, *(one for read in kept.told.inputs for one in _source(read)))


def _source(read: Input) -> list[datacite.RelatedIdentifier]:
    """Return what was read as something related; a DOI or a URL is needed for that, a digest is neither."""
    if known := _DOI.fullmatch(read.identifier):
        return [datacite.RelatedIdentifier(known[1], "DOI", "IsDerivedFrom", "Dataset")]
    url = read.url or (read.identifier if read.identifier.startswith(("http://", "https://")) else "")
    return [datacite.RelatedIdentifier(url, "URL", "IsDerivedFrom", "Dataset")] if url else []


def _licence(url: str, name: str) -> datacite.Rights:
    known = _COMMONS.fullmatch(url)
    if not known:
        return datacite.Rights(name, url)
    spdx = f"CC-{known['kind'].upper()}-{known['version']}" if known["kind"] else f"CC0-{known['version']}"
    return datacite.Rights(name, url, spdx, "SPDX", "https://spdx.org/licenses/")


def _paid(one: Funding) -> datacite.FundingReference:
    kinds = ((scheme, known) for scheme, known in _FUNDERS.items() if known.search(one.identificatie))
    scheme = next(kinds, ("Other", None))[0]
    address = one.award if one.award.startswith(("http://", "https://")) else None
    return datacite.FundingReference(
        funderName=one.naam,
        funderIdentifier=datacite.FunderIdentifier(one.identificatie, scheme) if one.identificatie else None,
        awardNumber=datacite.AwardNumber(one.award, address) if one.award else None,
        awardTitle=one.titel or None,
    )


def _descriptions(kept: Kept) -> tuple[datacite.Description, ...]:
    record = kept.told
    read = "; ".join(f"{one.name} (SHA-256 {one.sha256})" for one in record.inputs)
    how = f"Made by the flow {record.flow.name} ({record.flow.version}) with terp {record.program}"
    how += f" from {read}." if read else "."
    told = [datacite.Description(record.flow.description)] if record.flow.description.strip() else []
    return (*told, datacite.Description(how, "Methods"))


def _places(kept: Kept) -> tuple[datacite.GeoLocation, ...]:
    """Return where on Earth the data are about; DataCite has no words for directions on the sky."""
    covers = kept.coverage
    if not covers.is_on_earth:
        return ()
    sides = [Decimal(str(side)) for side in (covers.west, covers.east, covers.south, covers.north)]
    return (datacite.GeoLocation(geoLocationBox=datacite.Box(*sides)),)
