"""What is damaged is mended from what is sound elsewhere: verified first, noted after, and nothing is thrown away."""

import os
import shutil
import stat
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import damaging
import kept

from terp.storage import files
from terp.storage.archive import Archive
from terp.storage.archive.custody import Events
from terp.storage.audit import Order, audit
from terp.storage.audit.layout import layouts
from terp.storage.errors import PlaceTrouble
from terp.storage.places import Folder
from terp.storage.repair import Outcome, repair
from terp.storage.repair.given import Given
from terp.storage.repair.repair import Work

ZIP, TABLE = "v1/content/rows.zarr.zip", "v1/content/rows.zarr.zip.members.json"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return kept.archive(tmp_path_factory.mktemp("repair"))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GLANCE", 0.0)


class House:
    """An archive, a copy in the attic, and custody; `home` is where the object is in both."""

    def __init__(self, template: Folder, folder: Path) -> None:
        self.archive = kept.copied(template, folder / "archive", "archive")
        self.attic = kept.copied(template, folder / "attic")
        self.custody, self.scratch = folder / "custody", folder / "scratch"
        self.sound = damaging.files_of(template.root / kept.home_of())

    def home(self, place: Folder) -> Path:
        return place.root / kept.home_of()

    def repair(
        self, targets: Sequence[str] = ("archive", "attic"), sources: Sequence[str] = ("archive", "attic")
    ) -> Outcome:
        return repair(Work((self.archive, self.attic), self.custody, self.scratch, targets, sources))

    def repair_from(self, folder: Path) -> Outcome:
        """Repair both places with nothing but what a folder has."""
        both, given = ("archive", "attic"), [Given(folder)]
        return repair(Work((self.archive, self.attic), self.custody, self.scratch, both, (), given=given))

    def flip(self, place: Folder, path: str, byte: int) -> None:
        target = self.home(place) / path
        target.write_bytes(damaging.flipped(target.read_bytes(), byte, 2))

    def assert_sound(self) -> None:
        for place in (self.archive, self.attic):
            assert damaging.files_of(self.home(place)) == self.sound
        report = audit(Order((self.archive, self.attic), self.custody, ("archive", "attic")))
        assert (report.damage, report.exit_code) == ([], 0)
        assert list(self.scratch.glob("*")) == []
        assert not list((self.custody / "repairs").glob("*"))

    def repaired(self) -> list[dict[str, Any]]:
        found = [one["facts"] for one in Events(self.custody).of(kept.URN) if one["event"] == "repaired"]
        return [{"place": facts["place"], **change} for facts in found for change in facts["files"]]


@pytest.fixture
def house(template: Folder, tmp_path: Path) -> House:
    return House(template, tmp_path)


def members(house: House) -> dict[str, Any]:
    return {one["name"]: one for one in damaging.Parts(house.sound).table["members"]}


def test_what_is_damaged_is_mended_from_the_other_copy_and_noted(house: House) -> None:
    house.flip(house.archive, ZIP, 40_000)
    (house.home(house.attic) / "v1/content/README.md").unlink()
    outcome = house.repair()
    assert (len(outcome.mended), outcome.left, outcome.exit_code) == (2, [], 0)
    house.assert_sound()
    assert not (house.home(house.archive) / ZIP).stat().st_mode & 0o222
    noted = {(one["place"], one["path"]): one for one in house.repaired()}
    assert noted["attic", "v1/content/README.md"]["sources"] == ["archive"]
    assert noted["archive", ZIP]["new"] != noted["archive", ZIP]["old"] != ""
    assert Archive(house.archive.root).verify(kept.URN) == []


def test_two_copies_that_are_damaged_in_different_places_mend_each_other(house: House) -> None:
    one, other, third = (members(house)[name]["offset"] for name in ("rain/c/0/0", "wind/c/2/0", "x/zarr.json"))
    for byte in (one, third, 5):
        house.flip(house.archive, ZIP, byte)
    for byte in (other, len(house.sound[ZIP]) - 3):
        house.flip(house.attic, ZIP, byte)
    house.flip(house.archive, "v2/content/prov.json", 10)
    house.flip(house.attic, "v2/content/prov.json", 20)
    outcome = house.repair()
    assert (len(outcome.mended), outcome.left) == (4, [])
    house.assert_sound()


def test_only_the_damaged_members_are_fetched(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    member = members(house)["rain/c/1/0"]
    house.flip(house.attic, ZIP, member["offset"] + 3)
    reads = list[tuple[int, int | None]]()
    true = house.archive.read

    def read(name: str, offset: int = 0, size: int | None = None) -> Any:
        if name.endswith("rows.zarr.zip"):
            reads.append((offset, size))
        return true(name, offset, size)

    monkeypatch.setattr(house.archive, "read", read)
    house.repair(targets=["attic"])
    assert reads == [(member["offset"], member["size"])]
    monkeypatch.undo()
    house.assert_sound()


@pytest.mark.parametrize("what", ["cut off", "gone", "longer"])
def test_a_package_of_another_length_is_made_whole(house: House, what: str) -> None:
    target = house.home(house.archive) / ZIP
    if what == "gone":
        target.unlink()
    else:
        target.write_bytes(house.sound[ZIP][:30_000] if what == "cut off" else house.sound[ZIP] + b"more")
    assert house.repair().left == []
    house.assert_sound()


def test_headers_and_inventories_need_no_copy_as_they_follow_from_others(house: House) -> None:
    shutil.rmtree(house.home(house.attic))
    shutil.copytree(house.home(house.archive), house.home(house.attic))
    for path, byte in ((ZIP, 5), ("inventory.json", 9), ("v1/inventory.json.sha512", 4), ("0=ocfl_object_1.1", 2)):
        house.flip(house.archive, path, byte)
    outcome = house.repair(targets=["archive"], sources=[])
    assert (len(outcome.mended), outcome.left) == (4, [])
    house.assert_sound()


def test_an_object_that_a_place_lost_is_put_there_again(house: House) -> None:
    shutil.rmtree(house.home(house.archive))
    Events(house.custody).append(kept.URN, "ingested", {"version": "v2"})
    assert house.repair().left == []
    house.assert_sound()


def test_what_is_sound_nowhere_is_refused_by_array_and_region(house: House) -> None:
    member = members(house)["wind/c/3/0"]
    for place in (house.archive, house.attic):
        house.flip(place, ZIP, member["offset"] + 1)
    before = damaging.files_of(house.home(house.archive))
    outcome = house.repair()
    assert (outcome.mended, outcome.exit_code) == ([], 65)
    said = outcome.text()
    assert "Lost: the member wind/c/3/0: the array wind, x 3 to 4, t 0 to 60" in said
    assert f"terp replay {kept.URN}" in said
    assert damaging.files_of(house.home(house.archive)) == before


def test_bytes_of_a_copy_that_are_not_what_was_stored_replace_nothing(house: House) -> None:
    (house.home(house.archive) / "v1/content/README.md").unlink()
    (house.home(house.attic) / "v1/content/README.md").write_bytes(b"forged")
    outcome = house.repair(targets=["archive"])
    assert (outcome.mended, len(outcome.left)) == ([], 1)
    assert not (house.home(house.archive) / "v1/content/README.md").exists()


def test_what_was_added_is_moved_aside_and_kept(house: House) -> None:
    home = house.home(house.archive)
    (home / "v1/content/rows.txt").write_bytes(b"who knows")
    (home / "v1/content/link").symlink_to("/etc/hostname")
    (home / "v1/content/empty/er").mkdir(parents=True)
    (house.archive.root / "stray").write_bytes(b"stray")
    outcome = house.repair()
    assert (len(outcome.mended), outcome.left) == (4, [])
    aside = {p.name: p.read_bytes() for p in (house.custody / "quarantine").rglob("*") if p.is_file()}
    assert aside == {"rows.txt": b"who knows", "link.link": b"/etc/hostname\n", "stray": b"stray"}
    assert not (home / "v1/content/empty").exists()
    house.assert_sound()


def test_files_of_the_storage_root_are_mended(house: House) -> None:
    assert house.repair().mended == []
    for place in (house.archive, house.attic):
        (place.root / "0=ocfl_1.1").unlink()
        (place.root / "ocfl_layout.json").write_bytes(b"{}")
    assert len(house.repair().mended) == 4
    house.assert_sound()


def test_where_the_places_contradict_each_other_a_person_has_to_decide(house: House) -> None:
    home = house.home(house.attic)
    forged = house.sound["inventory.json"].replace(b'"message": "kept"', b'"message": "lost"')
    digest = damaging.sha512(forged)
    for top in ("", "v2/"):
        (home / f"{top}inventory.json").write_bytes(forged)
        (home / f"{top}inventory.json.sha512").write_bytes(f"{digest}  inventory.json\n".encode())
    outcome = house.repair()
    assert (outcome.mended, outcome.exit_code) == ([], 65)
    assert "different inventories" in outcome.text()
    assert "a person has to decide" in outcome.text()
    true = damaging.sha512(house.sound["inventory.json"])
    Events(house.custody).append(kept.URN, "ingested", {"version": "v2", "inventory": true})
    assert {one.path for one in house.repair().mended} >= {"inventory.json", "v2/inventory.json.sha512"}
    house.assert_sound()


# what no copy has, from a folder that somebody brings


def test_what_is_lost_everywhere_is_put_back_from_a_folder_whatever_its_files_are_called(
    house: House, tmp_path: Path
) -> None:
    for place in (house.archive, house.attic):
        (house.home(place) / ZIP).unlink()
        house.flip(place, "v2/content/prov.json", 10)
    brought = tmp_path / "brought"
    (brought / "deep").mkdir(parents=True)
    (brought / "deep/1.bin").write_bytes(house.sound[ZIP])
    (brought / "prov.json").write_bytes(house.sound["v2/content/prov.json"].replace(b"1", b"2"))
    (brought / "README.md").write_bytes(house.sound["v1/content/README.md"])
    (brought / "thesis.tex").write_bytes(b"no file of it")
    (brought / "link").symlink_to("/etc/hostname")
    outcome = house.repair_from(brought)
    assert ([one.path for one in outcome.mended], len(outcome.left), outcome.exit_code) == ([ZIP, ZIP], 2, 65)
    assert {(one["place"], one["path"], *one["sources"]) for one in house.repaired()} == {
        (name, ZIP, f"the folder {brought}") for name in ("archive", "attic")
    }
    said = "\n".join(outcome.refused)
    assert "prov.json is not what was stored as v2/content/prov.json: its SHA-512 is" in said
    assert "README.md was not needed" in said
    assert "thesis.tex is no file of what is damaged" in said
    assert "link is a link" in said
    (brought / "prov.json").write_bytes(house.sound["v2/content/prov.json"])
    assert house.repair_from(brought).left == []
    house.assert_sound()


def test_a_package_that_was_made_again_mends_by_those_of_its_members_that_are_the_same(
    house: House, tmp_path: Path
) -> None:
    lost, other = (members(house)[name]["offset"] + 3 for name in ("wind/c/3/0", "rain/c/0/0"))
    for place in (house.archive, house.attic):
        house.flip(place, ZIP, lost)
    (tmp_path / "brought").mkdir()
    (tmp_path / "brought/rows.zarr.zip").write_bytes(damaging.flipped(house.sound[ZIP], other, 1))
    outcome = house.repair_from(tmp_path / "brought")
    assert (len(outcome.mended), outcome.left, outcome.refused) == (2, [], [])
    house.assert_sound()


def test_a_folder_with_forged_files_changes_nothing(house: House, tmp_path: Path) -> None:
    (tmp_path / "brought").mkdir()
    for place in (house.archive, house.attic):
        house.flip(place, "v1/content/README.md", 3)
    before = damaging.files_of(house.home(house.archive))
    for name in ("README.md", "inventory.json", "0=ocfl_object_1.1"):
        (tmp_path / "brought" / name).write_bytes(b"forged")
    outcome = house.repair_from(tmp_path / "brought")
    assert (outcome.mended, len(outcome.left), len(outcome.refused)) == ([], 2, 3)
    assert damaging.files_of(house.home(house.archive)) == before


def test_a_folder_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(PlaceTrouble, match="is no folder"):
        Given(tmp_path / "nowhere")


def test_two_repairs_at_once_do_no_harm(house: House) -> None:
    house.flip(house.archive, ZIP, 40_000)
    shutil.rmtree(house.home(house.attic) / "v2")
    outcomes = list[Outcome]()
    both = [threading.Thread(target=lambda: outcomes.append(house.repair())) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [one.left for one in outcomes] == [[], []]
    house.assert_sound()


def test_what_was_mended_before_a_repair_was_killed_is_noted_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (house.home(house.archive) / "v1/content/README.md").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("terp.storage.repair.noting.Intent.done", lambda _: None)
        house.repair()
    assert house.repaired() == []
    house.repair()
    [noted] = house.repaired()
    assert (noted["path"], noted["old"], noted["sources"]) == ("v1/content/README.md", "", ["attic"])
    house.assert_sound()


def test_what_is_between_the_members_is_reckoned_as_it_was_written(house: House) -> None:
    [layout] = layouts(house.sound[TABLE]).values()
    for number, part in enumerate(layout.parts):
        known = layout.written(number)
        if part.kind != "data":
            assert known == house.sound[ZIP][part.start : part.stop]


def test_a_mended_file_can_be_read_by_those_who_could(house: House) -> None:
    path = house.home(house.archive) / "v1/content/README.md"
    path.unlink()
    house.repair()
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask() & 0o444


def _umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before
