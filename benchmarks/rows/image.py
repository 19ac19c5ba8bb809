"""d: a dirty image by w-gridding; ducc0 does the work, and what is measured is how it is fed.

An eighth of the size that is asked for, as gridding takes ten times as long as what the other rows do with a byte.
"""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from benchmarks.by_hand import Shards
from benchmarks.job import WORKERS, Candidate, Job, Row, Values
from benchmarks.rows.arrays import ZARRS, Layout, dask_cluster, dask_threads, in_threads, sample, with_terp

ROWS_A_STEP, CHANNELS = 65536, 64
PIXELS, PIXEL = 2048, 2e-5  # a side, and the side of one in radians
EPSILON = 1e-4
LIGHT = 299792458.0
CHECKED = ((1024, 1024), (1030, 900), (200, 1800))


def layout(job: Job) -> Layout:
    shape = (ROWS_A_STEP * job.steps, CHANNELS)
    return Layout("v", ("row", "channel"), shape, (16384, 16), (ROWS_A_STEP, CHANNELS), "c8", fast=False)


def baselines(job: Job) -> Layout:
    """How u, v and w are stored: beside the visibilities, and cut as they are."""
    shape = (ROWS_A_STEP * job.steps, 3)
    return Layout("uvw", ("row", "xyz"), shape, (16384, 3), (ROWS_A_STEP, 3), "f8", fast=False)


def frequencies() -> Values:
    return np.linspace(1.0e9, 1.05e9, CHANNELS)


def coordinates(rows: int) -> Values:
    """u, v and w in metres: most baselines are short, as in an array with a core."""
    scale = np.array([2000.0, 2000.0, 100.0])
    return np.asarray(np.random.default_rng(5).standard_normal((rows, 3)) * scale)


def make(job: Job) -> None:
    """A source in the middle, and noise."""
    shards, ends = Shards(layout(job).create(job.source)), Shards(baselines(job).create(job.source))
    uvw = coordinates(shards.shape[0])

    def make_shard(place: tuple[int, ...]) -> None:
        random = np.random.default_rng(place[0])
        shards.write(place, random.standard_normal((*shards.shard, 2), dtype="f4").view("c8")[..., 0] + 1)
        ends.write((place[0], 0), uvw[place[0] * ROWS_A_STEP :][:ROWS_A_STEP])

    in_threads(make_shard, np.ndindex(shards.shards))


def expected(job: Job) -> Values:
    """Some pixels as sums over all visibilities, without any grid (Smirnov 2011, A&A 527, A106, eq. 12)."""
    uvw, wave = sample(job.source / "uvw", slice(None)), frequencies() / LIGHT
    pixels = np.zeros(len(CHECKED))
    for start in range(0, len(uvw), ROWS_A_STEP):
        rows = slice(start, start + ROWS_A_STEP)
        values = sample(job.source / "v", rows)
        for number, (x, y) in enumerate(CHECKED):
            l, m = (x - PIXELS // 2) * PIXEL, (y - PIXELS // 2) * PIXEL  # noqa: E741
            n = math.sqrt(1 - l * l - m * m)
            turns = np.outer(uvw[rows] @ (l, m, 1 - n), wave)
            pixels[number] += np.sum(values * np.exp(2j * np.pi * (turns % 1)).astype("c8"), dtype="c16").real / n
    return pixels


def found(job: Job) -> Values:
    stored = job.result / "image.npy"
    image = np.load(stored) if stored.exists() else sample(job.result / "image", slice(None))
    return np.array([image[at] for at in CHECKED])


def grid(uvw: Values, wave: Values, values: Values, threads: int) -> Values:
    import ducc0

    options = {"epsilon": EPSILON, "do_wgridding": True, "nthreads": threads}
    size = {"npix_x": PIXELS, "npix_y": PIXELS, "pixsize_x": PIXEL, "pixsize_y": PIXEL}
    return np.asarray(ducc0.wgridder.vis2dirty(uvw=uvw, freq=wave, vis=values, **size, **options), "f8")


def save(job: Job, image: Values) -> None:
    job.result.mkdir()
    np.save(job.result / "image.npy", image)


def by_hand(job: Job) -> None:
    """All visibilities into memory, then one call with two threads."""
    import ducc0  # noqa: F401

    given, ends = Shards(job.source / "v"), Shards(job.source / "uvw")
    with job.measured():
        values, uvw = np.empty(given.shape, "c8"), np.empty(ends.shape)

        def read(place: tuple[int, ...]) -> None:
            for shards, out in ((given, values), (ends, uvw)):
                shards.read(place, out[place[0] * ROWS_A_STEP :][:ROWS_A_STEP])

        in_threads(read, np.ndindex(given.shards))
        save(job, grid(uvw, frequencies(), values, WORKERS))


def part(job: Job, rows: slice, channels: slice) -> Values:
    """The image of a part of the visibilities."""
    uvw, values = sample(job.source / "uvw", rows), sample(job.source / "v", (rows, channels))
    return grid(uvw, frequencies()[channels], values, 1)


def in_tasks(job: Job, context: AbstractContextManager[None], parts: Iterable[tuple[slice, slice]]) -> None:
    """A task for each part, and a tree of sums."""
    from dask.delayed import delayed

    with context, job.measured():
        plain = Job(job.folder, job.gib)  # without the harness, so that it can be sent
        images: list[Any] = [delayed(part)(plain, *one) for one in parts]
        while len(images) > 1:
            images = [delayed(sum)(images[start : start + 4]) for start in range(0, len(images), 4)]
        save(job, images[0].compute())


def row_blocks(job: Job, number: int) -> list[tuple[slice, slice]]:
    rows = layout(job).shape[0] // number
    return [(slice(one * rows, (one + 1) * rows), slice(None)) for one in range(number)]


def channels_alone() -> list[tuple[slice, slice]]:
    return [(slice(None), slice(one, one + 1)) for one in range(CHANNELS)]


def prepare() -> None:
    import ducc0  # noqa: F401


def blocks_on_cluster(number: int) -> Callable[[Job], None]:
    return lambda job: in_tasks(job, dask_cluster(job, ZARRS, prepare), row_blocks(job, number))


def a_task_a_channel(job: Job) -> None:
    in_tasks(job, dask_threads(job, ZARRS, prepare), channels_alone())


CANDIDATES = {
    "HAND": Candidate(by_hand),
    "terp": Candidate(with_terp("d")),
    "4 blocks of rows, distributed 2x1": Candidate(blocks_on_cluster(4), "ducc0"),
    "16 blocks of rows, distributed 2x1": Candidate(blocks_on_cluster(16), "ducc0"),
    "a task a channel, dask threads": Candidate(a_task_a_channel, "ducc0"),
}
ROW = Row("dirty image by w-gridding, an eighth of the size", make, expected, found, CANDIDATES, tolerance=1e-3)
