"""How an audit goes: on where it was stopped, within its time, past what does not answer, and over tape."""

import hashlib
import io
import itertools
import json
import os
import random
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import damaging
import kept

from terp.storage import files
from terp.storage.archive.custody import Events
from terp.storage.audit import Order, Report, audit
from terp.storage.audit.bundled import Bundled
from terp.storage.audit.layout import from_directory, layouts
from terp.storage.audit.reading import read_through, spots
from terp.storage.errors import PlaceTrouble
from terp.storage.package.smallzip import write_zip
from terp.storage.places import Folder, Tape
from terp.storage.repair import repair
from terp.storage.repair.repair import Work

ZIP = "v1/content/rows.zarr.zip"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return kept.archive(tmp_path_factory.mktemp("audit"))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GLANCE", 0.0)


@pytest.fixture
def archive(template: Folder, tmp_path: Path) -> Folder:
    return kept.copied(template, tmp_path / "archive", "archive")


def looked(*places: Any, **how: Any) -> Report:
    return audit(Order(places, places[0].root.parent / "custody", [place.name for place in places], **how))


def reading(place: Folder, before: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have something happen before each file is read."""
    true = place.read

    def read(name: str, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        before(name)
        yield from true(name, offset, size)

    monkeypatch.setattr(place, "read", read)


def test_what_was_read_is_not_read_again_when_the_same_audit_goes_on(
    archive: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(name: str) -> None:
        if name.endswith("picture.png"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        reading(archive, stop, patch)
        with pytest.raises(KeyboardInterrupt):
            looked(archive, threads=1)
    [torn] = (archive.root.parent / "custody/audits").glob("*/*.jsonl")
    with torn.open("ab") as file:
        file.write(b'00000000 {"checked":["archive"')  # as a cut of the power leaves it
    read = list[str]()
    reading(archive, read.append, monkeypatch)
    report = looked(archive)
    assert report.exit_code == 0
    assert not [name for name in read if name.endswith(".zarr.zip")]


def test_the_time_that_is_given_is_kept_and_the_next_goes_on(archive: Folder) -> None:
    report = looked(archive, seconds=0.0)
    assert (report.exit_code, report.whole) == (75, False)
    assert "the same command goes on" in report.text()
    assert looked(archive).exit_code == 0


class Away(Folder):
    """A place that never answers."""

    def list(self, prefix: str = "") -> Iterator[Any]:
        raise PlaceTrouble("it is away")


@pytest.mark.parametrize("scope", ["due", ""])
def test_a_place_that_is_away_for_long_keeps_no_other_from_being_read_anew(
    scope: str, archive: Folder, tmp_path: Path
) -> None:
    """An audit that could not end goes on, and what is due again is not held for read because it was once."""
    assert looked(archive, Away("away", tmp_path), scope=scope).exit_code == 74
    [payload] = archive.root.rglob("*.zarr.zip")
    payload.chmod(0o644)
    payload.write_bytes(damaging.flipped(payload.read_bytes(), payload.stat().st_size // 2, 1))
    for lines in (archive.root.parent / "custody/audits").glob("*/*.jsonl"):
        os.utime(lines, None if scope else (0, 0))  # long ago; what is due is due, however long ago that was
    assert looked(archive, Away("away", tmp_path), scope=scope).exit_code == 65


def test_a_read_that_fails_once_or_shows_a_file_late_is_no_damage(
    archive: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "GLANCE", 30.0)
    failed = set[str]()

    def fail(name: str) -> None:
        if name not in failed:
            failed.add(name)
            raise (FileNotFoundError if "README" in name else PlaceTrouble)(name)

    inventories = [f"{kept.home_of()}/{top}inventory.json" for top in ("", "v1/", "v2/")]
    failed.update(inventories, [f"{one}.sha512" for one in inventories], ["0=ocfl_1.1", "ocfl_layout.json"])
    reading(archive, lambda name: fail(name) if "/content/" in name else None, monkeypatch)
    report = looked(archive)
    assert (report.damage, report.exit_code) == ([], 0)
    assert len(failed) > 10


def test_a_file_that_is_read_otherwise_the_second_time_is_no_damage(
    archive: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    true, bad = archive.read, set[str]()

    def read(name: str, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        for block in true(name, offset, size):
            yield block if name in bad or "/content/" not in name else damaging.flipped(block, 7, 3)
            bad.add(name)

    monkeypatch.setattr(archive, "read", read)
    assert looked(archive).damage == []


def test_a_sector_that_cannot_be_read_is_damage_where_the_place_answers(
    archive: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        if name.endswith("picture.png"):
            raise PlaceTrouble("input/output error")

    reading(archive, fail, monkeypatch)
    [damage] = looked(archive).damage
    assert (damage.kind, damage.path) == ("unreadable", "v1/content/picture.png")


def test_an_inventory_altered_with_its_sidecar_is_known_by_what_was_noted(archive: Folder) -> None:
    home = archive.root / kept.home_of()
    true = (home / "inventory.json").read_bytes()
    facts = {"version": "v2", "inventory": hashlib.sha512(true).hexdigest()}
    Events(archive.root.parent / "custody").append(kept.URN, "ingested", facts)
    forged = true.replace(b"A Tester", b"B Tester")
    for top in ("", "v2/"):
        for name, data in (("inventory.json", forged), ("inventory.json.sha512", _sidecar(forged))):
            (home / f"{top}{name}").write_bytes(data)
    report = looked(archive)
    assert {one.path for one in report.damage} >= {"inventory.json", "v2/inventory.json"}
    assert "no place holds the inventory of v2 that was noted" in report.text()


def _sidecar(data: bytes) -> bytes:
    return f"{hashlib.sha512(data).hexdigest()}  inventory.json\n".encode()


def test_an_object_that_gets_a_version_meanwhile_is_looked_at_anew(
    template: Folder, archive: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = archive.root / kept.home_of()
    sound = damaging.files_of(template.root / kept.home_of())
    for path in [path for path in sound if path.startswith("v2/")]:
        (home / path).unlink()
    (home / "v2/content").rmdir()
    (home / "v2").rmdir()
    for name in ("inventory.json", "inventory.json.sha512"):
        (home / name).write_bytes(sound[f"v1/{name}"])

    def ingest(name: str) -> None:
        if name.endswith(".zarr.zip"):  # is read first
            (home / "v2/content").mkdir(parents=True, exist_ok=True)
            for path in sorted(sound, key=lambda path: not path.startswith("v2/")):
                (home / path).write_bytes(sound[path])

    reading(archive, ingest, monkeypatch)
    report = looked(archive, threads=1)
    assert (report.damage, [line["version"] for line in report.objects]) == ([], [2])


def test_two_audits_at_once_do_no_harm(archive: Folder) -> None:
    reports = list[Report]()
    both = [threading.Thread(target=lambda: reports.append(looked(archive))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [one.exit_code for one in reports] == [0, 0]


@pytest.mark.parametrize("table", [b"", b"{}", b"[]", b'{"packages":1}', b"[" * 10_000, b"\xff\xfe"])
def test_what_is_no_table_of_members_is_refused(table: bytes) -> None:
    with pytest.raises(ValueError, match="no table of members"):
        layouts(table)


# tape


@pytest.fixture
def tape(archive: Folder, tmp_path: Path) -> Tape:
    """All of the archive in one bundle, with its table, as `terp copy` makes them."""
    root = tmp_path / "tape"
    root.mkdir()
    with zipfile.ZipFile(root / "terp-1.zip", "w") as made:
        names = [one.name for one in archive.list()]
        for name in names:
            made.writestr(name, (archive.root / name).read_bytes())
    data = (root / "terp-1.zip").read_bytes()
    members = []
    for name in names:
        content = (archive.root / name).read_bytes()
        members.append({"name": name, "offset": _offset(data, name), "size": len(content)})
    table = {"bundle": "terp-1.zip", "size": len(data), "sha512": hashlib.sha512(data).hexdigest(), "members": members}
    path = tmp_path / "custody/copies/tape/bundles/terp-1.zip.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(table | {"objects": {}}))
    facts = {"place": "tape", "version": "v2", "sha512": ""}
    Events(tmp_path / "custody").append(kept.URN, "copied", facts)
    return Tape("tape", root, [sys.executable, "-c", "pass"], wait=60)


def _offset(data: bytes, name: str) -> int:
    at = next(one.header_offset for one in _infos(data) if one.filename == name)
    return (
        at + 30 + int.from_bytes(data[at + 26 : at + 28], "little") + int.from_bytes(data[at + 28 : at + 30], "little")
    )


def _infos(data: bytes) -> list[zipfile.ZipInfo]:
    return zipfile.ZipFile(io.BytesIO(data)).infolist()


def on_tape(archive: Folder, tape: Tape) -> Report:
    custody = archive.root.parent / "custody"
    return audit(Order((archive, Bundled(tape, custody)), custody, ("tape",)))


def test_a_bundle_is_read_once_and_its_damage_is_located_in_array_and_region(archive: Folder, tape: Tape) -> None:
    report = on_tape(archive, tape)
    assert (report.damage, report.exit_code) == ([], 0)
    assert report.bytes == (tape.root / "terp-1.zip").stat().st_size
    bundle = tape.root / "terp-1.zip"
    data = bundle.read_bytes()
    member = json.loads((archive.root / kept.home_of() / f"{ZIP}.members.json").read_bytes())["members"][-1]
    byte = _offset(data, f"{kept.home_of()}/{ZIP}") + member["offset"]
    bundle.write_bytes(damaging.flipped(data, byte, 1))
    wrong = {one.path: one for one in on_tape(archive, tape).damage}
    assert set(wrong) == {ZIP, "terp-1.zip"}
    assert wrong[ZIP].spots[0].member == member["name"]
    bundle.write_bytes(damaging.flipped(data, 12, 1))  # in a header of the bundle
    assert [one.path for one in on_tape(archive, tape).damage] == ["terp-1.zip"]
    bundle.unlink()
    assert "terp-1.zip is gone, with all that was in it" in on_tape(archive, tape).text()


def test_what_is_on_tape_only_is_asked_for_and_the_audit_goes_on_later(archive: Folder, tape: Tape) -> None:
    bundle = tape.root / "terp-1.zip"
    data = bundle.read_bytes()
    bundle.unlink()
    with bundle.open("wb") as file:
        os.truncate(file.fileno(), len(data))  # no block of it is here
    report = on_tape(archive, tape)
    assert (report.exit_code, report.damage) == (75, [])
    assert "still on tape: tape: urn:terp:kept" in report.text()
    bundle.write_bytes(data)
    assert on_tape(archive, tape).exit_code == 0


def test_an_archive_is_mended_out_of_a_bundle_on_tape(archive: Folder, tape: Tape) -> None:
    custody, path = archive.root.parent / "custody", archive.root / kept.home_of() / ZIP
    sound = path.read_bytes()
    path.write_bytes(
        damaging.flipped(
            sound, json.loads(path.with_name(f"{path.name}.members.json").read_bytes())["members"][3]["offset"], 0
        )
    )
    places = (archive, Bundled(tape, custody))
    work = Work(places, custody, archive.root.parent / "scratch", ("archive",), ("archive", "tape"))
    assert repair(work).left == []
    assert path.read_bytes() == sound


# ZIPs without a table


def test_no_sound_member_of_a_zip_is_blamed_for_any_bit_of_it() -> None:
    zipped, noise = io.BytesIO(), random.Random(5)
    write_zip(zipped, [(name, noise.randbytes(40)) for name in ("one", "two")])
    data = zipped.getvalue()
    spans = {one.filename: one.header_offset + 30 + len(one.filename) for one in _infos(data)}
    for at, bit in itertools.product(range(len(data)), range(8)):
        bad = damaging.flipped(data, at, bit)
        layout = from_directory(lambda start, length, bad=bad: bad[start : start + length], len(bad))  # type: ignore[misc]
        hit = [name for name, start in spans.items() if start <= at < start + 40]
        assert layout or not hit, (at, bit)
        if layout:
            told = spots(read_through([bad], layout, None, lambda _: None), layout)
            assert [one.member for one in told if "header" not in one.what and one.member] == hit, (at, bit)


def test_a_deflated_member_is_told_from_what_is_around_it() -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("one", b"again and again " * 50)
        made.writestr("two", b"and again " * 50)
    data = zipped.getvalue()
    layout = from_directory(lambda start, length: data[start : start + length], len(data))
    assert layout is not None
    assert read_through([data], layout, None, lambda _: None).bad == ()
    two = next(part for part in layout.parts if part.kind == "data" and part.member == "two")
    read = read_through([damaging.flipped(data, two.start + 3, 1)], layout, None, lambda _: None)
    assert [one.member for one in spots(read, layout)] == ["two"]
