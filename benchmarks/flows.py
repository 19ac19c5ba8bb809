"""The rows as flows of terp: readable xarray, and the fused kernel beside it.

What a candidate measures is one step of a run like any other: Dask workers, ledger, checksums, provenance, all on.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import numpy as np
import xarray as xr
from prefect import flow

from benchmarks.job import WORKERS, Job, warm_cache
from benchmarks.kernels import (
    AVERAGE,
    Values,
    compile_all,
    flag_average_block,
    flag_average_plain,
    smooth_anomaly,
    smooth_anomaly_plain,
)
from benchmarks.rows import image
from terp.storage.home import Home
from terp.workflows import Product, api, ingest, rechunk, stage
from terp.workflows.running.runner import Runner
from terp.workflows.running.where import Where
from terp.workflows.session import here


@stage(
    cut=("baseline", "channel"),
    coarsen={"channel": AVERAGE},
    block={"baseline": 8, "channel": 1024 // AVERAGE},
    chunk={"baseline": 1},
)
def flagged(block: xr.Dataset) -> xr.Dataset:
    """Visibilities without what is far from the median of their series, averaged 8x8 in time and channel."""
    values = block["v"].to_numpy()
    averages = [flag_average_plain(values[:, number]) for number in range(values.shape[1])]
    return xr.Dataset({"v": (("time", "baseline", "channel", "pol"), np.stack(averages, axis=1))})


@flagged.kernel
def _(block: xr.Dataset) -> dict[str, Values]:
    return {"v": flag_average_block(block["v"].to_numpy())}


@stage(cut=("y", "x"), block={"y": 96, "x": 96}, chunk={"time": 166}, codec="lz4-5-shuffle")
def smoothed(block: xr.Dataset) -> xr.Dataset:
    """How far a grid is from what is usual on a day of the year, as a centred rolling mean over 31 days."""
    return xr.Dataset({"t": smooth_anomaly_plain(block["t"]).astype("f4").drop_vars("dayofyear", errors="ignore")})


@smoothed.kernel
def _(block: xr.Dataset) -> xr.Dataset:
    values = np.ascontiguousarray(block["t"].to_numpy())
    days = block["time"].dt.dayofyear.to_numpy() - 1
    smooth_anomaly(values.reshape(values.shape[0], -1), days.astype("i8"))
    return xr.Dataset({"t": (block["t"].dims, values)}, {"time": block["time"]})


def across(data: Product) -> Product:
    """Chunks that are wide in space, of chunks that were long in time."""
    return rechunk(data, ("time",), block={"time": 4096}, chunk={"time": 128, "cell": 4096}, codec="lz4-5-shuffle")


@stage(cut=("x",), block={"x": 1})
def warmed(block: xr.Dataset) -> xr.Dataset:
    """Have a worker import and compile what it will need."""
    if block.sizes["x"] == 1:  # not while it is planned
        compile_all()
        image.prepare()
        time.sleep(0.3)  # so that each worker has its share of these
    return block


@stage(over=("row",), libraries=("ducc0",), overhead=1.0)
def imaged(block: xr.Dataset) -> xr.Dataset:
    """The dirty image of a block of rows; those of all blocks are summed."""
    values = image.grid(block["uvw"].to_numpy(), image.frequencies(), block["v"].to_numpy(), 1)
    return xr.Dataset({"image": (("x", "y"), values)})


Work = Callable[[Product], Product]
STEPS: Mapping[str, Work] = {"a": flagged, "b": smoothed, "c": across, "d": imaged}


def measure(job: Job, row: str, where: Where | None = None) -> None:
    """Run the row's step on the data, which were taken in before; its product becomes the result."""
    home = Home(job.folder / "home").open()
    little = job.folder / "little.nc"
    if not little.exists():
        xr.Dataset({"v": ("x", np.arange(16.0))}).to_netcdf(little)
    for old in home.products.glob("[!i]*"):  # all but what was taken in
        shutil.rmtree(old)

    @flow
    def benchmark(source: str, warming: str) -> dict[str, Product]:
        data, warm = ingest(source), warmed(ingest(warming))
        warm_cache(home.product(data.key))
        with job.measured() if isinstance(here("benchmark"), Runner) else nullcontext():
            return {"made": STEPS[row](data), "warm": warm}

    os.environ.setdefault("TERP_AGENT", "The benchmarks")
    done = api.run(
        benchmark, str(job.source), str(little), home=home.root, where=where or Where(most=WORKERS), archive=False
    )
    shutil.rmtree(job.result, ignore_errors=True)
    home.product(done.record.results["made"]).joinpath("data.zarr").rename(job.result)
