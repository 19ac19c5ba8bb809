"""What a run at a site cost and used: held against what SLURM itself says, and found again in the run and its crate."""

import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from terp.cluster.accounting import BETWEEN, BY_SLURM, BY_TERP, CONTROLLER, START, account
from terp.cluster.jobs import Slurm
from terp.cluster.site import load_site

pytestmark = pytest.mark.slurm

BURN = "python3 -c 'x = bytearray(60 << 20)\nimport time\nwhile time.process_time() < 100: pass'"
FLOWS = Path(__file__).resolve().parents[1] / "faults/flows.py"


def record(home: Path) -> dict[str, Any]:
    return json.loads(next(home.glob("runs/*/run.json")).read_bytes())


def core_seconds(bed, name: str) -> int:
    """What SLURM says that all starts of the jobs of a name took."""
    told = bed.ask("sacct", "-X", "-D", "-n", "-P", f"--name={name}", "--starttime=now-1hours", "-o", "CPUTimeRAW")
    return sum(int(line) for line in told.split())


def cpu_seconds(bed, job: int) -> float:
    """The CPU time of a running job as SLURM looked at it last."""
    told = bed.ask("sstat", "--allsteps", "-n", "-P", "-j", str(job), "--format=MinCPU", check=False)
    return sum(float(line.rpartition(":")[2]) for line in told.splitlines() if ":" in line)


def until(true: Callable[[], Any], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def crate(home: Path) -> Callable[[], Path]:
    return lambda: next(home.glob("archive/**/ro-crate-metadata.json")).parent


def test_a_run_ends_with_what_its_jobs_cost_and_used_and_keeps_it(bed, terp, home: Path, crate) -> None:
    done = terp("run", "climatology", "ostia", "--site", "testbed", "--site-set", "watts_per_core=4.5")
    assert done.returncode == 0, done.stderr
    run = record(home)
    costs, total = run["cluster"]["accounting"], run["cluster"]["accounting"]["total"]

    assert costs["source"] == BY_SLURM
    assert total["core_hours"] == pytest.approx(core_seconds(bed, f"terp-{run['id']}") / 3600, abs=1e-5)
    assert total["sbu"] == total["core_hours"]
    assert sum(one["core_hours"] for one in costs["stages"].values()) == pytest.approx(total["core_hours"], abs=1e-4)
    assert costs["stages"].keys() & {START, "ingest"}, "a job may be there before the first stage, or during it"
    assert set(costs["stages"]) <= {START, BETWEEN} | {stage["name"] for stage in run["stages"]}
    assert 100 << 20 < total["memory"]["used"] < total["memory"]["enough"] < total["memory"]["asked"] == 2 << 30
    assert 0 < total["cpu_efficiency"] < 1
    assert total["energy"]["joules"] == pytest.approx(4.5 * 3600 * total["core_hours"], rel=1e-3)
    assert total["energy"]["how"].startswith("an estimate")

    assert "jobs at testbed, by SLURM's accounting:" in done.stdout
    assert f'memory_per_core = "{total["memory"]["memory_per_core"]}"' in done.stdout
    assert "energy is an estimate from 4.5 W for a core" in done.stdout
    assert (
        done.stdout[done.stdout.index("  jobs at") : done.stdout.index("  energy is")] in terp("status", "last").stdout
    )
    assert json.loads(terp("status", "last", "--json").stdout)[0]["cluster"]["accounting"] == costs
    assert "cpu_efficiency" in terp("show", "last").stdout

    used = used_by(crate())
    jobs = {str(job["id"]) for job in run["cluster"]["jobs"]}
    assert jobs <= set(re.findall(r"\d+", used["jobs"]["description"]))
    assert float(used["core hours"]["value"]) == total["core_hours"]
    assert used["memory"]["unitCode"] == "https://qudt.org/vocab/unit/BYTE"
    assert "estimate" in used["energy"]["description"]
    assert all(one["propertyID"].startswith("https://") for one in used.values())
    text = (crate() / "ro-crate-metadata.json").read_text()
    assert not re.search(rf"\bn[1-4]\b|{re.escape(os.uname().nodename)}\b|10\.77\.0|{re.escape(str(home))}", text)


def used_by(crate: Path) -> dict[str, Any]:
    """What the run of a crate used, by name."""
    graph = {one["@id"]: one for one in json.loads((crate / "ro-crate-metadata.json").read_bytes())["@graph"]}
    run = next(one for name, one in graph.items() if name.startswith("#run-"))
    return {graph[link["@id"]]["name"]: graph[link["@id"]] for link in run["resourceUsage"]}


@pytest.mark.campaign
def test_a_site_without_accounting_is_counted_by_terp_and_its_crate_is_well(
    bed, terp, home: Path, crate, tmp_path: Path, issues
) -> None:
    plain = re.sub(
        r"^(AccountingStorage|JobAcctGather).*\n", "", Path(bed.environment["SLURM_CONF"]).read_text(), flags=re.M
    )
    (tmp_path / "slurm.conf").write_text(plain)
    done = terp("run", "climatology", "ostia", "--site", "testbed", SLURM_CONF=str(tmp_path / "slurm.conf"))
    assert done.returncode == 0, done.stderr
    run = record(home)
    total = run["cluster"]["accounting"]["total"]
    assert run["cluster"]["accounting"]["source"] == BY_TERP
    assert total["core_hours"] == pytest.approx(core_seconds(bed, f"terp-{run['id']}") / 3600, abs=4 / 3600)
    assert total["memory"] is None
    assert "by terp's own count" in done.stdout
    assert "core hours" in used_by(crate())
    copy = shutil.copytree(crate(), tmp_path / "crate")  # the validator takes no path with a percent sign
    assert issues((copy, "RECOMMENDED", False)) == [[]]


@pytest.mark.campaign
def test_a_run_that_failed_tells_what_it_cost(bed, terp, home: Path) -> None:
    done = terp("run", f"{FLOWS}:failing", "--site", "testbed")
    assert done.returncode != 0
    assert "no north here" in done.stderr
    run = record(home)
    assert run["state"] == "failed"
    assert run["cluster"]["accounting"]["source"] == BY_SLURM
    assert run["cluster"]["accounting"]["total"]["core_hours"] > 0
    assert "jobs at testbed" in terp("status", "last").stdout
    assert bed.jobs() == []


@pytest.mark.campaign
def test_a_job_that_was_put_back_into_the_queue_counts_with_all_its_starts(bed) -> None:
    run = secrets.token_hex(4)
    job = bed.sbatch("-p", "preempt", "-c2", "--mem=200M", "--requeue", "-J", f"terp-{run}", "--wrap", BURN)
    head = bed.sbatch("-p", "fat", "-c1", "--mem=100M", "-J", f"terp-{run}-controller", "--wrap", "sleep 1000")
    for end in (["scontrol", "requeue"], ["scontrol", "requeue"], ["scancel"]):
        bed.wait(job, "RUNNING", seconds=60)
        until(lambda: cpu_seconds(bed, job) >= 1)
        bed.ask(*end, str(job))
    bed.wait(job, "CANCELLED")
    known = Slurm().look([f"terp-{run}"])[str(job)]
    told = {"id": str(job), "state": "CANCELLED", "start": known.start, "end": known.end, "cores": 2}
    facts = {"jobs": [{**told, "memory": 200 << 20, "core_hours": 0.01}]}
    began = time.monotonic()
    found = account(load_site("testbed"), run, facts, {"s": [(0.0, time.time() + 60)]}, str(head))
    assert time.monotonic() - began < 11
    assert found["source"] == BY_SLURM
    assert found["stages"]["s"]["starts"] == 3
    assert found["stages"]["s"]["jobs"] == 1
    assert found["stages"]["s"]["core_hours"] == pytest.approx(core_seconds(bed, f"terp-{run}") / 3600, abs=1e-5)
    assert found["stages"]["s"]["cpu_efficiency"] > 0.05
    assert 60 << 20 < found["total"]["memory"]["used"] < 100 << 20
    assert found["stages"][CONTROLLER]["core_hours"] > 0
    assert found["total"]["jobs"] == 2


@pytest.mark.campaign
def test_an_accounting_that_is_down_delays_a_run_by_seconds_only(bed, tmp_path: Path, monkeypatch) -> None:
    there = Path(bed.environment["SLURM_CONF"]).read_text()
    (tmp_path / "slurm.conf").write_text(there.replace("AccountingStoragePort=16819", "AccountingStoragePort=9"))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    assert subprocess.run(["sacct"], capture_output=True, timeout=30).returncode != 0
    job = {"id": "1", "state": "COMPLETED", "start": 1.0, "end": 3601.0, "cores": 1, "memory": 1, "core_hours": 1.0}
    began = time.monotonic()
    found = account(load_site("testbed"), "r", {"jobs": [job]}, {}, patience=3)
    assert 2.5 < time.monotonic() - began < 8
    assert found["source"] == BY_TERP
    assert found["total"]["core_hours"] == 1
