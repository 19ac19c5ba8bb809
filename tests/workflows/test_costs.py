"""What jobs cost, from the end of a run into its record and to people: whatever is wrong, the run is what counts."""

import json
from pathlib import Path
from typing import Any

import pytest

from terp.cluster.site import load_site
from terp.storage.home import Home
from terp.workflows.cli.costs import cost_lines
from terp.workflows.results.costs import accounted, resources, so_far
from terp.workflows.running.record import RunRecord, StageRecord


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    """A run at a site, on a machine without SLURM."""
    monkeypatch.setenv("PATH", str(home))
    record = RunRecord.begin(Home.here().open(), "mine", "mine.py:mine", {})
    record.site = "testbed"
    record.stages = [
        StageRecord("normals", "k", 1, started="2026-11-20T04:00:00+00:00", ended="2026-11-20T04:30:00+00:00"),
        StageRecord("anomalies", "l", 1, started="2026-11-20T04:30:00+00:00"),  # it did not get to its end
    ]
    return record


def facts(*ids: str, time: float = 1.0) -> dict[str, Any]:
    begin = 1_795_147_200  # 2026-11-20T04:00:00
    job = {"state": "CANCELLED", "start": begin, "end": begin + 3600, "cores": 2, "memory": 1 << 30, "core_hours": 2.0}
    jobs = [{"id": one, **job} for one in ids]
    return {"time": time, "site": "testbed", "jobs": jobs, "core_hours": 2.0 * len(ids), "sbu": 2.0 * len(ids)}


def test_what_a_killed_controller_wrote_last_counts_for_the_run(run: RunRecord) -> None:
    home = Home.here()
    run.cluster = facts("1")
    (run.folder(home) / "cluster.json").write_text(json.dumps(facts("2", time=2.0)))
    run.cluster = so_far(home, run)
    total = accounted(run, load_site("testbed"), facts("3", time=3.0))["accounting"]["total"]
    assert total["jobs"] == 3
    assert total["core_hours"] == 6
    assert so_far(home, run)["jobs"] == run.cluster["jobs"]


def test_a_stage_that_failed_has_its_part(run: RunRecord) -> None:
    stages = accounted(run, load_site("testbed"), facts("1"))["accounting"]["stages"]
    assert {name: one["core_hours"] for name, one in stages.items()} == {"normals": 1, "anomalies": 1}


def test_a_run_on_this_machine_costs_nothing(run: RunRecord) -> None:
    run.site = ""
    run.cluster = accounted(run, None, {})
    assert run.cluster == {}
    assert cost_lines(run.cluster) == []
    assert resources(run) == []


def test_a_fault_of_the_accounting_is_told_and_is_not_one_of_the_run(run: RunRecord) -> None:
    run.cluster = accounted(run, load_site("testbed"), {"time": 1.0, "jobs": [{"id": "1"}]})
    (told,) = cost_lines(run.cluster)
    assert told.startswith("  what the jobs cost is not known: KeyError")
    assert resources(run) == []


def test_what_may_be_asked_for_next_time_is_told(run: RunRecord) -> None:
    costs = accounted(run, load_site("testbed"), facts("1"))
    total = costs["accounting"]["total"]
    total["memory"] = {"used": 1 << 30, "asked": 1 << 30}
    assert "  jobs ran out of the 1.0 GiB that they asked for" in cost_lines(costs)
    total["memory"] |= {"enough": 5 << 28, "memory_per_core": "640M"}
    assert "  jobs asked for 1.0 GiB, of which hardly any was to spare" in cost_lines(costs)
    total["memory"]["asked"] = 2 << 30
    assert '  jobs asked for 2.0 GiB; 1.2 GiB would do: memory_per_core = "640M"' in cost_lines(costs)
    total["starts"] = 3
    assert "  2 of 3 starts were of jobs that were put back into the queue" in cost_lines(costs)
