"""Any bit that flips, any file that is lost, swapped, cut or added is found and located; the sound is never blamed."""

import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "storage"))
import damaging
import kept
from damaging import Parts

from terp.storage import files
from terp.storage.audit import Order, Report, audit
from terp.storage.places import Folder

FLIPS, ALL_FLIPS = 100, 10_000
CLEAN, ALL_CLEAN = 10, 1000


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return kept.archive(tmp_path_factory.mktemp("flips"))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GLANCE", 0.0)  # what is gone here is gone for good


def looked(*places: Folder) -> Report:
    """An audit of all of some places, of which custody knows nothing."""
    custody = places[0].root.parent / "custody"
    shutil.rmtree(custody / "events", ignore_errors=True)
    return audit(Order(places, custody, [place.name for place in places]))


def flip_many(archive: Folder, count: int) -> Iterator[tuple[str, bool, bool]]:
    """Flip bits one after the other; give for each the part, and whether it was found, and located."""
    home = archive.root / kept.home_of()
    attic = kept.copied(archive, archive.root.parent / "attic")
    parts, rng = Parts(damaging.files_of(home)), random.Random(6)
    for number in range(count):
        alone = bool(number % 2)
        part, flip = parts.draw(rng)
        before = parts.files[flip.path]
        with damaging.altered(home / flip.path, damaging.flipped(before, flip.byte, flip.bit)):
            found = looked(*([archive] if alone else [archive, attic])).damage
        yield part, bool(found), parts.located(flip, found, alone)
    shutil.rmtree(attic.root)


def table(rows: list[tuple[str, bool, bool]], clean: int, alarms: int) -> str:
    """What was found, part by part."""
    counts = Counter(part for part, _, _ in rows)
    lines = [f"{'part':34} {'flips':>6} {'found':>8} {'located':>8}"]
    for part in [*sorted(counts), ""]:
        mine = [row for row in rows if part in ("", row[0])]
        found, located = (100 * sum(row[column] for row in mine) / len(mine) for column in (1, 2))
        lines.append(f"{part or 'all':34} {len(mine):6,} {found:7.2f}% {located:7.2f}%")
    return "\n".join([*lines, f"false alarms in {clean:,} audits of what is sound: {alarms}"])


def test_every_flipped_bit_is_found_and_located(archive: Folder) -> None:
    rows = list(flip_many(archive, FLIPS))
    assert [row for row in rows if not (row[1] and row[2])] == [], table(rows, 0, 0)
    assert len({part for part, _, _ in rows}) >= 10


def test_what_is_sound_is_never_blamed(archive: Folder) -> None:
    assert [one.damage for _ in range(CLEAN) if (one := looked(archive)).damage or one.exit_code] == []


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_ten_thousand_flipped_bits_are_found_and_located(archive: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    alarms = sum(bool(looked(archive).damage) for _ in range(ALL_CLEAN))
    rows = list(flip_many(archive, ALL_FLIPS))
    with capsys.disabled():
        print("\n" + table(rows, ALL_CLEAN, alarms))
    assert alarms == 0
    assert [row for row in rows if not (row[1] and row[2])] == [], table(rows, 0, 0)


# other damage

Break = Callable[[Path], None]
ZIP, TABLE = "v1/content/rows.zarr.zip", "v1/content/rows.zarr.zip.members.json"


def rewritten(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def delete(home: Path) -> None:
    (home / "v1/content/README.md").unlink()


def truncate(home: Path) -> None:
    rewritten(home / ZIP, (home / ZIP).read_bytes()[:20_000])


def lengthen(home: Path) -> None:
    rewritten(home / ZIP, (home / ZIP).read_bytes() + b"more")


def swap_files(home: Path) -> None:
    one, other = home / "v1/content/README.md", home / "v1/content/picture.png"
    first, second = one.read_bytes(), other.read_bytes()
    rewritten(one, second)
    rewritten(other, first)


def swap_members(home: Path) -> None:
    data = bytearray((home / ZIP).read_bytes())
    members = {m["name"]: m for m in Parts(damaging.files_of(home)).table["members"]}
    one, other = members["rain/c/0/0"], members["wind/c/2/0"]
    assert one["size"] == other["size"]
    spans = [slice(m["offset"], m["offset"] + m["size"]) for m in (one, other)]
    data[spans[0]], data[spans[1]] = data[spans[1]], data[spans[0]]
    rewritten(home / ZIP, bytes(data))


def add_file(home: Path) -> None:
    (home / "v2/content/rows.txt").write_bytes(b"")


def add_link(home: Path) -> None:
    (home / "v2/content/rows.txt").symlink_to("/etc/hostname")


def add_folder(home: Path) -> None:
    (home / "v2/content/empty").mkdir()


def lose_object(home: Path) -> None:
    shutil.rmtree(home)


def lose_inventories(home: Path) -> None:
    for name in ("", "v1/", "v2/"):
        (home / f"{name}inventory.json").unlink()
        (home / f"{name}inventory.json.sha512").unlink()


def empty_file(home: Path) -> None:
    rewritten(home / "v2/content/prov.json", b"")


def lose_table(home: Path) -> None:
    (home / TABLE).unlink()
    rewritten(home / ZIP, damaging.flipped((home / ZIP).read_bytes(), 31_500 + 4096, 3))


STRUCTURAL: dict[str, tuple[Break, list[str]]] = {
    "a file is lost": (delete, ["README.md is gone"]),
    "a package is cut off": (truncate, ["bytes where", "which is gone"]),
    "a package is longer": (lengthen, ["there is more behind the end of the package"]),
    "two files are swapped": (swap_files, ["it holds what belongs to v1/content/picture.png", "v1/content/README.md"]),
    "two members are swapped": (
        swap_members,
        ["array rain, x 0 to 1, t 0 to 60: it holds what belongs to wind/c/2/0", "belongs to rain/c/0/0"],
    ),
    "a file is added": (add_file, ["v2/content/rows.txt was added"]),
    "a link is added": (add_link, ["v2/content/rows.txt was added: it is a link"]),
    "an empty folder is added": (add_folder, ["v2/content/empty/ was added"]),
    "a file is emptied": (empty_file, ["v2/content/prov.json is not what was stored"]),
    "a table of members is lost": (lose_table, ["members.json is gone", "the member"]),
    "an object is lost": (lose_object, ["is gone, all of it"]),
    "all inventories are lost": (lose_inventories, ["inventory.json is gone"]),
}


@pytest.mark.parametrize("what", STRUCTURAL)
def test_other_damage_is_found_and_told(tmp_path: Path, archive: Folder, what: str) -> None:
    do, said = STRUCTURAL[what]
    bad, good = kept.copied(archive, tmp_path / "archive", "archive"), Folder("attic", archive.root)
    do(bad.root / kept.home_of())
    report = audit(Order((bad, good), tmp_path / "custody", ("archive", "attic")))
    assert {one.place for one in report.damage} == {"archive"}
    assert [words for words in said if words not in report.text()] == []
    assert report.exit_code == 65
