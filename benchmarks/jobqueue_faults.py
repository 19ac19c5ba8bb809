"""What befalls plain dask-jobqueue on the testbed: `python -m benchmarks.jobqueue_faults [FAULT ...]`.

Each fault meets a fresh cluster of two workers in jobs of their own with 240 tasks of half a second, as a user of
dask-jobqueue would start it. Printed: how many results there are when all are done, or after `PATIENCE`. The same
faults with terp are `tests/slurm/test_faults.py`; the table of both is docs/faults.md.
"""

import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTBED = Path(__file__).resolve().parents[1] / "slurm/testbed/testbed.sh"
TASKS, SECONDS, BEFORE, PATIENCE = 240, 0.5, 20, 120.0
Cluster = Any


def bed(*words: str) -> str:
    """Run a command of the testbed."""
    return subprocess.run([TESTBED, *words], capture_output=True, text=True, timeout=120, check=False).stdout


def slurm(*words: str) -> str:
    """Run a command of SLURM's."""
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout


def jobs() -> list[tuple[str, str]]:
    """Return id and node of the running jobs of workers."""
    told = slurm("squeue", "-h", "-n", "dask-worker", "-t", "R", "-o", "%A %N").splitlines()
    return [(number, node) for number, _, node in (line.partition(" ") for line in told)]


def walltime() -> None:
    for number, _ in jobs():
        slurm("scontrol", "update", f"jobid={number}", "EndTime=now+1")


def power() -> None:
    node = jobs()[0][1]
    bed("kill-node", node)
    bed("lost", node)


def network() -> None:
    node = jobs()[0][1]
    bed("partition", node)
    time.sleep(60)
    bed("heal", node)


def preempted() -> None:
    for _, node in jobs():
        slurm("sbatch", "-p", "thin", "-w", node, "-n", "16", "-t", "1", "-o", "/dev/null", "--wrap", "sleep 5")


def cancelled() -> None:
    slurm("scancel", *(number for number, _ in jobs()))


def stuck() -> None:
    for node in {node for _, node in jobs()}:
        bed("on", node, "pkill", "-STOP", "-f", "distributed.cli.dask_worker")


def away() -> None:
    bed("ctld-down")
    time.sleep(20)
    bed("ctld-up")


def nothing() -> None:
    """Let it be."""


# name: keywords of the cluster, and what happens when some tasks are done
FAULTS: dict[str, tuple[dict[str, Any], Callable[[], None]]] = {
    "none": ({}, nothing),
    "jobs exit at once": ({"job_script_prologue": ["exit 1"]}, nothing),
    "jobs never start": ({"job_extra_directives": ["--begin=now+1hour"]}, nothing),
    "a partition that is not there": ({"queue": "nowhere"}, nothing),
    "time limit of workers": ({}, walltime),
    "preempted and requeued": ({"queue": "preempt", "job_extra_directives": ["--requeue"]}, preempted),
    "preempted and cancelled": ({"queue": "scavenge"}, preempted),
    "power cut of a node": ({}, power),
    "network cut and healed": ({}, network),
    "slurmctld away": ({}, away),
    "scancel by somebody": ({}, cancelled),
    "workers stuck": ({}, stuck),
}


def meet(name: str) -> str:
    """Let a fresh cluster meet a fault; return what became of it."""
    from dask_jobqueue.slurm import SLURMCluster

    keywords, befall = FAULTS[name]
    asked = {"queue": "thin", "cores": 1, "processes": 1, "memory": "1GB", "nanny": False, "walltime": "00:10:00"}
    host = {"host": os.environ["SLURM_TESTBED_HOST"], "dashboard_address": ":0"}
    with tempfile.TemporaryDirectory() as logs:
        began = time.monotonic()
        asked |= {"scheduler_options": host, "local_directory": "/local", "log_directory": logs}
        cluster = SLURMCluster(**{**asked, **keywords})
        try:
            return work(cluster, befall, began)
        except Exception as error:  # noqa: BLE001 (what a user would see)
            return f"{type(error).__name__}: {error}"
        finally:
            try:
                cluster.close(timeout=10)
            except Exception as error:  # noqa: BLE001 (with a wrong partition it cannot even be closed)
                print(f"  (closing it raised {type(error).__name__})")
            slurm("scancel", "-n", "dask-worker")
            bed("mend")


def work(cluster: Cluster, befall: Callable[[], None], began: float) -> str:
    """Have the tasks done, with a fault after some of them; return how many results there are in the end."""
    from distributed import Client

    with Client(cluster) as client:
        cluster.scale(2)
        futures = client.map(lambda _: time.sleep(SECONDS), range(TASKS), pure=False)
        first, hit, done = 0.0, False, 0
        deadline = time.monotonic() + PATIENCE
        while done < TASKS and time.monotonic() < deadline:
            time.sleep(0.1)
            done = sum(future.status == "finished" for future in futures)
            first = first or (time.monotonic() - began if done else 0.0)
            if done >= BEFORE and not hit:
                hit = True
                befall()
        return f"{done:>3} of {TASKS} results after {time.monotonic() - began:4.0f} s; the first after {first:.1f} s"


def main(names: list[str]) -> None:
    """Print a line for each fault."""
    warnings.simplefilter("ignore")
    for name in names or FAULTS:
        print(f"{name:<32} {meet(name)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
