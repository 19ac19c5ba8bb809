"""`terp doctor --site`: a site that is well is found well; what is broken is named with its cure; nothing is left."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.slurm

SECONDS = 30  # that it may take in all
ELSEWHERE = ["cores=16", "memory=32000M", "walltime=1:00:00"]

Doctor = Callable[..., dict[str, Any]]


@pytest.fixture
def doctor(bed, home: Path) -> Doctor:
    """The findings of `terp doctor --site testbed` by their names, with some keys of the site changed."""

    def findings(*keys: str, **environment: str) -> dict[str, Any]:
        began = time.monotonic()
        done = subprocess.run(
            command(*keys), env={**os.environ, **bed.environment, **environment}, capture_output=True, text=True
        )
        assert time.monotonic() - began < SECONDS
        found = {one["what"]: one for one in json.loads(done.stdout)}
        assert done.returncode == (0 if all(one["well"] for one in found.values()) else 69), done.stderr
        assert all(one["cure"] for one in found.values() if not one["well"])
        assert left(home) == []
        return found

    return findings


def command(*keys: str) -> list[str]:
    said = [word for key in keys for word in ("--site-set", key)]
    return [str(Path(sys.executable).with_name("terp")), "doctor", "--site", "testbed", *said, "--json"]


def left(home: Path) -> list[str]:
    """What a doctor has left behind: files, and jobs that are not over."""
    queue = subprocess.run(["squeue", "-h", "-o", "%j"], capture_output=True, text=True, timeout=30).stdout.split()
    files = [str(path) for path in (home / "cache").glob("*")] if home.exists() else []
    return files + [name for name in queue if name.startswith("terp-doctor")]


def faults(found: dict[str, Any]) -> set[str]:
    return {what for what, one in found.items() if not one["well"]}


def tried(found: dict[str, Any]) -> set[str]:
    return {what for what, one in found.items() if one["tried"]}


def test_a_site_that_is_well_is_found_well_from_here_and_from_a_node(doctor: Doctor) -> None:
    found = doctor()
    assert faults(found) == set()
    assert tried(found) == set(found)
    assert found["Python there"]["found"] == sys.version.split()[0]
    assert "a new file is seen there" in found
    assert "a new file is seen here" in found
    assert "10.77.0.1" in found["a node reaches this machine"]["found"]
    assert float(found["clocks"]["found"].split()[2]) < 1


def test_a_partition_that_is_not_there_is_named_with_those_that_are(doctor: Doctor) -> None:
    found = doctor("partition=gone", *(f"partitions.gone.{key}" for key in ELSEWHERE))
    assert faults(found) == {"partition gone", "jobs of workers"}
    assert "debug, fat, preempt, scavenge, thin" in found["partition gone"]["cure"]


def test_an_account_that_may_not_be_used_is_named_with_those_that_may(doctor: Doctor) -> None:
    found = doctor("account=nobodys")
    assert faults(found) == {"account", "jobs of workers", "job of the controller"}
    assert "farm, lab" in found["account"]["cure"]


def test_more_memory_than_a_node_has_is_refused_before_any_run(doctor: Doctor) -> None:
    found = doctor("partitions.thin.memory=900G", "memory_per_core=100G")
    assert faults(found) == {"jobs of workers"}
    assert "no node of the partition has the cores and memory" in found["jobs of workers"]["found"]


def test_a_walltime_that_the_partition_does_not_give_is_told(doctor: Doctor) -> None:
    found = doctor("partitions.thin.walltime=9:00:00", "walltime=8:00:00", "controller.walltime=10:00")
    assert faults(found) == {"partition thin", "jobs of workers"}
    assert "01:00:00 or less" in found["partition thin"]["cure"]


@pytest.mark.campaign
def test_a_home_that_only_this_machine_sees_is_found_out(doctor: Doctor) -> None:
    own = Path("/local/terp-doctor-test")  # each node has a /local of its own
    try:
        found = doctor(TERP_HOME=str(own))
        assert left(own) == []
    finally:
        shutil.rmtree(own, ignore_errors=True)
    assert faults(found) == {"TERP_HOME is shared"}
    assert str(own) in found["TERP_HOME is shared"]["found"]


@pytest.mark.campaign
def test_how_late_a_new_file_is_seen_is_measured_both_ways(bed, doctor: Doctor) -> None:
    folder = bed.shared / "terp-doctor-test"
    folder.mkdir()
    bed.lie("late=3")
    try:
        found = doctor(TERP_HOME=str(folder))
    finally:
        bed.lie("off")
        shutil.rmtree(folder)
    assert faults(found) == set()
    for way in ("there", "here"):
        told = found[f"a new file is seen {way}"]["found"]
        assert 2 < float(told.split()[1]) < 6
        assert "terp waits for that" in told


@pytest.mark.campaign
def test_an_address_that_nodes_cannot_reach_is_told_with_the_way_out(doctor: Doctor) -> None:
    found = doctor("interface=lo")  # 127.0.0.1 is another machine on each node
    assert faults(found) == {"a node reaches this machine"}
    assert "cannot connect to 127.0.0.1" in found["a node reaches this machine"]["found"]
    assert "`interface`" in found["a node reaches this machine"]["cure"]


@pytest.mark.campaign
def test_a_partition_of_which_all_nodes_are_lost_is_named(bed, doctor: Doctor) -> None:
    bed.partition("n4")
    bed.lost("n4")
    found = doctor("partition=fat")
    assert "partition fat" in faults(found)
    assert "0 of 1 nodes are free" in found["partition fat"]["found"]
    assert not found["what a node sees"]["tried"]


@pytest.mark.campaign
def test_a_node_that_is_cut_off_while_its_job_runs_is_named(bed, home: Path) -> None:
    with asked("partition=fat", 'prologue=["sleep 3"]') as process:
        until(lambda: [job for job in bed.jobs() if job.name.startswith("terp-doctor") and job.state == "RUNNING"])
        bed.partition("n4")
        found = {one["what"]: one for one in json.loads(process.communicate(timeout=SECONDS)[0])}
    assert process.returncode == 69
    assert faults(found) == {"a node reaches this machine"}
    assert "on n4 runs, but nothing of it has come to 10.77.0.1" in found["a node reaches this machine"]["found"]
    bed.lost("n4")  # else SLURM waits for minutes for its word that the job has ended
    until(lambda: left(home) == [])


def test_without_slurmctld_only_that_is_told(bed, doctor: Doctor) -> None:
    bed.ctld_down()
    found = doctor()
    assert faults(found) == {"slurmctld"}
    assert not found["all else at the site"]["tried"]


def test_without_slurms_commands_it_is_said_where_they_are(doctor: Doctor, tmp_path: Path) -> None:
    found = doctor(PATH=str(tmp_path))
    assert "there is no sbatch, squeue, sacct" in found["SLURM's commands"]["found"]
    assert faults(found) == {"SLURM's commands"}


@pytest.mark.campaign
def test_what_jobs_would_lack_on_a_node_is_told(doctor: Doctor) -> None:
    found = doctor("python=/usr/bin/python3", "local=/nowhere")
    assert faults(found) == {"Python there", "the node's own folder"}
    assert "/nowhere" in found["the node's own folder"]["found"]


@pytest.mark.campaign
def test_a_prologue_that_ends_the_job_is_suspected(doctor: Doctor) -> None:
    found = doctor('prologue=["exit 7"]')
    assert "exit code 7:0" in found["a node reaches this machine"]["found"]
    assert "prologue" in found["a node reaches this machine"]["cure"]


@pytest.mark.campaign
def test_a_file_system_that_nodes_do_not_share_is_no_place_for_a_home(doctor: Doctor, home: Path) -> None:
    home.mkdir()
    found = doctor(
        *(f"file_systems.scratch.{one}" for one in (f"path={home.parent}", "shared=false")),
        *(f"file_systems.project.{one}" for one in ("path=/tmp", "quota=1T", "files=1000")),
    )
    assert faults(found) == {"file system scratch"}
    assert "project" in found["file system scratch"]["cure"]
    assert "1,024.0 GiB a user, 1,000 files a user" in found["file system project"]["found"]


@contextmanager
def waiting(bed) -> Iterator[subprocess.Popen[str]]:
    """A doctor whose probe waits in the queue, as its partition is full."""
    full = bed.sbatch("-p", "fat", "-c16", "--mem=100M", "--wrap", "sleep 1000")
    bed.wait(full, "RUNNING")
    with asked("partition=fat") as process:
        until(lambda: any(job.name.startswith("terp-doctor") for job in bed.jobs()))
        yield process


def asked(*keys: str) -> subprocess.Popen[str]:
    """A doctor that is at work."""
    return subprocess.Popen(command(*keys), stdout=subprocess.PIPE, text=True)


def until(true: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


@pytest.mark.campaign
def test_a_probe_that_waits_in_the_queue_is_no_fault_and_a_stranger_is_not_let_in(bed, home: Path) -> None:
    began = time.monotonic()
    with waiting(bed) as process:
        door = until(lambda: [one.laddr for one in psutil.Process(process.pid).net_connections("tcp")])[0]
        with socket.create_connection(door, timeout=5) as stranger:
            stranger.sendall(b"let me in, this is not the word\n")
            assert stranger.recv(10) == b""
        found = {one["what"]: one for one in json.loads(process.communicate(timeout=SECONDS)[0])}
    assert time.monotonic() - began < SECONDS + 5
    assert process.returncode == 0
    assert door.ip == bed.host
    assert not found["what a node sees"]["tried"]
    assert "waits for free nodes" in found["what a node sees"]["found"]
    assert left(home) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.campaign
def test_nothing_is_left_of_a_doctor_that_is_interrupted(bed, home: Path, number: signal.Signals) -> None:
    with waiting(bed) as process:
        process.send_signal(number)
        process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert left(home) == []
