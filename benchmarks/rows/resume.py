"""g: killed at half, and the same command again; h1: what two workers are worth.

Regions that compute for a while, on two workers: undisturbed; killed (SIGKILL) when half of them are recorded, and the
same command again, told as a share of the undisturbed time; and on one worker. Times are from the first region to the
seal; the start is apart. Values are held against what the same function gives here, and against each other.
HAND is two processes with a file a region, which skip those that are there.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.job import ASIDE, Candidate, Column, Job, Told, Values

WORK = """
import numpy as np

def work(seed: int) -> float:
    many = np.random.default_rng(seed).random(200_000)
    for _ in range(60):
        many = np.sort(many * 1.7 % 1)
    return many[100_000]
"""
HEAD = """
import xarray as xr
from prefect import flow
from terp.workflows import Product, ingest, stage
"""
STAGE = """
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
FLOW = HEAD + WORK + STAGE
REGIONS = 60


class Home:
    """A home of terp's for one run, and its source."""

    def __init__(self, place: Path, regions: int) -> None:
        import xarray as xr

        self.place, self.home, self.regions, self.before = place, place / "home", regions, 0
        (place / "work.py").write_text(WORK)
        (place / "flow.py").write_text(FLOW)
        xr.Dataset({"v": ("x", np.arange(float(regions)))}).to_netcdf(place / "source.nc")

    def start(self, workers: int) -> subprocess.Popen[Any]:
        """Start the run."""
        self.before = self.known()
        terp = Path(sys.executable).with_name("terp")
        words = [str(terp), "run", "flow.py:long", "source.nc", "--no-archive", "--workers", str(workers)]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(words, cwd=self.place, env={**os.environ, "TERP_HOME": str(self.home)}, **quiet)

    def clear(self) -> None:
        """Remove what was made."""
        shutil.rmtree(self.home / "products")

    def kill(self, process: subprocess.Popen[Any]) -> None:
        """Kill the controller; its workers end by themselves."""
        process.send_signal(signal.SIGKILL)
        process.wait()

    def recorded(self) -> int:
        """How many regions this run has recorded."""
        return self.known() - self.before

    def known(self) -> int:
        """How many regions are recorded."""
        from terp.storage.errors import StorageError
        from terp.storage.product import StoredProduct

        for folder in self.home.glob("products/sorted_often-*"):
            try:
                return StoredProduct(folder).progress()[0]
            except StorageError:
                return 0
        return 0

    def sealed(self) -> bool:
        """Whether all is there."""
        return any(self.home.glob("products/sorted_often-*/seal.json"))

    def values(self) -> Values:
        """All values."""
        import zarr

        [array] = self.home.glob("products/sorted_often-*/data.zarr/v")
        return np.asarray(zarr.open_array(array, mode="r")[:])


def timed(home: Any, workers: int) -> tuple[float, float]:
    """Run to the end; return seconds to the first region that is new, and from there to the end of the stage."""
    began, process, first = time.monotonic(), home.start(workers), 0.0
    sealed = False
    while process.poll() is None and not sealed:
        if not first and home.recorded():
            first = time.monotonic()
        sealed = home.sealed()
        time.sleep(0.02)
    ended = time.monotonic()
    if process.wait():
        raise SystemExit("the run failed")
    return first - began, ended - first


def killed(home: Any, workers: int) -> int:
    """Run, and kill it when half is recorded; return what was by then."""
    process = home.start(workers)
    while home.recorded() < home.regions // 2:
        if process.poll() is not None:
            raise SystemExit("the run ended before it was killed")
        time.sleep(0.02)
    home.kill(process)
    return int(home.recorded())


def checked(home: Any) -> Values:
    """Return the values, of which a sample is worked out here again."""
    values = home.values()
    right: dict[str, Any] = {}
    exec((home.place / "work.py").read_text(), right)
    for seed in (0, home.regions // 2, home.regions - 1):
        assert values[seed] == seed + right["work"](seed), "OTHER VALUES than its function gives"
    return np.asarray(values)


def resumed(home: Any) -> dict[str, float]:
    """Return what row g tells: the same command again after a kill, beside the undisturbed time."""
    start, whole = timed(home, 2)
    values = checked(home)
    home.clear()
    done = killed(home, 2)
    again, rest = timed(home, 2)
    assert np.array_equal(home.values(), values), "OTHER VALUES than undisturbed"
    left = 1 - done / home.regions
    return {"share": rest / whole, "left": left, "whole": whole, "rest": rest, "start": start, "again": again}


def scaled(home: Any) -> dict[str, float]:
    """Return what row h1 tells: how much longer two workers take than half of what one takes."""
    _, two = timed(home, 2)
    checked(home)
    home.clear()
    _, one = timed(home, 1)
    return {"share": two / one * 2, "two": two, "one": one}


def terp(job: Job, what: Callable[[Any], dict[str, float]]) -> None:
    """terp's, with what is started once for all runs, and imported, there already."""
    home = Home(job.folder, REGIONS)
    timed(home, 2)
    home.clear()
    with job.measured():
        job.told.update(what(home))


def other(job: Job, what: Callable[[Any], dict[str, float]], kind: str) -> None:
    from benchmarks.restarted import Other

    home = Other(job.folder, kind, REGIONS)
    with job.measured():
        job.told.update(what(home))


RESUMED = Told(
    "killed when half is there, and the same command again",
    (
        Column("share", "of undisturbed", digits=3),
        Column("left", "work left", digits=3, compared=False),
        Column("whole", "undisturbed s", relative=True),
        Column("rest", "rest s", relative=True),
        Column("start", "start s", digits=1, compared=False),
        Column("again", "start again s", digits=1, compared=False),
        *ASIDE,
    ),
    {
        "HAND": Candidate(partial(other, what=resumed, kind="hand")),
        "terp": Candidate(partial(terp, what=resumed)),
        "cubed processes": Candidate(partial(other, what=resumed, kind="cubed"), "cubed"),
        "to_zarr, distributed 2x1": Candidate(partial(other, what=resumed, kind="to_zarr"), "xarray"),
    },
    lambda _: 0.5,
)
SCALED = Told(
    "two workers beside half of what one takes",
    (
        Column("share", "of half", digits=3),
        Column("two", "two workers s", relative=True),
        Column("one", "one worker s", relative=True),
        *ASIDE,
    ),
    {
        "HAND": Candidate(partial(other, what=scaled, kind="hand")),
        "terp": Candidate(partial(terp, what=scaled)),
    },
    lambda _: 1.0,
)
