"""What jobs cost and used: read from what SLURM's accounting says, or counted by terp where it says nothing."""

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terp.cluster.accounting import BETWEEN, BY_BOTH, BY_SLURM, BY_TERP, CONTROLLER, START, account, merged
from terp.cluster.site import Site, load_site

MiB, GiB = 1 << 20, 1 << 30
BEGAN = 1_795_000_000
HEAD = "JobID JobName State Start End ElapsedRaw AllocCPUS TotalCPU MaxRSS Tot Max Energy"  # as they are asked for


@pytest.fixture
def site() -> Site:
    return load_site("testbed", {"partitions.fat.sbu": "3", "controller.partition": "fat"})


def job(name: str = "7", seconds: float = 1800, **more: Any) -> dict[str, Any]:
    """A job of two cores and 2 GiB as the supervisor knows it."""
    known = {"id": name, "state": "COMPLETED", "start": BEGAN, "end": BEGAN + seconds, "cores": 2, "memory": 2 * GiB}
    return {**known, "core_hours": seconds * 2 / 3600, **more}


def facts(*jobs: dict[str, Any], **more: Any) -> dict[str, Any]:
    stages = {"": 0.25, "ingest": 0.25, "normals": 0.5}
    hours = sum(one["core_hours"] for one in jobs)
    known = {"time": 1.0, "jobs": list(jobs), "core_hours": hours, "sbu": hours, "core_hours_by_stage": stages}
    return {**known, "calls": {}, **more}


SPANS = {"ingest": [(BEGAN + 450.0, BEGAN + 900.0)], "normals": [(BEGAN + 900.0, BEGAN + 1800.0)]}


@pytest.fixture
def sacct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have `sacct` say, at each call, the next of some texts; the last again and again. It counts its calls."""

    def says(*texts: str) -> Path:
        for number, text in enumerate(texts):
            (tmp_path / f"{number}.txt").write_text(text)
        calls = tmp_path / "calls"
        calls.touch()
        command = tmp_path / "sacct"
        command.write_text(
            f'#!/bin/sh\necho "$*" >>{calls}\nn=$(($(wc -l <{calls}) - 1))\n'
            f"[ $n -lt {len(texts)} ] || n={len(texts) - 1}\ncat {tmp_path}/$n.txt\n"
        )
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return calls

    return says


def row(*fields: object) -> str:
    assert len(fields) == len(HEAD.split())
    return "|".join(map(str, fields)) + "\n"


def ended(name: str = "7", state: str = "COMPLETED", rss: str = "300000K", cpu: str = "30:00", energy: int = 0) -> str:
    """A job of two cores and half an hour, and its one step."""
    times = (BEGAN, BEGAN + 1800, 1800, 2)
    return row(name, "terp-r", state, *times, cpu, "", "", "", "") + row(
        f"{name}.batch", "batch", state, *times, cpu, rss, "cpu=00:00:00,mem=1K", "cpu=00:00:01", energy
    )


def test_without_accounting_the_supervisors_own_count_stands_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = account(site, "r", facts(job()), SPANS)
    assert found["source"] == BY_TERP
    assert found["total"]["core_hours"] == 1
    assert found["total"]["sbu"] == 1
    assert found["total"]["memory"] is None
    assert found["total"]["cpu_efficiency"] is None
    assert found["total"]["energy"] is None


def test_stages_have_the_core_hours_that_passed_meanwhile_and_these_sum_to_the_total(sacct: Any, site: Site) -> None:
    sacct(ended())
    found = account(site, "r", facts(job(seconds=1795)), SPANS)
    assert found["source"] == BY_SLURM
    assert {name: one["core_hours"] for name, one in found["stages"].items()} == {
        START: 0.25,
        "ingest": 0.25,
        "normals": 0.5,
    }
    assert found["total"]["core_hours"] == 1
    assert found["total"]["cpu_efficiency"] == 0.5


def test_a_stage_within_another_has_its_own_time_and_what_is_left_over_is_told_too(sacct: Any, site: Site) -> None:
    sacct(ended())
    spans = {
        "mean": [(BEGAN + 180.0, BEGAN + 1080.0)],
        "mean.blocks": [(BEGAN + 180.0, BEGAN + 360.0), (BEGAN + 720.0, BEGAN + 900.0)],
        "index": [(BEGAN + 1440.0, BEGAN + 1620.0), (BEGAN + 9000.0, BEGAN + 9900.0)],
    }
    found = account(site, "r", facts(job()), spans)["stages"]
    assert {name: round(one["core_hours"], 3) for name, one in found.items()} == {
        START: 0.1,
        "mean": 0.3,
        "mean.blocks": 0.2,
        "index": 0.1,
        BETWEEN: 0.3,
    }


def test_a_stage_is_told_of_the_jobs_that_were_there_meanwhile(sacct: Any, site: Site) -> None:
    late = row("8", "terp-r", "COMPLETED", BEGAN + 1000, BEGAN + 1900, 900, 2, "10:00", "", "", "", "") + row(
        "8.batch", "batch", "COMPLETED", BEGAN + 1000, BEGAN + 1900, 900, 2, "10:00", "900M", "", "", 0
    )
    sacct(ended() + late)
    found = account(site, "r", facts(job(), job("8", 900)), SPANS)["stages"]
    assert {name: one["jobs"] for name, one in found.items()} == {START: 1, "ingest": 1, "normals": 2, BETWEEN: 1}
    assert found["ingest"]["memory"]["used"] == 300_000 * 1024
    assert found["normals"]["memory"]["used"] == 900 * MiB


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.sampled_from("abc")), max_size=6),
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30)), min_size=1, max_size=5),
)
def test_whenever_stages_and_jobs_were_the_parts_sum_to_the_whole(
    stages: list[tuple[int, int, str]], jobs: list[tuple[int, int]]
) -> None:
    spans: dict[str, list[tuple[float, float]]] = {}
    for begin, length, name in stages:
        spans.setdefault(name, []).append((BEGAN + begin * 60.0, BEGAN + (begin + length) * 60.0))
    known = [
        job(str(number), length * 60, start=BEGAN + begin * 60, end=BEGAN + (begin + length) * 60)
        for number, (begin, length) in enumerate(jobs)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        found = account(load_site("testbed"), "r", facts(*known), spans)
    assert sum(one["core_hours"] for one in found["stages"].values()) == pytest.approx(
        sum(one["core_hours"] for one in known), abs=1e-4
    )
    assert all(one["core_hours"] > 0 and one["jobs"] > 0 for one in found["stages"].values())


def test_memory_is_told_beside_what_was_asked_and_what_would_have_been_enough(sacct: Any, site: Site) -> None:
    sacct(ended("7", rss="300M") + ended("8", rss="500.5M"))
    memory = account(site, "r", facts(job("7"), job("8")), SPANS)["total"]["memory"]
    assert memory == {
        "used": 500 * MiB + MiB // 2,
        "asked": 2 * GiB,
        "enough": 640 * MiB,  # 600.6 MiB, for two cores of whole 64 MiB
        "memory_per_core": "320M",
    }


def test_after_jobs_ran_out_of_all_the_memory_nobody_knows_what_is_enough(sacct: Any, site: Site) -> None:
    sacct(ended("7", "OUT_OF_MEMORY", "2097152K") + ended("8", rss="300M"))
    assert account(site, "r", facts(job("7"), job("8")), SPANS)["total"]["memory"] == {
        "used": 2 * GiB,
        "asked": 2 * GiB,
    }


def test_memory_that_was_too_little_at_first_is_no_matter_once_more_was_enough(sacct: Any, site: Site) -> None:
    sacct(ended("7", "OUT_OF_MEMORY", "1048576K") + ended("8", rss="1200M"))
    memory = account(site, "r", facts(job("7", memory=GiB), job("8")), SPANS)["total"]["memory"]
    assert memory["enough"] == 1536 * MiB


@pytest.mark.parametrize("unknown", [0, 2**64 - 2])
def test_energy_that_slurm_does_not_know_is_estimated_and_says_so(sacct: Any, unknown: int) -> None:
    sacct(ended(energy=unknown))
    site = load_site("testbed", {"watts_per_core": "4.5"})
    found = account(site, "r", facts(job()), SPANS)
    assert found["total"]["energy"] == {"joules": 4.5 * 3600, "how": "an estimate from 4.5 W for a core"}
    assert found["stages"]["normals"]["energy"]["joules"] == 4.5 * 1800


def test_energy_that_slurm_measured_is_taken(sacct: Any) -> None:
    sacct(ended(energy=90_000))
    found = account(load_site("testbed", {"watts_per_core": "4.5"}), "r", facts(job()), SPANS)
    assert found["total"]["energy"] == {"joules": 90_000, "how": "measured by SLURM"}
    assert found["stages"]["ingest"]["energy"]["joules"] == 22_500


def test_energy_that_was_measured_of_half_the_jobs_is_not_taken_for_the_whole(sacct: Any) -> None:
    sacct(ended("7", energy=90_000) + ended("8"))
    found = account(load_site("testbed", {"watts_per_core": "4.5"}), "r", facts(job("7"), job("8")), SPANS)
    assert found["total"]["energy"]["how"].startswith("an estimate")


def test_all_starts_of_a_job_count_and_a_step_that_was_ended_has_the_cpu_time_last_seen(sacct: Any, site: Site) -> None:
    first = row("7", "terp-r", "REQUEUED", BEGAN, BEGAN + 600, 600, 2, "00:00.002", "", "", "", "")
    step = ("CANCELLED", BEGAN, BEGAN + 600, 600, 2, "00:00.002", "99M", "cpu=00:00:00,mem=9M", "cpu=00:10:00,mem=9M")
    sacct(first + row("7.batch", "batch", *step, 0) + ended())
    found = account(site, "r", facts(job()), SPANS)
    assert (found["total"]["jobs"], found["total"]["starts"]) == (1, 2)
    assert found["total"]["core_hours"] == pytest.approx(2400 * 2 / 3600, abs=1e-6)
    assert found["total"]["cpu_efficiency"] == pytest.approx((600 + 1800) / 4800, abs=1e-4)


def test_a_job_of_years_ago_with_the_same_number_is_left_out(sacct: Any, site: Site) -> None:
    other = row("7", "gaussian", "COMPLETED", 1, 2_000_001, 2_000_000, 128, "1-02:03:04", "", "", "", "")
    sacct(other + row("7.0", "g16", "COMPLETED", 1, 2, 2, 128, "1-02:03:04", "900G", "", "", 0) + ended())
    total = account(site, "r", facts(job()), SPANS)["total"]
    assert total["core_hours"] == 1
    assert total["memory"]["used"] == 300_000 * 1024


def test_jobs_that_never_began_cost_nothing_and_are_not_waited_for(sacct: Any, site: Site) -> None:
    sacct(ended() + row("8", "terp-r", "CANCELLED by 0", BEGAN, BEGAN, 0, 2, "00:00:00", "", "", "", ""))
    began = time.monotonic()
    found = account(site, "r", facts(job(), job("8", 0)), SPANS)
    assert found["total"]["jobs"] == 1
    assert time.monotonic() - began < 1


def test_an_accounting_that_is_late_is_waited_for(sacct: Any, site: Site) -> None:
    running = row("7", "terp-r", "RUNNING", BEGAN, "Unknown", 1700, 2, "00:00:00", "", "", "", "")
    now = int(time.time())
    bare = row("7", "terp-r", "CANCELLED by 0", now - 1800, now, 1800, 2, "00:00:00", "", "", "", "")
    calls = sacct("", running, bare, ended())
    found = account(site, "r", facts(job()), SPANS)
    assert found["source"] == BY_SLURM
    assert found["total"]["memory"]["used"] == 300_000 * 1024
    assert len(calls.read_text().splitlines()) == 4


def test_an_accounting_that_never_gets_there_is_not_waited_for_long_and_own_figures_fill_the_gap(
    sacct: Any, site: Site
) -> None:
    sacct(ended())
    began = time.monotonic()
    found = account(site, "r", facts(job("7"), job("9")), SPANS, patience=1.0)
    assert time.monotonic() - began < 3
    assert found["source"] == BY_BOTH
    assert found["total"]["core_hours"] == 2


def test_the_controllers_job_is_told_apart_and_charged_as_its_partition_is(sacct: Any, site: Site) -> None:
    head = row("3", "terp-r-controller", "RUNNING", BEGAN, "Unknown", 3600, 1, "00:00:00", "", "", "", "")
    sacct(head + row("3.batch", "batch", "RUNNING", BEGAN, "Unknown", 3600, 1, "00:00:00", "", "", "", "") + ended())
    found = account(site, "r", facts(job()), SPANS, controller="3")
    assert found["stages"][CONTROLLER]["core_hours"] == 1
    assert found["stages"][CONTROLLER]["sbu"] == 3
    assert found["total"]["sbu"] == 4
    assert sum(one["core_hours"] for one in found["stages"].values()) == found["total"]["core_hours"] == 2
    assert found["total"]["jobs"] == 2


def test_of_thousands_of_jobs_not_all_are_asked_for_at_once(sacct: Any, site: Site) -> None:
    calls = sacct("")
    account(site, "r", facts(*(job(str(number), 0) for number in range(1200))), SPANS)
    assert len(calls.read_text().splitlines()) == 3


def test_what_an_earlier_start_of_the_controller_knew_is_kept_and_nothing_counts_twice() -> None:
    first = facts(job("1"), job("2"), calls={"squeue": 3})
    again = merged(first, first)
    assert again == first
    second = facts(job("2", 3600), job("3"), time=2.0, calls={"squeue": 4, "sbatch": 1})
    both = merged(first, second)
    assert [one["id"] for one in both["jobs"]] == ["1", "2", "3"]
    assert both["core_hours"] == 1 + 2 + 1
    assert both["core_hours_by_stage"]["normals"] == 1
    assert both["calls"] == {"squeue": 7, "sbatch": 1}
    assert merged({}, second) == second
    assert merged(first, {}) == first
