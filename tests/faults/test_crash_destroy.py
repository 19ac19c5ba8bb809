"""Killed at any moment, a destruction was not begun or is meant: nothing between is an object, the same ends it."""

import errno
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "storage"))
import crash_destroy
import custody_of
import killing

from terp.storage.archive import Archive, tombstone
from terp.storage.archive.custody import Events
from terp.storage.archive.ocfl import place
from terp.storage.archive.proposing import propose, sign
from terp.storage.archive.retention import State, standings
from terp.storage.errors import Destroyed, DiskTrouble, Unfinished
from terp.storage.home import Home

SAMPLE = 23  # of so many points one is tried


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene, made once."""
    return prepared(tmp_path_factory.mktemp("template"))


def prepared(folder: Path) -> Path:
    """Make a scene in which all has been signed."""
    home = custody_of.scene(folder)
    propose(home, custody_of.URN, custody_of.scope(home), "A. Archivist", custody_of.TODAY)
    for name in custody_of.PEOPLE:
        sign(home, custody_of.URN, custody_of.scope(home), home.root.parent / name, custody_of.TODAY)
    return home.root.parent


def kill_at(template: Path, folder: Path, points: list[int]) -> list[list[str]]:
    """Return, for each point, what is told of it."""
    return [line.split() for line in killing.told(Path(crash_destroy.__file__), template, folder, *points)]


def files_of(folder: Path) -> dict[str, bytes]:
    tops = [folder / name for name in ("copies", f"home/archive/{place(custody_of.URN)}", "home/products", "home/runs")]
    found = [path for top in tops for path in top.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def assert_before_or_meant(template: Path, folder: Path) -> bool:
    """Hold that all is there and sound, or that nobody takes what is left for an object; return which."""
    home = Home(folder / "home")
    stone = tombstone.find(home.custody, custody_of.URN)
    states = {row.identifier: row.state for row in standings(home, custody_of.TODAY)}
    assert Archive(home.archive).verify(custody_of.OTHER) == []
    if stone is None:
        assert files_of(folder) == files_of(template)
        assert Archive(home.archive).verify(custody_of.URN) == []
        assert states[custody_of.URN] == State.MUST_GO
        return False
    with pytest.raises(Destroyed):
        tombstone.demand_none(home.custody, custody_of.URN)
    assert states.get(custody_of.URN, State.GOING) == State.GOING
    return True


def assert_gone(template: Path, folder: Path) -> None:
    home, other = Home(folder / "home"), str(place(custody_of.OTHER))
    stone = tombstone.find(home.custody, custody_of.URN)
    assert stone is not None
    assert (stone.state, stone.plain["remains"]) == (tombstone.DESTROYED, [])
    assert set(files_of(folder)) == {name for name in files_of(template) if name.startswith(f"copies/{other}")}
    assert Archive(home.archive).list() == [custody_of.OTHER]
    assert not list(home.archive.glob("extensions/terp-*"))
    assert all(list(folder.iterdir()) for folder in home.archive.rglob("*") if folder.is_dir())  # OCFL: none is empty
    beside = {path.name.partition(".")[2] for path in stone.path.parent.glob("[!.]*")}
    assert beside == {"json", "md", "files", "specification.json", "1.sig", "2.sig"}
    assert os.listdir(home.custody / "destructions") == []
    assert [one["event"] for one in Events(home.custody).of(custody_of.URN)].count("destroyed") == 1


def crash_everywhere(template: Path, folder: Path, step: int) -> int:
    """Kill at every `step`-th point and go on; return how many points there are."""
    [(killed, number)] = kill_at(template, folder, [killing.NEVER])
    assert killed == "0"
    assert_gone(template, folder / str(killing.NEVER))
    points = sorted({*range(0, int(number), step), int(number) - 1})
    meant = []
    for point, (killed, *_) in zip(points, kill_at(template, folder, points), strict=True):
        place_of = folder / str(point)
        assert killed == "1"
        meant.append(assert_before_or_meant(template, place_of))
        try:
            crash_destroy.work(place_of)
        except Destroyed:
            assert point > int(number) // 2
        assert_gone(template, place_of)
        shutil.rmtree(place_of)
    assert meant == sorted(meant), "what was meant is not taken back"
    assert {False, True} == set(meant)
    return int(number)


def test_killed_between_operations_on_files_a_destruction_is_ended_by_the_same_command(
    template: Path, tmp_path: Path
) -> None:
    assert crash_everywhere(template, tmp_path, SAMPLE) > 100


def fail_at(point: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk fail once, at an operation on files with a number."""
    count = [0]

    def wrapped(true: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            number, count[0] = count[0], count[0] + 1
            if number == point:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return true(*args, **kwargs)

        return call

    for name in killing.OPERATIONS:
        monkeypatch.setattr(os, name, wrapped(getattr(os, name)))


@pytest.mark.parametrize("point", range(3, 190, 17))
def test_a_disk_that_fails_once_leaves_what_the_same_command_ends(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: int
) -> None:
    shutil.copytree(template, tmp_path / "scene")
    with monkeypatch.context() as patched:
        fail_at(point, patched)
        with suppress(DiskTrouble, Unfinished):  # or it has tried again by itself
            crash_destroy.work(tmp_path / "scene")
    assert_before_or_meant(template, tmp_path / "scene")
    with suppress(Destroyed):
        crash_destroy.work(tmp_path / "scene")
    assert_gone(template, tmp_path / "scene")


@pytest.mark.campaign
def test_killed_between_any_two_operations_on_files_a_destruction_is_ended(template: Path, tmp_path: Path) -> None:
    crash_everywhere(template, tmp_path, 1)
