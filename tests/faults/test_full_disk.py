"""A disk that is full at any step of what an archive does is told in words; what was there is there, and it goes on."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "storage"))
import crash_destroy
import crash_export
import damaging
import fixity_crash
import holdings
import kept
import objects
import test_crash_destroy
import test_fixity_kills
from lies import full

from terp.storage import files
from terp.storage.archive import Archive
from terp.storage.archive.copies import copies_of, copy_to
from terp.storage.errors import Destroyed, StorageError
from terp.storage.home import Home

TRIES = 6  # steps at which the disk is full in the usual run
ONE = "urn:terp:one"


@dataclass(frozen=True)
class Act:
    """Something done in a folder: what it begins with, how it is done, and what holds after trouble and in the end."""

    make: Callable[[Path], object]
    work: Callable[[Path], object]
    between: Callable[[Path, Path], object]
    ended: Callable[[Path, Path], object]
    settle: Callable[[Path], object] = lambda _: None


# archive


def make_archive(folder: Path) -> None:
    files_of = kept.contents(folder / "work")
    archive = Archive(folder / "archive")
    archive.create_if_missing()
    about = {"message": "kept", "user_name": "A Tester", "created": kept.NOON}
    archive.ingest(kept.URN, {name: path for name, path in files_of.items() if name != "prov.json"}, **about)  # type: ignore[arg-type]


def ingest(folder: Path) -> None:
    found = {path.name: path for path in (folder / "work").iterdir() if path.is_file()}
    now = datetime(2026, 11, 28, tzinfo=UTC)
    Archive(folder / "archive").ingest(kept.URN, found, message="m", user_name="A Tester", created=now)


def one_of_two_versions(template: Path, folder: Path) -> None:
    archive = Archive(folder / "archive")
    assert archive.verify(kept.URN) == []
    assert archive.head(kept.URN) in ("v1", "v2")
    assert not list(folder.glob("archive/extensions/terp-staging/*"))
    assert os.listdir(folder / "work") == os.listdir(template / "work")


def two_versions(template: Path, folder: Path) -> None:
    one_of_two_versions(template, folder)
    assert Archive(folder / "archive").head(kept.URN) == "v2"


# copy


def make_copy(folder: Path) -> None:
    home = Home(folder / "home").open()
    holdings.archived(home, "one", size=9)


def settle_copy(folder: Path) -> None:
    """Say where the place of a copied scene is."""
    holdings.places(Home(folder / "home"), holdings.folder_place("disk", folder / "disk"))


def copy(folder: Path) -> None:
    home = Home(folder / "home")
    _, refused = copy_to(home, "disk", [ONE])
    assert refused == []


def no_half_copy(_: Path, folder: Path) -> None:
    home = Home(folder / "home")
    assert Archive(home.archive).verify(ONE) == []
    whole = list((folder / "disk").glob("*/*/*/*/inventory.json"))
    assert not whole or dict(copies_of(home, ONE))["disk"] in ("begun", "whole")
    assert whole or dict(copies_of(home, ONE)).get("disk") != "whole"


def whole_copy(template: Path, folder: Path) -> None:
    no_half_copy(template, folder)
    assert holdings.copied(folder / "disk").keys() == holdings.contents(folder / "home/archive").keys()
    assert copies_of(Home(folder / "home"), ONE) == [("disk", "whole")]


# repair


def make_repair(folder: Path) -> None:
    template, _ = test_fixity_kills.damaged(folder.parent / "repair-made")
    shutil.copytree(template, folder, dirs_exist_ok=True)


def repair(folder: Path) -> None:
    assert fixity_crash.work("repair", folder) == 0


def each_as_before_or_sound(template: Path, folder: Path) -> None:
    made = damaging.files_of(folder.parent / "repair-made/made/archive" / kept.home_of())
    test_fixity_kills.assert_each_file_is_as_before_or_sound(folder, template, made, str(folder))


def mended(_: Path, folder: Path) -> None:
    made = damaging.files_of(folder.parent / "repair-made/made/archive" / kept.home_of())
    test_fixity_kills.assert_mended(folder, made, str(folder))


# export


def nothing_or_all(_: Path, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} <= {"home", "out"}
    assert Archive(folder / "home/archive").verify(objects.URN) == []
    assert not (folder / "out").exists()


def exported(_: Path, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"home", "out"}
    assert crash_export.digests(folder / "out")


# destroy


def destroy(folder: Path) -> None:
    try:
        crash_destroy.work(folder)
    except Destroyed:  # as it had been, but for the last word
        assert (folder / "home").is_dir()


ACTS = {
    "archive": Act(make_archive, ingest, one_of_two_versions, two_versions),
    "copy": Act(make_copy, copy, no_half_copy, whole_copy, settle_copy),
    "repair": Act(make_repair, repair, each_as_before_or_sound, mended),
    "destroy": Act(
        test_crash_destroy.prepared, destroy, test_crash_destroy.assert_before_or_meant, test_crash_destroy.assert_gone
    ),
    **{
        kind: Act(
            lambda folder: objects.archived(folder / "home"),
            partial(crash_export.work, kind),
            nothing_or_all,
            exported,
        )
        for kind in crash_export.KINDS
    },
}


def trouble(act: Act, folder: Path, good: int) -> str:
    """Return what is told when the disk is full after some operations."""
    try:
        with full(good):
            act.work(folder)
    except StorageError as error:
        return str(error)
    return ""


def fill_everywhere(act: Act, folder: Path, tries: int) -> int:
    """Do it on a disk that is full after some operations (0 tries: any number), look, and do it again with room.

    Return how often that was told: what comes last may fail without harm.
    """
    template = folder / "template"
    template.mkdir()
    act.make(template)
    shutil.copytree(template, folder / "whole")
    act.settle(folder / "whole")
    with full(10**6) as count:
        act.work(folder / "whole")
    act.ended(template, folder / "whole")
    told = 0
    for good in range(0, count[0], count[0] // tries if tries else 1):
        place = Path(shutil.copytree(template, folder / str(good)))
        act.settle(place)
        if words := trouble(act, place, good):
            assert "full" in words, good
            act.between(template, place)
            act.work(place)
            told += 1
        act.ended(template, place)
        shutil.rmtree(place)
    return told


@pytest.fixture(autouse=True)
def _no_second_glance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GLANCE", 0.0)


@pytest.mark.parametrize("name", ACTS)
def test_a_full_disk_is_told_and_nothing_is_lost_or_half_written(name: str, tmp_path: Path) -> None:
    assert fill_everywhere(ACTS[name], tmp_path, TRIES) > TRIES // 2


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ACTS)
def test_a_disk_that_is_full_after_any_operation_is_told(name: str, tmp_path: Path) -> None:
    fill_everywhere(ACTS[name], tmp_path, 0)
