"""A package: same bytes every time, every byte accounted for, read by tools that have never heard of terp."""

import errno
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import zarr
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terp.storage.errors import BadPackage, Damaged, DiskTrouble, Missing
from terp.storage.package import Member, Packed, pack, pack_product, read_directory
from terp.storage.package import packing as package
from terp.storage.package.zip64 import ALIGNMENT, Entry, central, local, tail

sys.path.insert(0, str(Path(__file__).parent))
import products

GROUP = b'{"zarr_format":3,"node_type":"group","attributes":{}}'


def write(folder: Path, contents: dict[str, bytes], *, known: bool = True) -> list[Member]:
    members = []
    for name, data in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        digests = (zlib.crc32(data), blake3(data).hexdigest()) if known and "/c/" in name else ()
        members.append(Member(name, path, len(data), *digests))
    return members


@pytest.fixture
def contents() -> dict[str, bytes]:
    rng = random.Random(1)
    return {
        "b/temperature/c/0/1": rng.randbytes(20_000),
        "b/temperature/c/0/0": rng.randbytes(20_000),
        "b/temperature/zarr.json": b'{"node_type":"array"}',
        "zarr.json": GROUP,
        "a/zarr.json": GROUP,
        "b/zarr.json": GROUP,
        "b/temperature/c/1/0": b"",
    }


@pytest.fixture
def packed(tmp_path: Path, contents: dict[str, bytes]) -> Packed:
    return pack(write(tmp_path / "product", contents), tmp_path / "p.zarr.zip")


def test_unzip_finds_no_fault_and_gives_the_files_back(
    packed: Packed, contents: dict[str, bytes], tmp_path: Path
) -> None:
    done = subprocess.run(["unzip", "-t", packed.path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "No errors detected" in done.stdout
    subprocess.run(["unzip", "-q", packed.path, "-d", tmp_path / "out"], check=True)
    assert {n: (tmp_path / "out" / n).read_bytes() for n in contents} == contents


def test_sha512sum_agrees_with_the_digest_made_while_packing(packed: Packed) -> None:
    sums = packed.path.with_name("SHA512SUMS")
    sums.write_text(f"{packed.sha512}  {packed.path.name}\n")
    subprocess.run(["sha512sum", "--strict", "-c", sums.name], cwd=sums.parent, check=True, capture_output=True)
    done = subprocess.run(["sha256sum", packed.path], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == packed.sha256
    assert packed.path.stat().st_size == packed.size


def test_pythons_zipfile_and_zarrs_zipstore_agree(packed: Packed, contents: dict[str, bytes]) -> None:
    with zipfile.ZipFile(packed.path) as file:
        assert file.testzip() is None
        assert {name: file.read(name) for name in file.namelist()} == contents
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr >> 16 for info in file.infolist()} == {0o100644}
    with zarr.storage.ZipStore(packed.path, read_only=True) as store:
        assert sorted(zarr.open_group(store, mode="r").group_keys()) == ["a", "b"]


def test_metadata_come_first_breadth_first_then_all_else_by_name(packed: Packed) -> None:
    assert [entry.name for entry in packed.members] == [
        "zarr.json",
        "a/zarr.json",
        "b/zarr.json",
        "b/temperature/zarr.json",
        "b/temperature/c/0/0",
        "b/temperature/c/0/1",
        "b/temperature/c/1/0",
    ]


def test_data_are_aligned_and_where_the_table_says(packed: Packed, contents: dict[str, bytes]) -> None:
    data = packed.path.read_bytes()
    for entry in packed.members:
        assert entry.offset % ALIGNMENT == 0
        assert data[entry.offset : entry.offset + entry.size] == contents[entry.name]
        assert entry.blake3 == blake3(contents[entry.name]).hexdigest()
    without = tuple(replace(entry, blake3=None) for entry in packed.members)
    assert read_directory(packed.path) == without


def test_same_content_gives_the_same_bytes_whatever_the_order_times_and_umask(
    contents: dict[str, bytes], tmp_path: Path
) -> None:
    first = pack(write(tmp_path / "1", contents), tmp_path / "1.zip")
    before = os.umask(0o077)
    try:
        members = write(tmp_path / "2", dict(reversed(contents.items())), known=False)
        for number, member in enumerate(members):
            os.utime(member.path, (number, number))
        second = pack(members, tmp_path / "2.zip")
    finally:
        os.umask(before)
    assert first.path.read_bytes() == second.path.read_bytes()
    assert (first.sha256, first.sha512, first.members) == (second.sha256, second.sha512, second.members)
    assert pack(members, second.path).sha512 == first.sha512  # over itself


def test_every_size_and_offset_is_in_a_zip64_field(packed: Packed) -> None:
    data, at = packed.path.read_bytes(), 0
    with zipfile.ZipFile(packed.path) as file:
        starts = [info.header_offset for info in file.infolist()]
    for entry, start in zip(packed.members, starts, strict=True):
        needed, flags, size, stored, name, extra = struct.unpack_from("<4x2H10x2L2H", data, start)
        assert (needed, flags, size, stored) == (45, 1 << 11, 2**32 - 1, 2**32 - 1)
        assert struct.unpack_from("<2H2Q", data, start + 30 + name) == (1, 16, entry.size, entry.size)
        assert struct.unpack_from("<3H", data, start + 50 + name) == (0xA11E, extra - 24, ALIGNMENT)
        at = data.index(b"PK\1\2", at + 1)
        assert struct.unpack_from("<2L2H", data, at + 20) == (2**32 - 1, 2**32 - 1, name, 28)
        assert struct.unpack_from("<2H3Q", data, at + 46 + name) == (1, 24, entry.size, entry.size, start)
    assert data[-98:-94] == b"PK\6\6"
    assert data[-42:-38] == b"PK\6\7"
    assert data[-22:] == b"PK\5\6" + bytes(4) + b"\xff" * 12 + bytes(2)


names = st.lists(
    st.text("abcé☃ .-_0", min_size=1, max_size=6).filter(lambda t: t not in (".", "..")), min_size=1, max_size=3
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names.map("/".join), st.integers(0, 9000), max_size=6), st.randoms())
def test_whatever_can_be_named_comes_back(tmp_path: Path, sizes: dict[str, int], rng: random.Random) -> None:
    folders = {name[:at] for name in sizes for at, letter in enumerate(name) if letter == "/"}
    contents = {name: rng.randbytes(size) for name, size in sizes.items() if name not in folders} | {"zarr.json": GROUP}
    folder = Path(tempfile.mkdtemp(dir=tmp_path))  # what is random repeats itself here
    packed = pack(write(folder, contents), folder / "package.zip")
    with zipfile.ZipFile(packed.path) as file:
        assert {name: file.read(name) for name in file.namelist()} == contents
    assert [entry.name for entry in read_directory(packed.path)] == [entry.name for entry in packed.members]


def test_offsets_beyond_four_gigabytes_are_read_by_us_and_by_others(tmp_path: Path) -> None:
    hole, path, data = 5 << 30, tmp_path / "large.zip", b"beyond" * 1000
    parts = [("zarr.json", GROUP, len(GROUP)), ("v/c/0", b"", hole), ("v/c/1", data, len(data))]
    records = []
    with path.open("wb") as file:
        for name, content, size in parts:
            start = file.tell()
            file.write(local(name, zlib.crc32(content), size, start))
            records.append(central(Entry(name, file.tell(), size, zlib.crc32(content)), start))
            file.write(content)
            file.seek(size - len(content), os.SEEK_CUR)
        directory = b"".join(records)
        file.write(directory + tail(len(records), len(directory), file.tell()))
    entry = read_directory(path)[-1]
    assert entry.offset > hole
    assert os.pread(os.open(path, os.O_RDONLY), entry.size, entry.offset) == data
    with zipfile.ZipFile(path) as file:
        assert file.read("v/c/1") == data
    assert subprocess.run(["unzip", "-p", path, "v/c/1"], capture_output=True).stdout == data


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["a/zarr.json"], "no zarr.json at the top"),
        (["zarr.json", "zarr.json"], "twice"),
        (["zarr.json", "a", "a/b"], "a file and a folder"),
        (["zarr.json", "../a"], "cannot be the name"),
        (["zarr.json", "/a"], "cannot be the name"),
        (["zarr.json", "a/"], "cannot be the name"),
        (["zarr.json", "a\nb"], "cannot be the name"),
        (["zarr.json", "a\\b"], "cannot be the name"),
        (["zarr.json", "\ud800"], "cannot be the name"),
        (["zarr.json", "n" * 2**16], "cannot be the name"),
    ],
)
def test_names_that_others_could_not_unpack_are_refused(names: list[str], problem: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadPackage, match=problem):
        pack([Member(name, tmp_path / "file", 0) for name in names], tmp_path / "p.zip")
    assert os.listdir(tmp_path) == ["file"]


def damage_flip(path: Path, _: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damage_truncate(path: Path, _: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def damage_extend(path: Path, _: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def damage_swap(path: Path, other: Path) -> None:
    shutil.copy(other, path)


@pytest.mark.parametrize("damage", [damage_flip, damage_truncate, damage_extend, damage_swap])
def test_a_shard_that_is_not_the_recorded_one_is_named_and_nothing_is_left(
    damage: Callable[[Path, Path], None], contents: dict[str, bytes], tmp_path: Path
) -> None:
    members = write(tmp_path / "product", contents)
    damage(members[0].path, members[1].path)
    with pytest.raises(Damaged, match="b/temperature/c/0/1"):
        pack(members, tmp_path / "p.zip")
    assert os.listdir(tmp_path) == ["product"]


def test_a_swap_that_keeps_the_crc_is_found_by_the_recorded_blake3(tmp_path: Path, contents: dict[str, bytes]) -> None:
    members = write(tmp_path / "product", contents)
    forged = [replace(members[0], blake3=members[1].blake3), *members[1:]]
    with pytest.raises(Damaged, match="b/temperature/c/0/1"):
        pack(forged, tmp_path / "p.zip")


def test_a_shard_that_is_gone_is_named(tmp_path: Path, contents: dict[str, bytes]) -> None:
    members = write(tmp_path / "product", contents)
    members[1].path.unlink()
    with pytest.raises(Missing, match="b/temperature/c/0/0"):
        pack(members, tmp_path / "p.zip")
    assert os.listdir(tmp_path) == ["product"]


def test_no_bit_outside_the_data_can_change_unseen(packed: Packed) -> None:
    whole, rng = packed.path.read_bytes(), random.Random(2)
    data = {at for entry in packed.members for at in range(entry.offset, entry.offset + entry.size)}
    around = [at for at in range(len(whole)) if at not in data]
    for at in rng.sample(around, 300) + around[-300:]:
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << rng.randrange(8)
        packed.path.write_bytes(spoilt)
        with pytest.raises(BadPackage, match=r"p\.zarr\.zip"):
            read_directory(packed.path)


@pytest.mark.parametrize("cut", [0, 1, 50, 97, 98, 300, 5000])
def test_a_package_cut_short_or_grown_is_refused(packed: Packed, cut: int) -> None:
    whole = packed.path.read_bytes()
    for spoilt in (whole[: len(whole) - cut - 1], whole[cut + 1 :], whole + bytes(cut + 1), b""):
        packed.path.write_bytes(spoilt)
        with pytest.raises(BadPackage, match="restore it from a copy"):
            read_directory(packed.path)


def test_an_ordinary_zip_is_told_from_a_package(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "o.zip", "w") as file:
        file.writestr("zarr.json", GROUP)
    with pytest.raises(BadPackage, match="not a whole terp package"):
        read_directory(tmp_path / "o.zip")


def test_the_index_beside_the_package_is_canonical_and_complete(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    entries = list(product.entries())
    [packed] = pack_product(product, tmp_path, "p")
    path = tmp_path / "p.zarr.zip.members.json"
    index = json.loads(path.read_bytes())
    assert path.read_bytes() == json.dumps(index, sort_keys=True, separators=(",", ":")).encode()
    assert [one["sha512"] for one in index["packages"]] == [packed.sha512]
    assert [(m["name"], m["offset"], m["size"], int(m["crc32"], 16), m["blake3"]) for m in index["members"]] == [
        (e.name, e.offset, e.size, e.crc32, e.blake3) for e in packed.members
    ]
    assert {m["name"]: m.get("values") for m in index["members"]} == {e.key: e.values for e in entries}
    assert {m["key"] for m in index["members"] if "key" in m} == {e.key for e in product.shards()}
    assert product.seal is not None
    assert (index["values"], index["stored"]) == (product.seal.values, product.seal.stored)


@pytest.mark.parametrize("call", ["fsync", "write"])
@pytest.mark.parametrize(("number", "words"), [(errno.EIO, "input/output error"), (errno.ENOSPC, "disk is full")])
def test_a_disk_that_refuses_leaves_nothing_behind(
    call: str, number: int, words: str, contents: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = write(tmp_path / "product", contents)
    real = getattr(os, call)

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    for good in range(2):
        answers = chain(repeat(real, good), [refuse], repeat(real))
        with monkeypatch.context() as patched:
            patched.setattr(os, call, lambda *args, answers=answers: next(answers)(*args))
            with pytest.raises(DiskTrouble, match=words):
                pack(members, tmp_path / "p.zip")
        assert os.listdir(tmp_path) == ["product"]


def test_a_file_size_limit_of_the_system_is_explained(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from typing import Any
from terp.storage.errors import DiskTrouble
from terp.storage.package import Member, pack
here = Path(sys.argv[1])
(here / "zarr.json").write_bytes(bytes(100_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    pack([Member("zarr.json", here / "zarr.json", 100_000)], here / "p.zip")
except DiskTrouble as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert "larger than is allowed" in done.stdout, done.stderr
    assert os.listdir(tmp_path) == ["zarr.json"]


def test_slow_hashing_never_hashes_what_was_read_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small member is read before its header is written, while the shard before it may still be hashed."""
    import hashlib
    import time
    from concurrent.futures import ThreadPoolExecutor

    class Slow(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            return super().submit(lambda: (time.sleep(0.05), fn(*args, **kwargs))[1])

    monkeypatch.setattr(package, "ThreadPoolExecutor", Slow)
    (tmp_path / "shard").write_bytes(b"s" * 300_000)
    (tmp_path / "small").write_bytes(b"t" * 300_000)
    crc32 = zlib.crc32(b"s" * 300_000)
    members = [Member("a/c/0", tmp_path / "shard", 300_000, crc32), Member("b/c/0", tmp_path / "small", 300_000)]
    packed = pack([_root(tmp_path), *members], tmp_path / "x.zip")
    assert hashlib.sha512((tmp_path / "x.zip").read_bytes()).hexdigest() == packed.sha512


def _root(folder: Path) -> Member:
    (folder / "zarr.json").write_bytes(b"{}")
    return Member("zarr.json", folder / "zarr.json", 2)
