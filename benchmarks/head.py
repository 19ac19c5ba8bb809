"""How many regions a second one controller can feed: `python -m benchmarks.head --workers 10 100 1000`.

The controller is the real one: fill, Filling, ledger, Dask's client and scheduler over TLS. Its workers are real for
the scheduler, but only sleep, all in one process, and leave the small file that a region has. Told: regions a second,
which share of their time workers were at it, what the controller and the process of the workers had of a core each,
and milliseconds of a core that the controller takes for a region. From the last follows how long regions have to take
to keep a number of cores busy: a controller has one core.
"""

import argparse
import json
import multiprocessing
import resource
import secrets
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import xarray as xr

from benchmarks.sleepers import Region, serve, slept
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
CORES = 10_000  # that one would like to keep busy


class Enough(Exception):
    """It was measured for long enough."""


class Sleeping:
    """A client that has workers sleep instead of what they are asked for."""

    def __init__(self, client: Any, seconds: float, region: Region) -> None:
        self._client, self._told = client, (seconds, region)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def submit(
        self, _: Any, task: Task, product: str, attempts: str, places: Any, longest: float, **options: Any
    ) -> Any:
        """Hand out what takes the same time, and leaves the same."""
        return self._client.submit(slept, *self._told, attempts, places, **options)


class Looks:
    """What was done by when, and what it cost until then."""

    def __init__(self, sleepers: psutil.Process, before: float, after: float) -> None:
        self.sleepers, self.spans = sleepers, (before, before + after)
        self.began = 0.0  # when the first region came
        self.marks: list[tuple[float, int, float, float]] = []

    def look(self, progress: Progress) -> None:
        """Be told of progress; raises Enough in the end."""
        now = time.monotonic()
        self.began = self.began or (now if progress.done else 0.0)
        if self.began and now - self.began >= self.spans[len(self.marks)]:
            theirs = self.sleepers.cpu_times()
            self.marks.append((now, progress.done, spent(), theirs.user + theirs.system))
            if len(self.marks) == 2:
                raise Enough

    def told(self, workers: int, seconds: float) -> dict[str, float]:
        """Return what is told."""
        took, done, own, theirs = (b - a for a, b in zip(*self.marks, strict=True))
        return {
            "workers": workers,
            "seconds": seconds,
            "regions a second": done / took,
            "workers busy": done * seconds / took / workers,
            "controller": own / took,
            "sleepers": theirs / took,
            "ms a region": 1e3 * own / max(done, 1),
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
    with scheduler(security, "127.0.0.1", {}, n_workers=0) as cluster, connected(cluster, security) as client:
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


def measure(client: Any, process: psutil.Process, workers: int, seconds: float, last: float) -> dict[str, float]:
    """Fill a product for a while, after what it takes to get going; return what is told."""
    with tempfile.TemporaryDirectory() as folder, Filling(product(Path(folder))) as filling:
        crew = Crew(Sleeping(client, seconds, one_region(filling)))
        looks = Looks(process, 2 * seconds + last / 2, max(last, 2 * seconds))
        task = Task("map", b"", (), {})
        with suppress(Enough):
            fill(task, filling, crew, Progress("many", REGIONS, 0), looks.look, Path(folder))
    return looks.told(workers, seconds)


def ceiling(found: list[dict[str, float]]) -> dict[str, float]:
    """Return how many regions a second a core feeds, each a task of its own, and how long they must take for CORES."""
    alone = [one["ms a region"] for one in found if one["seconds"] >= 1]
    each = statistics.median(alone) / 1e3 if alone else float("nan")
    return {"regions a second of a core": 1 / each, "seconds for 10,000 cores": CORES * each}


def main() -> None:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.head", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seconds", type=float, nargs="+", default=[0, 0.1, 1, 10], help="that a region takes")
    parser.add_argument("--last", type=float, default=10, help="seconds that each is measured for, or two regions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results")
    asked = parser.parse_args()
    found = []
    print(f"{'workers':>8} {'s':>5} {'regions/s':>10} {'busy':>6} {'head':>6} {'theirs':>6} {'ms each':>8}")
    for workers in asked.workers:
        with sleeping(workers) as (client, process):
            for seconds in asked.seconds:
                told = measure(client, process, workers, seconds, asked.last)
                found.append(told)
                shares = " ".join(f"{told[what]:6.0%}" for what in ("workers busy", "controller", "sleepers"))
                numbers = f"{workers:8,} {seconds:5g} {told['regions a second']:10.1f}"
                print(f"{numbers} {shares} {told['ms a region']:8.3f}", flush=True)
    whole = ceiling(found)
    print("  ".join(f"{what}: {value:,.1f}" for what, value in whole.items()))
    if asked.json:
        asked.json.write_text(json.dumps({"measured": found, **whole}, indent=1) + "\n")


if __name__ == "__main__":
    main()
