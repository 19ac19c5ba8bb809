"""What row g does, done without terp: `python -m benchmarks.restarted KIND FOLDER WORKERS`, to be killed."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.job import Values
from benchmarks.rows.resume import WORK

ROOT = Path(__file__).parents[1]


class Other:
    """A tool's own way for the same regions: a chunk each in a Zarr array, of which it may find some already."""

    def __init__(self, place: Path, kind: str, regions: int, work: str = WORK) -> None:
        import zarr

        self.place, self.kind, self.regions, self.began = place, kind, regions, 0
        (place / "work.py").write_text(work)
        source = zarr.open_group(place / "source", mode="w")
        options: dict[str, Any] = {"chunks": (1,), "compressors": None, "fill_value": -1, "dimension_names": ("x",)}
        source.create_array("v", data=np.arange(float(regions)), **options)

    def start(self, workers: int) -> subprocess.Popen[Any]:
        """Start it, in a session of its own."""
        (self.place / "done").unlink(missing_ok=True)
        self.began = time.time_ns()
        words = [sys.executable, "-m", "benchmarks.restarted", self.kind, str(self.place), str(workers)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(self.place)))}
        options: dict[str, Any] = {"stdout": subprocess.DEVNULL, "start_new_session": True}
        return subprocess.Popen(words, cwd=self.place, env=environment, **options)

    def clear(self) -> None:
        """Remove what was made."""
        for name in ("result", "cubed"):
            shutil.rmtree(self.place / name, ignore_errors=True)

    def kill(self, process: subprocess.Popen[Any]) -> None:
        """Kill it with all its workers, which might go on for a while."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def recorded(self) -> int:
        """How many chunks this run has written."""
        with suppress(FileNotFoundError):  # what is there may be taken away
            return sum(path.stat().st_mtime_ns > self.began for path in self.place.glob("result/v/c/*"))
        return 0

    def sealed(self) -> bool:
        """Whether it says that all is there."""
        return (self.place / "done").exists()

    def values(self) -> Values:
        """All values."""
        import zarr

        return np.asarray(zarr.open_array(self.place / "result/v", mode="r")[:])


def worked(block: Values) -> Values:
    """The work on a block of one number; of none, what it would be like."""
    from work import work  # type: ignore[import-not-found]

    return block + work(int(block[0])) if block.size else block


def share(place: Path, first: int, workers: int) -> None:
    """Work out each so many-th number that is not there, and rename its file when it is on the disk."""
    for given in sorted((place / "source/v/c").iterdir(), key=lambda path: int(path.name))[first::workers]:
        made = place / "result/v/c" / given.name
        if not made.exists():
            attempt = made.with_name(f".{given.name}")
            with attempt.open("wb") as file:
                file.write(worked(np.fromfile(given, "f8")).tobytes())
                file.flush()
                os.fsync(file.fileno())
            attempt.rename(made)


def by_hand(place: Path, workers: int) -> None:
    """A process for each worker, and a chunk of Zarr for each number, stored as it is."""
    (place / "result/v/c").mkdir(parents=True, exist_ok=True)
    for name in ("zarr.json", "v/zarr.json"):
        shutil.copy(place / "source" / name, place / "result" / name)
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=share, args=(place, first, workers)) for first in range(workers)]
    for one in started:
        one.start()
    for one in started:
        one.join()
    assert not any(one.exitcode for one in started), "it failed"


def with_cubed(place: Path, workers: int) -> None:
    """cubed's resuming passes over whole arrays that are there."""
    import cubed  # type: ignore[import-not-found]

    options = {"executor_name": "processes", "executor_options": {"max_workers": workers}}
    spec = cubed.Spec(work_dir=str(place / "cubed"), allowed_mem="1GB", **options)
    values = cubed.map_blocks(worked, cubed.from_zarr(str(place / "source"), path="v", spec=spec), dtype="f8")
    cubed.to_zarr(values, str(place / "result"), path="v", resume=True)


def with_to_zarr(place: Path, workers: int) -> None:
    """xarray's to_zarr on dask's workers has no resuming: the same command writes all again."""
    import xarray as xr
    from distributed import Client, LocalCluster

    options: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options, local_directory=str(place / "dask")) as cluster, Client(cluster):
        values = xr.open_zarr(place / "source", chunks={"x": 1}, consolidated=False)["v"]
        made = values.copy(data=values.data.map_blocks(worked, dtype="f8", meta=np.empty(0)))
        made.encoding = {}
        made.to_dataset(name="v").to_zarr(place / "result", mode="w", zarr_format=3, consolidated=False)


KINDS = {"hand": by_hand, "cubed": with_cubed, "to_zarr": with_to_zarr}


def main(kind: str, place: str, workers: str) -> None:
    """Do it, and say that it is done."""
    KINDS[kind](Path(place), int(workers))
    (Path(place) / "done").touch()


if __name__ == "__main__":
    main(*sys.argv[1:])
