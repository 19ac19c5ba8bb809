"""f: what a region costs beside its work, from a thousand to a million of them.

A stage that does nothing, on regions of one number, on two workers: each region is read (proven), written (synced),
made visible and recorded. Told: milliseconds a region from the first that was recorded to the last, the time of the
controller itself (user and system, Dask's scheduler with it), seconds from the start to the first region, and how large
the controller became. HAND is two threads that keep each number as a synced file. Of the others nothing is kept: as
many tasks in a pool of threads, on plain distributed, all handed in at once, and as tasks of Prefect's.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.job import ASIDE, Candidate, Column, Job, Told

FLOW = """
import xarray as xr
from prefect import flow
from terp.workflows import Product, ingest, stage

@stage(cut=("x",), block={"x": 1})
def nothing(block: xr.Dataset) -> xr.Dataset:
    return block

@flow
def many(source: str) -> Product:
    return nothing(ingest(source))
"""


def terp(regions: int) -> dict[str, float]:
    """Run the flow with so many regions in this process."""
    import numpy as np
    import xarray as xr

    from terp.workflows import api
    from terp.workflows.running.report import LogReporter

    class Watch(LogReporter):
        """Notes when regions are done, and what this process had spent by then."""

        def __init__(self) -> None:
            self.marks: list[tuple[int, float, float]] = []

        def progress(self, progress: Any) -> None:
            """Note it."""
            if progress.name == "nothing" and progress.done:
                self.marks[1:] = [(progress.done, time.monotonic(), spent())]
                self.marks = self.marks or [(progress.done, time.monotonic(), spent())]

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "flow.py").write_text(FLOW)
        data = xr.Dataset({"v": ("x", np.arange(regions, dtype="f4"))}, coords={"x": np.arange(regions)})
        data.to_netcdf(Path(folder) / "many.nc")
        watch, began = Watch(), time.monotonic()
        home, source = Path(folder) / "home", str(Path(folder) / "many.nc")
        api.run(f"{folder}/flow.py:many", source, home=home, workers=2, archive=False, reporter=watch)
        check(next(home.glob("products/nothing-*/data.zarr/v")), regions)
        (first, at, before), (last, end, after) = watch.marks[0], watch.marks[-1]
        each = 1e3 / max(last - first, 1)
        return told((end - at) * each, (after - before) * each, at - began)


def distributed(regions: int) -> dict[str, float]:
    """Hand in so many tasks that do nothing."""
    from distributed import Client, LocalCluster, as_completed

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        began = time.monotonic()
        tasks = as_completed(client.map(str, range(regions), pure=False))
        next(tasks)
        at, before = time.monotonic(), spent()
        for _ in tasks:
            pass
        each = 1e3 / max(regions - 1, 1)
        return told((time.monotonic() - at) * each, (spent() - before) * each, at - began)


def check(array: Path, regions: int) -> None:
    """Hold the numbers of the first and the last regions against what was given."""
    import zarr

    made: Any = zarr.open_array(array, mode="r")
    for part in (range(min(100, regions)), range(max(0, regions - 100), regions)):
        assert made.shape == (regions,), f"{made.shape[0]} numbers of {regions}"
        assert list(made[part.start : part.stop]) == list(part), "other numbers than were given"


def threads(regions: int, work: Callable[[int], object] = str) -> dict[str, float]:
    """Have two threads call what does nothing, so many times."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    with ThreadPoolExecutor(2) as pool:
        began, before = time.monotonic(), spent()
        tasks = as_completed([pool.submit(work, number) for number in range(regions)])
        next(tasks).result()
        first = time.monotonic() - began
        for one in tasks:
            one.result()
        each = 1e3 / regions
        return told((time.monotonic() - began) * each, (spent() - before) * each, first)


def by_hand(regions: int) -> dict[str, float]:
    """Have two threads keep each number in a file, synced and then renamed."""
    with tempfile.TemporaryDirectory() as folder:

        def keep(number: int) -> None:
            attempt = os.path.join(folder, f"attempt-{number}")
            with open(attempt, "wb", buffering=0) as file:
                file.write(number.to_bytes(4, "little"))
                os.fsync(file.fileno())
            os.rename(attempt, os.path.join(folder, str(number)))

        found = threads(regions, keep)
        for number in (0, regions - 1):
            assert int.from_bytes(Path(folder, str(number)).read_bytes(), "little") == number
        return found


def prefect(regions: int, on_dask: bool = False) -> dict[str, float]:
    """Have Prefect run so many tasks that do nothing, with a server of its own: in two threads, or on two workers."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        os.environ.update(QUIET, PREFECT_HOME=home)  # before it is imported
        from prefect import flow, task
        from prefect.cache_policies import NO_CACHE
        from prefect.task_runners import ThreadPoolTaskRunner

        runner: Any = ThreadPoolTaskRunner(max_workers=2)
        if on_dask:
            from prefect_dask import DaskTaskRunner  # type: ignore[import-not-found]

            options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
            runner = DaskTaskRunner(cluster_kwargs=options)

        @task(cache_policy=NO_CACHE)
        def nothing(number: int) -> str:
            return str(number)

        @flow(task_runner=runner)
        def many() -> dict[str, float]:
            nothing.submit(0).result()  # by now there are a server and workers
            at, before = time.monotonic(), spent()
            tasks = nothing.map(list(range(1, regions)))
            assert [one.result() for one in tasks] == list(map(str, range(1, regions)))
            each = 1e3 / max(regions - 1, 1)
            return told((time.monotonic() - at) * each, (spent() - before) * each, at - began)

        began = time.monotonic()
        return many()


QUIET = {
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
}


def spent() -> float:
    """Seconds of the processor that this process has had."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def told(wall: float, own: float, first: float) -> dict[str, float]:
    """Return what is told."""
    status = Path("/proc/self/status").read_text()  # what getrusage tells is that of who started this, if it was larger
    size = int(status.split("VmHWM:")[1].split()[0]) / 1024
    return {"ms a region": wall, "of the controller": own, "s to the first": first, "MiB": size}


COLUMNS = (
    Column("ms a region", "ms each", digits=3, relative=True),
    Column("of the controller", "of the head", digits=3, relative=True),
    Column("MiB", "head MiB", digits=0, peak=True),
    Column("s to the first", "start s", digits=1, compared=False),
    *ASIDE,
)
FEW = 1000


def kind(work: Callable[[int], dict[str, float]], regions: int, peer: str = "") -> Candidate:
    def run(job: Job) -> None:
        with job.measured():
            job.told.update(work(regions))

    return Candidate(run, peer)


def row(regions: int) -> Told:
    """A task a region is what Prefect has; not beyond a thousand, on dask a hundred: a tenth of a second each."""
    ways = {"HAND": by_hand, "terp": terp, "two threads": threads, "distributed 2x1": distributed}
    found = {name: kind(way, regions) for name, way in ways.items()}
    if regions <= FEW:
        found["Prefect, a task each"] = kind(prefect, regions, "prefect")
        found["Prefect, on dask 2x1, a tenth"] = kind(partial(prefect, on_dask=True), regions // 10, "prefect")
    return Told(f"{regions:,} regions that do nothing", COLUMNS, found, lambda rates: 1e3 / rates.files)


ROW3, ROW4, ROW5, ROW6 = (row(10**power) for power in (3, 4, 5, 6))
