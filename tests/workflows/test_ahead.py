"""While a worker makes a region, the disk reads what the next needs: held against the page cache of the system."""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from mmap import ACCESS_COPY, PAGESIZE, mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from prefect import flow

from terp.storage.errors import Missing
from terp.storage.grid import Array
from terp.storage.open_shard import Extent
from terp.storage.product import StoredProduct
from terp.storage.shard import write_shard
from terp.storage.sharded import ShardedArray
from terp.workflows import Product, api, ingest, rechunk, stage
from terp.workflows.running import ahead
from terp.workflows.running.ahead import ask
from terp.workflows.running.gather import Input
from terp.workflows.running.task import Task

sys.path.insert(0, str(Path(__file__).parent))
from here import made

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.usefixtures("prefect_here"),
]
ROWS, COLUMNS = 6, 1 << 20  # a row is a region: 4 MiB of noise
PATIENCE = 20.0  # seconds for what the system does by itself


def cached(path: Path, part: float = 0.5) -> bool:
    """Whether the system has a file's bytes, after a part of its length, in its page cache (mincore(2)).

    To read with RWF_NOWAIT would tell too, and have the system begin to read.
    """
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_COPY) as memory:
        resident = (ctypes.c_ubyte * -(-len(memory) // PAGESIZE))()
        start = ctypes.c_char.from_buffer(memory)
        assert not ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(start)), len(memory), resident)
        del start
        return bool(resident[int(len(memory) * part) // PAGESIZE] & 1)


def dropped(path: Path) -> None:
    """Have the system forget a file's bytes; skip where it does not."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if cached(path):
        pytest.skip("the file system here keeps all in memory")


def comes(path: Path, part: float = 0.5) -> bool:
    """Whether a file comes to the page cache without anybody here reading it."""
    end = time.monotonic() + PATIENCE
    while not (there := cached(path, part)) and time.monotonic() < end:
        time.sleep(0.01)
    return there


@stage(cut=("x",), block={"x": 1})
def split(block: xr.Dataset) -> xr.Dataset:
    return block


@stage(cut=("x",), block={"x": 1})
def narrow(block: xr.Dataset) -> xr.Dataset:
    return block.isel(y=slice(0, 1000))


@stage(cut=("x",), block={"x": 1})
def looking(block: xr.Dataset, shards: str) -> xr.Dataset:
    """For each row whether the next is in the page cache before anybody has read it."""
    real = block["v"].size == COLUMNS and float(block["v"].std()) > 0.5  # not what it is tried on
    following = Path(shards) / str(int(block["x"][0]) + 1) / "0"
    there = real and following.exists() and comes(following)
    return xr.Dataset({"there": ("x", np.full(block.sizes["x"], there, "i4"))})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "noise.nc"
    values = np.random.default_rng(1).normal(size=(ROWS, COLUMNS)).astype("f4")
    xr.Dataset({"v": (("x", "y"), values)}, {"x": np.arange(ROWS)}).to_netcdf(path)
    return path


def seen_ahead(source: Path, home: Path, **where: Any) -> list[int]:
    """For each region of a run whose workers are anywhere: whether the next was in the page cache before its turn."""

    @flow
    def first(path: str) -> Product:
        return split(ingest(path))

    @flow
    def second(path: str, shards: str) -> Product:
        return looking(split(ingest(path)), shards)

    api.run(first, str(source), home=home, workers=1, archive=False)
    [shards] = home.glob("products/split-*/data.zarr/v/c")
    for row in range(ROWS):
        dropped(shards / str(row) / "0")
    done = api.run(second, str(source), shards=str(shards), home=home, workers=1, archive=False, **where)
    [key] = done.record.results.values()
    seen: list[int] = StoredProduct(home / "products" / key).open()["there"].values.tolist()
    return seen


def test_what_a_worker_makes_next_is_read_from_the_disk_meanwhile(source: Path, home: Path) -> None:
    assert seen_ahead(source, home) == [1] * (ROWS - 1) + [0]


@pytest.fixture
def chunked(tmp_path: Path) -> ShardedArray:
    """An array of one shard of 16 chunks of a MiB, which are stored as they are."""
    array = Array("v", ("x",), (16 << 18,), "float32", (16 << 18,), (1 << 18,), codec="none")
    path = tmp_path / "shard"
    stored = write_shard(path, array, np.random.default_rng(1).normal(size=array.shape).astype("f4"))
    dropped(path)
    return ShardedArray(array, "v", lambda _: Extent(path, 0, stored.size, stored.tag), "a test")


def test_of_a_shard_the_chunks_that_are_wanted_are_read_and_no_others(chunked: ShardedArray, tmp_path: Path) -> None:
    chunked.ahead([slice(9 << 18, 10 << 18)])
    assert comes(tmp_path / "shard", 9.05 / 16)
    assert comes(tmp_path / "shard", 9.95 / 16)
    assert [cached(tmp_path / "shard", (chunk + 0.5) / 16) for chunk in (4, 7, 12)] == [False] * 3


def test_a_large_read_is_asked_for_whole_and_not_only_what_the_system_reads_ahead_by_itself(
    chunked: ShardedArray, tmp_path: Path
) -> None:
    chunked.ahead([slice(0, 16 << 18)])
    assert all(comes(tmp_path / "shard", (chunk + 0.5) / 16) for chunk in range(16))


def test_a_shard_that_is_gone_is_told_to_who_asks(chunked: ShardedArray, tmp_path: Path) -> None:
    (tmp_path / "shard").unlink()
    with pytest.raises(Missing, match="gone"):
        chunked.ahead([slice(0, 1)])


def given(home: Path, source: Path, body: Callable[[Product], Any]) -> tuple[Task, StoredProduct, StoredProduct]:
    """Make a flow's products; return the task of the last, which was made of the one before, and both."""
    *_, before, last = made(source, home, body).values()
    assert before.seal is not None
    one = Input(str(before.folder), "", before.seal.values)
    return Task("map", b"", (one,), {}), before, last


def shards(product: StoredProduct) -> list[Path]:
    return sorted(path for path in (product.data / "v/c").rglob("*") if path.is_file())


def test_regions_that_are_made_of_one_read_are_asked_for_together(source: Path, home: Path) -> None:
    task, before, last = given(home, source, lambda product: rechunk(split(product), cut=("y",), block={"y": 1 << 18}))
    for path in shards(before):
        dropped(path)
    ask(replace(task, together=last.regions), str(last.folder), [("", index) for index in range(last.regions)])
    assert all(comes(path) for path in shards(before))


def test_of_regions_in_a_row_as_many_are_asked_for_as_a_node_has_room_for(
    source: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_MOST", 3 * 4 * COLUMNS)
    task, before, last = given(home, source, lambda product: split(split(product)))
    for path in shards(before):
        dropped(path)
    ask(task, str(last.folder), [("", index) for index in range(1, last.regions)])
    assert all(comes(path) for path in shards(before)[1:4])
    assert not any(cached(path) for path in [shards(before)[0], *shards(before)[4:]])


def test_what_is_little_to_read_is_not_asked_for(source: Path, home: Path) -> None:
    task, before, last = given(home, source, lambda product: split(narrow(product)))
    for path in shards(before):
        dropped(path)
    ask(task, str(last.folder), [("", 0), ("", 1)])
    assert not any(cached(path) for path in shards(before))
