"""a: flag visibilities that are far from the median of their series, and average them 8x8 in time and channel.

The fused kernel is shown on the pipelines of others too, or what is seen is the kernel and not the pipeline.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from benchmarks.by_hand import Shards
from benchmarks.job import Candidate, Job, Row, Values
from benchmarks.rows.arrays import FUSED, ZARRS, Layout, dask_cluster, dask_threads, in_threads, sample, with_terp

TIMES, CHANNELS, POLS, BASELINES = 512, 1024, 4, 8  # of a shard: 128 MiB
SHARDS_A_STEP = 2
AVERAGE = 8
Work = Callable[[Job, AbstractContextManager[None]], None]
DIMS = ("time", "baseline", "channel", "pol")


def source(job: Job) -> Layout:
    shape = (TIMES, SHARDS_A_STEP * job.steps * BASELINES, CHANNELS, POLS)
    return Layout("v", DIMS, shape, (TIMES, 1, 128, POLS), (TIMES, BASELINES, CHANNELS, POLS), "c8", fast=False)


def result(job: Job) -> Layout:
    times, channels = TIMES // AVERAGE, CHANNELS // AVERAGE
    shape = (times, SHARDS_A_STEP * job.steps * BASELINES, channels, POLS)
    return Layout("v", DIMS, shape, (times, 1, channels, POLS), (times, BASELINES, channels, POLS), "c8", fast=False)


def make(job: Job) -> None:
    """Noise around a steady signal, with short strong interference in a few channels."""
    shards = Shards(source(job).create(job.source))

    def make_shard(place: tuple[int, ...]) -> None:
        random = np.random.default_rng(place[1])
        values = random.standard_normal((*shards.shard, 2), dtype="f4").view("c8")[..., 0]
        values += 3
        for time, baseline, channel in random.integers((TIMES, BASELINES, CHANNELS), size=(200, 3)):
            values[time : time + 3, baseline, channel : channel + 4] += 40
        shards.write(place, values)

    in_threads(make_shard, np.ndindex(shards.shards))


def checked(job: Job) -> list[int]:
    """The baselines that are looked at: the first and the last, and two of the middle."""
    last = source(job).shape[1] - 1
    return sorted({0, last // 3, last // 2, last})


def expected(job: Job) -> Values:
    from benchmarks.kernels import flag_average_plain

    values = sample(job.source / "v", (slice(None), checked(job)))
    return np.stack([flag_average_plain(values[:, number]) for number in range(values.shape[1])], axis=1)


def found(job: Job) -> Values:
    return sample(job.result / "v", (slice(None), checked(job)))


def by_hand(job: Job) -> None:
    """A shard a task, a chunk at a time through the caches."""
    from benchmarks.kernels import Scratch, compile_all, flag_average

    compile_all()
    given, made = Shards(job.source / "v"), Shards(result(job).create(job.result))
    local = threading.local()

    def memory() -> tuple[Values, Values, Scratch]:
        if not hasattr(local, "memory"):
            local.memory = np.empty(given.chunk, "c8"), np.empty(made.chunk, "c8"), Scratch.of((TIMES, 128, POLS))
        own: tuple[Values, Values, Scratch] = local.memory
        return own

    def average(place: tuple[int, ...]) -> None:
        values, averages, scratch = memory()
        part = np.empty((TIMES // AVERAGE, 128 // AVERAGE, POLS), "c8")
        with given.opened(place) as read:

            def chunk_of(chunk: tuple[int, ...]) -> Values:
                for number in range(given.chunks[2]):
                    read((0, chunk[1], number, 0), values)
                    averages[:, 0, number * 16 : (number + 1) * 16] = flag_average(values[:, 0], part, scratch)
                return averages

            made.write_chunks(place, chunk_of)

    with job.measured():
        in_threads(average, np.ndindex(given.shards))


def prepare() -> None:
    from benchmarks.kernels import compile_all

    compile_all()


def opened(job: Job) -> Any:
    import xarray as xr

    return xr.open_zarr(job.source, chunks=source(job).by_shards(), consolidated=False)["v"]


def fused_kernel(job: Job, dask: AbstractContextManager[None]) -> None:
    """The same kernel, as a person who knows dask would use it."""
    from benchmarks.kernels import flag_average_block

    with dask, job.measured():
        values = opened(job).data
        chunks = (TIMES // AVERAGE, BASELINES, CHANNELS // AVERAGE, POLS)
        empty = np.empty((0, 0, 0, 0), "c8")
        result(job).write(job.result, values.map_blocks(flag_average_block, chunks=chunks, dtype="c8", meta=empty))


def plain_xarray(job: Job, dask: AbstractContextManager[None]) -> None:
    """What one would write."""
    with dask, job.measured():
        values = opened(job)
        amplitudes = abs(values)
        deviations = abs(amplitudes - amplitudes.median("time"))
        good = deviations <= np.float32(5 * 1.4826) * deviations.median("time")
        averages = values.where(good).coarsen(time=AVERAGE, channel=AVERAGE).mean()
        result(job).write(job.result, averages.fillna(0).astype("c8"))


def in_cubed(job: Job) -> None:
    """The same kernel on cubed's processes, which write chunks without shards."""
    import cubed  # type: ignore[import-not-found]

    from benchmarks.kernels import flag_average_block

    prepare()
    options = {"executor_name": "processes", "executor_options": {"max_workers": 2}}
    spec = cubed.Spec(work_dir=str(job.folder / "cubed"), allowed_mem="2GB", **options)
    with job.measured():
        values = cubed.from_zarr(str(job.source), path="v", spec=spec)
        cut = values.chunks
        chunks = ((TIMES // AVERAGE,), cut[1], tuple(size // AVERAGE for size in cut[2]), cut[3])
        cubed.to_zarr(
            cubed.map_blocks(flag_average_block, values, dtype=np.dtype("c8"), chunks=chunks), str(job.result), path="v"
        )


def threads(work: Work, pipeline: str = "") -> Callable[[Job], None]:
    return lambda job: work(job, dask_threads(job, pipeline, prepare))


def cluster(work: Work, pipeline: str = "") -> Callable[[Job], None]:
    return lambda job: work(job, dask_cluster(job, pipeline, prepare))


CANDIDATES = {
    "HAND": Candidate(by_hand),
    "terp": Candidate(with_terp("a")),
    "kernel, dask threads, zarrs": Candidate(threads(fused_kernel, ZARRS), "zarrs"),
    "kernel, distributed 2x1, zarrs": Candidate(cluster(fused_kernel, ZARRS), "zarrs"),
    "kernel, dask threads, zarr fused": Candidate(threads(fused_kernel, FUSED), "xarray"),
    "kernel, cubed processes": Candidate(in_cubed, "cubed"),
    "xarray, dask threads": Candidate(threads(plain_xarray), "xarray"),
    "xarray, distributed 2x1": Candidate(cluster(plain_xarray), "xarray"),
}
ROW = Row("flag and average visibilities", make, expected, found, CANDIDATES)
