"""What a cluster does to a run: it ends with the same bytes, or stops in time with a sentence that names the cause."""

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
sys.path.insert(0, str(Path(__file__).parent))
import runs
from disturbed import REGIONS, Disturbed, remarks

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(400)]
ENOUGH = 20  # regions that are recorded before a test does its worst


@pytest.fixture
def run(bed: Any, tmp_path: Path, prefect: dict[str, str]) -> Iterator[Disturbed]:
    """A run to be disturbed; whatever becomes of the test, it ends with it, and leaves nothing."""
    one = Disturbed(tmp_path / "home", {**prefect, **bed.environment})
    yield one
    if one.process is not None and one.process.poll() is None:
        os.killpg(one.process.pid, signal.SIGKILL)
        one.process.communicate()


def whole(run: Disturbed, undisturbed: dict[str, bytes], bed: Any, seconds: float = 150) -> str:
    """Hold a run to its end: well, with the bytes of the undisturbed one, and nothing left behind."""
    code, said = run.end(seconds)
    assert code == 0, said + run.last_words()
    assert runs.products(run.home) == undisturbed
    assert run.recorded() >= REGIONS
    no_trace(run, bed)
    return said


def no_trace(run: Disturbed, bed: Any) -> None:
    """No job, no process, no key is left."""
    assert run.key_files() == []
    assert [job for job in run.left(bed) if "COMPLETING" not in job] == []


def test_a_run_that_nothing_disturbs_gives_the_bytes_of_a_laptop(
    run: Disturbed, undisturbed: dict[str, bytes], bed: Any
) -> None:
    run.start()
    run.until_recorded(ENOUGH)
    [key] = [path for path in run.key_files() if path.name == "key.pem"]
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    assert "PRIVATE" not in "".join(p.read_text() for p in run.home.glob("runs/*/jobs/*"))
    said = whole(run, undisturbed, bed)
    assert remarks(said) == []
    assert run.recorded() == REGIONS, "no region was made twice"


def test_jobs_that_exit_at_once_stop_the_run_with_their_own_last_words(run: Disturbed, bed: Any) -> None:
    code, said = run.start(site={"prologue": '["echo there is no such library; exit 3"]'}).end(90)
    assert code == 69
    assert "again and again" in said
    assert "exit code 3:0" in said
    assert "there is no such library" in said
    no_trace(run, bed)


def test_a_region_that_crashes_its_worker_stops_the_run_by_name_and_costs_no_job(run: Disturbed, bed: Any) -> None:
    code, said = run.start(flow="crash").end(90)
    assert code == 70, said
    assert re.search(r"crashing was lost [3-6] times", said), said  # more than 3 where others were lost with it
    assert "died, and the job went on" in said
    assert {one["ours"] for one in run.jobs()} <= {"the run ends", "not needed"}
    no_trace(run, bed)


def test_a_node_on_which_jobs_fail_at_once_is_kept_off(run: Disturbed, undisturbed: dict[str, bytes], bed: Any) -> None:
    run.start(site={"prologue": """['if [ "$SLURMD_NODENAME" = n1 ]; then echo broken; exit 3; fi']"""})
    said = whole(run, undisturbed, bed)
    assert "jobs fail at once on n1: the next go elsewhere" in said


def test_jobs_that_never_start_are_told_of_in_words_and_can_be_cancelled(run: Disturbed, bed: Any) -> None:
    run.start(site={"directives": '["--begin=now+1hour"]'})
    run.until(lambda: "starts a little later" in str(run.facts().get("waiting")), "a reason")
    run.terp("cancel", run.run_id())
    code, said = run.end(60)
    assert code == 130
    assert "stopped" in said
    no_trace(run, bed)


def test_a_partition_that_is_not_there_stops_the_run_at_once(run: Disturbed, bed: Any) -> None:
    site = {"partitions.nowhere.cores": "16", "partitions.nowhere.memory": "32000M"}
    site |= {"partitions.nowhere.walltime": "1:00:00", "partition": "nowhere"}
    code, said = run.start(site=site).end(60)
    assert code == 69
    assert "the partition does not exist here" in said
    no_trace(run, bed)


@pytest.mark.campaign
def test_workers_leave_before_their_time_is_up_and_are_replaced(
    run: Disturbed, undisturbed: dict[str, bytes], bed: Any
) -> None:
    run.start(site={"walltime": "1:00"})
    run.until_recorded(ENOUGH)
    said = whole(run, undisturbed, bed)
    assert "time limit" not in said
    assert run.recorded() == REGIONS, "no region was begun in vain"


@pytest.mark.campaign
def test_jobs_that_reach_their_time_limit_are_replaced(run: Disturbed, undisturbed: dict[str, bytes], bed: Any) -> None:
    run.start()
    run.until_recorded(ENOUGH)
    bed.ask("scontrol", "update", f"jobid={run.running()[0]}", "EndTime=now+1")
    whole(run, undisturbed, bed)


@pytest.mark.campaign
@pytest.mark.parametrize("partition", ["preempt", "scavenge"])
def test_jobs_that_are_put_back_or_cancelled_for_others_cost_nothing(
    partition: str, run: Disturbed, undisturbed: dict[str, bytes], bed: Any
) -> None:
    run.start(site={"partition": partition})
    run.until_recorded(ENOUGH)
    bed.sbatch("-p", "thin", "-w", run.node(), "-n", "16", "-t", "1", "--wrap", "sleep 5")
    whole(run, undisturbed, bed)


def test_a_node_without_power_costs_nothing_that_was_recorded(
    run: Disturbed, undisturbed: dict[str, bytes], bed: Any
) -> None:
    run.start()
    run.until_recorded(ENOUGH)
    node = run.node()
    bed.kill_node(node)
    bed.lost(node)
    whole(run, undisturbed, bed)


@pytest.mark.campaign
def test_a_node_that_comes_back_after_its_network_was_cut_changes_nothing(
    run: Disturbed, undisturbed: dict[str, bytes], bed: Any
) -> None:
    run.start()
    run.until_recorded(ENOUGH)
    node = run.node()
    bed.partition(node)
    run.until_recorded(ENOUGH + 100, 120)
    bed.heal(node)
    whole(run, undisturbed, bed)


@pytest.mark.campaign
def test_the_run_goes_on_while_slurmctld_is_away(run: Disturbed, undisturbed: dict[str, bytes], bed: Any) -> None:
    run.start()
    run.until_recorded(ENOUGH)
    bed.ctld_down()
    run.until_recorded(ENOUGH + 60)
    bed.ctld_up()
    whole(run, undisturbed, bed)


@pytest.mark.campaign
def test_the_run_ends_well_though_slurmctld_is_away_for_a_minute(
    run: Disturbed, undisturbed: dict[str, bytes], bed: Any
) -> None:
    run.start()
    run.until_recorded(ENOUGH)
    bed.ctld_down()
    back = threading.Timer(60, bed.ctld_up)
    back.start()
    code, said = run.end(150)
    back.join()
    assert code == 0, said + run.last_words()
    assert "SLURM's controller does not answer" in said
    assert runs.products(run.home) == undisturbed
    run.until_quiet(bed)
    no_trace(run, bed)


@pytest.mark.campaign
def test_an_account_at_its_limit_gets_what_it_may_and_is_told(
    run: Disturbed, undisturbed: dict[str, bytes], bed: Any
) -> None:
    run.start(site={"directives": '["--qos=tiny"]', "cores": "1", "max_workers": "8"})
    said = whole(run, undisturbed, bed)
    assert any("you have as many jobs in the queue as you may" in one for one in remarks(said)), said


@pytest.mark.campaign
def test_too_little_memory_is_answered_with_more_once_then_with_a_clear_refusal(run: Disturbed, bed: Any) -> None:
    code, said = run.start(flow="starving", site={"memory_per_core": "400M", "cores": "1"}).end()
    assert code == 69, said
    assert any("ran out of memory with 400 MiB; from now on jobs ask for 800 MiB" in one for one in remarks(said)), said
    assert "as before with half of that" in said
    assert "make smaller blocks" in said
    no_trace(run, bed)


@pytest.mark.campaign
def test_a_full_disk_stops_the_run_and_the_same_command_goes_on(
    bed: Any, prefect: dict[str, str], undisturbed: dict[str, bytes]
) -> None:
    run = Disturbed(bed.scratch / "home", prefect)
    run.start()
    run.until_recorded(ENOUGH)
    bed.fill()
    code, said = run.end()
    assert code == 74
    assert "the disk is full" in said
    bed.ask("rm", "-f", bed.scratch / "filled")
    whole(run.start(), undisturbed, bed)


@pytest.mark.campaign
def test_a_worker_that_lives_but_does_nothing_is_replaced(
    run: Disturbed, undisturbed: dict[str, bytes], bed: Any
) -> None:
    run.start()
    run.until_recorded(ENOUGH)
    stuck = [number for number, line in bed.processes().items() if "terp.cluster.worker" in line]
    for number in stuck[:3]:
        os.kill(number, signal.SIGSTOP)
    whole(run, undisturbed, bed)


@pytest.mark.campaign
def test_jobs_that_somebody_cancels_are_replaced(run: Disturbed, undisturbed: dict[str, bytes], bed: Any) -> None:
    run.start()
    run.until_recorded(ENOUGH)
    bed.ask("scancel", *run.running())
    said = whole(run, undisturbed, bed)
    assert any("was cancelled; another takes its place" in one for one in remarks(said))


def test_a_killed_controller_leaves_nothing_running_and_the_same_command_goes_on(
    run: Disturbed, undisturbed: dict[str, bytes], bed: Any
) -> None:
    run.start()
    run.until_recorded(ENOUGH)
    before = run.recorded()
    run.kill()
    run.until_quiet(bed)
    assert run.key_files(), "a kill leaves the keys"
    said = whole(run.start(), undisturbed, bed)
    assert "half done: " in said
    assert run.recorded() <= REGIONS + 3 * 4, f"{before} were recorded before the kill"
