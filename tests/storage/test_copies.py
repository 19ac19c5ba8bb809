"""Copies: the object as it is, in as many places as was decided, never of damage, and gone to the last byte."""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
import killing
from holdings import POLICY, archived, complaints, contents, copied, folder_place, places
from lies import lying

from terp.storage.archive import Archive, claim
from terp.storage.archive.claim import claimed
from terp.storage.archive.copies import Sent, copies_of, copy_to, open_place, remove_copy, standing
from terp.storage.archive.custody import Events, slug
from terp.storage.archive.known import Copy, Known
from terp.storage.archive.ocfl import place as where
from terp.storage.canonical import canonical
from terp.storage.errors import BadPackage, BadPlaces, BadPolicy, Busy, Damaged, PlaceTrouble, StorageError
from terp.storage.home import Home
from terp.storage.places.place import PART
from terp.workflows.cli import terp
from terp.workflows.errors import WorkflowError
from terp.workflows.results.copies import remove_at

ONE_MORE = POLICY.replace("at_most = 3", "at_most = 2")


@pytest.fixture
def at(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def root(at: Home, tmp_path: Path) -> Path:
    """A place called `disk`."""
    places(at, folder_place("disk", tmp_path / "disk"))
    return tmp_path / "disk"


def copy(at: Home, identifier: str, place: str = "disk") -> Sent:
    done, refused = copy_to(at, place, [identifier])
    for error in refused:
        raise error
    return done[0]


def kept(at: Home, root: Path, identifier: str) -> None:
    """A copy is the object, byte for byte."""
    assert contents(root / where(identifier)) == contents(at.archive / where(identifier))


def test_a_copy_is_the_object_and_its_place_an_ocfl_root(at: Home, root: Path) -> None:
    one, other = archived(at, "one"), archived(at, "other", size=0)
    sent = copy(at, one)
    assert (sent.state, sent.files, sent.bytes) == (
        "whole",
        8,
        sum(map(len, contents(at.archive / where(one)).values())),
    )
    copy(at, other)
    kept(at, root, one)
    assert complaints(root, objects=2) == []
    assert copied(root).keys() == contents(at.archive).keys()
    assert copies_of(at, one) == [("disk", "whole")]


def test_what_was_sent_is_recorded_and_told(at: Home, root: Path) -> None:
    one = archived(at, "one")
    sent = copy(at, one)
    data = (at.custody / "copies/disk" / f"{slug(one)}.json").read_bytes()
    record = json.loads(data)
    assert canonical(record) == data
    sidecar = (at.archive / where(one) / "inventory.json.sha512").read_text().split()[0]
    assert (record["object"], record["state"], record["inventory"]) == (one, "whole", sidecar)
    assert record["files"]["v1/content/p.zarr.zip"] == 5_000_000
    facts = {"place": "disk", "version": "v1", "sha512": sidecar, "files": sent.files, "bytes": sent.bytes}
    assert [(one["event"], one["facts"]) for one in Events(at.custody).of(one)] == [("copied", facts)]
    assert contents(root / where(one)).keys() == record["files"].keys()


def test_what_is_there_is_not_sent_again_and_what_is_lost_is(at: Home, root: Path) -> None:
    one = archived(at, "one")
    copy(at, one)
    assert copy(at, one).files == 0
    assert len(Events(at.custody).of(one)) == 1
    (root / where(one) / "v1/content/README.md").unlink()
    assert copy(at, one).files == 1
    kept(at, root, one)


def test_a_new_version_sends_what_is_new_and_until_then_the_copy_is_older(at: Home, root: Path) -> None:
    one = archived(at, "one")
    copy(at, one)
    archived(at, "one", size=1000)
    assert copies_of(at, one) == [("disk", "older")]
    assert "disk: is of an older version, `terp copy` brings it up to date" in standing(at, one).wrong
    assert copy(at, one).files == 5  # the package, the inventory twice, their checksums
    assert complaints(root, objects=1) == []
    kept(at, root, one)


def test_damage_of_the_original_is_never_copied(at: Home, root: Path) -> None:
    one = archived(at, "one")
    path = at.archive / where(one) / "v1/content/p.zarr.zip"
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(4_999_999)
        file.write(b"?")
    with pytest.raises(Damaged, match=r"p\.zarr\.zip is not what was stored"):
        copy(at, one)
    there = contents(root / where(one))
    assert "v1/content/p.zarr.zip" not in there
    assert "inventory.json" not in there
    assert copies_of(at, one) == [("disk", "begun")]


@pytest.mark.parametrize("name", ["v1/content/README.md", "v1/inventory.json", "v1/inventory.json.sha512"])
def test_an_original_that_lacks_a_file_is_refused_by_its_name(at: Home, root: Path, name: str) -> None:
    one = archived(at, "one")
    (at.archive / where(one) / name).unlink()
    with pytest.raises(Damaged, match=name.removesuffix(".sha512").replace(".", r"\.")):
        copy(at, one)
    assert not (root / where(one) / "inventory.json").exists()


# what was decided


def test_without_a_decision_nothing_is_copied(at: Home, root: Path) -> None:
    one = archived(at, "one", policy=None)
    with pytest.raises(BadPolicy, match="there is no decision on urn:terp:one"):
        copy(at, one)
    assert contents(root) == {}
    assert copies_of(at, one) == []
    assert "no decision" in standing(at, one).wrong[0]


def test_there_are_never_more_copies_than_were_decided(at: Home, tmp_path: Path) -> None:
    places(at, folder_place("disk", tmp_path / "disk") + folder_place("more", tmp_path / "more"))
    one = archived(at, "one", policy=ONE_MORE)
    copy(at, one)
    with pytest.raises(BadPolicy, match="may exist 2 times, and is in the archive and in disk: remove one"):
        copy(at, one, "more")
    assert contents(tmp_path / "more") == {}
    assert copies_of(at, one) == [("disk", "whole")]
    remove_copy(at, "disk", one)
    copy(at, one, "more")


@pytest.mark.usefixtures("root")
def test_a_place_that_the_decision_does_not_name_is_refused(at: Home) -> None:
    one = archived(at, "one", policy=POLICY.replace("at_most = 3", 'at_most = 3\nplaces = ["tape", "bucket"]'))
    with pytest.raises(BadPolicy, match="may not be copied to disk: its policy names tape, bucket only"):
        copy(at, one)


@pytest.mark.usefixtures("root")
def test_where_a_later_decision_allows_fewer_copies_or_other_places_that_is_wrong_with_it(at: Home) -> None:
    one = archived(at, "one")
    copy(at, one)
    assert not any("uncopy" in said for said in standing(at, one).wrong)
    archived(at, "one", policy=POLICY.replace("at_most = 3", 'at_most = 1\nplaces = ["tape"]'))
    said = standing(at, one).wrong
    assert "there are 2 of it, where 1 may be: remove some (`terp uncopy`)" in said
    assert "disk: its policy does not name that place, remove it there (`terp uncopy`)" in said


@pytest.mark.usefixtures("root")
def test_a_decision_that_was_altered_decides_nothing(at: Home) -> None:
    one = archived(at, "one", policy=ONE_MORE)
    path = at.archive / where(one) / "v1/content/policy.toml"
    path.chmod(0o644)
    path.write_text(POLICY)
    with pytest.raises(Damaged, match="nothing is decided by it"):
        copy(at, one)


@pytest.mark.usefixtures("root")
def test_of_many_those_that_may_not_be_copied_stop_no_others(at: Home) -> None:
    names = [archived(at, "one", size=9), archived(at, "two", size=9, policy=None), archived(at, "three", size=9)]
    done, refused = copy_to(at, "disk", names)
    assert [one.identifier for one in done] == [names[0], names[2]]
    assert [type(error) for error in refused] == [BadPolicy]


@pytest.mark.usefixtures("root")
def test_standing_tells_how_many_copies_are_missing_and_that_they_are_of_one_kind(at: Home) -> None:
    one = archived(at, "one", size=9, policy=POLICY.replace("at_least = 1", "at_least = 3"))
    assert standing(at, one).wrong[0] == "2 more are wanted"
    copy(at, one)
    stand = standing(at, one)
    assert (stand.copies, stand.wanted, stand.allowed) == ([("disk", "folder", "whole")], 2, 2)
    assert stand.wrong == ["1 more is wanted", "there are not two copies of different kind"]


# places that are not what they should be


def test_a_place_that_lost_its_copies_is_not_begun_anew(at: Home, root: Path) -> None:
    copy(at, archived(at, "one", size=9))
    shutil.rmtree(root)
    with pytest.raises(PlaceTrouble, match="is no folder; mount it"):
        copy(at, archived(at, "two", size=9))
    root.mkdir()  # as a folder on which nothing is mounted
    with pytest.raises(PlaceTrouble, match="though there are copies in it: is it mounted"):
        copy(at, archived(at, "three", size=9))
    assert contents(root) == {}


def test_of_a_place_that_is_not_mounted_nothing_counts_as_removed(at: Home, root: Path) -> None:
    one = archived(at, "one", size=9)
    copy(at, one)
    root.rename(root.with_name("elsewhere"))
    root.mkdir()
    with pytest.raises(PlaceTrouble, match="though there are copies in it: is it mounted"):
        remove_copy(at, "disk", one)
    assert copies_of(at, one) == [("disk", "whole")]
    root.rmdir()
    root.with_name("elsewhere").rename(root)
    assert remove_copy(at, "disk", one) > 9
    assert (copies_of(at, one), contents(root).keys()) == ([], {name for name in contents(root) if "urn" not in name})


def test_a_folder_with_something_else_in_it_is_left_alone(at: Home, root: Path) -> None:
    (root / "thesis.tex").touch()
    with pytest.raises(PlaceTrouble, match=r"is no archive and holds thesis\.tex"):
        copy(at, archived(at, "one", size=9))
    assert os.listdir(root) == ["thesis.tex"]


def test_an_archive_that_is_laid_out_otherwise_is_refused(at: Home, root: Path) -> None:
    (root / "0=ocfl_1.1").write_text("ocfl_1.1\n")
    (root / "ocfl_layout.json").write_text("{}")
    with pytest.raises(PlaceTrouble, match="laid out by another rule"):
        copy(at, archived(at, "one", size=9))


def test_the_archive_itself_is_no_place_of_copies(at: Home) -> None:
    one = archived(at, "one", size=9)
    for inside in (at.archive, at.root / "copies", at.root.parent):
        places(at, folder_place("disk", inside))
        with pytest.raises(BadPlaces, match="where the archive itself is"):
            copy(at, one)


def test_a_place_that_is_full_in_the_middle_has_no_inventory_yet_and_goes_on_later(at: Home, root: Path) -> None:
    def full(true: Callable[..., int]) -> Callable[..., int]:
        def write(descriptor: int, data: memoryview) -> int:
            if len(data) > 1_000_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return true(descriptor, data)

        return write

    one = archived(at, "one")
    with (
        lying("write", full),
        pytest.raises(PlaceTrouble, match="it is full: free space there, then do the same again"),
    ):
        copy(at, one)
    assert copies_of(at, one) == [("disk", "begun")]
    assert not (root / where(one) / "inventory.json").exists()
    assert copy(at, one).files > 0
    assert complaints(root, objects=1) == []


@pytest.mark.usefixtures("root")
def test_two_who_copy_to_one_place_at_once_are_told_apart(at: Home) -> None:
    one = archived(at, "one", size=9)
    with claimed(Known(at.custody).claims("disk"), "the place disk"):
        with pytest.raises(Busy, match="works on the place disk: wait for it"):
            copy(at, one)
        assert copy_to(at, "disk", [one], take_over=True)[0][0].state == "whole"
    with claimed(Known(at.custody).claims("disk"), "the place disk"):
        pass


def test_one_who_saw_an_old_listing_does_not_work_beside_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system may list a folder as it was: the numbers behind that are used up and gone by now."""
    with claimed(tmp_path, "it"), pytest.raises(Busy), claimed(tmp_path, "it"):
        pass
    old = sorted(tmp_path.glob("*.json"))
    with claimed(tmp_path, "it"):
        pass
    with claimed(tmp_path, "it"):
        fresh, seen = claim._there, [old]
        monkeypatch.setattr(claim, "_there", lambda folder: seen.pop() if seen else fresh(folder))
        with pytest.raises(Busy, match="works on it"), claimed(tmp_path, "it"):
            pytest.fail("two work at once")
    assert len(list(tmp_path.glob("*.json"))) == 1


# killed: in processes of their own

KILLING = """
import sys
from pathlib import Path
from holdings import archived, folder_place, places
from killing import dies
from terp.storage.archive.copies import copies_of, copy_to, remove_copy
from terp.storage.home import Home

at, root = Home(Path(sys.argv[1]) / "home"), Path(sys.argv[1]) / "disk"
act = {"copy": lambda one: copy_to(at, "disk", [one]), "remove": lambda one: remove_copy(at, "disk", one)}[sys.argv[2]]

places(at, folder_place("disk", root))
for point in range(0, 1000, int(sys.argv[3])):
    one = archived(at, str(point), size=9)
    if sys.argv[2] == "remove":
        copy_to(at, "disk", [one])
    died = dies(point, lambda: act(one))
    state = dict(copies_of(at, one)).get("disk")
    assert died or state == {"copy": "whole", "remove": None}[sys.argv[2]]
    act(one)
    if not died:
        print(point)
        break
"""


@pytest.mark.parametrize("step", ["19", pytest.param("1", marks=pytest.mark.campaign)])
@pytest.mark.parametrize("act", ["copy", "remove"])
def test_killed_at_any_moment_the_same_command_finishes(act: str, step: str, at: Home, tmp_path: Path) -> None:
    [points] = killing.told(KILLING, tmp_path, act, step)
    assert int(points) > 30
    names = Archive(at.archive).list()
    there = contents(tmp_path / "disk")
    assert not [name for name in there if PART in name]
    if act == "copy":
        assert copied(tmp_path / "disk").keys() == contents(at.archive).keys()
        assert complaints(tmp_path / "disk", objects=len(names)) == []
    else:
        assert {name.split("/")[0] for name in there} == {"0=ocfl_1.1", "ocfl_layout.json", "extensions"}
        assert all(copies_of(at, one) == [] for one in names)


# removed


def test_a_copy_that_is_removed_leaves_nothing_there_and_no_other_is_touched(at: Home, root: Path) -> None:
    one, other = archived(at, "one"), archived(at, "other", size=9)
    copy(at, one)
    copy(at, other)
    there = root / where(one)
    (there / "v1/content" / f"{PART}123").touch()
    (there / "added").touch()
    (there / "away").symlink_to(at.root)
    assert remove_copy(at, "disk", one) > 5_000_000
    assert not there.exists()
    assert not (at.custody / "copies/disk" / f"{slug(one)}.json").exists()
    assert (copies_of(at, one), copies_of(at, other)) == ([], [("disk", "whole")])
    assert complaints(root, objects=1) == []
    assert at.archive.is_dir()
    assert [event["event"] for event in Events(at.custody).of(one)] == ["copied", "uncopied"]
    assert remove_copy(at, "disk", one) == 0


@pytest.mark.usefixtures("root")
def test_a_place_that_keeps_what_was_removed_is_found_out(at: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    one = archived(at, "one", size=9)
    copy(at, one)
    monkeypatch.setattr("terp.storage.places.folder.Folder.delete", lambda *_: None)
    with pytest.raises(PlaceTrouble, match=r"still has .* which was removed"):
        remove_copy(at, "disk", one)
    assert copies_of(at, one) == [("disk", "going")]


@pytest.mark.usefixtures("root")
def test_records_that_are_none_are_told_of(at: Home) -> None:
    one = archived(at, "one", size=9)
    copy(at, one)
    (at.custody / "copies/disk" / f"{slug(one)}.json").write_text("{}")
    with pytest.raises(BadPackage, match="is no record of a copy"):
        copies_of(at, one)
    assert Copy(one, "disk", "folder", "whole", "v1", "0").size == 0


def test_a_copy_in_a_place_that_is_not_mounted_is_not_taken_to_be_gone(at: Home, root: Path) -> None:
    one = archived(at, "one", size=9)
    copy(at, one)
    root.rename(root.with_name("unmounted"))
    root.mkdir()  # where it would be mounted
    with pytest.raises(PlaceTrouble, match="is it mounted, and the right one"):
        remove_copy(at, "disk", one)
    with pytest.raises(PlaceTrouble, match="has nothing of it, though a whole copy is known"):
        remove_at(at, open_place(at, "disk")[1], one)
    assert copies_of(at, one) == [("disk", "whole")]
    root.rmdir()
    root.with_name("unmounted").rename(root)
    remove_at(at, open_place(at, "disk")[1], one)
    assert (copies_of(at, one), list(root.rglob("*.zip"))) == ([], [])


# the command line


type Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(at: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command line in this process: its exit code, and what it says."""
    monkeypatch.setenv("TERP_HOME", str(at.root))

    def called(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        try:
            terp.main(list(words), standalone_mode=False)
        except (StorageError, WorkflowError) as error:
            return error.exit_code, capsys.readouterr().out + str(error)
        return 0, capsys.readouterr().out

    return called


def test_what_a_person_types(at: Home, tmp_path: Path, call: Call) -> None:
    assert "no places of copies yet: name them in" in call("places")[1]
    places(at, folder_place("disk", tmp_path / "disk", cost="nothing") + folder_place("more", tmp_path / "more"))
    one, two = archived(at, "one"), archived(at, "two", size=9, policy=None)
    code, said = call("copy", "--all", "--to", "disk")
    assert code == 78
    assert f"{one} is in disk: 8 files, 4.8 MiB" in said
    assert f"there is no decision on {two}" in said
    assert call("copy", one, "--to", "disk") == (0, f"{one} is in disk already\n")
    shutil.rmtree(tmp_path / "more")
    code, said = call("places", "--check")
    assert code == 74
    assert "1 copy, 4.8 MiB, to be read every P30D, nothing: answers" in said
    assert "is no folder; mount it" in said
    code, said = call("copy", "--status")
    assert (code, f"{one}  disk (folder, whole); 0 wanted, 2 allowed beside the archive" in said) == (0, True)
    assert call("uncopy", one, "--from", "disk", "--yes") == (0, f"{one} is not in disk any more: 4.8 MiB removed\n")
    assert "say where to: --to PLACE" in call("copy", one)[1]
    assert "name what to copy, or say --all, not both" in call("copy", "--to", "disk")[1]
    assert "known are disk, more" in call("copy", one, "--to", "dsik")[1]
