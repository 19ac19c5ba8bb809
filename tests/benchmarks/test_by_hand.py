"""The loop by hand, which the others are measured against, reads and writes Zarr and checks what it reads."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from benchmarks.by_hand import Shards
from benchmarks.rows.arrays import Layout


def layout(fast: bool) -> Layout:
    return Layout("v", ("x", "y"), (40, 24), (8, 4), (16, 12), "f4", fast)


def values() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(1).normal(size=(48, 24)).astype("f4")


@pytest.fixture(params=[True, False], ids=["lz4", "none"])
def shards(request: pytest.FixtureRequest, tmp_path: Path) -> Shards:
    return Shards(layout(request.param).create(tmp_path))


def write(shards: Shards) -> None:
    for x, y in np.ndindex(shards.shards):
        shards.write((x, y), values()[16 * x : min(16 * (x + 1), 40), 12 * y : 12 * (y + 1)])


def test_zarr_reads_what_is_written_by_hand(shards: Shards) -> None:
    write(shards)
    assert np.array_equal(zarr.open_array(shards.folder, mode="r")[:], values()[:40])


def test_what_zarr_writes_is_read_by_hand(shards: Shards) -> None:
    zarr.open_array(shards.folder, mode="r+")[:] = values()[:40]
    out = np.empty((16, 12), "f4")
    shards.read((1, 1), out)
    assert np.array_equal(out, values()[16:32, 12:24])


@pytest.mark.parametrize("at", [3, -30])
def test_a_flipped_bit_in_a_chunk_or_in_the_index_is_noticed(shards: Shards, at: int) -> None:
    write(shards)
    stored = bytearray(shards.path((1, 0)).read_bytes())
    stored[at] ^= 16
    shards.path((1, 0)).write_bytes(stored)
    with pytest.raises(AssertionError, match="damaged"):
        shards.read((1, 0), np.empty((16, 12), "f4"))
