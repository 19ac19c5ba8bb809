"""What others made comes into the archive as it is, proven first, under a decision; what is bad is refused in words."""

import hashlib
import json
import os
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import bagit
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
import killing
import objects
from objects import CANARY, URN

from terp.storage.archive import Archive
from terp.storage.archive.custody import Events
from terp.storage.archive.ocfl import place
from terp.storage.archive.terms import first_version
from terp.storage.errors import BadInput, BadPackage, BadPolicy, Destroyed, DiskTrouble, StorageError
from terp.storage.home import Home
from terp.storage.metadata import mdto
from terp.storage.package.packed import PackedProduct, tables
from terp.storage.transfer import export
from terp.storage.transfer.arriving import Limits
from terp.storage.transfer.dip import Request
from terp.storage.transfer.importing import Incoming, bring

DAY = date(2026, 11, 28)
POLICY = objects.POLICY_TEXT.encode()
pytestmark = pytest.mark.filterwarnings("ignore:'count' is passed:DeprecationWarning")  # by bagit


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An object as it leaves another archive: as a bag, a SIP, a copy, and the OCFL object itself."""
    folder = tmp_path_factory.mktemp("sent")
    house = objects.archived(folder / "home")
    export.to_bag(house, URN, export.Whither(folder / "bag", DAY))
    export.to_sip(house, URN, export.Whither(folder / "sip", DAY, contact="A. Keeper"), "Het Archief")
    request = Request(("level",), {"time": "1990..2000"}, "public", DAY)
    export.to_dip(house, URN, export.Whither(folder / "dip", DAY), request)
    shutil.copytree(house.archive / place(URN), folder / "object")
    terp = Archive(house.archive).files(URN)
    (folder / "flat").mkdir()
    for name, path in terp.items():
        shutil.copy(path, folder / "flat" / name)
    (folder / "package").mkdir()
    for ending in (".zarr.zip", ".zarr.zip.members.json"):
        shutil.copy(terp[f"{CANARY}{ending}"], folder / "package" / f"{CANARY}{ending}")
    return folder


@pytest.fixture
def house(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").open()


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """A small bag that another tool made."""
    folder = tmp_path / "theirs"
    (folder / "deep er").mkdir(parents=True)
    (folder / "notes.txt").write_text("notes")
    (folder / "deep er" / "é%41.bin").write_bytes(bytes(range(256)))
    bagit.make_bag(str(folder), {"External-Identifier": "urn:x:their-1", "Contact-Name": "Them"}, checksums=["sha256"])
    return folder


def take(house: Home, source: Path, policy: bytes = POLICY, identifier: str = "", **limits: int) -> dict[str, Any]:
    said: list[str] = []
    incoming = Incoming(source, policy, "A. Keeper", DAY, identifier, Limits(**limits))
    return bring(house, incoming, said.append) | {"said": said}


def stored(house: Home, identifier: str) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in Archive(house.archive).files(identifier).items()}


def assert_nothing_stays(house: Home) -> None:
    """No object, no event, nothing hidden."""
    assert Archive(house.archive).list() == []
    assert not (house.custody / "events").exists()
    assert list(house.cache.glob(".import*")) == []
    assert not (house.archive / "extensions/terp-staging").exists()


# what comes in


@pytest.mark.parametrize(
    ("what", "kind", "known_as"),
    [
        ("bag", "bag", URN),
        ("sip", "MDTO SIP", URN),
        ("object", "OCFL object", URN),
        ("dip", "terp package", ""),
        ("flat", "terp package", None),
        ("package", "terp package", None),
    ],
)
def test_every_file_is_kept_byte_for_byte_and_the_object_is_valid(
    house: Home, sent: Path, what: str, kind: str, known_as: str | None
) -> None:
    name = "" if known_as is not None else "urn:x:given"
    told = take(house, sent / what, identifier=name)
    assert (told["kind"], told["created"], told["version"]) == (kind, True, "v1")
    assert told["identifier"] == (name or known_as or json.loads((sent / "dip/dip.json").read_text())["identifier"])
    held = stored(house, told["identifier"])
    came = {f"original/{path}": data for path, data in objects.tree(sent / what).items()}
    assert came.items() <= held.items()
    assert (told["files"], told["bytes"]) == (len(came), sum(map(len, came.values())))
    assert Archive(house.archive).verify(told["identifier"]) == []
    assert held["policy.toml"] == POLICY
    home = house.archive / place(told["identifier"]) / "v1/content"
    assert list(house.cache.glob(".import*")) == []
    listed = dict(reversed(line.split("  ", 1)) for line in held["SHA512SUMS"].decode().splitlines())
    assert listed == {n: hashlib.sha512(data).hexdigest() for n, data in held.items() if n != "SHA512SUMS"}
    assert home.is_dir()


@pytest.mark.parametrize("what", ["bag", "object", "flat", "package", "dip"])
def test_a_package_of_terp_that_came_in_is_opened_in_place_and_stored_once(house: Home, sent: Path, what: str) -> None:
    told = take(house, sent / what, identifier="urn:x:1")
    files = Archive(house.archive).files("urn:x:1")
    [table] = [path for name, path in tables(files).items() if "/" not in name]
    found = PackedProduct(table, files).open()["level"]
    assert found.shape == ((11, 5, 4) if what == "dip" else objects.SHAPE)
    np.testing.assert_array_equal(found[0], objects.values("level")[5 if what == "dip" else 0])
    [package] = [name for name in files if name.endswith(".zarr.zip") and "/" not in name]
    assert sum(path.samefile(files[package]) for path in files.values()) == 2
    assert told["created"]


def test_what_came_in_leaves_again_as_a_copy_for_readers(house: Home, sent: Path, tmp_path: Path) -> None:
    policy = (objects.POLICY_TEXT + objects.CLOSED).encode()
    take(house, sent / "bag", policy)
    export.to_dip(house, URN, export.Whither(tmp_path / "dip", DAY), Request((), {}, "public", DAY))
    assert CANARY not in " ".join(os.listdir(tmp_path / "dip"))


def test_it_is_recorded_where_it_came_from_what_it_was_and_its_digest(house: Home, bag: Path) -> None:
    take(house, bag)
    event = Events(house.custody).of("urn:x:their-1")[-1]
    facts = event["facts"]
    listed = "".join(f"{hashlib.sha512(d).hexdigest()}  {n}\n" for n, d in sorted(objects.tree(bag).items()))
    assert (event["event"], facts["kind"], facts["from"]) == ("imported", "bag", str(bag))
    assert facts["sha512"] == hashlib.sha512(listed.encode()).hexdigest()
    assert (facts["by"], facts["policy"], facts["version"]) == ("A. Keeper", "1", "v1")
    about = json.loads(stored(house, "urn:x:their-1")["import.json"])
    assert about["known_as"] == "urn:x:their-1"
    assert about["sha256"].keys() == objects.tree(bag).keys()


def test_how_much_it_is_is_told_before_anything_is_copied(house: Home, bag: Path) -> None:
    said = take(house, bag)["said"]
    assert said[0].startswith(f"{bag}: 6 files, ")
    assert said[1] == "theirs is a sound bag"


def test_folders_that_hold_nothing_are_told_of(house: Home, bag: Path) -> None:
    (bag / "data" / "empty" / "one").mkdir(parents=True)
    take(house, bag)
    assert json.loads(stored(house, "urn:x:their-1")["import.json"])["empty"] == ["data/empty/one"]


def test_the_same_again_is_found_there_and_makes_no_version_and_no_event(house: Home, bag: Path) -> None:
    first = take(house, bag)
    again = take(house, bag)
    assert (again["created"], again["version"], again["inventory"]) == (False, "v1", first["inventory"])
    assert len(Events(house.custody).of("urn:x:their-1")) == 1


def test_b1_the_bags_of_the_conformance_suite_come_in_or_are_refused_as_they_should(house: Home, shared: Path) -> None:
    suite = shared / "vectors/bagit"
    for version in ("v0.97", "v1.0"):
        for path in sorted((suite / version / "valid").glob("*/")):
            told = take(house, path, identifier=f"urn:x:{version}:{path.name}")
            assert told["created"], path
            came = {f"original/{name}": data for name, data in objects.tree(path).items()}
            assert came.items() <= stored(house, told["identifier"]).items()
        before = Archive(house.archive).list()
        for path in sorted((suite / version / "invalid").glob("*/")):
            with pytest.raises(StorageError):
                take(house, path, identifier="urn:x:bad")
        assert Archive(house.archive).list() == before


def test_ocfl_objects_of_others_come_in_with_all_their_versions(house: Home, shared: Path) -> None:
    good = shared / "vectors/ocfl/1.1/good-objects"
    for name in ("spec-ex-full", "updates_all_actions", "minimal_uppercase_digests"):
        told = take(house, good / name, identifier=f"urn:x:{name}")
        assert told["kind"] == "OCFL object"
        came = {f"original/{path}": data for path, data in objects.tree(good / name).items()}
        assert came.items() <= stored(house, f"urn:x:{name}").items()
    with pytest.raises(BadPackage, match=r"no sound OCFL object, and nothing of it was imported:\n.*E092"):
        take(house, shared / "vectors/ocfl/1.1/bad-objects/E092_content_file_digest_mismatch")


def test_an_identifier_that_is_no_urn_becomes_one_and_the_own_one_is_kept(house: Home, bag: Path) -> None:
    text = (bag / "bag-info.txt").read_text().replace("urn:x:their-1", "info:lib/1 2")
    (bag / "bag-info.txt").write_text(text)
    for tag in bag.glob("tagmanifest-*"):
        tag.unlink()
    told = take(house, bag)
    assert told["identifier"] == "urn:terp:import:info%3Alib%2F1%202"
    assert json.loads(stored(house, told["identifier"])["import.json"])["known_as"] == "info:lib/1 2"


# MDTO


def test_m5_mdto_that_comes_in_is_read_kept_and_goes_on_under_the_decision_here(house: Home, tmp_path: Path) -> None:
    about = mdto.Informatieobject(
        identificatie=(mdto.Identificatie("DC/358", "Archief Deltacommissaris"),),
        naam="Kust",
        omschrijving=("Vier doorsneden",),
        classificatie=(mdto.begrip("Studie", "Een eigen lijst", "2.1"),),
        waardering=mdto.waardering("B"),
        archiefvormer=(mdto.verwijzing("Een ministerie", "112773", "Register"),),
        beperkingGebruik=(mdto.BeperkingGebruik(beperkingGebruikType=mdto.begrip("CC0", "Een eigen lijst")),),
    )
    folder = tmp_path / "sip" / "Kust"
    folder.mkdir(parents=True)
    (folder / "Kust.MDTO.xml").write_bytes(mdto.write(about))
    (folder / "kaart.pdf").write_bytes(b"%PDF")
    of = mdto.verwijzing("Kust", "DC/358", "Archief Deltacommissaris")
    one = mdto.Bestand(
        identificatie=(mdto.Identificatie("1", "x"),),
        naam="kaart.pdf",
        omvang=4,
        bestandsformaat=mdto.begrip("PDF", "PRONOM-register", "fmt/17"),
        checksum=(mdto.checksum("SHA-384", hashlib.sha384(b"%PDF").hexdigest(), "2026-01-01T00:00:00"),),
        isRepresentatieVan=of,
    )
    (folder / "kaart.pdf.MDTO.xml").write_bytes(mdto.write(one))
    told = take(house, tmp_path / "sip")
    assert told["identifier"] == "urn:terp:import:DC%2F358"
    held = stored(house, told["identifier"])
    assert mdto.read(held["original/Kust/Kust.MDTO.xml"]) == about
    kept = mdto.read(held["mdto.xml"])
    assert isinstance(kept, mdto.Informatieobject)
    assert (kept.naam, kept.omschrijving, kept.classificatie) == (about.naam, about.omschrijving, about.classificatie)
    assert kept.archiefvormer == about.archiefvormer
    assert about.identificatie[0] in kept.identificatie
    assert kept.waardering.begripCode == "V"  # as is decided here
    assert kept.event[-1].eventType.begripLabel == "Import"
    assert mdto.complaints(kept) == []


def test_l6_what_comes_in_counts_its_terms_from_when_it_was_made_not_from_when_it_came(house: Home, sip: Path) -> None:
    short = b'\n[[beperkingGebruik]]\ntype = "Overig"\ngrond = "embargo"\nlooptijd = "P20Y"\n'
    with pytest.raises(
        BadPolicy, match=r"'embargo' is over since 2005-07-21 .*when the object was made.*give it the st"
    ):
        take(house, sip, POLICY + short)
    assert_nothing_stays(house)
    told = take(house, sip, POLICY + short + b"start = 2020-01-01\n")
    assert first_version(house.archive, told["identifier"]).made == date(1985, 7, 21)
    kept = mdto.read(stored(house, told["identifier"])["mdto.xml"])
    assert isinstance(kept, mdto.Informatieobject)
    assert kept.bewaartermijn
    assert kept.bewaartermijn.termijnStartdatumLooptijd == "1985-07-21"
    assert kept.beperkingGebruik[0].beperkingGebruikTermijn
    assert kept.beperkingGebruik[0].beperkingGebruikTermijn.termijnEinddatum == "2040-01-01"
    assert not take(house, sip, POLICY + short + b"start = 2020-01-01\n")["created"], "the same again is there"


@pytest.fixture
def sip(tmp_path: Path) -> Path:
    """A SIP of one informatieobject that tells when it was made."""
    made = mdto.Event(
        eventType=mdto.begrip("Creatie", "Begrippenlijst EventTypeLijst MDTO"), eventTijd="1985-07-21T13:20:00"
    )
    about = mdto.Informatieobject(
        identificatie=(mdto.Identificatie("DC/359", "Archief"),),
        naam="Kust",
        event=(made,),
        waardering=mdto.waardering("B"),
        archiefvormer=(mdto.verwijzing("Een ministerie"),),
        beperkingGebruik=(mdto.BeperkingGebruik(beperkingGebruikType=mdto.begrip("CC0", "Een eigen lijst")),),
    )
    (tmp_path / "their" / "Kust").mkdir(parents=True)
    (tmp_path / "their/Kust/Kust.MDTO.xml").write_bytes(mdto.write(about))
    return tmp_path / "their"


def test_m5_the_official_examples_come_in_as_they_are(house: Home, shared: Path, tmp_path: Path) -> None:
    for path in sorted((shared / "vectors/mdto/official/voorbeelden").glob("*Informatieobject.xml")):
        folder = tmp_path / f"sip {path.name}" / "voorbeeld"
        folder.mkdir(parents=True)
        shutil.copy(path, folder / "voorbeeld.MDTO.xml")
        told = take(house, folder.parent, identifier=f"urn:x:{len(path.name)}")
        held = stored(house, told["identifier"])
        assert held["original/voorbeeld/voorbeeld.MDTO.xml"] == path.read_bytes()
        was, now = mdto.read(path.read_bytes()), mdto.read(held["mdto.xml"])
        assert isinstance(was, mdto.Informatieobject)
        assert isinstance(now, mdto.Informatieobject)
        kept = {"naam", "classificatie", "dekkingInRuimte", "isOnderdeelVan", "betrokkene", "activiteit", "taal"}
        assert {name: getattr(now, name) for name in kept} == {name: getattr(was, name) for name in kept}


SIP_DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file altered": (lambda top: _flip(top / "README.md"), "README.md is not what it was: its SHA-512"),
    "a file cut": (lambda top: (top / "README.md").write_bytes(b""), "README.md has 0 bytes where its MDTO says"),
    "a file lost": (lambda top: (top / "README.md").unlink(), "the file that it tells of is not"),
    "a file added": (lambda top: (top / "x.txt").touch(), "x.txt has no sidecar"),
    "a sidecar lost": (lambda top: (top / "README.md.bestand.MDTO.xml").unlink(), "README.md has no sidecar"),
    "a sidecar broken": (lambda top: (top / "README.md.bestand.MDTO.xml").write_text("<MDTO"), "not well-formed XML"),
    "an identifier twice": (lambda top: shutil.copy(*_two(top)), "objects in it have the identificatie"),
    "a count": (lambda top: _recount(top.parents[2] / "pakbon.xml"), "says aantalInformatieobjecten 7, and there are"),
    "the list": (lambda top: _flip(next(top.parents[2].glob("*.sha512"))), "is not that of the list of checksums"),
}


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


def _two(top: Path) -> tuple[Path, Path]:
    shutil.copy(top / "README.md", top / "copy.md")
    return top / "README.md.bestand.MDTO.xml", top / "copy.md.bestand.MDTO.xml"


def _recount(path: Path) -> None:
    text = path.read_text().replace("<aantalInformatieobjecten>2", "<aantalInformatieobjecten>7")
    path.write_text(text)


@pytest.mark.parametrize("damage", SIP_DAMAGES)
def test_a_sip_that_is_not_what_it_says_is_refused_and_nothing_of_it_stays(
    house: Home, sent: Path, tmp_path: Path, damage: str
) -> None:
    shutil.copytree(sent / "sip", tmp_path / "sip")
    [readme] = (tmp_path / "sip").rglob("README.md")
    how, said = SIP_DAMAGES[damage]
    how(readme.parent)
    with pytest.raises(BadPackage, match=r"no sound MDTO SIP, and nothing of it was imported") as refused:
        take(house, tmp_path / "sip")
    assert said in str(refused.value)
    assert_nothing_stays(house)


# bad input


def test_without_a_decision_or_with_one_that_has_ended_nothing_comes_in(house: Home, bag: Path) -> None:
    with pytest.raises(BadPolicy, match="does not decide all that must be decided"):
        take(house, bag, b"version = '1'")
    ended = POLICY.replace(b"geldigTot = 2030-12-31", b"geldigTot = 2025-12-31")
    with pytest.raises(BadPolicy, match=r"nothing can be imported under this policy:\n.*ended on 2025-12-31"):
        take(house, bag, ended)
    assert not house.archive.exists()


def test_two_objects_with_one_identifier_are_refused_and_the_first_stays(house: Home, bag: Path) -> None:
    take(house, bag)
    before = stored(house, "urn:x:their-1")
    (bag / "data/notes.txt").write_text("other")
    shutil.rmtree(bag / "x", ignore_errors=True)
    bagit.Bag(str(bag)).save(manifests=True)
    with pytest.raises(BadPackage, match=r"two objects cannot have one identifier.* --identifier"):
        take(house, bag)
    assert stored(house, "urn:x:their-1") == before
    assert take(house, bag, identifier="urn:x:their-2")["created"]


def test_the_identifier_of_what_was_destroyed_is_not_given_again(house: Home, bag: Path) -> None:
    from terp.storage.archive.tombstone import DESTROYED, path_of

    stone, urn, day = path_of(house.custody, "urn:x:their-1"), "urn:x:their-1", "2026-01-01T00:00:00Z"
    stone.parent.mkdir(parents=True)
    ground = {"selectielijst": {"naam": "x", "categorie": "1"}}
    told = {"format": "terp tombstone 1", "object": urn, "identifier": urn, "state": DESTROYED, "ground": ground}
    stone.write_text(json.dumps({**told, "specification": {"ground": ground}, "destroyed": day, "since": day}))
    with pytest.raises(Destroyed):
        take(house, bag)


BAG_DAMAGES: dict[str, Callable[[Path], object]] = {
    "altered": lambda bag: _flip(bag / "data/notes.txt"),
    "lost": lambda bag: (bag / "data/notes.txt").unlink(),
    "added": lambda bag: (bag / "data/more.txt").touch(),
    "out of it": lambda bag: (bag / "manifest-sha256.txt").write_text(f"{'0' * 64}  ../../etc/passwd\n"),
    "elsewhere": lambda bag: (bag / "fetch.txt").write_text("http://x.invalid/a 3 data/a.txt\n"),
}


@pytest.mark.parametrize("damage", BAG_DAMAGES)
def test_a_bag_that_is_not_what_it_says_is_refused_and_nothing_of_it_stays(house: Home, bag: Path, damage: str) -> None:
    BAG_DAMAGES[damage](bag)
    with pytest.raises(BadPackage, match="no sound bag, and nothing of it was imported"):
        take(house, bag)
    assert_nothing_stays(house)


@pytest.mark.parametrize("damage", ["altered", "lost", "added", "packed"])
def test_an_object_of_terp_that_is_not_what_it_says_is_refused(
    house: Home, sent: Path, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "flat"
    shutil.copytree(sent / ("package" if damage == "packed" else "flat"), folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    if damage == "added":
        (folder / "stray.txt").touch()
    elif damage == "lost":
        (folder / "README.md").unlink()
    elif damage == "altered":
        _flip(folder / "README.md")
    else:
        with (folder / f"{CANARY}.zarr.zip").open("r+b") as file:
            file.seek(9000)
            file.write(b"xx")
    with pytest.raises(BadPackage, match="no sound terp package"):
        take(house, folder, identifier="urn:x:1")
    assert_nothing_stays(house)


def test_links_pipes_and_what_is_nothing_known_are_refused_in_words(house: Home, bag: Path, tmp_path: Path) -> None:
    (bag / "data/out").symlink_to("/etc/passwd")
    with pytest.raises(BadPackage, match=r"'data/out' in .* is a link, and is not followed"):
        take(house, bag)
    (bag / "data/out").unlink()
    (bag / "data/in").symlink_to(bag / "data", target_is_directory=True)
    with pytest.raises(BadPackage, match=r"'data/in' in .* is a link"):
        take(house, bag)
    (bag / "data/in").unlink()
    os.mkfifo(bag / "data/pipe")
    with pytest.raises(BadPackage, match=r"'data/pipe' in .* is no plain file"):
        take(house, bag)
    (tmp_path / "link").symlink_to(bag)
    with pytest.raises(BadPackage, match="neither a folder nor a file"):
        take(house, tmp_path / "link")
    (tmp_path / "thesis").mkdir()
    with pytest.raises(BadPackage, match="holds no file"):
        take(house, tmp_path / "thesis")
    (tmp_path / "thesis" / "a.txt").touch()
    with pytest.raises(BadPackage, match="put it into a bag first"):
        take(house, tmp_path / "thesis")
    with pytest.raises(DiskTrouble):
        take(house, tmp_path / "gone")
    with pytest.raises(BadPackage, match="no folder and no ZIP"):
        take(house, tmp_path / "thesis" / "a.txt")
    (tmp_path / "thesis" / "0=ocfl_1.1").touch()
    with pytest.raises(BadPackage, match="import its objects one by one"):
        take(house, tmp_path / "thesis")
    assert_nothing_stays(house)


@pytest.mark.parametrize("what", ["a link", "more"])
def test_what_is_changed_between_look_and_copy_is_refused(house: Home, bag: Path, tmp_path: Path, what: str) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "é%41.bin").write_bytes(bytes(range(256)))  # so that the bag's manifest agrees

    def swap(_: str) -> None:
        if what == "a link" and not (bag / "data/deep er").is_symlink():
            (bag / "data/deep er").rename(tmp_path / "was")
            (bag / "data/deep er").symlink_to(tmp_path / "private")
        if what == "more":
            (bag / "data/notes.txt").write_text("more notes")

    with pytest.raises(BadPackage, match="became a link while" if what == "a link" else "changed while it was copied"):
        bring(house, Incoming(bag, POLICY, "A. Keeper", DAY), swap)
    assert_nothing_stays(house)


@pytest.mark.parametrize("name", ["urn:x:\x1b[2Jgone", f"urn:x:{'9' * 2000}"])
def test_a_name_that_cannot_be_written_is_asked_for(house: Home, bag: Path, name: str) -> None:
    info = (bag / "bag-info.txt").read_text().replace("urn:x:their-1", name)
    (bag / "bag-info.txt").write_text(info)
    (bag / "tagmanifest-sha256.txt").unlink()
    with pytest.raises(BadInput, match="--identifier"):
        take(house, bag)
    assert_nothing_stays(house)
    assert take(house, bag, identifier="urn:x:ours")["created"]


@pytest.mark.parametrize("text", ["[" * 200_000, '{"packages": [{"name": "policy.toml"}]}'])
def test_a_table_that_is_none_is_kept_as_any_other_file(house: Home, bag: Path, text: str) -> None:
    folder = bag.parent / "more"
    folder.mkdir()
    (folder / "x.zarr.zip.members.json").write_text(text)
    (folder / "policy.toml").write_text("nothing")
    bagit.make_bag(str(folder), {"External-Identifier": "urn:x:more"}, checksums=["sha256"])
    take(house, folder)
    assert stored(house, "urn:x:more")["policy.toml"] == POLICY
    assert "x.zarr.zip.members.json" not in stored(house, "urn:x:more")


def test_what_does_not_say_what_it_is_known_as_is_asked_for_a_name(house: Home, sent: Path) -> None:
    with pytest.raises(BadInput, match="give it a name with --identifier"):
        take(house, sent / "package")
    assert_nothing_stays(house)


def test_more_than_was_meant_is_refused_before_it_is_copied(house: Home, bag: Path) -> None:
    with pytest.raises(BadPackage, match=r"more than 3 files: .*--most-files"):
        take(house, bag, files=3)
    with pytest.raises(BadPackage, match=r"more than .*--most-bytes"):
        take(house, bag, bytes=9)
    with (bag / "data/huge").open("wb") as file:  # a sparse file: it takes no room where it is
        file.truncate(1 << 43)
    with pytest.raises(DiskTrouble, match="less is free"):
        take(house, bag)
    assert_nothing_stays(house)


# ZIPs


def zipped(target: Path, members: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(target, "w", options.get("compression", zipfile.ZIP_STORED)) as made:
        for name, data in members.items():
            made.writestr(zipfile.ZipInfo(name), data, options.get("compression"))
    return target


def test_a_bag_in_a_zip_that_only_stores_comes_in(house: Home, bag: Path, tmp_path: Path) -> None:
    told = take(house, zipped(tmp_path / "bag.zip", objects.tree(bag)))
    assert (told["identifier"], told["kind"], told["files"]) == ("urn:x:their-1", "bag", 6)


def test_a_zip_that_compresses_or_leads_out_or_has_a_name_twice_is_refused(
    house: Home, bag: Path, tmp_path: Path
) -> None:
    inside = objects.tree(bag)
    compressed = zipped(tmp_path / "a.zip", inside, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(BadPackage, match=r"is compressed, .*unpack it yourself"):
        take(house, compressed)
    for name in ("../out.txt", "/etc/passwd", "a/../../b", "a\\b", "data//x", "data/notes.txt/x"):
        with pytest.raises(BadPackage, match=r"cannot be the name|twice"):
            take(house, zipped(tmp_path / "b.zip", {**inside, name: b"x"}))
    twice = zipped(tmp_path / "a.zip", {"bagit.txt": b"x", "bagit.tyt": b"x"})
    twice.write_bytes(twice.read_bytes().replace(b"bagit.tyt", b"bagit.txt"))
    with pytest.raises(BadPackage, match="is there twice"):
        take(house, twice)
    linked = zipfile.ZipInfo("data/link")
    linked.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as made:
        made.writestr(linked, "/etc/passwd")
    with pytest.raises(BadPackage, match="is a link or no plain file"):
        take(house, tmp_path / "c.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip", "c.zip", "home", "theirs"]
    assert_nothing_stays(house)


def test_a_zip_bomb_is_not_unpacked(house: Home, tmp_path: Path) -> None:
    path = zipped(tmp_path / "bomb.zip", {"bagit.txt": b"x" * 5000, **{f"data/{n}": b"" for n in range(50)}})
    data = path.read_bytes()
    start = data.rindex(b"PK\5\6")
    directory = int.from_bytes(data[start + 16 : start + 20], "little")
    first, at, many = None, directory, bytearray(data[:directory])
    while data[at : at + 4] == b"PK\1\2":  # all members become the one that is there
        name = int.from_bytes(data[at + 28 : at + 30], "little")
        record = bytearray(data[at : at + 46 + name])
        first = first or bytes(record[16:28])
        record[16:28] = first
        many += record
        at += 46 + name
    path.write_bytes(bytes(many) + data[start:])
    with pytest.raises(BadPackage, match="more than its own size: it is a ZIP bomb"):
        take(house, path)
    assert_nothing_stays(house)


def test_a_damaged_zip_is_refused(house: Home, bag: Path, tmp_path: Path) -> None:
    path = zipped(tmp_path / "bag.zip", objects.tree(bag))
    data = bytearray(path.read_bytes())
    data[data.index(bytes(range(256))) + 9] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadPackage, match=r"is damaged .*have it sent again"):
        take(house, path)
    assert_nothing_stays(house)


# bad disks, and kills


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_or_failing_disk_leaves_nothing_and_the_next_is_whole(
    house: Home, bag: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    Archive(house.archive).create_if_missing()
    real, troubles = getattr(os, call), 0
    for good in range(0, 300, 5):
        count = [0]

        def refuse(*args: Any, good: int = good, count: list[int] = count) -> Any:
            count[0] += 1
            if count[0] > good:
                raise OSError(28 if call == "write" else 5, "no")
            return real(*args)

        try:
            with monkeypatch.context() as patched:
                patched.setattr(os, call, refuse)
                take(house, bag)
        except DiskTrouble:
            troubles += 1
            assert list(house.cache.glob(".import*")) == []
            for identifier in Archive(house.archive).list():
                assert Archive(house.archive).verify(identifier) == []
        else:
            break
    assert troubles > 2
    assert Archive(house.archive).verify("urn:x:their-1") == []
    assert len(Events(house.custody).of("urn:x:their-1")) == 1


KILLING = """
import sys
from datetime import date
from pathlib import Path
from killing import dies
from terp.storage.archive import Archive
from terp.storage.home import Home
from terp.storage.transfer.dip import Request
from terp.storage.transfer.importing import Incoming, bring

home, source, policy = Home(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]).read_bytes()
archive = Archive(home.archive)
for point in range(0, 2000, 23):
    name = f"urn:x:{point}"
    incoming = Incoming(source, policy, "A. Keeper", date(2026, 11, 28), name)
    died = dies(point, lambda: bring(home, incoming, lambda _: None))
    if name in archive.list():
        assert archive.verify(name) == [], name
    told = bring(home, incoming, lambda _: None)
    assert archive.verify(name) == [], name
    assert told["version"] == "v1", name
    if not died:
        print(point)
        break
"""


def test_killed_at_any_moment_the_archive_is_valid_and_the_next_import_finishes_it(
    house: Home, bag: Path, tmp_path: Path
) -> None:
    (tmp_path / "policy.toml").write_bytes(POLICY)
    [points] = killing.told(KILLING, house.root, bag, tmp_path / "policy.toml")
    assert int(points) > 60
    assert list(house.cache.glob(".import*")) == []
    for identifier in Archive(house.archive).list():
        events = Events(house.custody).of(identifier)
        assert [one["event"] for one in events] == ["imported"]


def test_times_are_not_part_of_an_object_so_the_same_makes_the_same(house: Home, bag: Path, tmp_path: Path) -> None:
    other = Home(tmp_path / "other").open()
    take(house, bag)
    take(other, bag)
    assert stored(house, "urn:x:their-1") == stored(other, "urn:x:their-1")
