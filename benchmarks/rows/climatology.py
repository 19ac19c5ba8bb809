"""b: how far a grid of sensors is from what is usual on a day of the year, as a centred rolling mean over 31 days."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from benchmarks.by_hand import Shards
from benchmarks.job import Candidate, Job, Row, Values, decoded
from benchmarks.rows.arrays import ZARRS, Layout, dask_cluster, dask_threads, in_threads, sample, with_terp

DAYS, TILE = 3652, 96  # of a shard: ten years, 128 MiB
WINDOW = 31
Options = dict[str, bool]
DIMS = ("time", "y", "x")
FIRST = np.datetime64("2001-01-01")


def layout(job: Job) -> Layout:
    """Of the data and of the result: two rows of tiles, a shard each."""
    shape = (DAYS, 2 * TILE, job.steps * TILE)
    return Layout("t", DIMS, shape, (166, TILE, TILE), (DAYS, TILE, TILE), "f4")


def days_of_year() -> Values:
    """The day of the year of each day, from 0."""
    dates = FIRST + np.arange(DAYS)
    return np.asarray(dates - dates.astype("M8[Y]").astype("M8[D]"), "i8")


def make(job: Job) -> None:
    """A season, and noise."""
    import zarr

    shards = Shards(layout(job).create(job.source))
    season = (10 * np.sin(2 * np.pi * days_of_year() / 365)).astype("f4")

    def make_tile(place: tuple[int, ...]) -> None:
        random = np.random.default_rng(place[1:])
        shards.write(place, random.standard_normal(shards.shard, dtype="f4") + season[:, None, None])

    in_threads(make_tile, np.ndindex(shards.shards))
    time = zarr.open_group(job.source).create_array("time", data=np.arange(DAYS), dimension_names=("time",))
    time.attrs.update(units=f"days since {FIRST}", calendar="proleptic_gregorian")


def checked() -> tuple[slice, slice, slice]:
    """The cells that are looked at: of tiles on both sides of a border."""
    return slice(None), slice(TILE - 3, TILE + 3), slice(TILE - 6, TILE + 6)


def expected(job: Job) -> Values:
    """Worked out in double precision, by sums from the beginning."""
    values, days = sample(job.source / "t", checked()).astype("f8"), days_of_year()
    for day in np.unique(days):
        values[days == day] -= values[days == day].mean(axis=0)
    sums = np.cumsum(np.concatenate([np.zeros((1, *values.shape[1:])), values]), axis=0)
    result = np.full(values.shape, np.nan)
    result[WINDOW // 2 : DAYS - WINDOW // 2] = (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW
    return result


def found(job: Job) -> Values:
    return sample(job.result / "t", checked())


def by_hand(job: Job) -> None:
    """A tile a task: read, worked on in place, written."""
    from benchmarks.kernels import compile_all, smooth_anomaly

    compile_all()
    given, made, days = Shards(job.source / "t"), Shards(layout(job).create(job.result)), days_of_year()
    local = threading.local()

    def smooth(place: tuple[int, ...]) -> None:
        if not hasattr(local, "tile"):
            local.tile = np.empty(given.shard, "f4")
        given.read(place, local.tile)
        smooth_anomaly(local.tile.reshape(DAYS, -1), days)
        made.write(place, local.tile)

    with job.measured():
        in_threads(smooth, np.ndindex(given.shards))


def with_xarray(job: Job, dask: AbstractContextManager[None], options: Options) -> None:
    """What one would write; `options` say which libraries xarray may use: without flox it does not come to an end."""
    import xarray as xr

    from benchmarks.kernels import smooth_anomaly_plain

    chunks = layout(job).by_shards()
    with dask, xr.set_options(**options), job.measured():
        values = xr.open_zarr(job.source, chunks=chunks, consolidated=False)["t"]
        layout(job).write(job.result, smooth_anomaly_plain(values).astype("f4"))


def fused_kernel(job: Job, dask: AbstractContextManager[None]) -> None:
    """The kernel of HAND and terp, as a person who knows dask would use it."""
    import xarray as xr

    from benchmarks.kernels import smooth_anomaly

    days = days_of_year()

    def smooth(block: Values) -> Values:
        made = np.array(block, order="C")
        smooth_anomaly(made.reshape(DAYS, -1), days)
        return made

    with dask, job.measured():
        values = xr.open_zarr(job.source, chunks=layout(job).by_shards(), consolidated=False)["t"].data
        layout(job).write(job.result, values.map_blocks(smooth, dtype="f4", meta=np.empty((0, 0, 0), "f4")))


def compiled() -> None:
    from benchmarks.kernels import compile_all

    compile_all()


def threads(options: Options, pipeline: str = "") -> Callable[[Job], None]:
    return lambda job: with_xarray(job, dask_threads(job, pipeline, prepare(options)), options)


def cluster(options: Options, pipeline: str = "") -> Callable[[Job], None]:
    return lambda job: with_xarray(job, dask_cluster(job, pipeline, prepare(options)), options)


def prepare(options: Options) -> Callable[[], Any]:
    """What imports and compiles late, done once on little."""

    def once() -> None:
        import xarray as xr

        from benchmarks.kernels import smooth_anomaly_plain

        time = FIRST + np.arange(2 * WINDOW)
        values = xr.DataArray(np.ones((time.size, 2), "f4"), {"time": time}, ("time", "cell"))
        with xr.set_options(**options):
            smooth_anomaly_plain(values)

    return once


FLOX = {"use_flox": True, "use_numbagg": False}
NUMBAGG = {"use_flox": True, "use_numbagg": True}
CANDIDATES = {
    "HAND": Candidate(by_hand),
    "terp": Candidate(with_terp("b")),
    "kernel, dask threads, zarrs": Candidate(
        lambda job: fused_kernel(job, dask_threads(job, ZARRS, compiled)), "zarrs"
    ),
    "kernel, distributed 2x1, zarrs": Candidate(
        lambda job: fused_kernel(job, dask_cluster(job, ZARRS, compiled)), "zarrs"
    ),
    "flox, dask threads": Candidate(threads(FLOX), "flox"),
    "flox, numbagg, zarrs, dask threads": Candidate(threads(NUMBAGG, ZARRS), "flox"),
    "flox, distributed 2x1": Candidate(cluster(FLOX), "flox"),
}
ROW = Row("anomaly from the day of the year, smoothed", make, expected, found, CANDIDATES, moves=decoded)
