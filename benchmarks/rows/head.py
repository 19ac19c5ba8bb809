"""h2 to h4: how many regions a second one controller can feed.

The controller is the real one: fill, Filling, ledger, Dask's client and scheduler over TLS. Its workers are real for
the scheduler, but only sleep, all in one process, and leave the small file that a region has. Told: how much longer
than its work a region keeps a worker, regions a second, milliseconds of a core that the controller takes for a region,
and what the controller and the process of the workers had of a core each: where the latter has none left, the
controller is not the limit. HAND hands out the same with Dask's client, and keeps nothing.
"""

import itertools
import multiprocessing
import resource
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import xarray as xr

from benchmarks.job import ASIDE, Candidate, Column, Job, Told
from benchmarks.sleepers import Region, idled, serve, slept
from terp.cluster.crew import Crew
from terp.cluster.launch import connected, scheduler
from terp.storage.filling import Filling
from terp.storage.grid import Group, shape_array
from terp.storage.making import Layout, create
from terp.storage.product import StoredProduct
from terp.storage.writing import write_region
from terp.workflows.running.fill import fill
from terp.workflows.running.progress import Progress
from terp.workflows.running.task import Task

REGIONS = 1 << 21  # more than can be made while it is measured
LAST = 10.0  # seconds that are looked at, or three regions


class Enough(Exception):
    """It was measured for long enough."""


class Sleeping:
    """A client that has workers sleep instead of what they are asked for."""

    def __init__(self, client: Any, seconds: float, region: Region) -> None:
        self._client, self._told = client, (seconds, region)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def submit(self, _: Any, task: Task, product: str, attempts: str, places: Any, *rest: Any, **options: Any) -> Any:
        """Hand out what takes the same time, and leaves the same; the rest is of how a worker does it."""
        return self._client.submit(slept, *self._told, attempts, places, **options)


class Looks:
    """What was done by when, and what it cost until then."""

    def __init__(self, sleepers: psutil.Process, before: float, after: float) -> None:
        self.sleepers, self.spans = sleepers, (before, before + after)
        self.began = 0.0  # when the first region came
        self.marks: list[tuple[float, int, float, float]] = []

    def look(self, done: int) -> None:
        """Be told how many are done; raises Enough in the end."""
        now = time.monotonic()
        self.began = self.began or (now if done else 0.0)
        if self.began and now - self.began >= self.spans[len(self.marks)]:
            theirs = self.sleepers.cpu_times()
            self.marks.append((now, done, spent(), theirs.user + theirs.system))
            if len(self.marks) == 2:
                raise Enough

    def told(self, workers: int, seconds: float) -> dict[str, float]:
        """Return what is told."""
        took, done, own, theirs = (b - a for a, b in zip(*self.marks, strict=True))
        return {
            "of its work": workers * took / done / seconds,
            "regions a second": done / took,
            "controller": own / took,
            "sleepers": theirs / took,
            "ms a region": 1e3 * own / done,
        }


def spent() -> float:
    """Seconds of the processor that this process has had."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextmanager
def sleeping(workers: int) -> Iterator[tuple[Any, psutil.Process]]:
    """Start a scheduler as runs have it, and so many workers; yield a client, and the process of the workers."""
    from distributed.security import Security

    security, context = Security.temporary(), multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with scheduler(security, "127.0.0.1", {}) as cluster, connected(cluster, security) as client:
        address = cluster.scheduler_address
        process = context.Process(target=serve, args=(address, security, workers, theirs), daemon=True)
        process.start()
        try:
            assert ours.poll(600), "the workers did not come"
            yield client, psutil.Process(process.pid)
        finally:
            process.kill()
            process.join()


def product(folder: Path) -> StoredProduct:
    """A product of very many regions of one number, with a key of its own, as Dask may know old tasks."""
    cut = {"x": (REGIONS, 1)}
    key = f"many-{secrets.token_hex(4)}"
    group = Group("", cut, (shape_array("v", ("x",), (REGIONS,), "float32", cut),))
    return create(folder / key, "many", key, {"stage": "many"}, Layout((group,), {"": xr.Dataset()}))


def one_region(filling: Filling) -> Region:
    """What a worker leaves of a region, and tells."""
    made = write_region(filling.attempts, filling.product.groups[0], 0, {"v": np.zeros(1, "f4")})
    [(name, _)] = made.values()
    return (filling.attempts / name).read_bytes(), {array: told for array, (_, told) in made.items()}


def terp(client: Any, _: int, seconds: float, looks: Looks) -> None:
    """Fill a product, until it was looked at for long enough."""
    with tempfile.TemporaryDirectory() as folder, Filling(product(Path(folder))) as filling:
        crew = Crew(Sleeping(client, seconds, one_region(filling)))
        task = Task("map", b"", (), {})
        with suppress(Enough):
            fill(task, filling, crew, Progress("many", REGIONS, 0), lambda one: looks.look(one.done), Path(folder))


def by_hand(client: Any, workers: int, seconds: float, looks: Looks) -> None:
    """Hand out a task for each that is done: two for each worker at once, as terp has, and nothing is kept of it."""
    from distributed import as_completed

    numbers = itertools.count()
    first = [client.submit(idled, seconds, next(numbers), pure=False) for _ in range(2 * workers)]
    tasks = as_completed(first, loop=client.loop)
    with suppress(Enough):
        for done, _ in enumerate(tasks, 1):
            tasks.add(client.submit(idled, seconds, next(numbers), pure=False))
            looks.look(done)


Controller = Callable[[Any, int, float, Looks], None]


def measure(controller: Controller, workers: int, seconds: float, last: float) -> dict[str, float]:
    """Have workers fed for a while, after what it takes to get going; return what is told."""
    with sleeping(workers) as (client, process):
        looks = Looks(process, 2 * seconds + last / 2, max(last, 3 * seconds))
        controller(client, workers, seconds, looks)
        return looks.told(workers, seconds)


def row(workers: int, seconds: float) -> Told:
    def candidate(controller: Controller) -> Candidate:
        def run(job: Job) -> None:
            with job.measured():
                job.told.update(measure(controller, workers, seconds, LAST))

        return Candidate(run)

    found = {"HAND": candidate(by_hand), "terp": candidate(terp)}
    return Told(f"one controller, {workers:,} workers that sleep {seconds:g} s a region", COLUMNS, found, lambda _: 1.0)


COLUMNS = (
    Column("of its work", "x its work"),
    Column("regions a second", "regions/s", digits=1, compared=False),
    Column("ms a region", "head ms", digits=3, relative=True),
    Column("controller", "head core", compared=False),
    Column("sleepers", "their core", compared=False),
    *ASIDE,
)
ROW2, ROW3, ROW4 = row(100, 0.1), row(100, 1), row(1000, 10)
