"""A shard that terp writes is a shard as zarr-python writes it, each reads the other's, and nothing changes unseen."""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terp.storage.codec import Codec
from terp.storage.errors import BadProduct, Damaged, Missing
from terp.storage.grid import Array, shape_array
from terp.storage.open_shard import Extent, OpenShard, kept_open
from terp.storage.shard import array_metadata, values_digest, write_shard
from terp.storage.sharded import Pick, ShardedArray

CODECS = ["none", "lz4-5-shuffle", "lz4-1-bitshuffle", "zstd-1-bitshuffle", "zstd-3-noshuffle"]
DTYPES = ["bool", "int8", "uint16", "int32", "int64", "uint64", "float32", "float64", "complex64", "complex128"]


def store(folder: Path, array: Array, block: np.ndarray[Any, Any]) -> zarr.Array[Any]:
    """Write a one-shard array with terp and open it with zarr-python."""
    shard = folder / "a" / "c" / "/".join("0" for _ in array.dims)
    shard.parent.mkdir(parents=True)
    (folder / "a" / "zarr.json").write_text(json.dumps(array_metadata(array)))
    write_shard(shard if array.dims else shard.parent / "c", array, block)
    return zarr.open_array(folder / "a", mode="r")


@st.composite
def arrays(draw: st.DrawFn) -> tuple[Array, np.ndarray[Any, Any]]:
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=9))
    dtype = draw(st.sampled_from(DTYPES))
    block = draw(hnp.arrays(dtype, shape))
    chunk = tuple(draw(st.integers(1, n)) for n in shape)
    shard = tuple(-(-n // c) * c for n, c in zip(shape, chunk, strict=True))
    dims = tuple("xyzt"[: len(shape)])
    return Array("a", dims, shape, dtype, shard, chunk, codec=draw(st.sampled_from(CODECS))), block


@settings(max_examples=60, deadline=None)
@given(made=arrays())
def test_zarr_python_reads_any_shard_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[Array, np.ndarray[Any, Any]]
) -> None:
    array, block = made
    read = store(tmp_path_factory.mktemp("z"), array, block)[...]
    assert values_digest(np.asarray(read)) == values_digest(block)


@settings(max_examples=40, deadline=None)
@given(made=arrays())
def test_the_bytes_are_those_of_zarr_python_but_for_the_tag_and_offsets(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[Array, np.ndarray[Any, Any]]
) -> None:
    array, block = made
    folder = tmp_path_factory.mktemp("z")
    store(folder, array, block)
    metadata = array_metadata(array)
    from zarr.codecs import ShardingCodec

    inner = metadata["codecs"][0]["configuration"]
    codec = ShardingCodec(
        chunk_shape=array.chunk,
        codecs=inner["codecs"],
        index_codecs=inner["index_codecs"],
        subchunk_write_order="lexicographic",
    )
    with zarr.config.set({"array.write_empty_chunks": True}):
        other = zarr.create_array(
            folder / "b",
            shape=array.shard,
            chunks=array.shard,
            dtype=array.dtype,
            fill_value=_fill(array.dtype),
            serializer=codec,
            compressors=None,
            filters=None,
        )
        padded = np.full(array.shard, _fill(array.dtype), array.dtype)
        padded[tuple(slice(0, n) for n in array.shape)] = block
        other[...] = padded
    key = "/".join("0" for _ in array.dims)
    ours, theirs = (folder / "a" / "c" / key).read_bytes(), (folder / "b" / "c" / key).read_bytes()
    index = 16 * int(np.prod([s // c for s, c in zip(array.shard, array.chunk, strict=True)])) + 4
    assert ours[16:-index] == theirs[:-index]
    moved = np.frombuffer(ours[-index:-4], "<u8").reshape(-1, 2) - [16, 0]
    np.testing.assert_array_equal(moved, np.frombuffer(theirs[-index:-4], "<u8").reshape(-1, 2))


def _fill(dtype: str) -> Any:
    return {"f": np.nan, "c": complex(np.nan, np.nan), "b": False}.get(np.dtype(dtype).kind, 0)


def test_the_same_block_gives_the_same_bytes_and_digests(tmp_path: Path) -> None:
    array = shape_array("a", ("x", "y"), (300, 400), "float32", {})
    block = np.random.default_rng(1).normal(size=(300, 400)).astype("f4")
    one = write_shard(tmp_path / "1", array, block)
    other = write_shard(tmp_path / "2", array, np.asfortranarray(block))
    assert one == other
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_any_flipped_bit_of_a_shard_is_an_error_when_it_is_read(tmp_path: Path) -> None:
    array = Array("a", ("x",), (4000,), "float32", (4000,), (1000,))
    block = np.random.default_rng(2).normal(size=4000).astype("f4")
    opened = store(tmp_path, array, block)
    shard = tmp_path / "a" / "c" / "0"
    good = shard.read_bytes()
    for position in np.random.default_rng(3).integers(16 * 8, len(good) * 8, 60):
        bad = bytearray(good)
        bad[position // 8] ^= 1 << (position % 8)
        shard.write_bytes(bad)
        with pytest.raises((ValueError, RuntimeError)):
            opened[:]


def ours(folder: Path, array: Array, tag: str | None = None) -> ShardedArray:
    """The array of a folder, to be read by terp's own reader; one that zarr-python wrote has no tag."""

    def locate(place: tuple[int, ...]) -> Extent:
        path = folder / "/".join(["c", *map(str, place)])
        data = path.read_bytes()
        return Extent(path, 0, len(data), data[:16].hex() if tag is None else tag)

    return ShardedArray(array, "a", locate, "a test")


@st.composite
def picks(draw: st.DrawFn, shape: tuple[int, ...]) -> list[Pick]:
    found: list[Pick] = []
    for n in shape:
        if draw(st.booleans()):
            start = draw(st.integers(0, n))
            found.append(slice(start, draw(st.integers(start, n))))
        else:
            found.append(np.array(draw(st.lists(st.integers(-n, n - 1), max_size=6)), int))
    return found


@st.composite
def grids(draw: st.DrawFn) -> tuple[Array, np.ndarray[Any, Any], list[Pick]]:
    """An array of several shards, its values, and a part of it."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=12))
    dtype = draw(st.sampled_from(DTYPES))
    chunk = tuple(draw(st.integers(1, n)) for n in shape)
    shard = tuple(c * draw(st.integers(1, 3)) for c in chunk)
    array = Array("a", tuple("xyz"[: len(shape)]), shape, dtype, shard, chunk, codec=draw(st.sampled_from(CODECS)))
    return array, draw(hnp.arrays(dtype, shape)), draw(picks(shape))


@settings(max_examples=120, deadline=None)
@given(made=grids(), threads=st.sampled_from([1, 3]), by_zarr=st.booleans())
def test_any_part_is_read_as_it_was_written_by_terp_or_zarr_python(
    tmp_path_factory: pytest.TempPathFactory,
    made: tuple[Array, np.ndarray[Any, Any], list[Pick]],
    threads: int,
    by_zarr: bool,
) -> None:
    array, values, part = made
    folder = tmp_path_factory.mktemp("grid")
    (folder / "zarr.json").write_text(json.dumps(array_metadata(array)))
    if by_zarr:
        with zarr.config.set({"array.write_empty_chunks": True}):
            zarr.open_array(folder, mode="r+")[...] = values
    else:
        for place in np.ndindex(*(-(-n // s) for n, s in zip(array.shape, array.shard, strict=True))):
            path = folder / "/".join(["c", *map(str, place)])
            path.parent.mkdir(parents=True, exist_ok=True)
            box = tuple(slice(p * s, (p + 1) * s) for p, s in zip(place, array.shard, strict=True))
            write_shard(path, array, values[box])
    chosen = [np.arange(size)[one] for size, one in zip(array.shape, part, strict=True)]
    expected = values[np.ix_(*chosen)] if array.shape else values
    reader = ours(folder, array, "" if by_zarr else None)
    found = reader.read(part, threads=threads)
    assert values_digest(found) == values_digest(expected)
    out = np.empty(expected.shape, values.dtype)
    assert reader.read(part, out=out) is out
    assert values_digest(out) == values_digest(expected)


@pytest.mark.parametrize("codec", CODECS)
def test_any_flipped_bit_is_an_error_for_our_reader_or_not_of_what_it_reads(tmp_path: Path, codec: str) -> None:
    array = Array("a", ("x",), (4000,), "float32", (4000,), (1000,), codec=codec)
    block = np.random.default_rng(2).normal(size=4000).astype("f4")
    store(tmp_path, array, block)
    shard = tmp_path / "a/c/0"
    reader, good = ours(tmp_path / "a", array, shard.read_bytes()[:16].hex()), shard.read_bytes()
    for position in np.random.default_rng(3).integers(0, len(good) * 8, 200):
        bad = bytearray(good)
        bad[position // 8] ^= 1 << (position % 8)
        shard.write_bytes(bad)
        with pytest.raises(Damaged, match="c/0 of a test"):
            reader.read([slice(0, 4000)])
    for size in (0, 10, len(good) - 1, len(good) + 1):
        shard.write_bytes((good + b"x")[:size])
        whole = ShardedArray(array, "a", lambda _: Extent(shard, 0, len(good), good[:16].hex()), "a test")
        with pytest.raises(Damaged):
            whole.read([slice(0, 1)])
    shard.unlink()
    with pytest.raises(Missing, match="is gone"):
        whole.read([slice(0, 1)])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("length", [0, 1, 500, 999, 1001, 2000])
def test_a_chunk_with_more_or_fewer_values_than_it_should_have_is_an_error(
    tmp_path: Path, codec: str, length: int
) -> None:
    array = Array("a", ("x",), (1000,), "float32", (1000,), (1000,), codec=codec)
    other = replace(array, shape=(length,), shard=(max(length, 1),), chunk=(max(length, 1),))
    (tmp_path / "c").mkdir()
    write_shard(tmp_path / "c/0", other, np.ones(length, "f4"))
    with pytest.raises(Damaged):
        ours(tmp_path, array).read([slice(0, 1000)], out=np.full(1000, 7, "f4"))


@pytest.mark.parametrize("codec", CODECS)
def test_stored_bytes_that_no_encoder_made_are_an_error(codec: str) -> None:
    out = np.full(1000, 7, "f4")
    for data in (b"", b"abc", bytes(16), bytes(15), b"\x02\x01\x21\x04" + struct.pack("<3I", 4000, 4000, 1 << 30)):
        whole = data + struct.pack("<I", google_crc32c.value(data))
        for stored in (whole, whole[:3], whole[:0]):
            with pytest.raises(Damaged):
                Codec.named(codec).decode(np.frombuffer(stored, np.uint8), out)


@pytest.mark.parametrize(
    "entry", [(2**64 - 8, 16), (2**63, 2**63), (2**64 - 2, 2**64 - 1), (0, 20), (16, 2), (16, 0), (10**6, 40)]
)
def test_an_index_that_points_anywhere_else_is_an_error(tmp_path: Path, entry: tuple[int, int]) -> None:
    array = Array("a", ("x",), (8,), "float32", (8,), (8,), codec="none")
    store(tmp_path, array, np.arange(8, dtype="f4"))
    shard = tmp_path / "a/c/0"
    index = struct.pack("<2Q", *entry)
    shard.write_bytes(shard.read_bytes()[:-20] + index + struct.pack("<I", google_crc32c.value(index)))
    with pytest.raises(Damaged, match="c/0 of a test"):
        ours(tmp_path / "a", array).read([slice(0, 8)])


def test_shards_that_are_kept_open_are_opened_and_proven_once_and_let_go_in_the_end(tmp_path: Path) -> None:
    array = Array("a", ("x",), (40,), "float32", (40,), (4,), codec="none")
    values = np.arange(40, dtype="f4")
    store(tmp_path, array, values)
    reader, before = ours(tmp_path / "a", array), len(os.listdir("/proc/self/fd"))
    with kept_open():
        for start in range(0, 40, 4):
            np.testing.assert_array_equal(reader.read([slice(start, start + 4)]), values[start : start + 4])
        assert len(os.listdir("/proc/self/fd")) == before + 1
        shutil.rmtree(tmp_path / "a")
        np.testing.assert_array_equal(reader.read([slice(2, 38)]), values[2:38])
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(FileNotFoundError):
        reader.read([slice(0, 4)])


def test_of_many_shards_those_that_were_wanted_last_are_kept_open(tmp_path: Path) -> None:
    array = Array("a", ("x",), (8,), "float32", (8,), (4,), codec="none")
    readers = []
    for number in range(20):
        store(tmp_path / str(number), array, np.arange(8, dtype="f4") + number)
        readers.append(ours(tmp_path / str(number) / "a", array))
    before = len(os.listdir("/proc/self/fd"))
    with kept_open():
        for reader in readers:
            reader.read([slice(0, 2)])
        assert len(os.listdir("/proc/self/fd")) == before + 16
        shutil.rmtree(tmp_path)
        for number in range(4, 20):
            np.testing.assert_array_equal(readers[number].read([slice(3, 6)]), np.arange(3, 6) + number)
        with pytest.raises(FileNotFoundError):
            readers[3].read([slice(0, 2)])
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_shard_that_was_kept_open_and_disappoints_is_opened_anew(tmp_path: Path) -> None:
    array = Array("a", ("x",), (8,), "float32", (8,), (4,), codec="none")
    values = np.arange(8, dtype="f4")
    store(tmp_path, array, values)
    reader, shard = ours(tmp_path / "a", array), tmp_path / "a/c/0"
    good = shard.read_bytes()
    with kept_open():
        reader.read([slice(0, 4)])
        place = good.index(values[4:].tobytes())
        with shard.open("r+b") as file:
            file.seek(place)
            file.write(b"\1\1")
        with pytest.raises(Damaged, match="CRC32C"):
            reader.read([slice(4, 8)])
        (tmp_path / "other").write_bytes(good)
        (tmp_path / "other").rename(shard)
        np.testing.assert_array_equal(reader.read([slice(4, 8)]), values[4:])


@pytest.mark.parametrize("codec", ["none", "lz4-5-shuffle", "zstd-1-bitshuffle"])
def test_parts_of_a_chunk_that_are_read_in_turn_are_decoded_once_and_never_another_chunks(
    tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, readers = list[int](), []
    for number, chunk in enumerate([10, 20, 20]):
        array = Array("a", ("x",), (20,), "float32", (20,), (chunk,), codec=codec)
        store(tmp_path / str(number), array, np.arange(20, dtype="f4") + 100 * number)
        readers.append(ours(tmp_path / str(number) / "a", array))
    true = OpenShard.chunk
    monkeypatch.setattr(OpenShard, "chunk", lambda *args: (reads.append(1), true(*args))[1])

    def part(which: int, start: int, stop: int) -> int:
        """Read a part, hold it against what is stored, and say whether the disk was read for it."""
        reads.clear()
        found = readers[which].read([slice(start, stop)])
        np.testing.assert_array_equal(found, np.arange(start, stop, dtype="f4") + 100 * which)
        found[:] = -1  # what is given is the reader's own
        return bool(reads)

    with kept_open():
        assert [part(0, 0, 3), part(0, 3, 6), part(0, 1, 7)] == [True, False, False]
        assert [part(0, 10, 13), part(0, 2, 5), part(0, 8, 12)] == [True, True, True]  # the second chunk, and back
        assert [part(1, 0, 3), part(0, 12, 14), part(1, 18, 19)] == [True, True, True]  # another array's
        assert [part(2, 5, 6), part(2, 6, 19), part(1, 5, 6)] == [True, False, True]  # of the same number
    assert part(1, 6, 19), "what was let go is proven again"


_FORKED = """
import os, sys, warnings
from pathlib import Path
import numpy as np
from terp.storage.grid import Array
from terp.storage.shard import write_shard
from terp.storage.open_shard import Extent
from terp.storage.sharded import ShardedArray
array, path = Array("a", ("x",), (4000,), "float32", (4000,), (100,), codec="none"), Path(sys.argv[1])
stored = write_shard(path, array, np.arange(4000, dtype="f4"))
reader = ShardedArray(array, "a", lambda _: Extent(path, 0, stored.size, stored.tag), "a test")
reader.read([slice(0, 4000)], threads=3)
if not (child := os.fork()):
    os._exit(not (reader.read([slice(0, 4000)], threads=3) == np.arange(4000)).all())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_process_forked_from_one_that_has_read_reads_too(tmp_path: Path) -> None:
    """Python's multiprocessing forks, and the threads of a pool stay behind."""
    command = [sys.executable, "-W", "ignore", "-c", _FORKED, str(tmp_path / "0")]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            assert process.wait(timeout=30) == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_an_unknown_codec_is_told_with_those_that_there_are() -> None:
    with pytest.raises(BadProduct, match=r"lzma.* is no codec: write none, or zstd or lz4"):
        Codec.named("lzma-9")


def test_inner_chunks_are_about_a_mebibyte_and_divide_what_is_cut() -> None:
    array = shape_array("a", ("t", "x"), (10_000, 4096), "float64", {"x": (4096, 256)})
    assert array.shard[1] == 256
    assert array.shard[1] % array.chunk[1] == 0
    assert array.shard[0] >= 10_000
    assert np.prod(array.chunk) * 8 <= 1 << 20
