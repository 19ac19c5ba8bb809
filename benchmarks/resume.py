"""Row g and row h: `python -m benchmarks.resume [--regions 60]`.

Regions that compute for a while, on two workers: undisturbed; killed (SIGKILL, of the controller) when half of them are
recorded, and the same command again, told as a share of the undisturbed time, with the values compared; and on one
worker, told as what two are worth, beside what two bare processes are worth that do the same and nothing else: that is
what the machine has for two. Times are those of the stage, from its first region to its seal; the start is apart.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FLOW = """
import numpy as np
import xarray as xr
from prefect import flow
from terp.workflows import Product, ingest, stage

def work(seed: int) -> float:
    many = np.random.default_rng(seed).random(200_000)
    for _ in range(60):
        many = np.sort(many * 1.7 % 1)
    return many[100_000]

@stage(cut=("x",), block={"x": 1})
def sorted_often(block: xr.Dataset) -> xr.Dataset:
    found = block["v"].to_numpy().astype("f8")
    if found.size == 1:  # not while it is planned
        found = found + work(int(found[0]))
    return xr.Dataset({"v": ("x", found)})

@flow
def long(source: str) -> Product:
    return sorted_often(ingest(source))
"""


class Home:
    """A home of terp's for one run, and its source."""

    def __init__(self, place: Path, regions: int) -> None:
        import numpy as np
        import xarray as xr

        self.place, self.home = place, place / "home"
        (place / "flow.py").write_text(FLOW)
        xr.Dataset({"v": ("x", np.arange(float(regions)))}).to_netcdf(place / "source.nc")

    def start(self, workers: int) -> subprocess.Popen[Any]:
        """Start the run."""
        terp = Path(sys.executable).with_name("terp")
        words = [str(terp), "run", "flow.py:long", "source.nc", "--no-archive", "--workers", str(workers)]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(words, cwd=self.place, env={**os.environ, "TERP_HOME": str(self.home)}, **quiet)

    def recorded(self) -> int:
        """How many regions are recorded."""
        from terp.storage.errors import StorageError
        from terp.storage.product import StoredProduct

        for folder in self.home.glob("products/sorted_often-*"):
            try:
                return StoredProduct(folder).progress()[0]
            except StorageError:
                return 0
        return 0

    def values(self) -> str:
        """The digest of all values."""
        [seal] = self.home.glob("products/sorted_often-*/seal.json")
        return str(json.loads(seal.read_text())["values"])


def timed(home: Home, workers: int, before: int = 0) -> tuple[float, float]:
    """Run to the end; return seconds to the first region that is new, and from there to the end of the stage."""
    began, process, first = time.monotonic(), home.start(workers), 0.0
    sealed = False
    while process.poll() is None and not sealed:
        if not first and home.recorded() > before:
            first = time.monotonic()
        sealed = any(home.home.glob("products/sorted_often-*/seal.json"))
        time.sleep(0.02)
    ended = time.monotonic()
    if process.wait():
        raise SystemExit("the run failed")
    return first - began, ended - first


BARE = """
import sys
sys.argv[1:] = [int(word) for word in sys.argv[1:]]
import flow
print("ready", flush=True)
sys.stdin.readline()
for seed in range(*sys.argv[1:]):
    flow.work(seed)
"""


def bare(home: Home, processes: int, regions: int) -> float:
    """Return the seconds that so many processes take for all regions, each having its share from the start."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started: list[Any] = [
        subprocess.Popen(
            [sys.executable, "-c", BARE, str(first), str(regions), str(processes)], cwd=home.place, **pipes
        )
        for first in range(processes)
    ]
    for one in started:
        one.stdout.readline()
    began = time.monotonic()
    for one in started:
        one.stdin.close()
    if any(one.wait() for one in started):
        raise SystemExit("the bare processes failed")
    return time.monotonic() - began


def killed(home: Home, workers: int, regions: int) -> int:
    """Run, and kill the controller when half is recorded; return what was by then."""
    process = home.start(workers)
    while home.recorded() < regions // 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return home.recorded()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resume", description=__doc__)
    parser.add_argument("--regions", type=int, default=60)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole = Home(Path(folder), asked.regions)
        timed(whole, 2)  # what is started once for all runs, and imported
        results = {}
        for what, workers in (("two workers", 2), ("one worker", 1)):
            shutil.rmtree(whole.home / "products")
            results[what] = timed(whole, workers)
            print(f"{what:28} {results[what][0]:5.1f} s to the first, then {results[what][1]:6.2f} s", flush=True)
        digest = whole.values()
        shutil.rmtree(whole.home / "products")
        done = killed(whole, 2, asked.regions)
        start, rest = timed(whole, 2, done)
        two, one = results["two workers"][1], results["one worker"][1]
        alone = [bare(whole, processes, asked.regions) for processes in (2, 1)]
        same = "identical" if whole.values() == digest else "OTHER VALUES"
        print(f"killed with {done:3} of {asked.regions} done     {start:5.1f} s to the first, then {rest:6.2f} s")
        print(f"g: {rest / two:.2f} of the undisturbed time for {1 - done / asked.regions:.2f} of the work, {same}")
        print(f"h: two workers are worth {one / two:.2f} of one, {50 * one / two:.0f} %")
        print(f"   two bare processes {alone[1] / alone[0]:.2f} of one, {50 * alone[1] / alone[0]:.0f} %")


if __name__ == "__main__":
    main()
