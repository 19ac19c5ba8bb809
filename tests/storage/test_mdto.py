"""MDTO: what is written is what was read, valid by every schema, and what is missing or wrong is told by its name."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from lxml import etree

sys.path.insert(0, str(Path(__file__).parent))
from bound import anything, same, schema, wrong

from terp.storage.errors import BadMetadata
from terp.storage.metadata import mdto
from terp.storage.metadata.mdto import lists

IDENTITY = mdto.Identificatie("climatology-20261128", "terp")
NOTHING = mdto.begrip("Geen beperking", lists.BEPERKINGEN)
SHA256 = mdto.checksum("SHA-256", "0" * 64, "2026-11-28T20:00:00Z")

OBJECT = mdto.Informatieobject(
    identificatie=(IDENTITY,),
    naam="Zeetemperatuur",
    dekkingInTijd=(
        mdto.DekkingInTijd(
            dekkingInTijdType=mdto.begrip("Waarnemingen", "Eigen lijst"),
            dekkingInTijdBegindatum="1982",
            dekkingInTijdEinddatum="2010-12",
        ),
    ),
    waardering=mdto.waardering("V"),
    bewaartermijn=mdto.Termijn(termijnStartdatumLooptijd="2026-11-28", termijnLooptijd="P10Y"),
    archiefvormer=(mdto.verwijzing("Universiteit Utrecht", "https://ror.org/04pp8hn57", "ROR"),),
    beperkingGebruik=(mdto.BeperkingGebruik(beperkingGebruikType=NOTHING),),
)
FILE = mdto.Bestand(
    identificatie=(IDENTITY,),
    naam="result.zarr.zip",
    omvang=12,
    bestandsformaat=mdto.begrip("JSON", "PRONOM-register", "fmt/817"),
    checksum=(SHA256,),
    isRepresentatieVan=mdto.verwijzing("Zeetemperatuur"),
)


@pytest.fixture(scope="module")
def official(shared: Path) -> Path:
    folder = shared / "vectors/mdto"
    if not folder.is_dir():
        pytest.skip("needs the schemas of MDTO (../shared/vectors/mdto), which are not here")
    return folder


@pytest.fixture(scope="module")
def schemas(official: Path) -> dict[str, etree.XMLSchema]:
    """All versions of the schema, by their names: 1.0, 1.0.1 and the drafts after it."""
    paths = [*official.glob("official/schema/*/*.xsd"), *official.glob("draft-*/XML Schema Versions/*.xsd")]
    return {path.stem: schema(path) for path in paths}


def test_m5_the_official_examples_are_written_as_they_were_read(
    official: Path, schemas: dict[str, etree.XMLSchema]
) -> None:
    examples = sorted(official.glob("official/voorbeelden/*.xml"))
    assert len(examples) == 4
    for example in examples:
        found = mdto.read(example.read_bytes(), example.name)
        again = mdto.write(found)
        assert same(again) == same(example.read_bytes())
        assert mdto.complaints(found) == []
        assert wrong(schemas["MDTO-XML1.0.1"], again) == []


@pytest.mark.parametrize("thing", [OBJECT, FILE])
def test_m1_what_is_written_is_valid_by_every_version_of_the_schema(
    thing: Any, schemas: dict[str, etree.XMLSchema]
) -> None:
    assert mdto.complaints(thing) == []
    assert mdto.cautions(thing) == []
    assert {name: wrong(one, mdto.write(thing)) for name, one in schemas.items()} == {name: [] for name in schemas}
    assert len(schemas) >= 4


@settings(max_examples=25, deadline=None)
@given(anything(mdto.Informatieobject) | anything(mdto.Bestand))
def test_any_object_is_read_as_it_was_written(thing: Any) -> None:
    assert mdto.read(mdto.write(thing)) == thing


def mostly(good: list[str], bad: list[str]) -> some.SearchStrategy[str]:
    return some.sampled_from(good * 60 + bad)


DAYS = mostly(["2026", "2026-11", "2026-11-28", "2026Z"], ["2026-02-30", "26", "gisteren", "", "-0044-03-15"])
ALMOST_GOOD = anything(
    mdto.Informatieobject,
    text=mostly(["naam", "a\tb ", "ú"], [" ", "\x07"]),
    taal=mostly(["nl", "en-GB"], ["nederlands"]),
    raadpleeglocatieOnline=mostly(["https://example.org/a%20b"], ["x:y z", "%zz"]),
    dekkingInTijdBegindatum=DAYS,
    dekkingInTijdEinddatum=DAYS,
    eventTijd=mostly(["2026-11-28T24:00:00+01:00", "2026"], ["2026-11-28 12:00"]),
    termijnStartdatumLooptijd=mostly(["2026-11-28"], ["2026"]),
    termijnLooptijd=mostly(["P10Y"], ["-P1Y", "10 jaar"]),
    termijnEinddatum=DAYS,
)
APPRAISALS = mostly(["B", "V", "N"], []).map(mdto.waardering) | some.just(mdto.begrip("Te vernietigen", "lijst", "V"))


@settings(max_examples=60, deadline=None)
@given(ALMOST_GOOD, APPRAISALS)
def test_what_has_no_complaints_is_valid_and_what_has_no_cautions_either_by_every_version(
    schemas: dict[str, etree.XMLSchema], thing: mdto.Informatieobject, term: mdto.Begrip
) -> None:
    thing = replace(OBJECT, **{name: held for name, held in vars(thing).items() if held} | {"waardering": term})
    if mdto.complaints(thing) == []:
        assert wrong(schemas["MDTO-XML1.0.1"], mdto.write(thing)) == []
        if mdto.cautions(thing) == []:
            assert [wrong(one, mdto.write(thing)) for one in schemas.values()] == [[]] * len(schemas)


def term(**facts: str) -> Any:
    return replace(OBJECT, bewaartermijn=mdto.Termijn(**facts))


def covering(begin: str, end: str) -> Any:
    (known,) = OBJECT.dekkingInTijd
    covers = replace(known, dekkingInTijdBegindatum=begin, dekkingInTijdEinddatum=end)
    return replace(OBJECT, dekkingInTijd=(covers,))


def digest(algorithm: str, value: str, when: str = SHA256.checksumDatum) -> Any:
    return replace(FILE, checksum=(mdto.checksum(algorithm, value, when),))


WRONG: dict[str, tuple[Any, str]] = {
    "m1_identificatie": (replace(OBJECT, identificatie=()), "informatieobject/identificatie is missing"),
    "m1_naam": (replace(OBJECT, naam=" \n"), "informatieobject/naam is blank"),
    "m1_archiefvormer": (replace(OBJECT, archiefvormer=()), "informatieobject/archiefvormer is missing"),
    "m1_beperking": (replace(OBJECT, beperkingGebruik=()), "informatieobject/beperkingGebruik is missing"),
    "m1_checksum": (replace(FILE, checksum=()), "bestand/checksum is missing"),
    "m1_omvang": (replace(FILE, omvang=-1), "bestand/omvang is -1"),
    "m1_when": (digest("SHA-256", "0" * 64, "2026-11-28"), "bestand/checksum/checksumDatum is '2026-11-28'"),
    "m2_backwards": (covering("2026-11-28", "2026-11-27"), "Einddatum is 2026-11-27, before dekkingInTijdBegin"),
    "m2_no_day": (covering("2026-02-30", "2027"), "Begindatum is '2026-02-30'; MDTO wants a day as 2026-11-28"),
    "m2_term": (term(termijnLooptijd="10 jaar"), "termijnLooptijd is '10 jaar'; MDTO wants a term as P10Y"),
    "m2_negative": (term(termijnLooptijd="-P10Y"), "a term does not run backwards"),
    "m2_empty": (term(), "informatieobject/bewaartermijn is empty"),
    "m2_ended": (term(termijnStartdatumLooptijd="2026-01-02", termijnEinddatum="2025"), "is 2025, before termijnStart"),
    "m2_language": (replace(OBJECT, taal=("nl", "nederlands")), "informatieobject/taal[2] is 'nederlands'"),
    "m2_nowhere": (replace(OBJECT, raadpleeglocatie=(mdto.Raadpleeglocatie(),)), "raadpleeglocatie is empty"),
    "m2_no_url": (replace(FILE, URLBestand="a b"), "bestand/URLBestand is 'a b'; MDTO wants a URL"),
    "m3_label": (replace(OBJECT, waardering=mdto.begrip("Te vernietigen", lists.WAARDERINGEN, "V")), "is closed"),
    "m3_code": (replace(OBJECT, waardering=mdto.begrip("Blijvend te bewaren", lists.WAARDERINGEN, "V")), "is closed"),
    "m4_only_blake3": (digest("BLAKE3", "00"), "bestand/checksum is BLAKE3; MDTO asks for SHA-2"),
    "m4_no_digest": (digest("sha512", "0" * 64), "checksumWaarde is no SHA-512: that is 128 hexadecimal digits"),
    "m4_restriction": (
        replace(
            OBJECT,
            beperkingGebruik=(mdto.BeperkingGebruik(beperkingGebruikType=mdto.begrip("Geheim", lists.BEPERKINGEN)),),
        ),
        "beperkingGebruikType is 'Geheim'",
    ),
    "control": (replace(OBJECT, trefwoord=("a\x07b",)), "informatieobject/trefwoord has the character U+0007"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_thing_wrong_is_one_complaint_that_names_it(case: str) -> None:
    thing, words = WRONG[case]
    told = mdto.complaints(thing)
    assert len(told) == 1, told
    assert words in told[0]


def test_m3_what_is_kept_for_a_time_without_saying_how_long_is_cautioned_and_allowed() -> None:
    thing = replace(OBJECT, bewaartermijn=None)
    assert mdto.complaints(thing) == []
    assert "bewaartermijn is missing" in mdto.cautions(thing)[0]
    with pytest.raises(BadMetadata, match="none of MDTO's"):
        mdto.waardering("v")


def test_m4_other_digests_may_stand_beside_sha2() -> None:
    assert mdto.complaints(replace(FILE, checksum=(mdto.checksum("BLAKE3", "ab", "2026-11-28T20:00:00"), SHA256))) == []


def test_a_character_that_xml_cannot_hold_is_refused_in_words() -> None:
    for character in ("\x00", "\x1b", "\ud800", "\ufffe"):
        with pytest.raises(BadMetadata, match=rf"informatieobject/naam has the character U\+{ord(character):04X}"):
            mdto.write(replace(OBJECT, naam=f"a{character}"))


def changed(old: str, new: str) -> bytes:
    text = mdto.write(OBJECT).decode()
    assert old in text
    return text.replace(old, new, 1).encode()


BOMB = '<!DOCTYPE MDTO [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>\n<MDTO'
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "not_xml": (lambda: b"geen xml", "is not well-formed XML"),
    "empty": (lambda: b"", "is not well-formed XML"),
    "torn": (lambda: mdto.write(OBJECT)[:-20], "is not well-formed XML"),
    "another_root": (lambda: b"<mets/>", "is no MDTO"),
    "another_namespace": (lambda: changed("www.nationaalarchief.nl/mdto", "example.org/mdto"), "is no MDTO"),
    "entities": (lambda: changed("<MDTO", BOMB), "has a document type"),
    "unknown": (lambda: changed("<naam>", "<titel>x</titel><naam>"), "has the element titel, which has no place"),
    "order": (lambda: changed("<identificatie>", "<naam/><identificatie>"), "has identificatie after naam"),
    "twice": (lambda: changed("<naam>", "<naam/><naam>"), "has more than one naam"),
    "lacking": (lambda: changed("<naam>Zeetemperatuur</naam>", ""), "has no naam, which it must have"),
    "attribute": (lambda: changed("<naam>", '<naam lang="nl">'), "naam has the attribute lang"),
    "mixed": (lambda: changed("<naam>", "toch<naam>"), "has text between its elements"),
    "nested": (lambda: changed("<naam>", "<naam><b/>"), "has elements, where a text should stand"),
    "foreign": (lambda: changed("<naam>", '<naam xmlns="https://example.org">'), "has naam, which is not of"),
    "two": (lambda: changed("</informatieobject>", "</informatieobject><bestand/>"), "has no naam"),
    "huge": (lambda: b"<a>" + b" " * (64 << 20), "is not read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_mdto_is_refused_and_nothing_of_it_is_lost_in_silence(case: str) -> None:
    make, words = REFUSED[case]
    with pytest.raises(BadMetadata, match=r"ander\.xml") as refused:
        mdto.read(make(), "ander.xml")
    assert words in str(refused.value)


def test_comments_are_left_out_and_the_text_around_them_stays() -> None:
    assert mdto.read(changed("Zeetemperatuur", "Zee<!-- zout -->temperatuur")) == OBJECT


def test_an_entity_that_names_a_file_is_never_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("geheim")
    data = changed("<MDTO", f'<!DOCTYPE MDTO [<!ENTITY s SYSTEM "file://{secret}">]>\n<MDTO').replace(
        b"Zeetemperatuur</naam>", b"&s;</naam>", 1
    )
    with pytest.raises(BadMetadata) as refused:
        mdto.read(data)
    assert "geheim" not in str(refused.value)


def test_the_same_values_are_the_same_bytes_in_another_process() -> None:
    code = "from test_mdto import *; sys.stdout.buffer.write(mdto.write(OBJECT) + mdto.write(FILE))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment, stdout=-1, check=True
    )
    told = run.stdout
    assert told == mdto.write(OBJECT) + mdto.write(FILE)
    assert told.startswith(
        b'<?xml version="1.0" encoding="UTF-8"?>\n<MDTO xmlns="https://www.nationaalarchief.nl/mdto"'
    )
    assert b"\n  <informatieobject>\n    <identificatie>\n" in told
