"""What a run at a site tells the site's Prometheus: read here by Prometheus' own client, not by ours."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from terp.cluster import metrics
from terp.cluster.notes import Notes
from terp.cluster.pace import Pace

RUN = "sea-level-20261122-030755-ebd6"


def facts(**more: Any) -> dict[str, Any]:
    """What a supervisor knows of two jobs that are there and two that have ended."""
    jobs = [{"id": str(i), "state": state, "over": over, "core_hours": 0.5} for i, (state, over) in enumerate(STATES)]
    known = {"site": "testbed", "stage": "slow", "workers": 4, "wanted": 6, "regions": {"done": 7, "left": 209}}
    known |= {"done_by_stage": {"ingest": 1, "slow": 7}, "core_hours": 2.0, "sbu": 4.0, "calls": {"squeue": 31}}
    return {**known, "jobs": jobs, **more}


STATES = [("RUNNING", False), ("PENDING", False), ("COMPLETED", True), ("COMPLETED", True)]


def values(text: str) -> dict[tuple[str, str], float]:
    """The values by name and the label that tells them apart."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type in ("counter", "gauge")
        for sample in family.samples:
            own = {k: v for k, v in sample.labels.items() if k not in ("run", "flow", "site")}
            assert {k: sample.labels[k] for k in ("run", "flow", "site")} == {
                "run": RUN,
                "flow": "sea-level",
                "site": "testbed",
            }
            found[sample.name, next(iter(own.values()), "")] = sample.value
    return found


def test_prometheus_reads_what_is_known_of_a_run() -> None:
    assert values(metrics.exposition(RUN, facts())) == {
        ("terp_regions_done_total", "ingest"): 1,
        ("terp_regions_done_total", "slow"): 7,
        ("terp_regions_left", "slow"): 209,
        ("terp_workers", ""): 4,
        ("terp_workers_wanted", ""): 6,
        ("terp_jobs", "running"): 1,
        ("terp_jobs", "pending"): 1,
        ("terp_jobs_ended_total", "completed"): 2,
        ("terp_core_hours_total", ""): 2,
        ("terp_sbu_total", ""): 4,
        ("terp_slurm_calls_total", "squeue"): 31,
    }


def test_before_the_first_look_it_is_read_too() -> None:
    nothing = facts(jobs=[], stage="", done_by_stage={}, calls={})
    assert ("terp_workers", "") in values(metrics.exposition(RUN, nothing))


def test_a_stage_may_be_called_anything() -> None:
    strange = 'a "b"\\n\nc{}'
    text = metrics.exposition(RUN, facts(done_by_stage={strange: 3}, stage=strange))
    assert values(text)["terp_regions_done_total", strange] == 3


def test_a_reader_never_finds_half_of_it_and_may_always_read_it(tmp_path: Path) -> None:
    metrics.write(tmp_path, RUN, facts())
    path, wrong, over = metrics.file_of(tmp_path, RUN), [], threading.Event()

    def read() -> None:
        while not over.is_set():
            if ("terp_slurm_calls_total", "squeue") not in values(path.read_text()):
                wrong.append(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    before = os.umask(0o077)
    try:
        for left in range(300):
            metrics.write(tmp_path, RUN, facts(regions={"done": 7, "left": left}))
    finally:
        os.umask(before)
        over.set()
        reader.join()
    assert wrong == []
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == [f"terp-{RUN}.prom"]
    metrics.remove(tmp_path, RUN)
    metrics.remove(tmp_path, RUN)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    notes = Notes(tmp_path, RUN, str(tmp_path / "nowhere"), told.append)
    for _ in range(3):
        notes.write(facts())
    notes.end(facts())
    assert len(told) == 1
    assert "no metrics for the site's Prometheus" in told[0]
    assert notes.read("cluster.json")["workers"] == 4


def test_core_hours_are_those_of_all_starts_of_a_controller_and_none_is_counted_twice(tmp_path: Path) -> None:
    Notes(tmp_path, RUN, "", pytest.fail).write(facts())
    again = Notes(tmp_path, RUN, "", pytest.fail)
    assert again.core_hours({}) == 2.0
    assert again.core_hours({"9": 3600.0}) == 3.0
    assert again.core_hours({"0": 3600.0}) == 2.5, "this job had half an hour of its own in the earlier start"


def test_damaged_notes_are_none(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("[1")
    assert Notes(tmp_path, RUN, "", pytest.fail).before == {}


def test_the_pace_is_that_of_the_stage_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("terp.cluster.pace.time.monotonic", lambda: clock[0])
    pace = Pace()
    assert (pace.rate, pace.seconds_left) == (0.0, 0.0)
    pace.need(100, "slow")
    assert pace.seconds_left is None, "nobody knows yet"
    for left in range(90, -1, -10):
        clock[0] += 60
        pace.add(10)
        pace.need(left, "slow")
        pace.mark()
    assert pace.rate == pytest.approx(10 / 60)
    clock[0] += 180
    pace.mark()
    assert pace.rate < 10 / 60, "only the last minutes count"
    pace.need(6, "next")
    assert (pace.done, pace.rate) == (0, 0.0)
    clock[0] += 10
    pace.add(2)
    pace.need(4, "next")
    assert pace.seconds_left == pytest.approx(20)
    assert dict(pace.by_stage) == {"slow": 100, "next": 2}
