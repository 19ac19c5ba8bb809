"""A place that is gone for good is declared so, and the last sound copy of anything is never removed (B, P)."""

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
import custody_of as decided
import killing
from damaging import flipped
from holdings import POLICY, archived, complaints, folder_place, places, said

from terp.storage import files
from terp.storage.archive.claim import claimed
from terp.storage.archive.copies import copies_of, copy_to, open_place, places_of, standing
from terp.storage.archive.custody import Events
from terp.storage.archive.destroying import execute
from terp.storage.archive.known import Known
from terp.storage.archive.lost import declared, returned
from terp.storage.archive.ocfl import place as where
from terp.storage.archive.proposal import Scope
from terp.storage.archive.proposing import propose, sign
from terp.storage.errors import BadPlaces, Busy, MustStay, StorageError, Unfinished
from terp.storage.home import Home
from terp.workflows.cli import terp
from terp.workflows.errors import WorkflowError
from terp.workflows.results.audit import audited
from terp.workflows.results.copies import lose, remove

WHY = "the disk burnt with its shed"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GLANCE", 0.0)


@pytest.fixture
def at(tmp_path: Path) -> Home:
    """A home with two places, `disk` and `more`."""
    home = Home(tmp_path / "home")
    places(home, folder_place("disk", tmp_path / "disk") + folder_place("more", tmp_path / "more"))
    return home


def copied(at: Home, name: str, *to: str, policy: str = POLICY) -> str:
    one = archived(at, name, size=900, policy=policy)
    for place in to:
        assert copy_to(at, place, [one])[1] == []
    return one


def burn(root: Path) -> None:
    """The disk is another, empty one."""
    shutil.rmtree(root)
    root.mkdir()


def spoil(home: Path, name: str = "p.zarr.zip") -> None:
    path = home / "v1/content" / name
    path.chmod(0o644)
    path.write_bytes(flipped(path.read_bytes(), 7, 3))


def events(at: Home, identifier: str) -> list[str]:
    return [one["event"] for one in Events(at.custody).of(identifier)]


# a place that is gone for good


def test_a_place_that_is_gone_is_declared_lost_and_a_new_disk_takes_its_copies(at: Home, tmp_path: Path) -> None:
    one, two = copied(at, "one", "disk"), copied(at, "two", "disk", "more")
    burn(tmp_path / "disk")
    with pytest.raises(StorageError, match="`terp places --lost disk` says so"):
        copy_to(at, "disk", [one])
    assert lose(at, "disk", "A. Keeper", WHY) == [one, two]
    assert (copies_of(at, one), copies_of(at, two)) == ([], [("more", "whole")])
    noted = Events(at.custody).of(one)[-1]
    assert (noted["event"], noted["facts"]["by"], noted["facts"]["reason"]) == ("copy lost", "A. Keeper", WHY)
    assert (noted["facts"]["place"], noted["facts"]["last"]) == ("disk", False)
    assert audited(at, [], ["disk"]).exit_code == 0
    assert copy_to(at, "disk", [one, two])[1] == []
    assert complaints(tmp_path / "disk", objects=2) == []
    assert audited(at, [], []).notes == []
    with pytest.raises(MustStay, match="answers, and has what went there"):
        lose(at, "disk", "A. Keeper", WHY)


def test_what_was_known_of_a_lost_place_is_kept_and_told_when_it_comes_back(at: Home, tmp_path: Path) -> None:
    one, two = copied(at, "one", "disk"), copied(at, "two", "disk")
    (tmp_path / "disk").rename(tmp_path / "away")
    lose(at, "disk", "A. Keeper", WHY)
    assert [(it.by, it.reason) for it in declared(at.custody, "disk")] == [("A. Keeper", WHY)]
    (tmp_path / "away").rename(tmp_path / "disk")
    assert returned(at, open_place(at, "disk")[1]) == [one, two]
    report = audited(at, [], ["disk"])
    assert (len(report.notes), report.exit_code) == (2, 0)
    assert "is there again, though that place was declared lost: `terp copy` counts it again" in report.text()
    copy_to(at, "disk", [one])
    remove(at, "disk", two)
    assert returned(at, open_place(at, "disk")[1]) == []
    assert (copies_of(at, one), copies_of(at, two)) == ([("disk", "whole")], [])


def test_what_is_sound_nowhere_else_is_not_declared_lost_unless_that_is_meant(at: Home, tmp_path: Path) -> None:
    one, two = copied(at, "one", "disk"), copied(at, "two", "disk")
    (at.archive / where(one) / "v1/content/p.zarr.zip").unlink()
    spoil(at.archive / where(two))
    assert len(audited(at, [two], ["archive"]).damage) == 1
    burn(tmp_path / "disk")
    with pytest.raises(MustStay, match=f"of {one}, {two} nothing sound is known but the copy in disk"):
        lose(at, "disk", "A. Keeper", WHY)
    assert (copies_of(at, one), events(at, one)) == ([("disk", "whole")], ["copied"])
    assert lose(at, "disk", "A. Keeper", WHY, even_last=True) == [one, two]
    assert Events(at.custody).of(one)[-1]["facts"]["last"]


def test_an_older_version_elsewhere_is_no_sound_copy(at: Home, tmp_path: Path) -> None:
    one = copied(at, "one", "more")
    archived(at, "one", size=901)
    copy_to(at, "disk", [one])
    (at.archive / where(one) / "v2/content/p.zarr.zip").unlink()
    burn(tmp_path / "disk")
    with pytest.raises(MustStay, match="nothing sound is known but the copy in disk"):
        lose(at, "disk", "A. Keeper", WHY)


def test_a_place_that_has_no_copies_cannot_be_lost(at: Home) -> None:
    for name in ("disk", "dsik", "../copies", ""):
        with pytest.raises(BadPlaces, match="no copy is known in"):
            lose(at, name, "A. Keeper", WHY)
    assert not (at.custody / "copies").exists()


def test_bundles_of_a_lost_tape_are_made_anew_and_the_old_ones_known_again(at: Home, tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    tape.mkdir()
    about = {"stage": ["true"], "state": [], "min_average": 1}
    places(at, said(name="tape", kind="tape", path=str(tape), audit_every="P1Y", **about))
    one = copied(at, "one", "tape")
    [bundle] = tape.iterdir()
    burn(tape)
    with pytest.raises(StorageError, match="`terp places --lost tape` says so"):
        copy_to(at, "tape", [one])
    assert lose(at, "tape", "A. Keeper", WHY) == [one]
    bundle.write_bytes(b"what came back")
    assert returned(at, open_place(at, "tape")[1]) == [bundle.name]
    assert "is there again, though this place was declared lost" in audited(at, [], ["tape"]).text()
    assert copy_to(at, "tape", [one])[0][0].state == "whole"
    assert (audited(at, [], ["tape"]).exit_code, returned(at, open_place(at, "tape")[1])) == (0, [])


KILLING = """
import sys
from pathlib import Path
from killing import dies
from terp.storage.home import Home
from terp.workflows.results.copies import lose

at = Home(Path(sys.argv[1]) / "home")
for point in range(0, 1000, int(sys.argv[2])):
    if not dies(point, lambda: lose(at, "disk", "A. Keeper", "it burnt")):
        print(point)
        break
"""


def test_killed_at_any_moment_the_same_declaration_finishes(at: Home, tmp_path: Path) -> None:
    names = [copied(at, name, "disk") for name in ("one", "two")]
    burn(tmp_path / "disk")
    [points] = killing.told(KILLING, tmp_path, 3)
    assert int(points) > 20
    assert [events(at, one) for one in names] == [["copied", "copy lost"]] * 2
    assert [copies_of(at, one) for one in names] == [[], []]


# the last sound copy


def test_the_last_sound_copy_is_never_removed(at: Home, tmp_path: Path) -> None:
    one = copied(at, "one", "disk", "more")
    spoil(at.archive / where(one))
    spoil(tmp_path / "more" / where(one), "README.md")
    with pytest.raises(
        MustStay, match=r"in disk is the last that may be sound: archive: .*p\.zarr\.zip.*more: "
    ) as told:
        remove(at, "disk", one)
    assert "goes by `terp destroy` only" in str(told.value)
    assert copies_of(at, one) == [("disk", "whole"), ("more", "whole")]
    assert remove(at, "more", one) > 900
    assert copies_of(at, one) == [("disk", "whole")]


@pytest.mark.parametrize("lost", ["all of it", "a file", "the place"])
def test_a_copy_stays_when_the_archive_lost_it_or_another_place_does_not_answer(
    at: Home, tmp_path: Path, lost: str
) -> None:
    one = copied(at, "one", "disk", "more")
    home = at.archive / where(one)
    shutil.rmtree(home) if lost == "all of it" else (home / "v1/content/README.md").unlink()
    shutil.rmtree(tmp_path / "more")
    with pytest.raises(MustStay, match="is the last that may be sound"):
        remove(at, "disk", one)
    assert "no object" in standing(at, one).wrong[-1] or lost != "all of it"


def test_two_who_remove_two_copies_of_one_object_come_one_after_the_other(at: Home) -> None:
    one = copied(at, "one", "disk", "more")
    spoil(at.archive / where(one))
    with claimed(Known(at.custody).removals(one), "its copies"), pytest.raises(Busy, match=f"the copies of {one}"):
        remove(at, "disk", one)
    remove(at, "disk", one)
    with pytest.raises(MustStay, match="disk has nothing of it"):
        remove(at, "more", one)


# a lost place, and what is destroyed


def test_what_is_destroyed_is_told_of_when_a_lost_place_comes_back_with_it(at: Home, tmp_path: Path) -> None:
    decided.put(at, decided.policy())
    one, day = decided.URN, decided.TODAY
    assert copy_to(at, "disk", [one])[1] == []
    assert propose(at, one, Scope(places_of(at)), "A. Maker", day)[1] == []
    for name in decided.PEOPLE:
        sign(at, one, Scope(places_of(at)), decided.person(at, tmp_path, name)[1], day)
    (tmp_path / "disk").rename(tmp_path / "away")
    with pytest.raises(Unfinished, match="is no folder; mount it"):
        execute(at, one, Scope(places_of(at)), "A. Maker", day)
    places(at, folder_place("more", tmp_path / "more"))
    with pytest.raises(Unfinished, match="the place disk is not registered any more"):
        execute(at, one, Scope(places_of(at)), "A. Maker", day)
    lose(at, "disk", "A. Keeper", WHY)
    assert execute(at, one, Scope(places_of(at)), "A. Maker", day).state == "destroyed"
    (tmp_path / "away").rename(tmp_path / "disk")
    places(at, folder_place("disk", tmp_path / "disk"))
    assert f"disk has something of {one}, which was destroyed: `terp uncopy" in audited(at, [], []).text()
    assert remove(at, "disk", one) > 0
    assert audited(at, [], []).notes == []


# the command line


def test_what_a_person_types(
    at: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERP_HOME", str(at.root))

    def call(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        try:
            terp.main(list(words), standalone_mode=False)
        except (StorageError, WorkflowError) as error:
            return error.exit_code, str(error)
        return 0, capsys.readouterr().out

    one = copied(at, "one", "disk")
    (tmp_path / "disk").rename(tmp_path / "away")
    assert call("places", "--lost", "disk", "--by", "A. Keeper")[0] == 64
    code, text = call("places", "--lost", "disk", "--by", "A. Keeper", "--reason", WHY)
    assert (code, "disk is lost, with what it had of 1 object: " in text) == (0, True)
    (tmp_path / "away").rename(tmp_path / "disk")
    text = call("places", "--check")[1]
    assert f"by A. Keeper: {WHY}" in text
    assert f"has {one} again, which was declared lost: `terp audit --place disk`" in text
    assert json.loads(call("places", "--check", "--json")[1])[0]["again"] == [one]
    call("copy", one, "--to", "disk")
    places(at, folder_place("more", tmp_path / "more"))
    assert "and it is not in places.toml" in call("places")[1]
    places(at, folder_place("disk", tmp_path / "disk"))
    shutil.rmtree(at.archive / where(one))
    code, text = call("uncopy", one, "--from", "disk", "--yes")
    assert (code, "is the last that may be sound: archive has nothing of it" in text) == (77, True)
