"""What a region costs beside its work: `python -m benchmarks.regions [--peers] [--json FILE] [REGIONS ...]`.

A stage that does nothing, on regions of one number, on two workers: each region is read (proven), written (synced),
made visible and recorded. Told: milliseconds a region from the first that was recorded to the last, the time of the
controller itself (user and system, Dask's scheduler with it), seconds from the start to the first region, and how large
the controller became. `--peers` adds as many tasks that do nothing on plain distributed, all handed in at once, and on
two threads of this process: the least that handing work to others costs, where nothing is kept of it.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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


def threads(regions: int) -> dict[str, float]:
    """Have two threads call what does nothing, so many times."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    with ThreadPoolExecutor(2) as pool:
        began, before = time.monotonic(), spent()
        tasks = as_completed([pool.submit(str, number) for number in range(regions)])
        next(tasks)
        first = time.monotonic() - began
        for _ in tasks:
            pass
        each = 1e3 / regions
        return told((time.monotonic() - began) * each, (spent() - before) * each, first)


KINDS = {"terp": terp, "distributed": distributed, "threads": threads}


def spent() -> float:
    """Seconds of the processor that this process has had."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def told(wall: float, own: float, first: float) -> dict[str, float]:
    """Return what is told."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"ms a region": wall, "of the controller": own, "s to the first": first, "MiB": size}


def main() -> None:
    """Measure each in a process of its own, and print a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regions", description=__doc__)
    parser.add_argument("regions", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results")
    parser.add_argument("--only", choices=KINDS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(KINDS[asked.only](asked.regions[0])))
        return
    results = []
    for regions in asked.regions:
        for peer in KINDS if asked.peers else ["terp"]:
            command = [sys.executable, "-m", "benchmarks.regions", str(regions), "--only", peer]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            results.append({"regions": regions, "candidate": peer, **found})
            words = (f"{value:9.3f} {what}" for what, value in found.items())
            print(f"{regions:>9,} {peer:12} {'  '.join(words)}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
