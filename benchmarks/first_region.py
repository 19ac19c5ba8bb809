"""From the command to the first result on the testbed: `python -m benchmarks.first_region [ROUNDS]`.

terp: from `terp run --site testbed` to the first region on disk and recorded, while a Prefect server is up, as it is
for a quarter of an hour after each run, and with a home in which none ever was. Plain dask-jobqueue: from a script's
start to its first worker, with and without a nanny. Interleaved; medians.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TERP = Path(sys.executable).with_name("terp")
SCRIPT = """
import os, sys, tempfile
from dask_jobqueue import SLURMCluster
from distributed import Client
if __name__ == "__main__":
    host = {{"host": os.environ["SLURM_TESTBED_HOST"], "dashboard_address": ":0"}}
    with tempfile.TemporaryDirectory() as logs, SLURMCluster(
        queue="thin", cores=1, processes=1, memory="1GB", nanny={nanny}, local_directory="/local",
        scheduler_options=host, log_directory=logs,
    ) as cluster, Client(cluster) as client:
        cluster.scale(2)
        client.wait_for_workers(1, timeout=120)
        print("here", flush=True)
"""


def terp(environment: dict[str, str]) -> float:
    """Seconds until the first region is recorded."""
    with tempfile.TemporaryDirectory() as home:
        began = time.monotonic()
        words = [str(TERP), "--home", home, "run", "climatology", "--quiet", "--no-archive", "--site", "testbed"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, env=os.environ | environment) as run:
            while run.poll() is None and not recorded(Path(home)):
                time.sleep(0.02)
            took = time.monotonic() - began
            run.wait()
        return took


def recorded(home: Path) -> bool:
    """Say whether any ledger has a region."""
    return any(rows.stat().st_size for rows in home.glob("products/*/ledger/*.rows"))


def plain(nanny: bool) -> float:
    """Seconds until the first worker of plain dask-jobqueue is there."""
    began = time.monotonic()
    words = [sys.executable, "-W", "ignore", "-c", SCRIPT.format(nanny=nanny)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        assert run.stdout is not None
        run.stdout.readline()
        return time.monotonic() - began


def main(rounds: int) -> None:
    """Print the median of each."""
    from terp.workflows.prefect import server
    from terp.workflows.prefect.folders import own_folder
    from terp.workflows.prefect.watch import read

    with tempfile.TemporaryDirectory() as home, server.connect(Path(home)) as connection:
        state = read(own_folder(Path(home)))
        assert state is not None
        warm = {"PREFECT_API_URL": connection.api_url, "PREFECT_API_AUTH_STRING": state["auth"]}
        measure(rounds, warm)
    server.stop(Path(home))


def measure(rounds: int, warm: dict[str, str]) -> None:
    """Measure all, one after the other, so many times."""
    subjects: dict[str, Callable[[], float]] = {
        "terp, first region recorded": lambda: terp(warm),
        "terp, first start of Prefect's server": lambda: terp({}),
        "dask-jobqueue, first worker, no nanny": lambda: plain(False),
        "dask-jobqueue, first worker, nanny": lambda: plain(True),
    }
    took: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            took[name].append(subject())
    for name, seconds in took.items():
        print(f"{name:<40} {statistics.median(seconds):5.1f} s   ({', '.join(f'{one:.1f}' for one in seconds)})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
