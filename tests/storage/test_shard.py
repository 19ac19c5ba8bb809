"""A shard that terp writes is a shard as zarr-python writes it, and what it holds cannot change unseen."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terp.storage.grid import Array, shape_array
from terp.storage.shard import array_metadata, values_digest, write_shard

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
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=9))
    dtype = draw(st.sampled_from(DTYPES))
    block = draw(hnp.arrays(dtype, shape))
    chunk = tuple(draw(st.integers(1, n)) for n in shape)
    shard = tuple(-(-n // c) * c for n, c in zip(shape, chunk, strict=True))
    dims = tuple("xyzt"[: len(shape)])
    return Array("a", dims, shape, dtype, shard, chunk), block


@settings(max_examples=60, deadline=None)
@given(made=arrays())
def test_zarr_python_reads_any_shard_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[Array, np.ndarray[Any, Any]]
) -> None:
    array, block = made
    read = store(tmp_path_factory.mktemp("z"), array, block)[:]
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


def test_inner_chunks_are_about_a_mebibyte_and_divide_what_is_cut() -> None:
    array = shape_array("a", ("t", "x"), (10_000, 4096), "float64", {"x": (4096, 256)})
    assert array.shard[1] == 256
    assert array.shard[1] % array.chunk[1] == 0
    assert array.shard[0] >= 10_000
    assert np.prod(array.chunk) * 8 <= 1 << 20
