"""DataCite: what is written is valid by 4.7 and 4.6, read as it was, and what is missing or wrong is told."""

import re
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from lxml import etree

sys.path.insert(0, str(Path(__file__).parent))
from bound import anything, same, schema, wrong

from terp.storage.errors import BadMetadata
from terp.storage.metadata import datacite
from terp.storage.metadata.datacite import rules

MAKER = datacite.Creator(
    datacite.Name("Maker, A.", "Personal"),
    nameIdentifier=(datacite.NameIdentifier("https://orcid.org/0000-0002-1825-0097", datacite.ORCID),),
    affiliation=(datacite.Affiliation("Universiteit Utrecht", "https://ror.org/04pp8hn57", datacite.ROR),),
)
BOX = datacite.Box(Decimal("-180"), Decimal("180"), Decimal("-89.75"), Decimal("89.75"))
DATASET = datacite.Resource(
    identifier=datacite.Identifier("10.82433/9184-DY35", "DOI"),
    creators=(MAKER,),
    titles=(datacite.Title("Zeetemperatuur", language="nl"),),
    publisher=datacite.Publisher("Universiteit Utrecht"),
    publicationYear="2026",
    resourceType=datacite.ResourceType("Zarr"),
    subjects=(datacite.Subject("sea surface temperature"),),
    contributors=(datacite.Contributor(contributorType="RightsHolder", contributorName=datacite.Name("Utrecht")),),
    dates=(datacite.Date("1982-01-01/2010-12-31", "Coverage"), datacite.Date("2026-11-28", "Created")),
    language="en",
    alternateIdentifiers=(datacite.AlternateIdentifier("urn:terp:climatology:12", "URN"),),
    relatedIdentifiers=(
        datacite.RelatedIdentifier("https://example.org/code", "URL", "IsCompiledBy", "Software"),
        datacite.RelatedIdentifier("10.1234/input", "DOI", "IsDerivedFrom"),
    ),
    sizes=("12 GiB",),
    formats=("application/zip",),
    version="v1",
    rightsList=(datacite.Rights("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),),
    descriptions=(datacite.Description("What it is."),),
    geoLocations=(datacite.GeoLocation("Noordzee", datacite.Point(Decimal(3), Decimal(54)), BOX),),
    fundingReferences=(datacite.FundingReference("NWO", awardNumber=datacite.AwardNumber("12")),),
)

SCHEMA = re.compile(rb"kernel-4(\.\d)?/m")  # of the schema, which each example names in its own way


@pytest.fixture(scope="module")
def official(shared: Path) -> Path:
    folder = shared / "vectors/datacite/meta"
    if not folder.is_dir():
        pytest.skip("needs the schemas of DataCite (../shared/vectors/datacite), which are not here")
    return folder


@pytest.fixture(scope="module")
def schemas(official: Path) -> dict[str, etree.XMLSchema]:
    return {version: schema(official / f"kernel-{version}/metadata.xsd") for version in ("4.6", "4.7")}


def test_dc_a_data_set_is_valid_by_both_versions(schemas: dict[str, etree.XMLSchema]) -> None:
    assert datacite.complaints(DATASET) == []
    assert datacite.cautions(DATASET) == []
    assert {name: wrong(one, datacite.write(DATASET)) for name, one in schemas.items()} == {"4.6": [], "4.7": []}


def test_dc_what_only_the_new_version_has_is_cautioned(schemas: dict[str, etree.XMLSchema]) -> None:
    code = datacite.RelatedIdentifier("swh:1:rev:0", "SWHID", "IsCompiledBy")
    new = replace(DATASET, relatedIdentifiers=(code,), identifier=datacite.Identifier("urn:terp:1", "URN"))
    assert datacite.complaints(new) == []
    assert wrong(schemas["4.7"], datacite.write(new)) == []
    assert wrong(schemas["4.6"], datacite.write(new)) != []
    assert datacite.cautions(new) == [
        "resource/identifier is no DOI: it cannot be registered with DataCite",
        "resource/relatedIdentifiers: relatedIdentifierType 'SWHID' is new in DataCite 4.7",
    ]


def test_dc_official_examples_are_written_as_they_were_read(
    official: Path, schemas: dict[str, etree.XMLSchema]
) -> None:
    read, refused = [], {}
    for path in sorted((official / "kernel-4.7/example").glob("*.xml")):
        try:
            found = datacite.read(path.read_bytes(), path.name)
        except BadMetadata as error:
            refused[path.name] = str(error)
            continue
        read.append(path.name)
        again = datacite.write(found)
        assert datacite.read(again) == found
        assert sorted(same(again).split(b"<")) == sorted(
            SCHEMA.sub(b"kernel-4.7/m", same(path.read_bytes())).split(b"<")
        )
        assert datacite.complaints(found) == []
        assert wrong(schemas["4.7"], again) == []
    assert len(read) >= 10
    left_out = ("relatedItems", "geoLocationPolygon", "where a text should stand")
    assert [told for told in refused.values() if not any(words in told for words in left_out)] == []


def test_dc_the_lists_are_those_of_the_schema(official: Path) -> None:
    for path in (official / "kernel-4.7/include").glob("datacite-*Type-v4.xsd"):
        kind = path.name.split("-")[1]
        values = set(etree.parse(path).xpath("//@value"))
        name = "resourceTypeGeneral" if kind == "resourceType" else kind
        if kind != "numberType":  # of related items, which are left out
            assert rules._LISTS[name] == values, kind


@settings(max_examples=20, deadline=None)
@given(anything(datacite.Resource))
def test_any_resource_is_read_as_it_was_written(resource: datacite.Resource) -> None:
    assert datacite.read(datacite.write(resource)) == resource


LISTED = {name: some.sampled_from(sorted(values) * 3 + ["?"]) for name, values in rules._LISTS.items()}


@settings(max_examples=50, deadline=None)
@given(
    anything(
        datacite.Resource,
        **LISTED,
        text=some.sampled_from(["naam"] * 200 + [" "]),
        publicationYear=some.sampled_from(["2026"] * 9 + ["26"]),
        language=some.sampled_from(["nl"] * 9 + ["nederlands"]),
    )
)
def test_what_has_no_complaints_is_valid(schemas: dict[str, etree.XMLSchema], resource: datacite.Resource) -> None:
    whole = replace(DATASET, **{name: held for name, held in vars(resource).items() if held})
    if datacite.complaints(whole) == []:
        assert wrong(schemas["4.7"], datacite.write(whole)) == []
        if datacite.cautions(whole) == []:
            assert wrong(schemas["4.6"], datacite.write(whole)) == []


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no_creator": ({"creators": ()}, "resource/creators is missing"),
    "no_title": ({"titles": ()}, "resource/titles is missing"),
    "blank": ({"publisher": datacite.Publisher(" ")}, "resource/publisher is blank"),
    "year": ({"publicationYear": "26"}, "resource/publicationYear is '26', and should be a year"),
    "language": ({"language": "nederlands"}, "resource/language has the language 'nederlands'"),
    "list": (
        {"dates": (datacite.Date("2026", "Gisteren"),)},
        "resource/dates has the dateType 'Gisteren'; DataCite knows",
    ),
    "url": ({"rightsList": (datacite.Rights("x", "a b"),)}, "resource/rightsList has the rightsURI 'a b'"),
    "nowhere": ({"geoLocations": (datacite.GeoLocation(),)}, "resource/geoLocations is empty"),
    "degrees": (
        {"geoLocations": (datacite.GeoLocation(geoLocationPoint=datacite.Point(Decimal(181), Decimal("NaN"))),)},
        "geoLocationPoint/pointLongitude is 181; degrees are from -180 to 180",
    ),
    "upside_down": (
        {"geoLocations": (datacite.GeoLocation(geoLocationBox=replace(BOX, southBoundLatitude=Decimal(90))),)},
        "has its south, 90, above its north, 89.75",
    ),
    "control": ({"sizes": ("1", "2\x0c")}, "resource/sizes[2] has the character U+000C"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_missing_or_wrong_is_told_with_its_path(case: str) -> None:
    facts, words = WRONG[case]
    told = datacite.complaints(replace(DATASET, **facts))
    assert told
    assert words in told[0]


def test_dc_what_is_not_read_whole_is_refused() -> None:
    text = datacite.write(DATASET).decode()
    for old, new, words in (
        ("<sizes>", "<sizes/><sizes>", "has more than one sizes"),
        ("<size>", "<grootte/><size>", "resource/sizes has the element grootte"),
        ("<subjects>", "<subjects x='1'>", "resource/subjects has the attribute x"),
        ("<pointLatitude>54", "<pointLatitude>noord", "should be a number"),
        (' identifierType="DOI"', "", "has no identifierType, which it must have"),
        ("datacite.org/schema/kernel-4", "datacite.org/schema/kernel-3", "is no DataCite 4"),
    ):
        assert old in text
        with pytest.raises(BadMetadata) as refused:
            datacite.read(text.replace(old, new, 1).encode())
        assert words.removeprefix("resource/") in str(refused.value)
