"""Reading a package in place: little is read, nothing is made up, and any reader of Zarr sees the same."""

import asyncio
import os
import pickle
import shutil
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import default_buffer_prototype

from terp.storage.errors import BadPackage, Damaged, DiskTrouble, Missing
from terp.storage.package import Member, pack, read_directory
from terp.storage.package.zipstore import PackageStore, open_zip


def product(folder: Path, shape: tuple[int, int], shard: tuple[int, int], chunk: tuple[int, int]) -> np.ndarray:
    """Make a product with a root group, a large array in shards, coordinates, and a group within."""
    values = np.random.default_rng(3).normal(size=shape).astype("f4")
    with zarr.config.set({"array.write_empty_chunks": True}):
        root = zarr.create_group(folder, attributes={"title": "noise"})
        for group in (root, root.create_group("inner")):
            codecs = [BloscCodec(cname="zstd", shuffle="bitshuffle", typesize=4), Crc32cCodec()]
            group.create_array(
                "v", data=values, shards=shard, chunks=chunk, compressors=codecs, dimension_names=("y", "x")
            )
            for name, size in zip("yx", shape, strict=True):
                group.create_array(name, data=np.arange(size), compressors=[Crc32cCodec()], dimension_names=(name,))
    return values


def members(folder: Path) -> list[Member]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [Member(path.relative_to(folder).as_posix(), path, path.stat().st_size) for path in files]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray]:
    here = tmp_path_factory.mktemp("product")
    values = product(here / "p.zarr", (300, 200), (128, 128), (32, 32))
    return here / "p.zarr", pack(members(here / "p.zarr"), here / "p.zarr.zip").path, values


@pytest.fixture
def package(made: tuple[Path, Path, np.ndarray]) -> Path:
    return made[1]


@pytest.fixture
def lacking(made: tuple[Path, Path, np.ndarray], tmp_path: Path) -> Path:
    """Give a package that was made without one shard."""
    rest = [member for member in members(made[0]) if member.name != "v/c/1/0"]
    return pack(rest, tmp_path / "lacking.zip").path


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the bytes of every read at a place in a file."""
    real, sizes = os.pread, list[int]()

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return real(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    return sizes


def test_xarray_opens_it_in_place(package: Path, made: tuple[Path, Path, np.ndarray]) -> None:
    with open_zip(package) as found, xr.open_zarr(made[0], consolidated=False) as plain:
        xr.testing.assert_identical(found.compute(), plain.compute())
        np.testing.assert_array_equal(found.v, made[2])
    with open_zip(package, group="inner") as inner:
        np.testing.assert_array_equal(inner.v, made[2])


def test_a_group_that_is_not_there_is_told_with_those_that_are(package: Path) -> None:
    with pytest.raises(BadPackage, match="no group 'outer'; it holds inner"):
        open_zip(package, group="outer")


def test_a_file_that_is_no_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(BadPackage, match=r"x\.zip"):
        open_zip(tmp_path / "x.zip")
    with pytest.raises(DiskTrouble, match=r"gone\.zip"):
        open_zip(tmp_path / "gone.zip")


def test_one_inner_chunk_costs_its_own_bytes_and_the_shards_index(tmp_path: Path, counted: list[int]) -> None:
    product(tmp_path / "p.zarr", (1024, 1024), (1024, 1024), (64, 64))
    packed = pack(members(tmp_path / "p.zarr"), tmp_path / "p.zip")
    shard = next(entry for entry in packed.members if entry.name == "v/c/0/0")
    array = zarr.open_group(PackageStore(packed.path), mode="r")["v"]
    counted.clear()
    assert array[64:128, 128:192].shape == (64, 64)
    index = 16 * 16 * 16 + 4
    assert len(counted) == 2
    assert sum(counted) < index + 2 * shard.size / 256
    counted.clear()
    assert array[:].shape == (1024, 1024)
    assert sum(counted) == shard.size


def test_the_pipeline_without_an_event_loop_reads_the_same(package: Path, made: tuple[Path, Path, np.ndarray]) -> None:
    with zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.FusedCodecPipeline"}):
        array = zarr.open_group(PackageStore(package), mode="r")["v"]
        np.testing.assert_array_equal(array[10:200, 3:150], made[2][10:200, 3:150])


@pytest.mark.parametrize("fill", [True, False])
def test_a_lost_shard_raises_whatever_the_configuration_then_or_later(lacking: Path, fill: bool) -> None:
    with zarr.config.set({"array.read_missing_chunks": fill}):
        data = open_zip(lacking)
    assert data.v[:128].shape == data.v[:128].values.shape  # the rest is fine
    with pytest.raises(Missing, match="lacks v/c/1/0"):
        data.v.values  # noqa: B018
    with zarr.config.set({"array.read_missing_chunks": True}), pytest.raises(Missing):
        data.v[200:210].values  # noqa: B018
    array = zarr.open_group(PackageStore(lacking), mode="r")["v"]
    with pytest.raises(Missing):
        array[:]


def test_a_lost_shard_raises_in_other_threads_and_processes(lacking: Path) -> None:
    data = open_zip(lacking)
    with ThreadPoolExecutor(2) as threads, pytest.raises(Missing):
        threads.submit(lambda: data.v.values).result()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes, pytest.raises(Missing):
        processes.submit(data.v.load).result()


def test_a_flipped_bit_in_a_chunk_raises(made: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    path = shutil.copy(made[1], tmp_path / "p.zip")
    entry = next(entry for entry in read_directory(path) if entry.name == "v/c/0/0")
    for at in range(0, entry.size, entry.size // 25):
        spoilt = bytearray(made[1].read_bytes())
        spoilt[entry.offset + at] ^= 1
        path.write_bytes(spoilt)
        with pytest.raises((ValueError, Damaged)):
            open_zip(path).v.values  # noqa: B018


def test_a_flipped_bit_in_a_document_raises(made: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    path = shutil.copy(made[1], tmp_path / "p.zip")
    entry = next(entry for entry in read_directory(path) if entry.name == "v/zarr.json")
    spoilt = path.read_bytes().replace(b'"float32"', b'"float16"')
    assert spoilt[entry.offset : entry.offset + entry.size] != path.read_bytes()[entry.offset :][: entry.size]
    path.write_bytes(spoilt)
    with pytest.raises(Damaged, match=r"v/zarr\.json is not what was packed"):
        open_zip(path)


def test_parts_are_those_asked_for(package: Path, counted: list[int]) -> None:
    entry = next(entry for entry in read_directory(package) if entry.name == "v/c/0/0")
    whole = package.read_bytes()[entry.offset : entry.offset + entry.size]
    store, as_bytes = PackageStore(package), default_buffer_prototype()
    size = entry.size
    parts = {
        RangeByteRequest(10, 20): whole[10:20],
        RangeByteRequest(size - 5, size + 5): whole[-5:],
        RangeByteRequest(size + 5, size + 9): b"",
        OffsetByteRequest(size - 7): whole[-7:],
        OffsetByteRequest(size + 7): b"",
        SuffixByteRequest(4): whole[-4:],
        SuffixByteRequest(size + 1): whole,
        None: whole,
    }
    asked = [(entry.name, part) for part in parts]
    found = asyncio.run(store.get_partial_values(as_bytes, asked))
    assert [buffer.to_bytes() for buffer in found if buffer is not None] == list(parts.values())
    assert max(counted) == size
    assert store.get_sync("inner/zarr.json/zarr.json") is None
    with pytest.raises(TypeError):
        store.get_sync(entry.name, byte_range="all")  # type: ignore[arg-type]


def test_listing_sizes_and_presence_are_those_of_the_directory(
    package: Path, made: tuple[Path, Path, np.ndarray]
) -> None:
    async def look() -> None:
        ours, plain = PackageStore(package), zarr.storage.LocalStore(made[0], read_only=True)
        assert {key async for key in ours.list()} == {key async for key in plain.list()}
        for prefix in ("", "v", "v/", "v/c", "inner/v/c", "nothing"):
            assert {key async for key in ours.list_dir(prefix)} == {key async for key in plain.list_dir(prefix)}
        assert {key async for key in ours.list_prefix("v/c/1")} == {"v/c/1/0", "v/c/1/1"}
        assert await ours.getsize("v/zarr.json") == await plain.getsize("v/zarr.json")
        assert await ours.exists("v/c/0/0")
        assert not await ours.exists("v/c/9/9")
        with pytest.raises(FileNotFoundError):
            await ours.getsize("v/c/9/9")

    asyncio.run(look())


def test_a_store_travels_by_its_path_and_reads_elsewhere(package: Path) -> None:
    store = PackageStore(package)
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert again.get_sync("zarr.json").to_bytes() == store.get_sync("zarr.json").to_bytes()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        there = processes.submit(open_zip(package).v.sum().load).result()
    np.testing.assert_allclose(there, open_zip(package).v.sum())


def test_nothing_can_be_written(package: Path) -> None:
    before = package.read_bytes()
    store = PackageStore(package)
    with pytest.raises(ValueError, match="read-only"):
        zarr.open_group(store, mode="r+")
    value = default_buffer_prototype().buffer.from_bytes(b"x")
    for attempt in (lambda: store.set_sync("a", value), lambda: store.delete_sync("zarr.json")):
        with pytest.raises(ValueError, match="read-only"):
            attempt()
    for write in (store.set("a", value), store.delete("zarr.json")):
        with pytest.raises(ValueError, match="read-only"):
            asyncio.run(write)
    with pytest.raises(ValueError, match="read-only"):
        store.with_read_only(False)
    assert store.with_read_only(True) == store
    assert package.read_bytes() == before


@pytest.fixture
def descriptors() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.usefixtures("descriptors")
def test_closing_gives_the_file_back_and_ends_reading(package: Path) -> None:
    for _ in range(50):
        store = PackageStore(package)
        store.close()
        store.close()
    with pytest.raises(DiskTrouble):
        store.get_sync("zarr.json")
    for _ in range(50):
        PackageStore(package)  # given back when forgotten


def test_many_threads_read_the_same_store_at_once(package: Path, made: tuple[Path, Path, np.ndarray]) -> None:
    data, ready = open_zip(package), threading.Barrier(8)

    def read(start: int) -> np.ndarray:
        ready.wait()
        return data.v[start : start + 100].values

    with ThreadPoolExecutor(8) as threads:
        for start, found in enumerate(threads.map(read, range(8))):
            np.testing.assert_array_equal(found, made[2][start : start + 100])


def test_an_archive_of_the_same_numbers_has_the_same_crc(package: Path) -> None:
    for entry in read_directory(package):
        store = PackageStore(package)
        assert zlib.crc32(store.get_sync(entry.name).to_bytes()) == entry.crc32
