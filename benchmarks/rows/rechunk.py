"""c: from chunks that are long in time to chunks that are wide in space, with at most 2 GiB a worker."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np

from benchmarks.by_hand import Shards
from benchmarks.job import Candidate, Job, Row, Values, decoded
from benchmarks.rows.arrays import (
    FUSED,
    WORKER_BYTES,
    ZARRS,
    Layout,
    dask_cluster,
    dask_threads,
    in_threads,
    sample,
    use_pipeline,
    with_terp,
)

TIMES, CELLS_A_STEP = 65536, 1024
HIGH, NARROW = 16384, 256  # of the source: times of a chunk, cells of a shard
ROWS, WIDE = 4096, 16384  # of the target: times of a shard, cells of a shard at most
DIMS = ("time", "cell")


def source(job: Job) -> Layout:
    return Layout("v", DIMS, (TIMES, cells(job)), (HIGH, 32), (TIMES, NARROW), "f4")


def target(job: Job) -> Layout:
    """Shards as wide as the grid, and of 256 MiB at most."""
    wide = min(cells(job), WIDE)
    return Layout("v", DIMS, (TIMES, cells(job)), (128, min(wide, 4096)), (ROWS, wide), "f4")


def cells(job: Job) -> int:
    return CELLS_A_STEP * job.steps


def make(job: Job) -> None:
    """Slow walks, and noise."""
    shards = Shards(source(job).create(job.source))

    def make_shard(place: tuple[int, ...]) -> None:
        random = np.random.default_rng(place[1])
        values = np.cumsum(random.standard_normal(shards.shard, dtype="f4") * np.float32(0.1), axis=0)
        shards.write(place, values + random.standard_normal(shards.shard, dtype="f4"))

    in_threads(make_shard, np.ndindex(shards.shards))


CHECKED = slice(ROWS - 100, ROWS + 100)  # rows of two shards


def expected(job: Job) -> Values:
    return sample(job.source / "v", CHECKED)


def found(job: Job) -> Values:
    return sample(job.result / "v", CHECKED)


def by_hand(job: Job) -> None:
    """Slabs as high as a chunk of the source: each byte is read once and written once.

    A slab is kept as the chunks of the target, which are encoded from where they are.
    """
    from benchmarks.kernels import place

    given, made = Shards(job.source / "v"), Shards(target(job).create(job.result))
    rows, columns = made.chunk
    slab = np.empty((HIGH // rows, made.shard[1] // columns, rows, columns), "f4")
    down = made.chunks[0]
    narrow = made.shard[1] // NARROW  # shards of the source that a slab is made of

    def read(high: int, wide: int, one: int) -> None:
        block = np.empty(given.chunk, "f4")
        with given.opened((0, wide * narrow + one)) as read_chunk:
            for number in range(given.chunks[1]):
                read_chunk((high, number), block)
                place(block, slab, one * NARROW + number * given.chunk[1])

    def write(high: int, wide: int, one: int) -> None:
        chunks = slab[one * down : (one + 1) * down]
        made.write_chunks((high * (HIGH // ROWS) + one, wide), lambda chunk: chunks[chunk])

    with job.measured():
        for high, wide in np.ndindex(TIMES // HIGH, made.shards[1]):
            in_threads(partial(read, high, wide), range(narrow))
            in_threads(partial(write, high, wide), range(HIGH // ROWS))


def with_tensorstore(job: Job) -> None:
    """The same slabs, read and written by tensorstore."""
    import tensorstore

    target(job).create(job.result)
    limits = {"data_copy_concurrency": {"limit": 2}, "file_io_concurrency": {"limit": 4}}
    context = tensorstore.Context({**limits, "cache_pool": {"total_bytes_limit": 0}})

    def opened(group: Any) -> Any:
        place = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(group / "v")}}
        return tensorstore.open(place, open=True, context=context).result()

    given, made = opened(job.source), opened(job.result)
    with job.measured():
        for part in slabs(job):
            made[part].write(given[part].read().result()).result()


def with_zarr(job: Job, pipeline: str) -> None:
    """The same slabs, read and written by zarr-python with a pipeline of its own or another."""
    import zarr

    use_pipeline(pipeline)
    target(job).create(job.result)
    given: Any = zarr.open_array(job.source / "v", mode="r")
    made: Any = zarr.open_array(job.result / "v", mode="r+")
    with job.measured():
        for part in slabs(job):
            made[part] = given[part]


def slabs(job: Job) -> Iterator[tuple[slice, slice]]:
    """Parts that are as high as a chunk of the source."""
    for high, left in itertools.product(range(0, TIMES, HIGH), range(0, cells(job), WIDE)):
        yield np.s_[high : high + HIGH, left : min(left + WIDE, cells(job))]


def with_dask(job: Job, context: AbstractContextManager[None], method: str, chunks: dict[str, int]) -> None:
    """dask's own rechunking."""
    import dask
    import xarray as xr

    with context, dask.config.set({"array.rechunk.method": method}), job.measured():
        values = xr.open_zarr(job.source, chunks=chunks, consolidated=False)["v"]
        target(job).write(job.result, values)


SHARDS = {"time": TIMES, "cell": NARROW}
CHUNKS = {"time": HIGH, "cell": NARROW}


def threads(method: str, chunks: dict[str, int]) -> Callable[[Job], None]:
    return lambda job: with_dask(job, dask_threads(job), method, chunks)


def cluster(method: str, chunks: dict[str, int]) -> Callable[[Job], None]:
    return lambda job: with_dask(job, dask_cluster(job), method, chunks)


def with_cubed(job: Job) -> None:
    """cubed plans with what memory it may take; it writes chunks without shards."""
    import cubed  # type: ignore[import-not-found]

    options = {"executor_name": "processes", "executor_options": {"max_workers": 2}}
    spec = cubed.Spec(work_dir=str(job.folder / "cubed"), allowed_mem="2GB", **options)
    with job.measured():
        values = cubed.from_zarr(str(job.source), path="v", spec=spec)
        cubed.to_zarr(cubed.rechunk(values, target(job).shards), str(job.result), path="v")


CANDIDATES = {
    "HAND": Candidate(by_hand),
    "terp": Candidate(with_terp("c")),
    "tensorstore": Candidate(with_tensorstore, "tensorstore"),
    "slabs, zarrs": Candidate(partial(with_zarr, pipeline=ZARRS), "zarrs"),
    "slabs, zarr fused": Candidate(partial(with_zarr, pipeline=FUSED), "xarray"),
    "dask threads, tasks": Candidate(threads("tasks", SHARDS), "xarray"),
    "distributed 2x1, tasks": Candidate(cluster("tasks", SHARDS), "xarray"),
    "distributed 2x1, p2p, by shards": Candidate(cluster("p2p", SHARDS), "xarray"),
    "distributed 2x1, p2p, by chunks": Candidate(cluster("p2p", CHUNKS), "xarray"),
    "cubed processes": Candidate(with_cubed, "cubed"),
}
ROW = Row("rechunk from time to space", make, expected, found, CANDIDATES, cap=WORKER_BYTES, moves=decoded)
