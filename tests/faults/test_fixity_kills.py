"""Killed between any two operations on files, an audit and a repair leave nothing half done, and the same goes on."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "storage"))
import damaging
import fixity_crash
import kept
import killing

from terp.storage import files
from terp.storage.archive.custody import Events

TRIES = 10  # points that are tried in the usual run
ZIP, README = "v1/content/rows.zarr.zip", "v1/content/README.md"


def damaged(folder: Path) -> tuple[Path, dict[str, bytes]]:
    """An archive and a copy, damaged in different places, and what both should be."""
    sound = kept.archive(folder / "made")
    template = folder / "template"
    for name in fixity_crash.NAMES:
        kept.copied(sound, template / name)
    archive, attic = (template / name / kept.home_of() for name in fixity_crash.NAMES)
    for home, byte in ((archive, 5), (archive, 31_500), (attic, 60_000)):
        (home / ZIP).write_bytes(damaging.flipped((home / ZIP).read_bytes(), byte, 1))
    (archive / README).unlink()
    (attic / "v2/content/stray").write_bytes(b"stray")
    (attic / "inventory.json").write_bytes(b"{}")
    return template, damaging.files_of(sound.root / kept.home_of())


def kill_everywhere(what: str, folder: Path, tries: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Kill at some points (0: at all), look, and do the same again; return how many points there are."""
    monkeypatch.setattr(files, "GLANCE", 0.0)
    template, sound = damaged(folder)
    lines = killing.told(Path(fixity_crash.__file__), what, template, folder / "killed", tries)
    [_, ended, count, code], *torn = (line.split() for line in lines)
    assert (ended, code) == ("0", "65" if what == "audit" else "0")
    for point, dead, *_ in torn:
        place = folder / "killed" / point
        assert dead == "1"
        assert_each_file_is_as_before_or_sound(place, template, sound, f"point {point}")
        assert fixity_crash.work(what, place) == int(code), f"point {point}"
        if what == "repair":
            assert_mended(place, sound, f"point {point}")
    return int(count)


def assert_each_file_is_as_before_or_sound(place: Path, template: Path, sound: dict[str, bytes], where: str) -> None:
    for name in fixity_crash.NAMES:
        before = damaging.files_of(template / name / kept.home_of())
        now = damaging.files_of(place / name / kept.home_of())
        for path in before.keys() | sound.keys():
            assert now.get(path) in (before.get(path), sound.get(path)), f"{where}: {name}: {path}"
        strangers = {path for path in now.keys() - before.keys() - sound.keys() if ".terp-part-" not in path}
        assert strangers == set(), where


def assert_mended(place: Path, sound: dict[str, bytes], where: str) -> None:
    """All is sound, what was added is kept, and all that was done is noted, each once."""
    for name in fixity_crash.NAMES:
        now = damaging.files_of(place / name / kept.home_of())
        assert {path: data for path, data in now.items() if ".terp-part-" not in path} == sound, where
    assert fixity_crash.work("audit", place) == 0, where
    aside = {p.read_bytes() for p in (place / "custody/quarantine").rglob("stray")}
    assert aside == {b"stray"}, where
    events = [one["facts"] for one in Events(place / "custody").of(kept.URN) if one["event"] == "repaired"]
    noted = sorted((facts["place"], one["path"]) for facts in events for one in facts["files"])
    wanted = [("archive", README), ("archive", ZIP), ("attic", "inventory.json"), ("attic", ZIP)]
    assert noted == sorted([*wanted, ("attic", "v2/content/stray")]), where


@pytest.mark.parametrize(("what", "least"), [("audit", 30), ("repair", 100)])
def test_killed_between_operations_on_files_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, least: int
) -> None:
    assert kill_everywhere(what, tmp_path, TRIES, monkeypatch) > least


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", ["audit", "repair"])
def test_killed_between_any_two_operations_on_files_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    count = kill_everywhere(what, tmp_path, 0, monkeypatch)
    with capsys.disabled():
        print(f"\n{what}: killed before each of {count} operations, went on each time")
