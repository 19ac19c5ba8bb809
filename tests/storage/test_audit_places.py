"""Audit and repair of what `terp copy` put at the end of SSH, in a bucket and on tape: found, located, mended (P)."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from damaging import flipped
from holdings import POLICY, bundled, places, said
from objects import CANARY, URN, archived, tree
from services import radosgw, sshd

from terp.storage import files
from terp.storage.archive.copies import copies_of, copy_to, open_place
from terp.storage.archive.ocfl import place as where
from terp.storage.audit import Damage
from terp.storage.errors import PlaceTrouble
from terp.storage.home import Home
from terp.storage.package.packed import PackedProduct
from terp.storage.places import Place
from terp.workflows.results.audit import audited, mended
from terp.workflows.results.copies import remove

OTHER = "urn:terp:wells:9876543210"
ZIP, README = f"v1/content/{CANARY}.zarr.zip", "v1/content/README.md"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GLANCE", 0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audited")


@pytest.fixture(scope="module")
def home(folder: Path) -> Home:
    """An archive with two objects, to whose places each test adds."""
    policy = POLICY.replace("at_most = 3", "at_most = 4")
    archived(folder / "home", policy)
    return archived(folder / "home", policy, identifier=OTHER)


@pytest.fixture(scope="module")
def sftp(folder: Path) -> Iterator[str]:
    (folder / "far").mkdir()
    with sshd(folder / "sshd") as one:
        yield said(
            name="sftp",
            kind="sftp",
            host="127.0.0.1",
            port=one.port,
            user=one.user,
            path=str(folder / "far"),
            key=str(one.key),
            known_hosts=str(one.known_hosts),
            audit_every="P30D",
        )


@pytest.fixture(scope="module")
def s3(folder: Path) -> Iterator[str]:
    import boto3

    with radosgw(folder / "ceph") as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", one.access)
        patch.setenv("AWS_SECRET_ACCESS_KEY", one.secret)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3", endpoint_url=one.url).create_bucket(Bucket="audited")
        yield said(name="s3", kind="s3", bucket="audited", prefix="deep/er", endpoint=one.url, audit_every="P30D")


@pytest.fixture(scope="module")
def tape(folder: Path) -> str:
    (folder / "tape").mkdir()
    about = {"path": str(folder / "tape"), "stage": ["true"], "state": [], "min_average": 1}
    return said(name="tape", kind="tape", audit_every="P1Y", **about)


@pytest.fixture(params=["sftp", "s3"])
def place(request: pytest.FixtureRequest, home: Home) -> Place:
    """A place with sound copies of both objects."""
    name: str = request.param
    places(home, request.getfixturevalue(name))
    assert copy_to(home, name, [URN, OTHER])[1] == []
    return open_place(home, name)[1]


def of(path: str) -> str:
    return f"{where(URN).as_posix()}/{path}"


def shard(home: Home) -> dict[str, object]:
    """The last shard of the package, by its table."""
    told = PackedProduct(home.archive / of(ZIP)).told
    found: dict[str, object] = [one for one in told["members"] if "key" in one][-1]
    return found


def flip(place: Place, name: str, byte: int) -> None:
    place.write(name, flipped(b"".join(place.read(name)), byte, 5))


def said_of(damage: Damage) -> tuple[str, str]:
    return damage.path, damage.kind


def test_what_went_there_is_as_it_was_stored(home: Home, place: Place) -> None:
    report = audited(home, [], [])
    assert (report.damage, report.notes, report.exit_code) == ([], [], 0)
    assert {(line["place"], line["object"]) for line in report.objects} == {
        (name, urn) for name in ("archive", place.name) for urn in (URN, OTHER)
    }


def test_a_flipped_bit_a_lost_and_an_added_file_are_located_and_mended(home: Home, place: Place) -> None:
    member = shard(home)
    byte = int(str(member["offset"])) + 40
    flip(place, of(ZIP), byte)
    place.delete(of(README))
    place.write(of("v1/content/added.txt"), b"who knows")
    place.write("beside.txt", b"of no object")
    report = audited(home, [], [place.name])
    assert sorted(map(said_of, report.damage)) == [
        ("beside.txt", "added"),
        (README, "lost"),
        ("v1/content/added.txt", "added"),
        (ZIP, "altered"),
    ]
    [spot] = next(one for one in report.damage if one.path == ZIP).spots
    assert (spot.member, spot.start <= byte < spot.stop, spot.array != "") == (member["name"], True, True)
    outcome = mended(home, [], [], [])
    assert (len(outcome.mended), outcome.left, outcome.exit_code) == (4, [], 0)
    there = {one.name.removeprefix(of("")): one.size for one in place.list(of(""))}
    assert there == {path: len(data) for path, data in tree(home.archive / where(URN)).items()}
    assert audited(home, [], [place.name]).exit_code == 0
    aside = {path.read_bytes() for path in (home.custody / "quarantine").glob(f"*/{place.name}/*/*")}
    assert aside == {b"who knows", b"of no object"}


def test_the_archive_is_mended_from_there(home: Home, place: Place) -> None:
    path = home.archive / of(ZIP)
    stored, byte = path.read_bytes(), int(str(shard(home)["offset"])) + 7
    path.chmod(0o644)
    path.write_bytes(flipped(stored, byte, 1))
    (home.archive / of("inventory.json")).unlink()
    (home.archive / of(README)).unlink()
    outcome = mended(home, [URN], ["archive"], [place.name])
    assert (len(outcome.mended), outcome.left) == (3, [])
    assert (path.read_bytes(), audited(home, [], []).exit_code) == (stored, 0)


def test_an_inventory_that_was_altered_with_its_checksum_is_found_and_mended(home: Home, place: Place) -> None:
    import hashlib

    forged = b"".join(place.read(of("inventory.json"))).replace(b"first", b"other")
    for top in ("", "v1/"):
        place.write(of(f"{top}inventory.json"), forged)
        place.write(
            of(f"{top}inventory.json.sha512"), f"{hashlib.sha512(forged).hexdigest()}  inventory.json\n".encode()
        )
    report = audited(home, [], [place.name])
    assert {one.path for one in report.damage} >= {"inventory.json", "v1/inventory.json"}
    assert mended(home, [URN], [], []).left == []
    assert audited(home, [], []).exit_code == 0


def test_all_of_an_object_that_a_place_lost_is_put_there_again(home: Home, place: Place) -> None:
    place.clear(of(""))
    assert [(one.object, one.what) for one in audited(home, [], [place.name]).damage] == [(URN, "is gone, all of it")]
    assert mended(home, [URN], [], []).left == []
    assert (audited(home, [], []).exit_code, dict(copies_of(home, URN))[place.name]) == (0, "whole")


# on tape


@pytest.fixture
def bundle(home: Home, tape: str, folder: Path) -> Path:
    """The file on tape that the first object is in; the other is in another."""
    places(home, tape)
    assert copy_to(home, "tape", [URN, OTHER])[1] == []
    return folder / "tape" / bundled(home, "tape", URN)[ZIP][0]


def test_a_bundle_of_terp_copy_is_as_it_was_stored(home: Home, bundle: Path) -> None:
    report = audited(home, [], [])
    assert (report.damage, report.exit_code, bundle.is_file()) == ([], 0, True)


@pytest.mark.parametrize("path", [ZIP, README, "v1/inventory.json"])
def test_a_flipped_bit_in_a_bundle_is_located_and_the_copy_made_anew(home: Home, bundle: Path, path: str) -> None:
    (_, start), member = bundled(home, "tape", URN)[path], shard(home)
    byte = int(str(member["offset"])) + 40 if path == ZIP else 9
    bundle.write_bytes(flipped(bundle.read_bytes(), start + byte, 5))
    report = audited(home, [], ["tape"])
    assert sorted(map(said_of, report.damage)) == sorted([(bundle.name, "altered"), (path, "altered")])
    [spot] = next(one for one in report.damage if one.path == path).spots
    assert spot.start <= byte < spot.stop
    assert spot.member == (member["name"] if path == ZIP else "")
    assert f"`terp uncopy {URN} --from tape`" in mended(home, [URN], [], []).text()
    remove(home, "tape", URN)
    assert copy_to(home, "tape", [URN])[1] == []
    assert audited(home, [], []).exit_code == 0


def test_the_archive_is_mended_from_a_bundle(home: Home, bundle: Path) -> None:
    path = home.archive / of(ZIP)
    stored = path.read_bytes()
    path.unlink()
    outcome = mended(home, [URN], ["archive"], [])
    assert (len(outcome.mended), outcome.left, path.read_bytes() == stored) == (1, [], True)
    assert bundle.is_file()


def test_a_bundle_that_is_lost_is_told_of_and_made_anew_and_one_that_was_added_is_told_of(
    home: Home, bundle: Path
) -> None:
    stored = bundle.read_bytes()
    bundle.unlink()
    stray = bundle.with_name("terp-stray.zip")
    stray.write_bytes(b"who knows")
    report = audited(home, [], ["tape"])
    assert sorted((one.path or one.what, one.kind) for one in report.damage) == sorted(
        [(bundle.name, "lost"), (stray.name, "added"), ("is gone, all of it", "lost")]
    )
    assert copy_to(home, "tape", [URN])[1] == []
    assert bundle.read_bytes() == stored
    with pytest.raises(PlaceTrouble, match="nobody knows what is in it"):
        remove(home, "tape", URN)
    stray.unlink()
    assert copy_to(home, "tape", [URN])[1] == []
    assert audited(home, [], []).exit_code == 0


def test_unzipped_after_all_of_it_the_bundles_are_an_archive(home: Home, bundle: Path, tmp_path: Path) -> None:
    import zipfile

    for one in bundle.parent.glob("*.zip"):
        with zipfile.ZipFile(one) as held:
            held.extractall(tmp_path / "got")
    assert tree(tmp_path / "got") == {
        name: data for name, data in tree(home.archive).items() if "terp-staging" not in name
    }
