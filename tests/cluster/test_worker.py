"""What a job runs: workers that are processes of their own, one of which may die without the others."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from terp.cluster.crew import Crew
from terp.cluster.keys import Keys
from terp.cluster.launch import connected, scheduler

sys.path.insert(0, str(Path(__file__).parent))
from waiting import until as waited

SECONDS = 60
until = partial(waited, seconds=SECONDS)


class Job:
    """A job without SLURM: two workers, and a client to see them."""

    def __init__(self, process: subprocess.Popen[str], client: Any) -> None:
        self.process, self.client = process, client

    def names(self) -> set[str]:
        """The names of the workers that are there."""
        return {one["name"] for one in self.client.scheduler_info(n_workers=-1)["workers"].values()}

    def end(self, name: str, how: int) -> None:
        """Send a worker a signal, as the kernel does to code that goes wrong."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        [address] = [address for address, one in workers.items() if one["name"] == name]
        os.kill(self.client.run(os.getpid, workers=[address])[address], how)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    keys = Keys.make(tmp_path / "keys/run")
    security = keys.security()
    with scheduler(security, "127.0.0.1", {}) as cluster, connected(cluster, security) as client:
        words = [cluster.scheduler_address, "--name", "7.0", "--workers", "2", "--keys", str(keys.folder)]
        words += ["--patience", "2"]
        process = subprocess.Popen(
            [sys.executable, "-m", "terp.cluster.worker", *words], stderr=subprocess.PIPE, text=True
        )
        found = Job(process, client)
        until(lambda: found.names() == {"7.0.0-0", "7.0.1-0"})
        yield found
        process.terminate()
        process.communicate(timeout=SECONDS)


def test_a_worker_that_crashes_is_replaced_and_the_others_go_on(job: Job) -> None:
    job.end("7.0.1-0", signal.SIGSEGV)
    until(lambda: job.names() == {"7.0.0-0", "7.0.1-1"})
    assert job.process.poll() is None


def test_a_worker_that_crashes_again_and_again_ends_its_job(job: Job) -> None:
    for life in range(5):
        until(lambda life=life: f"7.0.1-{life}" in job.names())
        job.end(f"7.0.1-{life}", signal.SIGABRT)
    _, said = job.process.communicate(timeout=SECONDS)
    assert job.process.returncode == 128 + signal.SIGABRT
    assert said.count("worker 1 died (SIGABRT); another takes its place") == 4


def test_a_worker_that_is_told_to_end_is_replaced_however_often(job: Job) -> None:
    crew = Crew(job.client)
    for life in range(6):
        until(lambda life=life: f"7.0.1-{life}" in job.names())
        workers = crew.workers().items()
        crew.end(next(address for address, one in workers if one["name"] == f"7.0.1-{life}"))
    until(lambda: job.names() == {"7.0.0-0", "7.0.1-6"})
    assert job.process.poll() is None


def test_a_worker_that_holds_pythons_lock_for_ever_is_ended_and_replaced_and_the_others_go_on(job: Job) -> None:
    [address] = [address for address, one in Crew(job.client).workers().items() if one["name"] == "7.0.1-0"]
    stuck = psutil.Process(job.client.run(os.getpid, workers=[address])[address])
    holding = job.client.submit(lambda: ctypes.PyDLL(None).sleep(3600), workers=[address])
    until(lambda: "7.0.1-1" in job.names() and not stuck.is_running())
    holding.cancel()
    assert job.process.poll() is None
    assert "7.0.0-0" in job.names()


def test_a_worker_that_is_killed_as_for_memory_ends_its_job_with_slurms_own_word_for_it(job: Job) -> None:
    job.end("7.0.0-0", signal.SIGKILL)
    _, said = job.process.communicate(timeout=SECONDS)
    assert job.process.returncode == 128 + signal.SIGKILL
    assert "takes its place" not in said


def test_a_job_that_slurm_ends_starts_no_worker_anew(job: Job) -> None:
    job.process.terminate()
    _, said = job.process.communicate(timeout=SECONDS)
    assert "takes its place" not in said
    until(lambda: not job.names())


def test_a_job_whose_run_is_over_begins_nothing(tmp_path: Path) -> None:
    words = ["tls://127.0.0.1:1", "--keys", str(tmp_path / "gone")]
    done = subprocess.run(
        [sys.executable, "-m", "terp.cluster.worker", *words], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0
    assert "the run that this job belongs to is over" in done.stderr
