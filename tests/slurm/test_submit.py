"""A run whose controller is a job itself: nobody watches, and it ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
sys.path.insert(0, str(Path(__file__).parent))
import runs
from disturbed import REGIONS, Disturbed

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]


@pytest.fixture
def run(bed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disturbed:
    """A run without any server of Prefect's but what it starts itself, on whatever node it is."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    return Disturbed(tmp_path / "home", bed.environment)


def submitted(run: Disturbed, *words: str, site: dict[str, str] | None = None) -> str:
    """Submit a run; return the id of its controller's job."""
    done = subprocess.run(
        [*run.command("--submit", *words, site=site)], env=run.environment, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(record(run)["job"])


def record(run: Disturbed) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.home / "runs" / run.run_id() / "run.json").read_bytes())
    return found


def finished(run: Disturbed, seconds: float = 240) -> None:
    """Wait until the record says that it is done."""
    ended = ("finished", "failed", "cancelled")
    run.until(lambda: record(run)["state"] in ended, "end of the run", seconds)
    assert record(run)["state"] == "finished", f"{record(run)['error']}\n{run.last_words()}"


def quiet(run: Disturbed, bed: Any) -> None:
    """Wait until nothing of it is left."""
    run.until_quiet(bed)
    assert run.key_files() == []


def test_a_submitted_run_goes_on_by_itself_until_it_is_done(run: Disturbed, undisturbed: Any, bed: Any) -> None:
    job = submitted(run)
    finished(run)
    quiet(run, bed)
    assert runs.products(run.home) == undisturbed
    assert [one["holder"]["job"] for one in record(run)["attempts"]] == [f"{job}.0"]


@pytest.mark.campaign
def test_a_controller_at_its_time_limit_is_put_back_and_goes_on(run: Disturbed, undisturbed: Any, bed: Any) -> None:
    job = submitted(run)
    run.until_recorded(20, 120)
    bed.ask("scontrol", "update", f"jobid={job}", "EndTime=now+50")
    finished(run)
    quiet(run, bed)
    assert runs.products(run.home) == undisturbed
    starts = [one["holder"]["job"] for one in record(run)["attempts"]]
    assert starts == [f"{job}.{start}" for start in range(len(starts))]
    assert len(starts) >= 2


@pytest.mark.campaign
def test_a_controller_whose_node_loses_power_starts_again_elsewhere(
    run: Disturbed,
    undisturbed: Any,
    bed: Any,
) -> None:
    job = submitted(run)
    run.until_recorded(20, 120)
    node = next(one.node for one in bed.jobs() if str(one.number) == job)
    bed.kill_node(node)
    bed.lost(node)
    finished(run)
    quiet(run, bed)
    assert runs.products(run.home) == undisturbed


@pytest.mark.campaign
def test_a_controller_that_comes_back_from_a_cut_network_can_change_nothing(
    run: Disturbed,
    undisturbed: Any,
    bed: Any,
) -> None:
    job = submitted(run)
    run.until_recorded(20, 120)
    node = next(one.node for one in bed.jobs() if str(one.number) == job)
    bed.partition(node)
    bed.lost(node)
    run.until(lambda: len(record(run)["attempts"]) > 1, "the second start", 120)
    bed.heal(node)
    finished(run)
    quiet(run, bed)
    assert runs.products(run.home) == undisturbed


@pytest.mark.campaign
def test_a_submitted_run_that_is_cancelled_ends_everywhere(run: Disturbed, bed: Any) -> None:
    submitted(run)
    run.until_recorded(5, 120)
    run.terp("cancel", run.run_id())
    quiet(run, bed)
    assert record(run)["state"] == "cancelled"


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_work_for_longer_is_done_by_controllers_of_two_minutes_each(run: Disturbed, bed: Any) -> None:
    """Nothing is told to SLURM meanwhile: the limits are those that the jobs were given."""
    short = {"controller.walltime": "2:00", "walltime": "2:00"}
    submitted(run, "--set", "seconds=3", site=short)
    finished(run, 1500)
    quiet(run, bed)
    assert len(record(run)["attempts"]) > 2
    assert run.recorded() == REGIONS, "no region was made twice"
    states = {one["state"] for start in [record(run)["cluster"]] for one in start["jobs"]}
    assert "TIMEOUT" not in states
