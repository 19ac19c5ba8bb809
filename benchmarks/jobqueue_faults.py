"""What befalls plain dask-jobqueue on the testbed: `python -m benchmarks.jobqueue_faults [FAULT ...]`.

Each fault meets a fresh cluster of two workers in jobs of their own with 240 tasks of half a second, as a user of
dask-jobqueue would start it. Printed: how many tasks were done when it ended, or after the patience that terp's own tests have
for the same fault. The same faults with terp: `make campaign ARGS='tests/slurm -v'`; the table is docs/faults.md.
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
TASKS, SECONDS, PATIENCE = 240, 0.5, 150.0
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
    from dask_jobqueue import SLURMCluster
    from distributed import Client, as_completed

    keywords, befall = FAULTS[name]
    asked = {"queue": "thin", "cores": 1, "processes": 1, "memory": "1GB", "nanny": False, "walltime": "00:10:00"}
    host = os.environ["SLURM_TESTBED_HOST"]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as logs:
        asked |= {"scheduler_options": {"host": host, "dashboard_address": ":0"}, "local_directory": "/local"}
        cluster = SLURMCluster(**{**asked, "log_directory": logs, **keywords})
        try:
            client = Client(cluster)
            cluster.scale(2)
            done, first, hit = 0, 0.0, False
            futures = client.map(lambda _: time.sleep(SECONDS), range(TASKS), pure=False)
            waiting = as_completed(futures, raise_errors=False)
            deadline = time.monotonic() + PATIENCE
            while done < TASKS and time.monotonic() < deadline:
                for future in waiting.next_batch(block=False) if waiting.has_ready() else []:
                    done += future.status == "finished"
                    first = first or time.monotonic() - began
                if done >= 20 and not hit:
                    hit = True
                    befall()
                time.sleep(0.1)
            here = sum(future.status == "finished" for future in futures)
            took = time.monotonic() - began
            return f"{here:>3} of {TASKS} results after {took:4.0f} s; first after {first:.1f} s"
        except Exception as error:  # noqa: BLE001 (what a user would see)
            return f"{type(error).__name__}: {error}"
        finally:
            for close in (client.close, cluster.close):
                try:
                    close(timeout=10)
                except Exception:  # noqa: BLE001 (the wrong partition: it cannot even be closed)
                    continue
            slurm("scancel", "-n", "dask-worker")
            bed("mend")


def main(names: list[str]) -> None:
    """Print a line for each fault."""
    warnings.simplefilter("ignore")
    for name in names or FAULTS:
        print(f"{name:<32} {meet(name)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
