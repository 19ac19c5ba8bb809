"""A bag of an archived object: whole, valid to tools that know nothing of terp, there all at once or not at all."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import bagit
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
import killing
import objects

from terp.storage.archive import Archive
from terp.storage.archive.custody import Events
from terp.storage.errors import BadPackage, BadPolicy, Damaged, DiskTrouble
from terp.storage.home import Home
from terp.storage.metadata import premis
from terp.storage.transfer import export

DAY = date(2026, 11, 28)
pytestmark = pytest.mark.filterwarnings("ignore:'count' is passed:DeprecationWarning")  # by bagit
WHO = {"recipient": "Het Archief", "ground": "overbrenging"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return objects.archived(tmp_path_factory.mktemp("bag") / "home")


def bag(house: Home, target: Path, **more: object) -> dict[str, object]:
    linked = bool(more.pop("linked", False))
    return export.to_bag(house, objects.URN, export.Whither(target, DAY, **more), linked=linked)  # type: ignore[arg-type]


def left(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_b1_the_library_of_congress_finds_the_bag_valid(house: Home, tmp_path: Path) -> None:
    bag(house, tmp_path / "bag", contact="A. Keeper")
    found = bagit.Bag(str(tmp_path / "bag"))
    found.validate()
    assert sorted(found.algorithms) == ["sha256", "sha512"]
    assert found.version_info == (1, 0)
    assert found.info["External-Identifier"] == objects.URN
    assert found.info["Source-Organization"] == "Universiteit Voorbeeld"
    assert found.info["Contact-Name"] == "A. Keeper"
    assert found.info["Bagging-Date"] == "2026-11-28"


def test_b1_every_manifest_lists_every_file_and_the_oxum_is_what_lies_there(house: Home, tmp_path: Path) -> None:
    bag(house, tmp_path / "bag")
    payload = objects.tree(tmp_path / "bag" / "data")
    for algorithm in ("sha512", "sha256"):
        manifest = (tmp_path / "bag" / f"manifest-{algorithm}.txt").read_text()
        assert {line.partition("  ")[2] for line in manifest.splitlines()} == {f"data/{name}" for name in payload}
        tags = (tmp_path / "bag" / f"tagmanifest-{algorithm}.txt").read_text()
        named = {line.partition("  ")[2] for line in tags.splitlines()}
        assert named == {"bagit.txt", "bag-info.txt", "manifest-sha256.txt", "manifest-sha512.txt"}
    oxum = f"{sum(map(len, payload.values()))}.{len(payload)}"
    assert f"Payload-Oxum: {oxum}\n" in (tmp_path / "bag/bag-info.txt").read_text()


@pytest.mark.parametrize("algorithm", ["sha512", "sha256"])
def test_the_bag_is_checked_with_coreutils_alone(house: Home, tmp_path: Path, algorithm: str) -> None:
    bag(house, tmp_path / "bag")
    for manifest in (f"manifest-{algorithm}.txt", f"tagmanifest-{algorithm}.txt"):
        command = [f"{algorithm}sum", "--strict", "--quiet", "-c", manifest]
        done = subprocess.run(command, cwd=tmp_path / "bag", capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_files_are_those_of_the_object_byte_for_byte(house: Home, tmp_path: Path) -> None:
    bag(house, tmp_path / "bag")
    stored = {name: path.read_bytes() for name, path in Archive(house.archive).files(objects.URN).items()}
    assert objects.tree(tmp_path / "bag" / "data") == stored


def test_each_byte_is_read_once(house: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, got = os.read, [0]

    def counted(descriptor: int, length: int) -> bytes:
        data = real(descriptor, length)
        got[0] += len(data)
        return data

    monkeypatch.setattr(os, "read", counted)
    bag(house, tmp_path / "bag")
    assert got[0] == sum(path.stat().st_size for path in (tmp_path / "bag" / "data").iterdir())


def test_links_cost_no_room_when_they_are_asked_for(house: Home, tmp_path: Path) -> None:
    bag(house, tmp_path / "linked", linked=True)
    bag(house, tmp_path / "copied")
    stored = Archive(house.archive).files(objects.URN)
    for name, path in stored.items():
        assert os.path.samefile(path, tmp_path / "linked" / "data" / name)
        assert not os.path.samefile(path, tmp_path / "copied" / "data" / name)
    bagit.Bag(str(tmp_path / "linked")).validate()


def test_what_left_is_recorded_with_where_to_and_its_digest(house: Home, tmp_path: Path) -> None:
    told = bag(house, tmp_path / "bag", **WHO)
    event = Events(house.custody).of(objects.URN)[-1]
    assert (event["event"], event["facts"]) == ("exported", told)
    assert (told["as"], told["for"], told["ground"]) == ("bag", "Het Archief", "overbrenging")
    assert told["version"] == "v1"
    assert told["to"] == str(tmp_path / "bag")
    assert told["sha512"] == hashlib.sha512((tmp_path / "bag/tagmanifest-sha512.txt").read_bytes()).hexdigest()


def test_an_older_version_can_be_exported_under_the_decision_of_today(tmp_path: Path) -> None:
    house = objects.archived(tmp_path / "home")
    objects.archived(tmp_path / "home", objects.POLICY_TEXT + objects.CLOSED, {"more.txt": b"more"})
    with pytest.raises(BadPolicy, match="not open as a whole"):
        bag(house, tmp_path / "bag", version="v1")
    bag(house, tmp_path / "bag", version="v1", **WHO)
    assert "more.txt" not in left(tmp_path / "bag" / "data")
    assert "Internal-Sender-Identifier: urn:terp:wells:0123456789 v1\n" in (tmp_path / "bag/bag-info.txt").read_text()
    with pytest.raises(BadPackage, match="no version v7; it has v1, v2"):
        bag(house, tmp_path / "other", version="v7")


def test_what_is_not_open_leaves_whole_only_for_one_who_is_named_on_a_ground(tmp_path: Path) -> None:
    private = objects.POLICY_TEXT.replace("open unless", "private unless")
    for number, policy in enumerate((objects.POLICY_TEXT + objects.CLOSED, private)):
        house = objects.archived(tmp_path / f"home{number}", policy)
        for half in ({}, {"recipient": "Het Archief"}, {"ground": "x"}):
            with pytest.raises(BadPolicy, match="say for whom it is and on which ground"):
                bag(house, tmp_path / f"bag{number}", **half)
        bag(house, tmp_path / f"bag{number}", **WHO)
        assert "Restrictions: " in (tmp_path / f"bag{number}/bag-info.txt").read_text()


def test_without_a_decision_nothing_leaves(tmp_path: Path) -> None:
    house = objects.archived(tmp_path / "home")
    stored = Archive(house.archive).files(objects.URN)
    without = {name: path for name, path in stored.items() if name != "policy.toml"}
    about = {"message": "older", "user_name": "A. Maker", "created": objects.datetime(2026, 1, 1, tzinfo=objects.UTC)}
    Archive(house.archive).ingest("urn:terp:old:1", without, **about)  # type: ignore[arg-type]
    with pytest.raises(BadPolicy, match=r"has no policy\.toml"):
        export.to_bag(house, "urn:terp:old:1", export.Whither(tmp_path / "bag", DAY))
    assert left(tmp_path) == ["home"]


def test_l7_what_happened_to_its_files_goes_along_as_premis_and_no_person_reason_place_or_path(tmp_path: Path) -> None:
    told = premis.Premis(object=(premis.entity(objects.URN),))
    house = objects.archived(tmp_path / "home", more={"premis.xml": premis.write(told)})
    bag(house, tmp_path / "first", **WHO)
    assert not (tmp_path / "first/metadata").exists()  # nothing had happened to it
    events = Events(house.custody)
    for kind, facts in {
        "imported": {"kind": "bag", "from": "/home/bea/stick", "by": "Bea", "name": "bea.zip"},
        "copied": {"place": "tape-of-bea", "version": "v1", "files": 9},
        "damage found": {"place": "tape-of-bea", "host": "node7"},
        "repaired": {"by": "Bea", "file": "/home/bea/README.md"},
        "hold": {"by": "Bea", "reason": "the court case of Cor"},
        "release": {"by": "Bea", "reason": "the court case of Cor", "hold": 4},
        "destruction signed": {"person": "Bea"},
        "destruction withdrawn": {"why": ["it is held by Bea"]},
        "something new": {"by": "Bea"},
    }.items():
        events.append(objects.URN, kind, facts)
    bag(house, tmp_path / "second")
    bagit.Bag(str(tmp_path / "second")).validate()
    assert "metadata/premis-custody.xml" in (tmp_path / "second/tagmanifest-sha512.txt").read_text()
    found = (tmp_path / "second/metadata/premis-custody.xml").read_bytes()
    kinds = [one.eventType.value for one in premis.read(found).event]
    assert len(kinds) == 4
    assert kinds[1:] == ["replication", "fixity check", "recovery"]
    for secret in ("bea", "cor", "court", "node7", "held", "het archief", str(tmp_path)):
        assert secret not in found.decode().lower(), secret


# where it is made


def test_nothing_is_written_over_and_nothing_into_the_archive(house: Home, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("thesis", "dangling"):
        with pytest.raises(BadPackage, match="is there already"):
            bag(house, tmp_path / name)
    with pytest.raises(DiskTrouble, match="is no folder: make it"):
        bag(house, tmp_path / "none" / "bag")
    (tmp_path / "link").symlink_to(house.archive)
    for target in (house.archive / "bag", house.custody / "bag", tmp_path / "link" / "bag"):
        with pytest.raises(BadPackage, match="where terp keeps its own"):
            bag(house, target)
    assert left(tmp_path) == ["dangling", "link", "thesis"]


def test_a_damaged_object_is_not_exported_and_nothing_is_left(tmp_path: Path) -> None:
    house = objects.archived(tmp_path / "home")
    path = Archive(house.archive).files(objects.URN)[f"{objects.CANARY}.zarr.zip"]
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(5000)
        file.write(b"x")
    with pytest.raises(Damaged, match="has not the SHA-512"):
        bag(house, tmp_path / "bag")
    path.unlink()
    with pytest.raises(DiskTrouble):
        bag(house, tmp_path / "bag")
    path.symlink_to("/etc/passwd")
    with pytest.raises(BadPackage, match="leads out of"):
        bag(house, tmp_path / "bag")
    assert left(tmp_path) == ["home"]


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, call: str, good: int, number: int) -> Iterator[None]:
    """Let a system call fail from a time on."""
    real, count = getattr(os, call), [0]

    def refuse(*args: object, **kwargs: object) -> object:
        count[0] += 1
        if count[0] > good:
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        yield


@pytest.mark.parametrize(("call", "number"), [("write", errno.ENOSPC), ("fsync", errno.EIO)])
def test_a_full_or_failing_disk_leaves_nothing(
    house: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    troubles = 0
    for good in range(0, 200, 3):
        try:
            with failing(monkeypatch, call, good, number):
                bag(house, tmp_path / "bag")
        except DiskTrouble:
            troubles += 1
            assert left(tmp_path) == []
        else:
            break
    assert troubles > 3
    bagit.Bag(str(tmp_path / "bag")).validate()


KILLING = """
import os, sys
from datetime import date
from pathlib import Path
from killing import dies
from terp.storage.home import Home
from terp.storage.transfer import export

here, whither = Path(sys.argv[1]), export.Whither(Path(sys.argv[1]) / "bag", date(2026, 11, 28))
for point in range(0, 2000, 13):
    died = dies(point, lambda: export.to_bag(Home(here / "home"), sys.argv[2], whither))
    if not died:
        print(point)
        break
    shown = sorted(name for name in os.listdir(here) if not name.startswith("."))
    assert shown in (["home"], ["bag", "home"]), shown
    if "bag" in shown:
        os.rename(here / "bag", here / ".whole")
"""


def test_killed_at_any_moment_there_is_a_whole_bag_or_none_and_the_next_removes_the_rest(tmp_path: Path) -> None:
    house = objects.archived(tmp_path / "home")
    [points] = killing.told(KILLING, tmp_path, objects.URN)
    assert int(points) > 60
    assert [name for name in left(tmp_path) if ".part" in name] == []
    bagit.Bag(str(tmp_path / "bag")).validate()
    assert Events(house.custody).of(objects.URN)[-1]["event"] == "exported"


def test_what_one_who_lives_is_making_is_left_alone(house: Home, tmp_path: Path) -> None:
    from terp.storage.transfer.building import built

    with built(tmp_path / "bag") as first:
        bag(house, tmp_path / "bag")
        assert first.is_dir()
        shutil.rmtree(tmp_path / "bag")
    assert left(tmp_path) == ["bag"]
    making = built(tmp_path / "second")
    (making.__enter__() / "x").touch()
    bag(house, tmp_path / "second")
    with pytest.raises(BadPackage, match="is there already"):
        making.__exit__(None, None, None)
    bagit.Bag(str(tmp_path / "second")).validate()


def test_names_are_written_as_the_standard_asks() -> None:
    from terp.storage.transfer.bag import encoded

    assert encoded("data/a%b\nc\rd") == "data/a%25b%0Ac%0Dd"
