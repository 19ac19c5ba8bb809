"""The SIP for an e-depot: every line of the Nationaal Archief's specification of the MDTO SIP (M6) is a test here."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from lxml import etree

sys.path.insert(0, str(Path(__file__).parent))
import objects

from terp.storage.archive.custody import Events
from terp.storage.archive.policy import Policy
from terp.storage.archive.terms import First, Terms
from terp.storage.errors import BadMetadata, BadPackage, BadPolicy
from terp.storage.home import Home
from terp.storage.metadata import mdto, premis
from terp.storage.transfer import export
from terp.storage.transfer.copying import Copied
from terp.storage.transfer.names import FORBIDDEN, file_names, folder_name, objections
from terp.storage.transfer.pakbon import NAMESPACE, SCHEMA
from terp.storage.transfer.records import file_of, object_of

DAY = date(2026, 11, 28)
TERMS = Terms(Policy.parse(objects.POLICY_TEXT.encode()), First(date(2026, 11, 21), date(2026, 11, 21)))
ABOUT = replace(
    object_of(TERMS, [mdto.Identificatie(objects.URN, "terp")], "Grondwaterstanden", "Archiefstuk"),
    omschrijving=("Standen van het grondwater",),
    taal=("nl",),
)
ZIP = f"{objects.CANARY}.zarr.zip"
OF = mdto.Verwijzing("Grondwaterstanden", mdto.Identificatie(objects.URN, "terp"))
OWN_KIND = mdto.begrip("Zarr v3", "Een eigen lijst", "zarr3")
OWN = file_of(
    ZIP, Copied(1, {"sha256": "0" * 64, "sha512": "0" * 128}), OF, datetime(2026, 1, 1, tzinfo=UTC), kind=OWN_KIND
)
BESIDE = {
    "mdto.xml": mdto.write(ABOUT),
    f"{ZIP}.mdto.xml": mdto.write(OWN),
    "premis.xml": b"<premis/>",
    "datacite.xml": b"<resource/>",
    "FORMATS.md": b"# Formats\n",
    "original/data/a file: #1?.txt": b"one",
    "original/data/A FILE: #1?.txt": b"two",
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delivery, made once."""
    folder = tmp_path_factory.mktemp("sip")
    house = objects.archived(folder / "home", more=BESIDE)
    sip(house, folder / "delivery")
    return folder / "delivery"


def sip(house: Home, target: Path, **more: str) -> dict[str, object]:
    whither = export.Whither(target, DAY, contact="A. Keeper", **more)
    return export.to_sip(house, objects.URN, whither, "Het Archief, e-depot")


@pytest.fixture
def files(target: Path) -> list[Path]:
    [top] = [path for path in target.iterdir() if path.is_dir()]
    return sorted(path for path in top.rglob("*") if path.is_file())


def sidecars(files: list[Path]) -> dict[Path, mdto.Informatieobject | mdto.Bestand]:
    return {path: mdto.read(path.read_bytes(), str(path)) for path in files if path.name.endswith(".MDTO.xml")}


def pakbon(target: Path) -> dict[str, str]:
    root = etree.fromstring((target / "pakbon.xml").read_bytes())
    return {etree.QName(one).localname: one.text for one in root}


def test_m6_there_is_a_folder_for_each_aggregation_with_its_sidecar_inside(target: Path) -> None:
    [top] = [path for path in target.iterdir() if path.is_dir()]
    folders = [path for path in top.rglob("*") if path.is_dir()]
    assert len(folders) == 2
    for folder in folders:
        told = mdto.read((folder / f"{folder.name}.MDTO.xml").read_bytes())
        assert isinstance(told, mdto.Informatieobject)
    levels = [told.aggregatieniveau for told in sidecars(sorted(top.rglob("*.xml"))).values() if hasattr(told, "taal")]
    assert sorted(level.begripLabel for level in levels if level) == ["Archiefstuk", "Dossier"]


def test_m6_beside_every_file_is_its_own_sidecar_and_no_sidecar_is_alone(files: list[Path]) -> None:
    plain = [path for path in files if not path.name.endswith(".MDTO.xml")]
    beside = [path for path in files if path.name.endswith(".bestand.MDTO.xml")]
    assert [path.with_name(f"{path.name}.bestand.MDTO.xml") for path in plain] == beside
    for path, told in sidecars(beside).items():
        assert isinstance(told, mdto.Bestand)
        data = path.with_name(told.naam).read_bytes()
        assert told.naam == path.name.removesuffix(".bestand.MDTO.xml")
        assert told.omvang == len(data)
        found = {one.checksumAlgoritme.begripLabel: one.checksumWaarde for one in told.checksum}
        assert found == {"SHA-256": hashlib.sha256(data).hexdigest(), "SHA-512": hashlib.sha512(data).hexdigest()}


def test_m6_names_keep_the_rules_and_are_unique_in_the_sip(files: list[Path]) -> None:
    assert [wrong for path in files for part in path.parts[-4:] for wrong in objections(part)] == []
    assert len({path.name.casefold() for path in files}) == len(files)


@pytest.mark.parametrize("letter", FORBIDDEN)
def test_m6_a_name_with_a_forbidden_letter_is_seen_and_given_another(letter: str) -> None:
    assert objections(f"a{letter}b")
    [called] = file_names([f"a{letter}b.txt"]).values()
    assert objections(called) == []
    assert objections(folder_name(f"a{letter}b.c")) == []
    assert "." not in folder_name(f"a{letter}b.c")


def test_m6_no_name_has_more_than_255_characters_with_its_sidecar() -> None:
    given = file_names(["é" * 400 + ".zarr.zip", "é" * 401 + ".zarr.zip", "x" * 300])
    for called in given.values():
        assert objections(f"{called}.bestand.MDTO.xml") == []
    assert len(set(given.values())) == 3
    assert objections("x" * 256)


def test_m6_names_that_would_be_one_get_a_number_whatever_the_case_of_their_letters() -> None:
    given = file_names(["a b.txt", "a-b.txt", "A?b.txt", "a-b.txt.bestand.MDTO.xml"])
    assert len({called.casefold() for called in given.values()}) == 4
    with_sidecars = [name for called in given.values() for name in (called, f"{called}.bestand.MDTO.xml")]
    assert len({name.casefold() for name in with_sidecars}) == 8


def test_m6_each_object_is_there_once(files: list[Path]) -> None:
    marks = [told.identificatie[0] for told in sidecars(files).values()]
    assert len(set(marks)) == len(marks)
    assert not [path for path in files if path.name == "mdto.xml"]
    assert not [path for path in files if path.name.startswith(f"{ZIP}.mdto")]


def test_m6_the_parent_is_told_in_mdto(files: list[Path]) -> None:
    told = sidecars(files)
    marks = {one.identificatie[0]: one for one in told.values()}
    whole = marks[mdto.Identificatie(objects.URN, "terp")]
    [part] = [one for one in marks.values() if isinstance(one, mdto.Informatieobject) and one != whole]
    assert isinstance(whole, mdto.Informatieobject)
    assert [one.verwijzingIdentificatie for one in part.isOnderdeelVan] == [whole.identificatie[0]]
    assert [one.verwijzingIdentificatie for one in whole.bevatOnderdeel] == [part.identificatie[0]]
    represents = [one for one in told.values() if isinstance(one, mdto.Bestand)]
    assert {one.isRepresentatieVan.verwijzingIdentificatie for one in represents} == {part.identificatie[0]}
    assert {one.verwijzingIdentificatie for one in part.heeftRepresentatie} == {
        one.identificatie[0] for one in represents
    }


def test_m6_other_metadata_are_extra_files_with_their_own_sidecars(files: list[Path]) -> None:
    names = {path.name for path in files}
    [part] = [one for one in sidecars(files).values() if isinstance(one, mdto.Informatieobject) and one.isOnderdeelVan]
    for other in ("premis.xml", "datacite.xml", "ro-crate-metadata.json"):
        assert {other, f"{other}.bestand.MDTO.xml"} <= names
        assert other in {one.verwijzingNaam for one in part.aanvullendeMetagegevens}


def test_m6_own_schemas_are_there_with_what_they_mean(target: Path, files: list[Path]) -> None:
    assert (target / "pakbon.xsd").read_bytes() == SCHEMA.read_bytes()
    schema = etree.parse(target / "pakbon.xsd")
    assert schema.findall(".//{*}documentation")
    assert "FORMATS.md" in {path.name for path in files}


def test_m6_the_pakbon_tells_all_that_it_must_and_is_valid(target: Path) -> None:
    told = pakbon(target)
    etree.XMLSchema(etree.parse(target / "pakbon.xsd")).assertValid(etree.parse(target / "pakbon.xml"))
    assert told["identificatie"] == f"{objects.URN} v1"
    assert "Grondwaterstanden" in told["titel"]
    assert told["doel"] == "Het Archief, e-depot"
    assert (told["organisatie"], told["contact"]) == ("Universiteit Voorbeeld", "A. Keeper")
    assert datetime.fromisoformat(told["tijdstip"]).tzinfo is not None
    remarks = etree.parse(target / "pakbon.xml").findall(f"{{{NAMESPACE}}}opmerking")
    assert any("Een eigen lijst" in remark.text for remark in remarks)
    assert any("PRONOM kent Zarr niet" in remark.text for remark in remarks)


def test_m6_the_counts_of_the_pakbon_are_those_of_the_folder(target: Path, files: list[Path]) -> None:
    told, plain = pakbon(target), [path for path in files if not path.name.lower().endswith(".mdto.xml")]
    assert int(told["aantalInformatieobjecten"]) == 2
    assert int(told["aantalBestanden"]) == len(files)
    assert int(told["aantalBestandenZonderMdto"]) == len(plain)
    assert int(told["aantalBytesZonderMdto"]) == sum(path.stat().st_size for path in plain)


def test_m6_the_hash_of_the_sip_is_that_of_a_list_that_coreutils_check(target: Path) -> None:
    [listed] = target.glob("*.sha512")
    assert pakbon(target)["hash"] == hashlib.sha512(listed.read_bytes()).hexdigest()
    done = subprocess.run(["sha512sum", "--strict", "--quiet", "-c", listed.name], cwd=target, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"")
    [top] = [path for path in target.iterdir() if path.is_dir()]
    assert len(listed.read_text().splitlines()) == sum(path.is_file() for path in top.rglob("*"))


def test_m5_every_sidecar_is_valid_against_the_official_schema(files: list[Path], shared: Path) -> None:
    [found] = (shared / "vectors/mdto/official/schema/v1.0.1").glob("*.xsd")
    schema = etree.XMLSchema(etree.parse(found))
    for path in sidecars(files):
        schema.assertValid(etree.parse(path))


def test_what_the_object_tells_of_itself_and_its_files_is_kept(files: list[Path]) -> None:
    told = sidecars(files)
    [whole] = [one for one in told.values() if one.identificatie[0].identificatieKenmerk == objects.URN]
    assert isinstance(whole, mdto.Informatieobject)
    assert (whole.naam, whole.omschrijving, whole.taal) == (ABOUT.naam, ABOUT.omschrijving, ABOUT.taal)
    assert whole.event[-1].eventType.begripLabel == "Export"
    [packed] = [one for one in told.values() if one.naam == ZIP]
    assert isinstance(packed, mdto.Bestand)
    assert packed.bestandsformaat == OWN_KIND
    assert OWN.identificatie[0] in packed.identificatie


def test_a_file_that_got_another_name_is_known_by_the_old_one_too(files: list[Path]) -> None:
    old = {one.identificatieKenmerk for told in sidecars(files).values() for one in told.identificatie}
    assert f"{objects.URN}#original/data/a file: #1?.txt" in old


def test_an_object_without_mdto_is_told_of_by_its_decision(tmp_path: Path) -> None:
    house = objects.archived(tmp_path / "home")
    sip(house, tmp_path / "sip")
    [about] = (tmp_path / "sip").glob("*/*/*.MDTO.xml")
    told = mdto.read(about.read_bytes())
    assert isinstance(told, mdto.Informatieobject)
    assert (told.naam, told.waardering.begripCode) == (objects.URN, "V")


def test_a_restriction_goes_along_with_its_ground_and_its_last_day(tmp_path: Path) -> None:
    house = objects.archived(tmp_path / "home", objects.POLICY_TEXT + objects.CLOSED)
    with pytest.raises(BadPolicy, match="say for whom"):
        sip(house, tmp_path / "sip")
    sip(house, tmp_path / "sip", recipient="Het Archief", ground="overbrenging")
    [about] = (tmp_path / "sip").glob("*/*/*.MDTO.xml")
    told = mdto.read(about.read_bytes())
    assert isinstance(told, mdto.Informatieobject)
    term = told.beperkingGebruik[0].beperkingGebruikTermijn
    assert term is not None
    assert (term.termijnLooptijd, term.termijnEinddatum) == ("P20Y", "2046-11-21")


def test_mdto_that_lacks_something_is_asked_for_by_name_and_nothing_is_left(tmp_path: Path) -> None:
    lacking = mdto.write(replace(ABOUT, naam=" "))
    house = objects.archived(tmp_path / "home", more={"mdto.xml": lacking})
    with pytest.raises(BadMetadata, match="informatieobject/naam is blank"):
        sip(house, tmp_path / "sip")
    with pytest.raises(BadPolicy, match="--destination and --contact"):
        export.to_sip(house, objects.URN, export.Whither(tmp_path / "sip", DAY), "Het Archief")
    assert os.listdir(tmp_path) == ["home"]
    assert Events(house.custody).of(objects.URN) == []


def test_the_delivery_is_recorded_with_its_hash(target: Path) -> None:
    event = Events(target.parent / "home" / "custody").of(objects.URN)[-1]
    assert event["event"] == "exported"
    facts = event["facts"]
    assert (facts["as"], facts["destination"]) == ("sip", "Het Archief, e-depot")
    assert facts["sha512"] == pakbon(target)["hash"]
    json.dumps(facts)


def test_l7_what_happened_to_it_since_is_premis_with_a_sidecar_of_its_own(tmp_path: Path, shared: Path) -> None:
    told = premis.Premis(object=(premis.entity(objects.URN),))
    house = objects.archived(tmp_path / "home", more={"premis.xml": premis.write(told)})
    Events(house.custody).append(objects.URN, "repaired", {"by": "Bea", "file": "README.md"})
    sip(house, tmp_path / "sip")
    [found] = (tmp_path / "sip").rglob("premis-custody.xml")
    etree.XMLSchema(etree.parse(shared / "vectors/premis/premis-v3-0.xsd")).assertValid(etree.parse(found))
    assert [one.eventType.value for one in premis.read(found.read_bytes()).event] == ["recovery"]
    assert found.with_name(f"{found.name}.bestand.MDTO.xml").is_file()
    told_of = sidecars(sorted((tmp_path / "sip").rglob("*.MDTO.xml"))).values()
    [part] = [one for one in told_of if isinstance(one, mdto.Informatieobject) and one.isOnderdeelVan]
    assert "premis-custody.xml" in {one.verwijzingNaam for one in part.aanvullendeMetagegevens}


def test_what_somebody_puts_into_a_sip_while_it_is_counted_is_seen(tmp_path: Path) -> None:
    from terp.storage.transfer.pakbon import sums

    (tmp_path / "stray").touch()
    with pytest.raises(BadPackage, match="stray was put into"):
        sums(tmp_path, {})
