"""What is not there, or not as it was stored: each command names it with the way out; one damage hides no other."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from saying import BAD, Say, holds

from terp.storage.errors import Damaged
from terp.workflows import api


@pytest.mark.parametrize("command", ["show", "open", "verify", "rm", "logs", "status", "cancel", "archive"])
@pytest.mark.parametrize("reference", ["nosuch", "..", ""])
def test_what_does_not_exist_is_named(say: Say, home: Path, command: str, reference: str) -> None:
    (home / "products").mkdir(parents=True)
    if command == "status" and not reference:
        reference = "last"
    holds(say(command, reference), 64, f"there is no run {reference!r} in {home}", "terp run climatology")


def test_an_archived_object_that_does_not_exist_is_named(say: Say) -> None:
    for command in ("show", "open", "verify", "rm"):
        holds(say(command, "urn:terp:nosuch"), 64, "there is no urn:terp:nosuch", "`terp ls`")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the home with the archived run is kept, once it was made."""
    return tmp_path_factory.mktemp("model") / "home"


@pytest.fixture
def archived(run: Say, home: Path, model: Path, sources: Path) -> Path:
    """A home with one archived run, of which a test may break what it wants; returns the content of its object."""
    if not model.exists():
        holds(run(f"{BAD}:one", "plain", str(sources / "sea.nc")), 0, "archived as")
        home.rename(model)
    shutil.copytree(model, home)
    (content,) = home.glob("archive/*/*/*/*/v1/content")
    for path in content.iterdir():
        path.chmod(0o644)
    return content


def flip(path: Path, at: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(data)


def chunks_of(package: Path) -> list[tuple[int, int]]:
    """Where in a package the data of each shard begin, and how many bytes they are."""
    raw, found = package.read_bytes(), []
    for member in zipfile.ZipFile(package).infolist():
        if member.filename.startswith("surface_temperature/c/"):
            name, extra = (int.from_bytes(raw[member.header_offset + n :][:2], "little") for n in (26, 28))
            found.append((member.header_offset + 30 + name + extra, member.file_size))
    return found


def swap(package: Path) -> None:
    """Exchange the data of two shards of equal size."""
    raw = bytearray(package.read_bytes())
    (one, size), (other, _) = chunks_of(package)
    raw[one : one + size], raw[other : other + size] = raw[other : other + size], raw[one : one + size]
    package.write_bytes(raw)


PACKAGE_FAULTS: dict[str, tuple[Callable[[Path], object], str, bool]] = {
    "a flipped byte of data": (lambda p: flip(p, chunks_of(p)[0][0] + 900), "SHA-512 is another", False),
    "a flipped byte of its directory": (lambda p: flip(p, -30), "SHA-512 is another", False),
    "its end cut off": (lambda p: p.write_bytes(p.read_bytes()[:5000]), "SHA-512 is another", True),
    "two shards exchanged": (swap, "SHA-512 is another", False),
    "no package any more": (lambda p: p.unlink(), "plain.zarr.zip is missing", True),
    "a file too many": (lambda p: p.with_name("extra.txt").write_text("x"), "extra.txt is in no inventory", False),
}


@pytest.mark.parametrize("fault", PACKAGE_FAULTS)
def test_a_package_that_is_not_as_it_was_archived_is_told(say: Say, archived: Path, fault: str) -> None:
    damage, words, unreadable = PACKAGE_FAULTS[fault]
    package = archived / "plain.zarr.zip"
    damage(package)
    holds(say("verify", "last"), 65, "damaged: v1/content/", words, "restore it from a copy")
    if unreadable:
        holds(say("open", "last"), 65, str(package), "from a copy")
    elif fault in ("a file too many", "a flipped byte of its directory"):
        api.open("last").load()  # which asks the table of members, and proves what it reads
    else:
        with pytest.raises(Damaged, match=r"is not (what|the shard that) was.*; restore the package from a copy"):
            api.open("last").load()
    holds(say("ls"), 0, "urn:terp:one:", *(["lacks plain.zarr.zip"] if not package.exists() else []))


def test_an_archived_object_without_its_inventory_is_told_and_hides_no_other(say: Say, archived: Path) -> None:
    for path in archived.parents[1].glob("**/inventory.json"):
        path.unlink()
    holds(say("verify"), 65, "inventory.json", "restore it from a copy")
    holds(say("open"), 65, "no inventory", "restore")
    holds(say("ls"), 0, "damaged:", "no inventory")


def test_what_is_archived_is_never_removed(say: Say, home: Path, archived: Path) -> None:
    identifier = json.loads(say("ls", "--json").out)[0]["identifier"]
    holds(say("rm", identifier, "--yes"), 64, identifier, "is archived")
    holds(say("rm", "last", "--yes"), 0)
    assert list(home.glob("products/*")) == []
    assert (archived / "plain.zarr.zip").exists()
    holds(say("verify", identifier), 0, "all is as it was recorded")


def product(home: Path) -> Path:
    (folder,) = home.glob("products/plain-*")
    return folder


PRODUCT_FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "shard": (
        lambda p: flip(p / "data.zarr/surface_temperature/c/0/1/0"),
        "surface_temperature/c/0/1/0 of plain",
        "run the same command again",
    ),
    "axis": (lambda p: flip(p / "data.zarr/time/c/0"), "time/c/0 of plain", "run the same command again"),
    "seal": (lambda p: flip(p / "seal.json", 0), "seal.json is damaged", "run again"),
    "manifest": (lambda p: (p / "manifest.rows").unlink(), "manifest.rows is damaged", "run again"),
    "description": (lambda p: flip(p / "product.json"), "product.json is damaged", "run again"),
}


@pytest.mark.parametrize("fault", PRODUCT_FAULTS)
def test_a_working_product_that_is_damaged_is_told_each_time_and_may_be_removed(
    say: Say, home: Path, archived: Path, fault: str
) -> None:
    damage, thing, way_out = PRODUCT_FAULTS[fault]
    damage(product(home))
    key = product(home).name
    holds(say("verify", key), 65, thing, way_out)
    holds(say("open", key), 65, "plain", "again")
    holds(say("verify", "last"), 65, "plain", way_out)
    holds(say("ls", "--products"), 0, key, "ingest-")
    holds(say("rm", key, "--yes"), 0, key)
    assert archived.exists()


def test_the_same_run_mends_a_damaged_product(run: Say, say: Say, home: Path, archived: Path, sources: Path) -> None:
    folder = product(home)
    before = {path: path.read_bytes() for path in folder.glob("data.zarr/**/*") if path.is_file()}
    for damage, *_ in PRODUCT_FAULTS.values():
        damage(folder)
    holds(run(f"{BAD}:one", "plain", str(sources / "sea.nc")), 0, "plain")
    assert {path: path.read_bytes() for path in folder.glob("data.zarr/**/*") if path.is_file()} == before
    holds(say("verify"), 0, "all is as it was recorded")
    assert archived.exists()


def test_a_damaged_record_of_a_run_is_named_and_hides_nothing_else(say: Say, home: Path, archived: Path) -> None:
    (record,) = home.glob("runs/*/run.json")
    for text in ('{"id": ', "[]", '{"id": 3, "colour": 1, "stages": []}'):
        record.write_text(text)
        for name in ("show", "open", "verify", "logs", "cancel", "archive"):
            holds(say(name), 65, f"the record of the run {record.parent.name} is damaged: remove {record.parent}")
        holds(say("status"), 0, f"the record of the run {record.parent.name} is damaged")
        holds(say("ls"), 0, "urn:terp:one:")
    assert archived.exists()
