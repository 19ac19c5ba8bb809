"""What reading ahead is worth where data lie on the disk: `python -m benchmarks.cold [--work 1,4,16] [--rounds 5]`.

A stage sums 64 MiB a region, some passes over it, on two workers; the shards that it reads are dropped from the page
cache before. With what has the disk read the next region's meanwhile, and without it, in turns; seconds from the first
region that is recorded to the last. The sums are held against each other.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.shard_peers import forget
from terp.storage.product import StoredProduct
from terp.workflows import api
from terp.workflows.running import ahead, where
from terp.workflows.running.report import LogReporter

REGIONS = 32
FLOWS = """
import numpy as np
import xarray as xr
from prefect import flow
from terp.workflows import Product, ingest, stage

@stage(cut=("x",), block={"x": 1})
def noise(block: xr.Dataset) -> xr.Dataset:
    values = [np.random.default_rng(int(seed)).random(1 << 24, dtype="f4") for seed in block["seed"]]
    return xr.Dataset({"v": (("x", "y"), np.array(values))})

@stage(cut=("x",), block={"x": 1})
def summed(block: xr.Dataset, passes: int, turn: int) -> xr.Dataset:
    values = block["v"].values
    return xr.Dataset({"sum": ("x", sum((values * (1 + number)).sum(axis=1) for number in range(passes)))})

@flow
def given(source: str) -> Product:
    return noise(ingest(source))

@flow
def whole(source: str, passes: int, turn: int) -> Product:
    return summed(noise(ingest(source)), passes, turn)
"""


class Watch(LogReporter):
    """Notes when regions of the stage are recorded."""

    def __init__(self) -> None:
        self.marks: list[tuple[int, float]] = []

    def progress(self, progress: Any) -> None:
        """Note it."""
        if progress.name == "summed" and progress.done:
            self.marks.append((progress.done, time.monotonic()))


@contextmanager
def without() -> Iterator[None]:
    """Have workers read nothing ahead."""
    true = where.PRELOAD
    where.PRELOAD = tuple(module for module in true if module != ahead.__name__)
    try:
        yield
    finally:
        where.PRELOAD = true


def timed(place: Path, passes: int, turn: int) -> tuple[float, Any]:
    """Run the stage on what is not in the page cache; return milliseconds a region, and the sums."""
    [noise] = (place / "home").glob("products/noise-*/data.zarr/v/c")
    forget(noise)
    watch = Watch()
    done = api.run(
        f"{place}/flow.py:whole", str(place / "seeds.nc"), passes=passes, turn=turn,
        home=place / "home", workers=2, archive=False, reporter=watch,
    )  # fmt: skip
    [key] = done.record.results.values()
    (first, began), (last, ended) = watch.marks[0], watch.marks[-1]
    sums = StoredProduct(place / "home/products" / key).open()["sum"].values
    return (ended - began) / (last - first) * 1e3, sums


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold", description=__doc__)
    parser.add_argument("--work", default="1,4,16", help="passes over what a region reads")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--place", type=Path, default=Path.cwd(), help="where the data are, while they are")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.place) as folder:
        place = Path(folder)
        (place / "flow.py").write_text(FLOWS)
        xr.Dataset({"seed": ("x", np.arange(REGIONS))}, {"x": np.arange(REGIONS)}).to_netcdf(place / "seeds.nc")
        api.run(f"{place}/flow.py:given", str(place / "seeds.nc"), home=place / "home", workers=2, archive=False)
        timed(place, 1, -1)  # once for all that is there only once
        for passes in map(int, asked.work.split(",")):
            compare(place, passes, asked.rounds)


def compare(place: Path, passes: int, rounds: int) -> None:
    """Tell what a region takes with and without."""
    taken: dict[str, list[float]] = {"without": [], "ahead": []}
    for turn in range(rounds):
        with without():
            plain, right = timed(place, passes, 2 * turn)
        fast, sums = timed(place, passes, 2 * turn + 1)
        assert np.array_equal(sums, right), "OTHER VALUES"
        taken["without"].append(plain)
        taken["ahead"].append(fast)
    plain, fast = (statistics.median(taken[how]) for how in ("without", "ahead"))
    rates = ", ".join(f"{a / b:.2f}" for a, b in zip(taken["without"], taken["ahead"], strict=True))
    print(
        f"{passes:4} passes: {plain:6.0f} ms a region without, {fast:6.0f} ahead: x {plain / fast:.2f} ({rates})",
        flush=True,
    )


if __name__ == "__main__":
    main()
