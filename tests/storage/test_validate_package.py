"""The validator of packages: every byte of the ZIP and each digest of its table, by the documentation alone."""

import json
import os
import random
import re
import shutil
import struct
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
import validating
from validating import errors, flip, look

from terp.storage.errors import Damaged
from terp.storage.validate import validate
from terp.workflows.cli import terp

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a product in one package, and one with a product in bands."""
    folder = tmp_path_factory.mktemp("packages")
    validating.packages(folder / "one", length=12, most=10**9)
    validating.packages(folder / "bands")
    return folder


@pytest.fixture
def package(made: Path, tmp_path: Path) -> Path:
    """A package, with its table beside it, that may be broken."""
    return Path(shutil.copytree(made / "one", tmp_path / "one")) / "winds.zarr.zip"


@pytest.fixture
def bands(made: Path, tmp_path: Path) -> Path:
    """The table of a product in bands, which are beside it."""
    return Path(shutil.copytree(made / "bands", tmp_path / "bands")) / "winds.zarr.zip.members.json"


def table_of(package: Path) -> Path:
    return package.with_name("winds.zarr.zip.members.json")


def row(package: Path, name: str) -> Any:
    return next(one for one in json.loads(table_of(package).read_bytes())["members"] if one["name"] == name)


def test_the_validator_shares_no_code_with_what_writes() -> None:
    allowed = {"terp.storage.errors", "terp.storage.validate"}
    for path in (ROOT / "storage/validate").glob("*.py"):
        imported = re.findall(r"^\s*(?:from|import) (terp\.[a-z_.]+)", path.read_text(), re.MULTILINE)
        assert {name for name in imported if not name.startswith(tuple(allowed))} == set(), path


def test_a_sound_package_has_no_finding_and_is_not_changed(package: Path, bands: Path) -> None:
    for path, number in ((package, 1), (table_of(package), 1), (bands, 4), (bands.with_name("winds.0001.zarr.zip"), 1)):
        before = look(path.parent)
        report = validate(path)
        assert (report.kind, report.objects, report.files, report.findings) == ("terp package", number, number, ())
        assert look(path.parent) == before


def test_any_flipped_bit_of_a_package_is_found_and_located(package: Path) -> None:
    rng, size = random.Random(8), package.stat().st_size
    rows = json.loads(table_of(package).read_bytes())["members"]
    inside = {at: one["name"] for one in rows for at in range(one["offset"], one["offset"] + one["size"])}
    places = [*rng.sample(sorted(inside), 60), *rng.sample(range(size), 60), *range(size - 98, size)]
    for at in places:
        bit = at * 8 + rng.randrange(8)
        flip(package, bit)
        found = [
            one for one in validate(package).errors if one.rule != "terp P11"
        ]  # that the file as a whole is another
        assert found, bit
        assert at not in inside or [(one.rule, one.member) for one in found] == [("terp P7", inside[at])]
        flip(package, bit)
    assert validate(package).findings == ()


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_every_bit_of_a_directory_counts(package: Path) -> None:
    size = package.stat().st_size
    for bit in range((size - 1000) * 8, size * 8):
        flip(package, bit)
        assert errors(validate(package).findings) - {"P11"}, bit
        flip(package, bit)


def test_unreadable_as_a_zip_its_members_are_still_looked_at_by_the_table(package: Path) -> None:
    flip(package, row(package, "wind/c/0/0/0")["offset"] * 8)
    with open(package, "r+b") as file:
        file.truncate(package.stat().st_size - 50)
    found = validate(package).errors
    assert {(one.rule, one.member) for one in found} >= {("terp P1", ""), ("terp P7", "wind/c/0/0/0")}
    assert not any(one.rule == "terp P7" and one.member != "wind/c/0/0/0" for one in found)


def swapped(package: Path) -> None:
    """Exchange the data of two shards of equal size."""
    rows = [one for one in json.loads(table_of(package).read_bytes())["members"] if "key" in one]
    one, other = next((a, b) for a in rows for b in rows if a is not b and a["size"] == b["size"])
    data = bytearray(package.read_bytes())
    first, second = (slice(each["offset"], each["offset"] + each["size"]) for each in (one, other))
    data[first], data[second] = data[second], data[first]
    package.write_bytes(data)


def patched(package: Path, find: bytes, at: int, value: bytes) -> None:
    """Write over what lies so many bytes behind the last place of some bytes."""
    data = bytearray(package.read_bytes())
    start = data.rindex(find) + at
    data[start : start + len(value)] = value
    package.write_bytes(data)


def ordinary(package: Path, names: list[str], method: int) -> None:
    """Put another ZIP in its place, as any tool makes it."""
    with zipfile.ZipFile(package, "w", method) as made:
        for name in names:
            made.writestr(name, bytes(3_000_000))


HUGE = struct.pack("<Q", 2**60)
FAULTS: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "two shards exchanged": (swapped, {"P7"}),
    "cut off": (lambda at: os.truncate(at, 9000), {"P1"}),
    "empty": (lambda at: os.truncate(at, 0), {"P1"}),
    "grown": (lambda at: at.write_bytes(at.read_bytes() + b"x"), {"P1"}),
    "something before": (lambda at: at.write_bytes(b"x" + at.read_bytes()), {"P1"}),
    "something between": (
        lambda at: at.write_bytes(at.read_bytes().replace(b"PK\1\2", bytes(4096) + b"PK\1\2", 1)),
        {"P1"},
    ),
    "a huge member": (lambda at: patched(at, b"\1\0\x18\0", 4, HUGE + HUGE), {"P6", "P9"}),
    "a huge place": (lambda at: patched(at, b"\1\0\x18\0", 20, HUGE), {"P6"}),
    "huge counts": (lambda at: patched(at, b"PK\6\6", 24, HUGE + HUGE), {"P2"}),
    "a huge directory": (lambda at: patched(at, b"PK\6\6", 40, HUGE), {"P1"}),
    "members in each other": (lambda at: patched(at, b"\1\0\x18\0", 20, bytes(8)), {"P6"}),
    "compressed": (lambda at: ordinary(at, ["zarr.json", "a/c/0"], zipfile.ZIP_DEFLATED), {"P2"}),
    "by another method": (lambda at: ordinary(at, ["zarr.json", "a/c/0"], zipfile.ZIP_BZIP2), {"P2"}),
    "an ordinary ZIP": (lambda at: ordinary(at, ["zarr.json"], zipfile.ZIP_STORED), {"P1"}),
    "no ZIP": (lambda at: at.write_bytes(b"thesis" * 99), {"P1"}),
    "no table": (lambda at: table_of(at).unlink(), {"P8"}),
    "a pipe": (lambda at: [table_of(at).unlink(), os.mkfifo(table_of(at))], {"P8"}),
    "a link": (lambda at: [table_of(at).unlink(), table_of(at).symlink_to("/etc/passwd")], {"P8"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_package_is_found_in_no_time_and_no_memory(fault: str, package: Path) -> None:
    harm, wanted = FAULTS[fault]
    harm(package)
    start = time.monotonic()
    tracemalloc.start()
    try:
        found = validate(package).errors
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 10
    assert wanted <= errors(found), found


def with_end(package: Path) -> None:
    """Give an ordinary ZIP the end of a package, so that its directory is read."""
    data = package.read_bytes()
    *_, count, length, start, _ = struct.unpack("<4s4H2LH", data[-22:])
    head = data[:-22]
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 0x32D, 45, 0, 0, count, count, length, start)
    end += struct.pack("<4sLQL", b"PK\6\7", 0, len(head), 1)
    package.write_bytes(head + end + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0))


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../../evil", "a//b", "a\\b", "a\x1bb", "zarr.json/x"])
def test_names_that_lead_elsewhere_are_found_and_nothing_is_written(name: str, package: Path, tmp_path: Path) -> None:
    ordinary(package, ["zarr.json", name], zipfile.ZIP_STORED)
    with_end(package)
    before = look(tmp_path)
    assert {"P2", "P4"} <= errors(validate(package).findings)
    assert look(tmp_path) == before


def test_a_bomb_is_not_unpacked(package: Path) -> None:
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("zarr.json", bytes(200_000_000))
    with_end(package)
    start = time.monotonic()
    found = validate(package).errors
    assert any("compressed by method 8, and is not unpacked" in one.message for one in found)
    assert time.monotonic() - start < 2


def change(**members: Any) -> Callable[[dict[str, Any]], None]:
    return lambda table: table.update(members)


def shard(**members: Any) -> Callable[[dict[str, Any]], None]:
    return lambda table: next(one for one in table["members"] if "key" in one).update(members)


TABLES: dict[str, tuple[Callable[[dict[str, Any]], object], set[str]]] = {
    "another format": (change(format="terp members 9"), {"P8"}),
    "a key too many": (change(more=1), {"P8"}),
    "a key too few": (lambda table: table.pop("bands"), {"P8"}),
    "no list": (change(members=None), {"P8"}),
    "a member twice": (lambda table: table["members"].append(table["members"][0]), {"P8"}),
    "a member too few": (lambda table: table["members"].pop(0), {"P9", "P12"}),
    "a place of nothing": (shard(offset=-1), {"P8"}),
    "a place of yes": (shard(offset=True), {"P8"}),
    "another place": (shard(offset=0), {"P9"}),
    "another CRC-32": (shard(crc32="00000000"), {"P9"}),
    "another BLAKE3": (shard(blake3="0" * 64), {"P10", "P12"}),
    "other values": (shard(values="0" * 64), {"P13"}),
    "another key": (shard(key="x"), {"P12"}),
    "half a letter": (shard(name="\ud800"), {"P8"}),
    "another package": (shard(package=7), {"P8"}),
    "another root": (change(stored="0" * 64), {"P12"}),
    "a package elsewhere": (lambda table: table["packages"][0].update(name="../winds.zarr.zip"), {"P8"}),
    "another package's name": (lambda table: table["packages"][0].update(name="x.zarr.zip"), {"P9"}),
    "another size": (lambda table: table["packages"][0].update(size=1), {"P11"}),
    "another SHA-512": (lambda table: table["packages"][0].update(sha512="0" * 128), {"P11"}),
    "endless regions": (lambda table: table["groups"][0]["cut"].update(time=[10**18, 1]), {"P8"}),
    "regions of no rows": (lambda table: table["groups"][0]["cut"].update(time=[10, 0]), {"P8"}),
}


@pytest.mark.parametrize("fault", TABLES)
def test_what_is_wrong_with_a_table_is_found(fault: str, package: Path) -> None:
    harm, wanted = TABLES[fault]
    table = json.loads(table_of(package).read_bytes())
    harm(table)
    table_of(package).write_text(json.dumps(table, sort_keys=True, separators=(",", ":")))
    assert wanted <= errors(validate(package).findings)


ODD = [None, True, -1, 1.5, 2**70, "", "\ud800", "é", [], {}, [[]], {"a": 1}, "0" * 64, [1, 2, 3]]


def spots(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [spot for key in keys for spot in [(*before, key), *spots(value[key], (*before, key))]]


def test_whatever_a_table_holds_is_judged_and_never_a_traceback(package: Path) -> None:
    rng, sound = random.Random(3), table_of(package).read_bytes()
    for _ in range(150):
        table = json.loads(sound)
        *before, last = rng.choice(spots(table))
        inner = table
        for key in before:
            inner = inner[key]
        inner[last] = rng.choice(ODD)
        table_of(package).write_text(json.dumps(table))
        assert errors(validate(package).findings)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": NaN}', "[" * 100_000, "\ufeff{}", '{"a":1,"a":2}'])
def test_a_table_that_is_none_is_told(text: str, package: Path) -> None:
    table_of(package).write_text(text)
    assert errors(validate(package).findings) == {"P8"}


def test_a_table_that_is_written_otherwise_is_told(package: Path) -> None:
    table_of(package).write_text(json.dumps(json.loads(table_of(package).read_bytes()), indent=1))
    assert errors(validate(package).findings) == {"P8"}


def test_damage_in_bands_is_located_in_the_product(bands: Path) -> None:
    band = bands.with_name("winds.0001.zarr.zip")
    rows = json.loads(bands.read_bytes())["members"]
    one = next(one for one in rows if one["package"] == 1 and one["name"] == "wind/c/0/0/0")
    flip(band, one["offset"] * 8 + 200)
    (found,) = (one for one in validate(bands).errors if one.rule == "terp P7")
    assert (found.path, found.member) == ("winds.0001.zarr.zip", "wind/c/0/0/0")
    assert "region 12 of array wind" in found.message  # 6 rows of shards in a band, 2 regions in each


def test_bands_that_are_lost_or_exchanged_are_found(bands: Path) -> None:
    one, two = bands.with_name("winds.0000.zarr.zip"), bands.with_name("winds.0001.zarr.zip")
    aside = one.rename(one.with_name("aside"))
    assert [(each.rule, each.path) for each in validate(bands).errors] == [("terp P9", one.name)]
    two.rename(one)
    aside.rename(two)
    found = validate(bands).errors
    assert {each.path for each in found if each.rule == "terp P11"} == {one.name, two.name}


def test_an_altered_table_of_bands_shows_by_its_root(bands: Path) -> None:
    table = json.loads(bands.read_bytes())
    shard(blake3="1" * 64)(table)
    bands.write_text(json.dumps(table, sort_keys=True, separators=(",", ":")))
    assert {"P10", "P12"} <= errors(validate(bands).findings)


def test_terp_verify_names_member_region_and_cure(package: Path) -> None:
    flip(package, row(package, "gust/c/0/1/0")["offset"] * 8 + 300)
    done = CliRunner().invoke(terp, ["verify", str(package)])
    assert isinstance(done.exception, Damaged)
    assert "winds.zarr.zip > gust/c/0/1/0" in done.output
    assert "is damaged: region 2 of array gust: its CRC-32 is another" in done.output
    assert "cure: restore it from a copy" in done.output
