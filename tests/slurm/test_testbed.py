"""The testbed is what it says: a cluster of four nodes, with all that may befall one."""

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slurm

EATING = "python3 -c 'x = bytearray(400 << 20); import time; time.sleep(60)'"


def test_four_nodes_have_names_addresses_processes_and_a_start_of_their_own(bed: Any) -> None:
    said = bed.ask(
        *("srun", "-N4", "-p", "preempt", "sh", "-c"),
        "echo $(hostname) $(hostname -i) $$ $(cat /proc/sys/kernel/random/boot_id)",
    )
    rows = sorted(line.split() for line in said.splitlines())
    assert [(name, address) for name, address, _, _ in rows] == [(f"n{i}", address_of(bed, i)) for i in range(1, 5)]
    assert len({boot for *_, boot in rows}) == 4


def test_a_job_that_takes_more_memory_than_it_asked_for_is_out_of_memory(bed: Any) -> None:
    job = bed.sbatch("--mem=100M", "--wrap", EATING)
    assert bed.wait(job, "OUT_OF_MEMORY", "FAILED") == "OUT_OF_MEMORY"


def test_accounting_knows_how_much_memory_a_job_took(bed: Any) -> None:
    job = bed.sbatch("--mem=600M", "--wrap", EATING.replace("60", "2"))
    bed.wait(job, "COMPLETED")
    rss = [line for line in bed.ask("sacct", "-j", str(job), "-n", "-P", "-o", "MaxRSS").splitlines() if line]
    assert 400_000 < int(rss[0].removesuffix("K")) < 450_000


def test_a_power_cut_ends_all_on_the_node_and_its_job_fails_or_is_requeued(bed: Any) -> None:
    fails = bed.sbatch("-w", "n2", "--mem=100M", "--no-requeue", "--wrap", "sleep 1000")
    requeued = bed.sbatch("-w", "n2", "--mem=100M", "--requeue", "--wrap", "setsid sleep 1000; true")
    bed.wait(fails, "RUNNING")
    bed.wait(requeued, "RUNNING")
    boot = bed.on("n2", "cat", "/proc/sys/kernel/random/boot_id")
    bed.kill_node("n2")
    assert bed.processes() == {}
    assert bed.state(fails) == "RUNNING"
    bed.lost("n2")
    bed.wait(fails, "NODE_FAIL")
    bed.wait(requeued, "PENDING")
    bed.start_node("n2")
    assert bed.on("n2", "cat", "/proc/sys/kernel/random/boot_id") != boot
    bed.wait(bed.sbatch("-w", "n2", "--mem=100M", "--wrap", "true"), "COMPLETED")


def test_a_network_cut_leaves_the_job_running_and_a_heal_brings_its_node_back(bed: Any, tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    job = bed.sbatch("-w", "n3", "--mem=100M", "--wrap", f"while sleep 0.1; do date >{beat}; done")
    bed.wait(job, "RUNNING")
    bed.partition("n3")
    assert not reached(address_of(bed, 3))
    beat.unlink(missing_ok=True)
    wait_for(beat.exists)
    bed.heal("n3")
    wait_for(lambda: reached(address_of(bed, 3)))
    assert bed.state(job) == "RUNNING"


def test_slurmctld_may_stop_and_jobs_go_on(bed: Any, tmp_path: Path) -> None:
    job = bed.sbatch("--mem=100M", "--wrap", f"until [ -e {tmp_path}/end ]; do sleep 0.1; done")
    bed.wait(job, "RUNNING")
    bed.ctld_down()
    assert any("sleep 0.1" in line or "slurm_script" in line for line in bed.processes().values())
    (tmp_path / "end").touch()
    bed.ctld_up()
    bed.wait(job, "COMPLETED")


@pytest.mark.parametrize(("partition", "state"), [("preempt", "PENDING"), ("scavenge", "PREEMPTED")])
def test_a_job_of_a_higher_tier_takes_the_place_of_a_lower_one(bed: Any, partition: str, state: str) -> None:
    low = bed.sbatch("-w", "n1", "-p", partition, "-c16", "--requeue", "--mem=100M", "--wrap", "sleep 1000")
    bed.wait(low, "RUNNING")
    high = bed.sbatch("-w", "n1", "-p", "thin", "-c16", "--mem=100M", "--wrap", "sleep 1000")
    bed.wait(high, "RUNNING", seconds=45)
    assert bed.state(low) == state


def test_a_qos_limits_how_many_jobs_an_account_may_submit(bed: Any) -> None:
    for _ in range(4):
        bed.sbatch("-q", "tiny", "--mem=10M", "--wrap", "sleep 1000")
    with pytest.raises(AssertionError, match="QOSMaxSubmitJobPerUserLimit"):
        bed.sbatch("-q", "tiny", "--mem=10M", "--wrap", "sleep 1000")


def test_the_scratch_of_all_nodes_can_be_full(bed: Any) -> None:
    bed.fill()
    assert "No space left" in bed.on("n1", "sh", "-c", f"cp /bin/ls {bed.scratch}/more 2>&1; true")
    bed.empty()
    bed.on("n1", "sh", "-c", f"echo more >{bed.scratch}/more")
    assert bed.on("n2", "cat", bed.scratch / "more") == "more"


def test_the_shared_folder_is_one_for_all_and_honest_if_not_told_to_lie(bed: Any, common_path: Path) -> None:
    bed.on("n1", "sh", "-c", f"cd {common_path}; mkdir a; echo one >a/b; ln a/b c; mv c d; ln -s d e; echo two >>d")
    assert (common_path / "e").read_text() == "one\ntwo\n"
    assert (common_path / "d").stat().st_nlink == 2
    with (common_path / "d").open() as file:
        bed.on("n2", "rm", "-r", common_path / "a", common_path / "d")
        assert file.read() == "one\ntwo\n"
    assert os.listdir(common_path) == ["e"]


def test_a_shared_folder_that_lies_shows_late_what_another_node_did(bed: Any, common_path: Path) -> None:
    new = common_path / "new"
    bed.lie("late=3")
    assert bed.on("n2", "ls", common_path) == ""
    assert not new.exists()
    begun = time.monotonic()
    bed.on("n1", "touch", new)
    assert bed.on("n1", "ls", common_path) == "new"
    assert bed.on("n2", "ls", common_path) == ""
    assert not new.exists()
    assert 1 < wait_for(new.exists) - begun < 5


def test_a_shared_folder_that_lies_refuses_to_sync_and_denies_what_it_did(bed: Any, common_path: Path) -> None:
    old, new = common_path / "old", common_path / "new"
    bed.lie("sync=1", "names=1")
    with old.open("w") as file, pytest.raises(OSError, match="Input/output error"):
        os.fsync(file.fileno())
    with pytest.raises(FileNotFoundError):
        old.rename(new)
    assert os.listdir(common_path) == ["new"]
    with pytest.raises(FileExistsError):
        os.link(new, old)
    assert new.stat().st_nlink == 2
    bed.lie("off")
    with new.open("a") as file:
        os.fsync(file.fileno())


def address_of(bed: Any, number: int) -> str:
    return f"{bed.host.rpartition('.')[0]}.{10 + number}"


def reached(address: str) -> bool:
    """Whether the slurmd at an address takes a connection."""
    try:
        socket.create_connection((address, 6818), timeout=2).close()
    except OSError:
        return False
    return True


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> float:
    """When a condition was true first."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not come true within {seconds} s"
        time.sleep(0.02)
    return time.monotonic()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
def test_a_shared_folder_whose_process_serves_no_more_is_mended_by_bringing_it_up_again(bed: Any, how: int) -> None:
    os.kill(int((bed.folder / "run/host.pid").read_text()), how)
    bed.command("up", timeout=120)
    (bed.shared / "seen").write_text("again")
    assert bed.on("n2", "cat", bed.shared / "seen") == "again"
