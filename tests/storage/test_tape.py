"""Copies on tape: few large files, never read before they are brought, and what is in them known without staging."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
import killing
from holdings import POLICY, archived, bundled, complaints, contents, places, said

from terp.storage.archive import Archive
from terp.storage.archive.bundles import indices
from terp.storage.archive.copies import copies_of, copy_to, open_place, places_of, remove_copy
from terp.storage.archive.known import Known
from terp.storage.archive.ocfl import place as where
from terp.storage.audit import Order, audit
from terp.storage.errors import Damaged, NotStaged, PlaceTrouble
from terp.storage.home import Home
from terp.storage.places import Folder, Tape
from terp.storage.places.place import PART

# As DMF: what is on tape leaves its name and size on disk, and reads as zeros here, so that who reads it is found out.
TAPE = """
import os, sys
from pathlib import Path

verb, *paths = sys.argv[1:]
for path in map(Path, paths):
    vault = path.parents[1] / "vault" / path.name
    if verb == "put":
        os.replace(path, vault)
        with path.open("wb") as stub:
            stub.truncate(vault.stat().st_size)
    elif verb == "get" and vault.exists():
        os.replace(vault, path)
    elif verb == "state":
        print("OFL" if vault.exists() else "DUL")
    elif verb == "slow":
        pass  # it is asked for, and comes later
"""


class Site:
    """A tape as a site has it."""

    def __init__(self, top: Path, home: Home) -> None:
        self.home, self.root, self.script = home, top / "tape", top / "tape.py"
        self.root.mkdir()
        (top / "vault").mkdir()
        self.script.write_text(TAPE)

    def known_as(
        self, verb: str = "get", state: bool = True, least: int = 1_000_000, wait: float = 30, most: int = 10**9
    ) -> None:
        command = [sys.executable, str(self.script)]
        about = {
            "path": str(self.root),
            "stage": [*command, verb],
            "min_average": least,
            "wait": wait,
            "max_file": most,
        }
        about["state"] = [*command, "state"] if state else []
        places(self.home, said(name="tape", kind="tape", audit_every="P1Y", **about))

    def call(self, verb: str) -> None:
        """Move all bundles to tape, or bring them back."""
        subprocess.run([sys.executable, self.script, verb, *self.bundles()], check=True)

    def bundles(self) -> list[Path]:
        return sorted(self.root.glob("terp-*.zip"))

    @property
    def place(self) -> Tape:
        place = open_place(self.home, "tape")[1]
        assert isinstance(place, Tape)
        return place


@pytest.fixture
def at(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def tape(at: Home, tmp_path: Path) -> Site:
    site = Site(tmp_path, at)
    site.known_as()
    return site


def copy(at: Home, *identifiers: str) -> dict[str, str]:
    done, refused = copy_to(at, "tape", identifiers)
    assert refused == []
    return {one.identifier: one.state for one in done}


def bands(folder: Path, count: int) -> None:
    """Files of an object, each as large as a package may be."""
    folder.mkdir()
    for number in range(count):
        (folder / f"band.{number:04}.zarr.zip").write_bytes(os.urandom(1_500_000))


def unzipped(tape: Site, to: Path) -> Path:
    for bundle in tape.bundles():
        subprocess.run(["unzip", "-q", "-o", bundle, "-d", to], check=True)
    return to


# what goes to tape


def test_small_objects_wait_until_together_they_are_large_enough_and_are_one_file(at: Home, tape: Site) -> None:
    names = [archived(at, name, size=400_000) for name in ("one", "two", "three")]
    assert copy(at, names[0]) == {names[0]: "waiting"}
    done = copy_to(at, "tape", [names[1]])[0]
    assert [(one.identifier, one.state) for one in done] == [(names[0], "waiting"), (names[1], "waiting")]
    assert "are together, and go as one file when they are 976.6 KiB" in done[0].why
    assert tape.bundles() == []
    assert copies_of(at, names[0]) == [("tape", "waiting")]
    assert copy(at, names[2]) == dict.fromkeys(names, "whole")
    assert len(tape.bundles()) == 1
    assert copy(at, *names) == dict.fromkeys(names, "whole")
    assert len(tape.bundles()) == 1


def test_a_large_object_is_a_file_of_its_own_and_the_average_holds(at: Home, tape: Site) -> None:
    sizes = (3_000_000, 150_000, 1_200_000, 900_000)
    names = [archived(at, name, size) for name, size in zip("abcd", sizes, strict=True)]
    assert set(copy(at, *names).values()) == {"whole"}
    made = [path.stat().st_size for path in tape.bundles()]
    assert len(made) == 3
    assert min(made) >= 1_000_000


def test_an_object_larger_than_a_file_may_be_goes_in_several(at: Home, tape: Site, tmp_path: Path) -> None:
    large = tmp_path / "large"
    bands(large, 3)
    one = archived(at, "one", size=1_500_000, more=large)
    tape.known_as(most=2_000_000)
    assert copy(at, one) == {one: "whole"}
    sizes = [path.stat().st_size for path in tape.bundles()]
    assert (len(sizes), max(sizes) < 2_100_000) == (4, True)
    found = bundled(at, "tape", one)
    assert {bundle for bundle, _ in found.values()} == {path.name for path in tape.bundles()}
    assert found.keys() == contents(at.archive / where(one)).keys()
    assert complaints(unzipped(tape, tmp_path / "got"), objects=1) == []
    assert copy_to(at, "tape", [one])[0][0].files == 0
    seen = [Folder("archive", at.archive), *places_of(at).values()]
    assert audit(Order(seen, at.custody, ["tape"])).damage == []


def test_a_part_that_is_lost_is_made_anew_and_none_of_them_stays_behind(at: Home, tape: Site, tmp_path: Path) -> None:
    bands(tmp_path / "large", 3)
    one = archived(at, "one", size=1_500_000, more=tmp_path / "large")
    tape.known_as(most=2_000_000)
    copy(at, one)
    before = contents(tape.root)
    tape.bundles()[2].unlink()
    copy(at, one)
    assert contents(tape.root) == before
    tape.known_as(most=4_000_000)  # cut otherwise from now on
    archived(at, "one", size=1_400_000, more=tmp_path / "large")
    copy(at, one)
    assert (copies_of(at, one), len(tape.bundles())) == ([("tape", "whole")], 3)
    assert complaints(unzipped(tape, tmp_path / "got"), objects=1) == []
    assert remove_copy(at, "tape", one) > 6_000_000
    assert contents(tape.root) == {}


def test_bundles_are_archives_that_any_tool_unpacks(at: Home, tape: Site, tmp_path: Path) -> None:
    names = [archived(at, name, size=600_000) for name in ("one", "two")] + [archived(at, "three", size=2_000_000)]
    copy(at, *names)
    for bundle in tape.bundles():
        assert zipfile.ZipFile(bundle).testzip() is None
    got = unzipped(tape, tmp_path / "got")
    assert contents(got) == {name: data for name, data in contents(at.archive).items() if "terp-staging" not in name}
    assert complaints(got, objects=3) == []


def test_the_same_objects_make_the_same_bundle(at: Home, tape: Site) -> None:
    names = [archived(at, name, size=600_000) for name in ("one", "two")]
    copy(at, *names)
    before = contents(tape.root)
    remove_copy(at, "tape", names[0])
    remove_copy(at, "tape", names[1])
    assert contents(tape.root) == {}
    copy(at, *reversed(names))
    assert contents(tape.root) == before


def test_what_is_in_a_bundle_is_known_without_asking_tape(at: Home, tape: Site) -> None:
    one = archived(at, "one", size=2_000_000)
    copy(at, one)
    data = tape.bundles()[0].read_bytes()
    tape.call("put")
    index = indices(Known(at.custody), "tape")[0]
    assert (index["size"], index["sha512"]) == (len(data), hashlib.sha512(data).hexdigest())
    for member in index["members"]:
        part = data[member["offset"] : member["offset"] + member["size"]]
        assert hashlib.sha512(part).hexdigest() == member["sha512"]
    told = {member["name"]: member["sha512"] for member in index["members"]}
    digests = Archive(at.archive).digests(one)
    assert told[f"{where(one).as_posix()}/v1/content/p.zarr.zip"] == digests["p.zarr.zip"]


def test_damage_never_goes_to_tape(at: Home, tape: Site) -> None:
    one = archived(at, "one", size=2_000_000)
    path = at.archive / where(one) / "v1/content/p.zarr.zip"
    path.chmod(0o644)
    path.write_bytes(os.urandom(2_000_000))
    with pytest.raises(Damaged, match=r"p\.zarr\.zip is not what was stored"):
        copy(at, one)
    assert tape.bundles() == []
    assert copies_of(at, one) == [("tape", "begun")]


def test_a_new_version_takes_the_place_of_the_old(at: Home, tape: Site, tmp_path: Path) -> None:
    names = [archived(at, name, size=600_000) for name in ("one", "two")]
    copy(at, *names)
    archived(at, "one", size=2_000_000)
    assert dict(copies_of(at, names[0])) == {"tape": "older"}
    tape.call("put")
    copy(at, names[0])
    assert [copies_of(at, name) for name in names] == [[("tape", "whole")]] * 2
    assert len(tape.bundles()) == 2
    tape.call("get")
    assert complaints(unzipped(tape, tmp_path / "got"), objects=2) == []


# reading back


def test_what_is_on_tape_is_asked_for_and_never_read_before_it_is_there(at: Home, tape: Site) -> None:
    copy(at, archived(at, "one", size=2_000_000))
    name, data = tape.bundles()[0].name, tape.bundles()[0].read_bytes()
    tape.call("put")
    with pytest.raises(NotStaged, match=r"is on tape: it has to be brought first.*tape\.py get") as told:
        next(tape.place.read(name))
    assert told.value.exit_code == 75
    tape.known_as("slow")
    assert tape.place.stage([name]) == [name]
    tape.known_as("get")
    assert tape.place.stage([name]) == []
    assert b"".join(tape.place.read(name)) == data


def test_without_a_command_that_tells_the_blocks_on_disk_do(at: Home, tape: Site) -> None:
    copy(at, archived(at, "one", size=2_000_000))
    name = tape.bundles()[0].name
    tape.known_as(state=False)
    assert len(b"".join(tape.place.read(name))) > 2_000_000
    tape.call("put")
    with pytest.raises(NotStaged):
        next(tape.place.read(name))
    assert tape.place.stage([name]) == []


def test_a_request_that_takes_long_goes_on_by_itself(at: Home, tape: Site, tmp_path: Path) -> None:
    copy(at, archived(at, "one", size=2_000_000))
    tape.call("put")
    os.mkfifo(tmp_path / "mount")
    slow = tmp_path / "slow.py"
    slow.write_text(f"open({str(tmp_path / 'mount')!r}).read()\n{TAPE}")
    about = {"stage": [sys.executable, str(slow), "get"], "state": [sys.executable, str(tape.script), "state"]}
    places(at, said(name="tape", kind="tape", audit_every="P1Y", path=str(tape.root), wait=0.0, **about))
    name = tape.bundles()[0].name
    assert tape.place.stage([name]) == [name]
    (tmp_path / "mount").write_text("the tape is in")
    from terp.storage.files import patiently

    def come() -> None:
        if tape.place.away([name]):
            raise LookupError

    patiently(come, LookupError)


@pytest.mark.parametrize(
    ("stage", "state", "said_"),
    [
        (["no-such-command"], [], r"cannot be asked: no-such-command: No such file.*correct places\.toml"),
        (["false"], [], "false of the place tape ended with 1"),
        (["true"], ["false"], "false of the place tape failed"),
        (["true"], ["true"], "told of 0 of 1 files; correct `state`"),
    ],
)
def test_commands_of_the_site_that_fail_are_told_of(
    stage: list[str], state: list[str], said_: str, at: Home, tape: Site
) -> None:
    copy(at, archived(at, "one", size=2_000_000))
    tape.call("put")
    places(at, said(name="tape", kind="tape", audit_every="P1Y", path=str(tape.root), stage=stage, state=state))
    with pytest.raises(PlaceTrouble, match=said_):
        tape.place.stage([tape.bundles()[0].name])


# seen object by object


def test_the_files_of_objects_are_seen_by_their_own_names(at: Home, tape: Site) -> None:
    names = [archived(at, name, size=600_000) for name in ("one", "two")]
    copy(at, *names)
    seen = places_of(at)["tape"]
    assert {one.name: b"".join(seen.read(one.name)) for one in seen.list()} == contents(at.archive)
    name = f"{where(names[0]).as_posix()}/v1/content/p.zarr.zip"
    data = (at.archive / name).read_bytes()
    assert b"".join(seen.read(name, 10, 5)) == data[10:15]
    assert b"".join(seen.read(name, 599_999)) == data[599_999:]
    assert [one.name for one in seen.list(f"{where(names[0]).as_posix()}/v1/inv")] == [
        f"{where(names[0]).as_posix()}/v1/inventory.json{end}" for end in ("", ".sha512")
    ]
    tape.call("put")
    with pytest.raises(NotStaged):
        next(seen.read(name))
    assert seen.stage([name]) == []
    for act in (lambda: seen.delete(name), lambda: seen.write(name, b"")):
        with pytest.raises(PlaceTrouble, match="is written as a whole"):
            act()
    tape.bundles()[0].unlink()
    assert list(seen.list()) == []


def test_an_audit_of_tape_asks_first_and_finds_what_is_damaged_there(at: Home, tape: Site) -> None:
    one, two = archived(at, "one", size=600_000), archived(at, "two", size=600_000)
    copy(at, one, two)
    [index], name = indices(Known(at.custody), "tape"), f"{where(one).as_posix()}/v1/content/p.zarr.zip"
    [offset] = [member["offset"] for member in index["members"] if member["name"] == name]
    with tape.bundles()[0].open("r+b") as bundle:
        bundle.seek(offset + 1000)
        bundle.write(b"damaged!")
    tape.call("put")
    tape.known_as("slow")
    seen = [Folder("archive", at.archive), *places_of(at).values()]
    report = audit(Order(seen, at.custody, ["tape"]))
    assert (report.whole, report.damage) == (False, [])
    tape.known_as("get")
    seen = [Folder("archive", at.archive), *places_of(at).values()]
    report = audit(Order(seen, at.custody, ["tape"]))
    assert report.whole
    assert [(one.place, one.path) for one in report.damage] == [("tape", "v1/content/p.zarr.zip")]


def test_an_object_is_cleared_from_tape_as_from_any_place(at: Home, tape: Site) -> None:
    one, two = archived(at, "one", size=600_000), archived(at, "two", size=600_000)
    copy(at, one, two)
    seen, prefix = places_of(at)["tape"], f"{where(one).as_posix()}/"
    assert seen.clear(prefix) > 600_000
    assert list(seen.list(prefix)) == []
    assert list(seen.list(f"{where(two).as_posix()}/"))
    assert len(tape.bundles()) == 1


# removed


def test_what_is_removed_goes_with_its_bundle_and_others_stay(at: Home, tape: Site, tmp_path: Path) -> None:
    names = [archived(at, name, size=600_000) for name in ("one", "two")]
    copy(at, *names)
    secret = (at.archive / where(names[0]) / "v1/content/p.zarr.zip").read_bytes()[:64]
    old = tape.bundles()
    assert any(secret in path.read_bytes() for path in old)
    assert remove_copy(at, "tape", names[0]) > 600_000
    assert not old[0].exists()
    assert not any(secret in path.read_bytes() for path in tape.bundles())
    assert [copies_of(at, name) for name in names] == [[], [("tape", "whole")]]
    assert complaints(unzipped(tape, tmp_path / "got"), objects=1) == []
    [index] = indices(Known(at.custody), "tape")
    assert index["bundle"] == tape.bundles()[0].name


def test_others_that_the_archive_has_no_more_are_brought_from_tape_first(at: Home, tape: Site, tmp_path: Path) -> None:
    names = [archived(at, name, size=600_000) for name in ("one", "two")]
    copy(at, *names)
    archived(at, "two", size=700_000)
    tape.call("put")
    tape.known_as("slow")
    with pytest.raises(NotStaged, match="has to come from tape first"):
        remove_copy(at, "tape", names[0])
    assert copies_of(at, names[0]) == [("tape", "going")]
    tape.known_as("get")
    remove_copy(at, "tape", names[0])
    assert copies_of(at, names[0]) == []
    assert complaints(unzipped(tape, tmp_path / "got"), objects=1) == []


def test_one_that_waits_is_forgotten(at: Home, tape: Site) -> None:
    one = archived(at, "one", size=9)
    copy(at, one)
    assert remove_copy(at, "tape", one) == 0
    assert copies_of(at, one) == []
    assert tape.bundles() == []


def test_a_sound_bundle_is_not_given_up_for_an_older_version(at: Home, tape: Site) -> None:
    archived(at, "one")
    one = archived(at, "one")
    copy(at, one)
    before = {path.name: path.stat().st_size for path in tape.bundles()}
    for path in (at.archive / where(one) / "inventory.json", at.archive / where(one) / "v2/inventory.json"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b'"head": "v2"', b'"head": "v3"'))
    [refused] = copy_to(at, "tape", [one])[1]
    assert isinstance(refused, Damaged)
    assert {path.name: path.stat().st_size for path in tape.bundles()} == before


def test_of_a_tape_that_is_not_mounted_nothing_counts_as_removed(at: Home, tape: Site) -> None:
    one = archived(at, "one")
    copy(at, one)
    tape.root.rename(tape.root.with_name("elsewhere"))
    tape.root.mkdir()
    for act in (lambda: remove_copy(at, "tape", one), lambda: copy(at, one)):
        with pytest.raises(PlaceTrouble, match=r"none of the bundles that went there.*is it mounted"):
            act()
    assert copies_of(at, one) == [("tape", "whole")]
    tape.root.rmdir()
    tape.root.with_name("elsewhere").rename(tape.root)
    assert remove_copy(at, "tape", one) > 0
    assert (copies_of(at, one), tape.bundles()) == ([], [])


def test_a_bundle_that_nobody_knows_is_not_taken_for_nothing(at: Home, tape: Site) -> None:
    one = archived(at, "one", size=2_000_000)
    copy(at, one)
    (tape.root / "terp-unknown.zip").touch()
    with pytest.raises(PlaceTrouble, match=r"has terp-unknown\.zip, and nobody knows what is in it"):
        remove_copy(at, "tape", one)


KILLING = """
import sys
from pathlib import Path
from holdings import archived
from killing import dies
from terp.storage.archive.copies import copies_of, copy_to, remove_copy
from terp.storage.home import Home

at = Home(Path(sys.argv[1]) / "home")

def both():
    return copy_to(at, "tape", names)

for point in range(int(sys.argv[2]), 1000, int(sys.argv[3])):
    names = [archived(at, f"{point}-{one}", size=600_000) for one in (1, 2)]
    died = dies(point, both)
    done, refused = both()
    assert not refused and {one.state for one in done} == {"whole"}, (point, done, refused)
    died |= dies(point, lambda: remove_copy(at, "tape", names[0]))
    assert copies_of(at, names[1]) == [("tape", "whole")], point
    remove_copy(at, "tape", names[0])
    assert copies_of(at, names[0]) == [], point
    if not died:
        print(point)
        break
"""


@pytest.mark.parametrize(
    ("sizes", "step"),
    [
        ("together", "31"),
        ("in parts", "53"),
        pytest.param("together", "1", marks=[pytest.mark.campaign, pytest.mark.timeout(3600)]),
        pytest.param("in parts", "1", marks=[pytest.mark.campaign, pytest.mark.timeout(3600)]),
    ],
)
def test_killed_at_any_moment_the_same_command_finishes(
    sizes: str, step: str, at: Home, tape: Site, tmp_path: Path
) -> None:
    if sizes == "in parts":
        tape.known_as(least=1, most=600_000)
    [points] = killing.told(KILLING, tmp_path, 3, step)
    assert int(points) > 50
    kept = [name for name in Archive(at.archive).list() if name.endswith("-2")]
    assert not [name for name in contents(tape.root) if PART in name]
    assert {path.name for path in tape.bundles()} == {one["bundle"] for one in indices(Known(at.custody), "tape")}
    assert complaints(unzipped(tape, tmp_path / "got"), objects=len(kept)) == []


def test_no_more_copies_than_were_decided_wait_for_tape_either(at: Home, tape: Site) -> None:
    one = archived(at, "one", size=9, policy=POLICY.replace("at_most = 3", "at_most = 1"))
    done, refused = copy_to(at, "tape", [one])
    assert (done, len(refused)) == ([], 1)
    assert copies_of(at, one) == []
    assert json.loads(b"[]") == list(tape.place.list())
