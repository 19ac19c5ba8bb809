"""Custody goes with copies: a history that lost its end is found and mended, and no loss of one disk is its end."""

import itertools
import json
import random
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "faults"))
import custody_crash
import killing
from custody_of import TODAY, URN, person, policy, put
from holdings import contents, folder_place, places, said

from terp.storage import files
from terp.storage.archive import destroying, proposing, tombstone
from terp.storage.archive.chain import Chain, packed, unpacked
from terp.storage.archive.copies import copy_to, places_of, remove_copy
from terp.storage.archive.custody import Events, slug
from terp.storage.archive.hold import holds, lay
from terp.storage.archive.keeping import ROOT, send
from terp.storage.archive.ocfl import place as where
from terp.storage.archive.people import FILE, REGISTER, People
from terp.storage.archive.proposal import Scope
from terp.storage.audit import Report
from terp.storage.errors import Damaged
from terp.storage.home import Home
from terp.storage.places import Folder
from terp.storage.places.place import PART
from terp.storage.repair import Outcome
from terp.workflows.results.audit import audited, mended
from terp.workflows.results.copies import files_at, remove_at, told

NAME = slug(URN)
TRIES = 4  # points at which the usual run kills


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GLANCE", 0.0)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two people and an object that is held, of which a copy is in `disk`."""
    top = tmp_path_factory.mktemp("kept")
    at = Home(top / "home")
    put(at, policy())
    for name in ("A. Archivist", "B. Archivist"):
        person(at, top, name)
    places(at, folder_place("disk", top / "disk"))
    copy_to(at, "disk", [URN])
    lay(Events(at.custody), URN, "a court asked", "L. Lawyer")
    assert told(at, URN) == []
    return top


@pytest.fixture
def at(template: Path, tmp_path: Path) -> Home:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    places(Home(tmp_path / "home"), folder_place("disk", tmp_path / "disk"))
    return Home(tmp_path / "home")


def look(at: Home) -> Report:
    return audited(at, [], [])


def mend(at: Home) -> Outcome:
    return mended(at, [], [], [])


def in_place(at: Home) -> Path:
    return at.root.parent / "disk" / ROOT


def events(at: Home) -> dict[str, bytes]:
    return contents(at.custody / "events")


def event(at: Home, number: int) -> Path:
    return at.custody / "events" / NAME / f"{number:06}.json"


# what is kept where


def test_a_place_keeps_the_events_of_what_is_there_and_the_register_and_no_others(at: Home) -> None:
    put(at, policy(), "urn:terp:elsewhere")
    Events(at.custody).append("urn:terp:elsewhere", "hold", {"by": "L.", "reason": "R."})
    assert look(at).exit_code == 0
    there = {name for name in contents(in_place(at)) if name.startswith("events/")}
    assert there == {f"events/{NAME}.jsonl", f"events/{slug('urn:terp:people')}.jsonl"}
    lines = (in_place(at) / f"events/{NAME}.jsonl").read_bytes().splitlines()
    assert lines[:-1] == [path.read_bytes() for path in sorted((at.custody / "events" / NAME).iterdir())]


def test_b2_what_happens_is_in_the_places_at_once_or_with_the_next_audit(at: Home) -> None:
    assert b"a court asked" in (in_place(at) / f"events/{NAME}.jsonl").read_bytes()
    Events(at.custody).append(URN, "exported", {"to": "somebody"})
    assert look(at).exit_code == 0
    assert b"somebody" in (in_place(at) / f"events/{NAME}.jsonl").read_bytes()


def test_nothing_is_sent_to_a_place_where_nothing_was_copied_to(at: Home, tmp_path: Path) -> None:
    places(at, folder_place("disk", tmp_path / "disk") + folder_place("empty", tmp_path / "empty"))
    assert look(at).exit_code == 0
    assert contents(tmp_path / "empty") == {}


def test_a_place_that_refuses_is_told_of_and_holds_up_nothing(at: Home, tmp_path: Path) -> None:
    (tmp_path / "disk").rename(tmp_path / "away")
    Events(at.custody).append(URN, "exported", {"to": "somebody"})
    [words] = told(at, URN)
    assert "is not there" in words
    assert "next `terp audit`" in words
    (tmp_path / "away").rename(tmp_path / "disk")
    assert look(at).exit_code == 0
    assert b"somebody" in (in_place(at) / f"events/{NAME}.jsonl").read_bytes()


class Forgetful(Folder):
    """A place that says that it has written, and has not."""

    def write(self, name: str, data: bytes) -> None:
        """Do nothing."""


def test_a_place_that_forgot_what_it_was_given_is_given_it_again(at: Home, tmp_path: Path) -> None:
    Events(at.custody).append(URN, "exported", {"to": "somebody"})
    assert send(at.custody, Forgetful("disk", tmp_path / "disk")) == []
    assert look(at).exit_code == 0
    assert b"somebody" in (in_place(at) / f"events/{NAME}.jsonl").read_bytes()


def test_with_a_copy_its_events_go(at: Home) -> None:
    remove_copy(at, "disk", URN)
    assert f"events/{NAME}.jsonl" not in contents(in_place(at))
    assert look(at).exit_code == 0


# a history that lost its end, or was altered


@pytest.mark.parametrize("kept", [0, 1])
def test_a_history_without_its_end_is_found_and_mended(at: Home, kept: int) -> None:
    before = events(at)
    for number in range(kept + 1, 3):
        event(at, number).unlink()
    report = look(at)
    assert report.exit_code == 65
    [damage] = report.damage
    assert (damage.place, damage.object, damage.kind) == ("custody", URN, "lost")
    assert "2 (hold" in damage.what
    assert "`terp repair`" in damage.what
    with pytest.raises(Damaged, match="custody has lost events"):
        raise copy_to(at, "disk", [URN])[1][0]
    assert mend(at).exit_code == 0
    now = events(at)
    assert before.items() <= now.items()
    assert [one.reason for one in holds(Events(at.custody).of(URN))] == ["a court asked"]
    assert [json.loads(now[name])["event"] for name in now.keys() - before.keys()] == ["custody restored"] * kept
    assert look(at).damage == []


def test_a_register_of_people_that_lost_its_end_is_mended_and_tells_the_same_people(at: Home) -> None:
    before = People(at.custody).all()
    Events(at.custody).path(slug(REGISTER), 2).unlink()
    (at.custody / FILE).unlink()
    assert [damage.object for damage in look(at).damage] == [REGISTER]
    assert mend(at).exit_code == 0
    assert People(at.custody).all() == before
    assert Events(at.custody).of(REGISTER)[-1]["event"] == "custody restored"
    assert mend(at).exit_code == 0
    assert look(at).damage == []


def test_nothing_is_added_to_a_history_that_lost_its_end(at: Home, tmp_path: Path) -> None:
    event(at, 2).unlink()
    (tmp_path / "disk" / where(URN) / "v1/content/README.md").unlink()
    assert {one.place for one in look(at).damage} == {"custody", "disk"}
    assert len(list(event(at, 1).parent.iterdir())) == 1
    assert mend(at).exit_code == 0
    assert [one["event"] for one in Events(at.custody).of(URN)][:3] == ["copied", "hold", "custody restored"]


def test_what_was_noted_on_another_node_and_comes_late_is_not_lost(at: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GLANCE", 5.0)
    event(at, 2).rename(at.root / "late")
    true, count = Events.held, itertools.count()

    def held(self: Events, name: str) -> dict[int, bytes]:
        if next(count) == 8:
            (at.root / "late").rename(event(at, 2))
        return true(self, name)

    monkeypatch.setattr(Events, "held", held)
    assert look(at).damage == []


def test_a_history_that_went_on_otherwise_is_told_and_never_mended(at: Home) -> None:
    event(at, 2).unlink()
    Events(at.custody).append(URN, "release", {"hold": 2, "by": "M.", "reason": "none"})
    ours, theirs = events(at), contents(in_place(at))
    for _ in range(2):
        [damage] = look(at).damage
        assert (damage.place, damage.kind) == ("disk", "contradicts")
        assert "another event 2" in damage.what
        outcome = mend(at)
        assert (outcome.exit_code, outcome.mended) == (65, [])
    assert (events(at), contents(in_place(at))) == (ours, theirs)
    with pytest.raises(Damaged, match="another event 2"):
        raise copy_to(at, "disk", [URN])[1][0]


def test_two_places_that_tell_different_ends_leave_it_to_a_person(at: Home, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "disk", tmp_path / "other")
    places(at, folder_place("disk", tmp_path / "disk") + folder_place("other", tmp_path / "other"))
    event(at, 2).unlink()
    copied, hold = (tmp_path / "other" / ROOT / f"events/{NAME}.jsonl").read_bytes().splitlines()[:2]
    forged = packed(Chain(NAME, (copied, hold.replace(b"a court asked", b"nobody asked"))))
    (tmp_path / "other" / ROOT / f"events/{NAME}.jsonl").write_bytes(forged)
    assert [one.kind for one in look(at).damage] == ["contradicts"]
    assert mend(at).exit_code == 65
    assert not event(at, 2).exists()


@pytest.mark.parametrize("number", [1, 2])
def test_an_altered_event_is_replaced_by_the_true_one_and_kept_aside(at: Home, number: int) -> None:
    before = events(at)
    spoilt = event(at, number).read_bytes().replace(b'"object"', b'"objekt"')
    event(at, number).write_bytes(spoilt)
    assert [(one.place, one.kind) for one in look(at).damage if "which disk keeps" in one.what] == [
        ("custody", "altered")
    ]
    assert mend(at).exit_code == 0
    assert before.items() <= events(at).items()
    assert spoilt in contents(at.custody / "quarantine" / NAME).values()
    assert look(at).exit_code == 0


def test_what_a_place_altered_is_found_and_written_anew(at: Home) -> None:
    path = in_place(at) / f"events/{NAME}.jsonl"
    sound = path.read_bytes()
    for spoilt in (sound[:-200], sound.replace(b"a court asked", b"A court asked"), b""):
        path.write_bytes(spoilt)
        assert [(one.place, one.kind) for one in look(at).damage] == [("disk", "altered")]
        path.write_bytes(spoilt)
        assert mend(at).exit_code == 0
        assert path.read_bytes() == sound


def test_any_cut_and_any_flipped_bit_of_what_a_place_keeps_is_seen(at: Home) -> None:
    sound = (in_place(at) / f"events/{NAME}.jsonl").read_bytes()
    rng = random.Random(1)
    assert unpacked(NAME, sound).whole
    for byte in range(len(sound)):
        flipped = bytearray(sound)
        flipped[byte] ^= 1 << rng.randrange(8)
        assert not unpacked(NAME, bytes(flipped)).whole
        assert not unpacked(NAME, sound[:byte]).whole


def test_what_was_put_there_by_others_is_found_as_anywhere_else(at: Home) -> None:
    (in_place(at) / "events/notes.txt").write_text("mine")
    assert [(one.place, one.kind) for one in look(at).damage] == [("disk", "added")]
    assert mend(at).exit_code == 0
    assert not (in_place(at) / "events/notes.txt").exists()


# all is lost


def test_custody_that_is_lost_comes_back_from_a_place(at: Home) -> None:
    before = contents(at.custody)
    told_of = (at.custody / "places.toml").read_bytes()
    shutil.rmtree(at.custody)
    at.custody.mkdir()
    (at.custody / "places.toml").write_bytes(told_of)
    assert {one.kind for one in look(at).damage} == {"lost"}
    assert mend(at).exit_code == 0
    now = contents(at.custody)
    lasting = {name for name in before if not name.startswith(("copies/", "audits/"))}
    assert {name: now[name] for name in lasting} == {name: before[name] for name in lasting}
    record = f"copies/disk/{NAME}.json"
    was, is_ = (json.loads(one[record]) for one in (before, now))
    assert {**was, "when": ""} == {**is_, "when": ""}
    assert look(at).exit_code == 0


def test_a_home_that_is_lost_with_its_archive_comes_back_from_a_place(at: Home) -> None:
    before = contents(at.archive), events(at)
    told_of = (at.custody / "places.toml").read_bytes()
    shutil.rmtree(at.root)
    for folder in (at.custody, at.archive):
        folder.mkdir(parents=True)
    (at.custody / "places.toml").write_bytes(told_of)
    assert mend(at).exit_code == 0
    assert contents(at.archive) == before[0]
    assert before[1].items() <= events(at).items()
    assert look(at).exit_code == 0
    assert [one.by for one in holds(Events(at.custody).of(URN))] == ["L. Lawyer"]


# what was destroyed


def destroy(at: Home, top: Path) -> None:
    Events(at.custody).append(URN, "release", {"hold": 2, "by": "L.", "reason": "over"})
    scope = Scope(places_of(at), files_at=partial(files_at, at), remove_at=partial(remove_at, at))
    assert proposing.propose(at, URN, scope, "A. Archivist", TODAY)[1] == []
    for name in ("A. Archivist", "B. Archivist"):
        proposing.sign(at, URN, scope, top / name, TODAY)
    destroying.execute(at, URN, scope, "B. Archivist", TODAY)


def test_l5_what_was_destroyed_leaves_in_a_place_what_it_leaves_at_home_and_nothing_else(
    at: Home, tmp_path: Path
) -> None:
    destroy(at, tmp_path)
    there = contents(tmp_path / "disk")
    assert not [name for name in there if not name.startswith(("extensions/", "0=ocfl_1.1", "ocfl_layout.json"))]
    stones = {f"tombstones/{name}": data for name, data in contents(at.custody / "tombstones").items()}
    kept = contents(in_place(at))
    assert {name: data for name, data in kept.items() if name.startswith("tombstones/")} == stones
    assert unpacked(NAME, kept[f"events/{NAME}.jsonl"]).entries()[-1]["event"] == "destroyed"
    assert look(at).exit_code == 0


def test_l5_what_was_destroyed_stays_destroyed_when_the_home_is_lost(at: Home, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "disk", tmp_path / "before")
    destroy(at, tmp_path)
    stones = contents(at.custody / "tombstones")
    told_of = (at.custody / "places.toml").read_bytes()
    shutil.rmtree(at.root)
    for folder in (at.custody, at.archive):
        folder.mkdir(parents=True)
    (at.custody / "places.toml").write_bytes(told_of)
    shutil.copytree(tmp_path / "before" / where(URN), tmp_path / "disk" / where(URN))  # a backup of that disk
    mend(at)
    assert contents(at.custody / "tombstones") == stones
    assert not (at.archive / where(URN)).exists()


def test_l5_a_tombstone_that_nobody_signed_is_not_believed(at: Home) -> None:
    forged = {"identifier": URN, "state": "being destroyed", "sha512": "0" * 128, "specification": {}, "signatures": []}
    path = in_place(at) / "tombstones" / f"{NAME}.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"format": "terp tombstone 1", **forged}))
    assert [one.place for one in look(at).damage] == ["custody"]
    outcome = mend(at)
    assert outcome.exit_code == 65
    assert "two people" in outcome.left[0][1]
    assert tombstone.find(at.custody, URN) is None


def test_an_altered_statement_is_told_by_what_was_signed(at: Home, tmp_path: Path) -> None:
    destroy(at, tmp_path)
    here, there = (folder / "tombstones" / f"{NAME}.md" for folder in (at.custody, in_place(at)))
    sound = here.read_bytes()
    for path, where_ in ((here, "custody"), (there, "disk")):
        path.write_bytes(sound.replace(b"Archivist", b"Anarchist"))
        assert [one.place for one in look(at).damage] == [where_]
        assert mend(at).exit_code == 0
        assert (here.read_bytes(), there.read_bytes()) == (sound, sound)


# tape


def test_no_small_file_goes_to_tape_and_what_is_known_of_it_is_kept_elsewhere(at: Home, tmp_path: Path) -> None:
    (tmp_path / "tape").mkdir()
    tape = {"path": str(tmp_path / "tape"), "stage": ["true"], "state": [], "min_average": 1000, "audit_every": "P1Y"}
    places(at, folder_place("disk", tmp_path / "disk") + said(name="tape", kind="tape", **tape))
    copy_to(at, "tape", [URN])
    assert [path.suffix for path in (tmp_path / "tape").iterdir()] == [".zip"]
    assert look(at).exit_code == 0
    beside = at.custody / "copies/tape/custody/events" / f"{NAME}.jsonl"
    assert beside.read_bytes() == (in_place(at) / f"events/{NAME}.jsonl").read_bytes()
    tables = contents(at.custody / "copies/tape/bundles")
    shutil.rmtree(at.custody / "copies")
    assert mend(at).exit_code == 0
    assert contents(at.custody / "copies/tape/bundles") == tables
    assert look(at).exit_code == 0
    remove_copy(at, "tape", URN)
    assert look(at).exit_code == 0
    assert not [name for name in contents(in_place(at)) if name.startswith("bundles/")]


# killed


def kill(what: str, template: Path, folder: Path, tries: int) -> int:
    """Kill at some points (0: at all), do the same again, and look; return how many points there are."""
    shutil.copytree(template, folder / "template")
    custody_crash.prepare(what, folder / "template")
    lines = killing.told(Path(custody_crash.__file__), what, folder / "template", folder, tries)
    [_, ended, count], *torn = (line.split() for line in lines)
    assert ended == "0"
    for point, dead, *_ in torn:
        assert dead == "1" or what == "mend", point  # it reads with threads: the last operations may not come
        top = folder / point
        for path in (top / "disk" / ROOT).glob("events/*.jsonl"):
            assert unpacked(path.stem, path.read_bytes()).whole, f"point {point}: {path}"
        for name in Events(top / "home/custody").slugs():
            assert Events(top / "home/custody").chain(name).whole, f"point {point}: {name}"
        custody_crash.work(what, top)
        at = Home(top / "home")
        assert [one["event"] for one in Events(at.custody).of(URN)][:2] == ["copied", "hold"], f"point {point}"
        assert look(at).exit_code == 0, f"point {point}"
        assert unpacked(NAME, (in_place(at) / f"events/{NAME}.jsonl").read_bytes()).lines == (
            Events(at.custody).chain(NAME).lines
        )
        there = {name: data for name, data in contents(at.archive).items() if PART not in name}
        assert there == contents(template / "home/archive"), f"point {point}"
    return int(count)


@pytest.mark.parametrize(("what", "least"), [("send", 30), ("mend", 100)])
def test_killed_while_custody_is_sent_or_brought_back_the_same_goes_on(
    template: Path, tmp_path: Path, what: str, least: int
) -> None:
    assert kill(what, template, tmp_path, TRIES) > least


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", ["send", "mend"])
def test_killed_at_each_step_of_sending_or_bringing_back_custody_the_same_goes_on(
    template: Path, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    count = kill(what, template, tmp_path, 0)
    with capsys.disabled():
        print(f"\n{what}: killed before each of {count} operations, went on each time")
