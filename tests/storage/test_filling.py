"""The metadata of an archived object are filled from its record, policy and coverage, and complain of nothing."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import iris_sample_data
import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from bound import schema, wrong
from filled import FILES, KEPT, PAID, POLICY, RECORD, RESTRICTED, TAKEN

from terp.storage.archive.custody import Events
from terp.storage.archive.policy import Bewaartermijn
from terp.storage.metadata import datacite, mdto, premis
from terp.storage.metadata.coverage import Coverage, Direction, covered
from terp.storage.metadata.filling import bestand, datacite_of, informatieobject, missing, premis_of, with_history
from terp.storage.metadata.formats import PRONOM, format_of
from terp.storage.provenance import Agent

SKY = Coverage(directions=(Direction("3C 286", "ICRS", 202.784533, 30.509155),))
KINDS = {
    "usual": KEPT,
    "restricted": replace(KEPT, policy=RESTRICTED),
    "private": replace(
        KEPT,
        policy=POLICY.model_copy(
            update={"decision": POLICY.decision.model_copy(update={"openness": "private unless"})}
        ),
    ),
    "for ever": replace(KEPT, policy=POLICY.model_copy(update={"waardering": "B", "bewaartermijn": None})),
    "paid": replace(KEPT, policy=PAID),
    "sky": replace(KEPT, coverage=SKY),
    "nothing known": replace(
        KEPT, coverage=Coverage(), record=replace(RECORD, agent=Agent("A"), inputs=[], warnings=[])
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_filled_has_no_complaints_and_is_valid_by_every_schema(kind: str, shared: Path) -> None:
    kept, vectors = KINDS[kind], shared / "vectors"
    if not vectors.is_dir():
        pytest.skip("needs the schemas (../shared/vectors), which are not here")
    files = [bestand(kept, one) for one in kept.payload]
    written = [mdto.write(informatieobject(kept)), *map(mdto.write, files)]
    for thing in (informatieobject(kept), *files):
        assert mdto.complaints(thing) == []
        assert mdto.cautions(thing) == []
    paths = [*vectors.glob("mdto/official/schema/*/*.xsd"), *vectors.glob("mdto/draft-*/XML*/*.xsd")]
    assert len(paths) >= 6
    for path in paths:
        assert [wrong(schema(path), one) for one in written] == [[], []], path
    assert premis.complaints(premis_of(kept)) == []
    assert wrong(schema(vectors / "premis/premis-v3-0.xsd"), premis.write(premis_of(kept))) == []
    for doi in ("", "10.5072/terp"):
        assert datacite.complaints(datacite_of(kept, doi)) == []
        for version in ("4.6", "4.7"):
            told = schema(vectors / f"datacite/meta/kernel-{version}/metadata.xsd")
            assert wrong(told, datacite.write(datacite_of(kept, doi))) == []
    assert missing(kept.policy, kept.record, TAKEN) == []


def test_m2_its_languages_are_those_decided_or_those_of_the_texts_that_are_put_into_it() -> None:
    assert informatieobject(KEPT).taal == ("en", "nl")
    assert datacite_of(KEPT).language == "en"
    paid = replace(KEPT, policy=PAID)
    assert informatieobject(paid).taal == ("nl", "fry")
    assert datacite_of(paid).language == "nl"


def test_dc_who_paid_is_told_with_the_grant_and_by_the_scheme_of_the_number() -> None:
    told = [
        (one.funderName, one.funderIdentifier and one.funderIdentifier.funderIdentifierType, one.awardNumber)
        for one in datacite_of(replace(KEPT, policy=PAID)).fundingReferences
    ]
    url = "https://example.org/grant/12"
    assert told == [
        ("NWO", "ROR", datacite.AwardNumber(url, url)),
        ("Een fonds", "Crossref Funder ID", datacite.AwardNumber("OCENW.1")),
        ("Een stichting", "ISNI", None),
        ("Een gever", "Other", None),
        ("Een ander", None, None),
    ]
    roles = informatieobject(replace(KEPT, policy=PAID)).betrokkene
    paid = [one.betrokkeneActor for one in roles if one.betrokkeneTypeRelatie.begripLabel == "Financier"]
    assert paid[0] == mdto.verwijzing("NWO", "https://ror.org/04jsz6e67", "Financier")
    assert len(paid) == 5
    assert datacite_of(KEPT).fundingReferences == ()


def test_dc_the_one_who_paid_did_so_by_the_grant_that_the_run_was_made_under() -> None:
    alone = POLICY.model_copy(update={"funding": PAID.funding[-1:]})
    [told] = datacite_of(replace(KEPT, policy=alone)).fundingReferences
    assert told.awardNumber == datacite.AwardNumber("12")  # TERP_GRANT of the run
    two = POLICY.model_copy(update={"funding": PAID.funding[-2:]})
    assert [one.awardNumber for one in datacite_of(replace(KEPT, policy=two)).fundingReferences] == [None, None]


def test_dc_language_and_funding_are_as_the_json_schema_of_datacite_has_them(shared: Path) -> None:
    path = shared / "vectors/datacite/json/kernel-4.3/datacite_4.3_schema.json"
    if not path.is_file():
        pytest.skip("needs the JSON schema of DataCite (../shared/vectors), which is not here")
    jsonschema = pytest.importorskip("jsonschema")
    whole, told = json.loads(path.read_text()), datacite_of(replace(KEPT, policy=PAID))
    names = ("language", "fundingReferences")
    asked = {"properties": {name: whole["properties"][name] for name in names}, "definitions": whole["definitions"]}
    paid = [
        {"funderName": one.funderName}
        | ({"awardNumber": one.awardNumber.value} if one.awardNumber else {})
        | ({"awardUri": one.awardNumber.awardURI} if one.awardNumber and one.awardNumber.awardURI else {})
        | ({"awardTitle": one.awardTitle} if one.awardTitle else {})
        | (
            {
                "funderIdentifier": one.funderIdentifier.value,
                "funderIdentifierType": one.funderIdentifier.funderIdentifierType,
            }
            if one.funderIdentifier
            else {}
        )
        for one in told.fundingReferences
    ]
    checker = jsonschema.Draft7Validator(asked, format_checker=jsonschema.FormatChecker())
    assert list(checker.iter_errors({"language": told.language, "fundingReferences": paid})) == []
    assert list(checker.iter_errors({"fundingReferences": [{"awardNumber": "1"}]}))  # it can say no


def test_m2_the_object_tells_of_its_time_place_events_term_and_category() -> None:
    told = informatieobject(KEPT)
    (span,), (place,) = told.dekkingInTijd, told.dekkingInRuimte
    assert (span.dekkingInTijdBegindatum, span.dekkingInTijdEinddatum) == ("1982-01-01", "2010-12-31")
    assert place.verwijzingNaam == "lengte -20° tot 12.25°, breedte 45.5° tot 60°"
    assert place.verwijzingIdentificatie is not None
    assert place.verwijzingIdentificatie.identificatieKenmerk == "-20,45.5,12.25,60"
    events = {one.eventType.begripLabel: one.eventTijd for one in told.event}
    assert events == {"Creatie": "2026-11-21T12:30:00Z", "Opname": "2026-11-28T20:00:00Z"}
    assert told.bewaartermijn is not None
    assert told.bewaartermijn.termijnStartdatumLooptijd == "2026-11-21"
    assert told.bewaartermijn.termijnEinddatum == "2036-11-21"
    assert told.informatiecategorie is not None
    assert told.informatiecategorie.begripCode == "12.3"
    assert told.beperkingGebruik[0].beperkingGebruikType.begripLabel == "Geen beperking"
    assert "openbaar, tenzij" in (told.beperkingGebruik[0].beperkingGebruikNadereBeschrijving or "")
    assert [one.verwijzingNaam for one in told.heeftRepresentatie] == ["anomaly.zarr.zip"]
    (sky,) = informatieobject(KINDS["sky"]).dekkingInRuimte
    assert sky.verwijzingNaam == "3C 286, hemelrichting 202.784533°, 30.509155° (ICRS)"


def test_l2_a_term_whose_beginning_is_not_known_has_no_end() -> None:
    later = Bewaartermijn(looptijd="P20Y", trigger="Sluiting dossier")
    told = informatieobject(replace(KEPT, policy=POLICY.model_copy(update={"bewaartermijn": later}))).bewaartermijn
    assert told is not None
    assert (told.termijnStartdatumLooptijd, told.termijnLooptijd, told.termijnEinddatum) == (None, "P20Y", None)


def test_l6_a_restriction_has_its_ground_its_term_and_what_it_is_of() -> None:
    (told,) = informatieobject(KINDS["restricted"]).beperkingGebruik
    assert told.beperkingGebruikNadereBeschrijving == "Archiefwet 1995, art. 15 Geldt voor: t."
    assert told.beperkingGebruikTermijn is not None
    assert told.beperkingGebruikTermijn.termijnEinddatum == "2101-11-21"


def test_m4_a_file_has_its_size_format_and_digests() -> None:
    told = bestand(KEPT, RECORD.outputs[0])
    assert told.omvang == 12 << 30
    assert told.bestandsformaat.begripLabel == "Zarr v3 in ZIP64 (opgeslagen)"
    assert [one.checksumAlgoritme.begripLabel for one in told.checksum] == ["SHA-512", "SHA-256"]
    assert format_of("prov.json").register == format_of("picture.png").register == PRONOM
    assert format_of("run.svg").register != PRONOM, "PRONOM knows no SVG that does not say its version"
    assert format_of("what").label == "application/octet-stream"


def test_p1_the_events_of_making_name_who_did_what_with_which_program() -> None:
    told = premis_of(KEPT)
    kinds = [one.eventType.value for one in told.event]
    assert kinds == ["creation", "information package creation", "message digest calculation", "ingestion"]
    assert [one.linkingAgentIdentifierValue for one in told.event[0].linkingAgentIdentifier] == [
        "terp 0.1.0",
        "https://orcid.org/0000-0002-1825-0097",
    ]
    assert len(told.object) == 2 + len(FILES)


def test_p1_what_custody_noted_is_in_premis_as_what_it_was_and_once(tmp_path: Path, shared: Path) -> None:
    events = Events(tmp_path)
    for event, facts in {
        "ingested": {"version": "v1"},
        "copied": {"place": "tape", "files": 12},
        "damage found": {"place": "tape", "files": [["a", "altered", ""]]},
        "repaired": {"place": "tape"},
        "hold": {"reason": "a court asked", "by": "Bea"},
        "destroyed": {"by": "Bea", "signed": ["Bea", "Cor"]},
    }.items():
        events.append(KEPT.identifier, event, facts)
    entries = events.of(KEPT.identifier)
    told = with_history(premis.read(premis.write(premis_of(KEPT))), KEPT.identifier, entries)
    assert premis.complaints(told) == []
    assert with_history(told, KEPT.identifier, entries) == told
    after = told.event[len(premis_of(KEPT).event) :]
    assert [one.eventType.value for one in after] == [
        *("ingestion", "replication", "fixity check", "recovery", "hold", "deletion")
    ]
    outcomes = [one.eventOutcomeInformation[0].eventOutcome for one in after]
    assert [one.value for one in outcomes if one] == ["success", "success", "failure", "success", "success", "success"]
    assert {one.agentName[0].value for one in told.agent} >= {"Bea", "Cor", "terp (custody)"}
    if (path := shared / "vectors/premis/premis-v3-0.xsd").is_file():
        assert wrong(schema(path), premis.write(told)) == []


def test_dc_related_are_the_code_and_what_was_read_and_has_an_address() -> None:
    told = [(one.relationType, one.value) for one in datacite_of(KEPT).relatedIdentifiers]
    assert told == [
        ("IsCompiledBy", "https://example.org/code"),
        ("IsDerivedFrom", "10.5072/x"),
        ("IsDerivedFrom", "https://example.org/uur.txt"),
    ]
    assert datacite_of(KEPT).rightsList[0].rightsIdentifier == "CC-BY-4.0"


def test_names_of_hosts_are_not_told() -> None:
    written = mdto.write(informatieobject(KEPT)) + premis.write(premis_of(KEPT)) + datacite.write(datacite_of(KEPT))
    assert b"node7" not in written
    assert b"one station was silent" in written


def test_what_nobody_has_said_is_asked_for_by_name() -> None:
    assert missing(None, RECORD) == [
        "there is no policy: who answers for it, how long it is kept, who may see it (`terp policy new`)"
    ]
    assert "set TERP_AGENT to your name" in missing(POLICY, replace(RECORD, agent=Agent(" ")))[0]
    assert "docstring" in missing(POLICY, replace(RECORD, title=""))[0]
    assert any("U+0007" in told for told in missing(POLICY, replace(RECORD, title="a\x07")))


def daily(times: Any, **more: Any) -> xr.Dataset:
    return xr.Dataset({"t": ("time", np.zeros(len(times)))}, {"time": times, **more})


def with_bounds() -> xr.Dataset:
    middle = np.array(["1999-12-16", "2000-01-16"], "M8[ns]")
    edges = np.array(["1999-12-01", "2000-01-01", "2000-01-01", "2000-02-01"], "M8[ns]").reshape(2, 2)
    found = daily(middle).assign(time_bnds=(("time", "nv"), edges))
    found["time"].attrs["bounds"] = "time_bnds"
    return found


def of_calendar(calendar: str) -> xr.Dataset:
    return daily(xr.date_range("2000-02-28", periods=3, calendar=calendar, use_cftime=True))


CENTRE = {"data": [np.pi / 2, -0.5], "attrs": {"frame": "fk5", "units": "rad"}}
MSV4 = xr.Dataset(
    coords={"time": ("time", [1.0e9, 1.0e9 + 90_000.0], {"type": "time", "units": "s", "format": "unix"})},
    attrs={"field_and_source_base_xds": {"field_name": "3C 48", "FIELD_PHASE_CENTER_DIRECTION": CENTRE}},
)
IMAGE = xr.Dataset(attrs={"CTYPE1": "RA---SIN", "CRVAL1": -10, "CRVAL2": 30.5, "RADESYS": "ICRS", "OBJECT": "M 31"})
SPANS: dict[str, tuple[Callable[[], xr.Dataset], tuple[str, str]]] = {
    "days": (lambda: daily(np.array(["2001-03-05T23", "2001-01-01T00"], "M8[ns]")), ("2001-01-01", "2001-03-05")),
    "bounds": (with_bounds, ("1999-12-01", "2000-01-31")),
    "noleap": (lambda: of_calendar("noleap"), ("2000-02-28", "2000-03-02")),
    "360_day": (lambda: of_calendar("360_day"), ("2000-02-28", "2000-02")),
    "msv4": (lambda: MSV4, ("2001-09-09", "2001-09-10")),
    "no time": (lambda: IMAGE, ("", "")),
    "not a time": (lambda: daily(np.array(["NaT"], "M8[ns]")), ("", "")),
    "numbers": (lambda: daily(np.array([1.0, 2.0])), ("", "")),
    "acdd": (
        lambda: xr.Dataset(attrs={"time_coverage_start": "1981-09-01T00:00:00Z", "time_coverage_end": "1981-09-30"}),
        ("1981-09-01", "1981-09-30"),
    ),
    "normals": (lambda: xr.Dataset(attrs={"reference_period": "1961 to 1990"}), ("1961", "1990")),
}


@pytest.mark.parametrize("kind", SPANS)
def test_m2_the_time_that_data_are_about_is_found(kind: str) -> None:
    make, span = SPANS[kind]
    found = covered([make()])
    assert (found.begin, found.end) == span
    if span[0]:
        assert mdto.complaints(informatieobject(replace(KEPT, coverage=found))) == []


def test_m2_where_data_are_about_is_found_on_earth_and_in_the_sky() -> None:
    grid = xr.Dataset(
        {"t": (("y", "x"), np.zeros((2, 3)), {"standard_name": "air_temperature"})},
        {"y": ("y", [60.0, 45.0], {"units": "degrees_north"}), "lon": ("x", [350.0, 355.0, 359.0])},
    )
    found = covered([grid, MSV4, IMAGE])
    assert (found.west, found.south, found.east, found.north) == (-10.0, 45.0, -1.0, 60.0)
    assert found.directions == (Direction("3C 48", "FK5", 90.0, -28.647890), Direction("M 31", "ICRS", 350.0, 30.5))
    assert found.variables == ("air_temperature",)
    assert covered([]) == Coverage()


def test_m2_a_real_file_of_model_output_tells_what_it_covers() -> None:
    path = Path(iris_sample_data.path) / "E1_north_america.nc"
    with xr.open_dataset(path) as dataset:
        found = covered([dataset])
    assert (found.begin, found.end) == ("1859-12-01", "2099-11-30")
    assert found.is_on_earth
    assert found.variables == ("air_temperature",)
