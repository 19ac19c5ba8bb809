"""More and fewer workers while a run goes on: by its work, by a person's wish, by a cap; and what is told of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
sys.path.insert(0, str(Path(__file__).parent))
import runs
from disturbed import TERP, Disturbed
from prometheus_client.parser import text_string_to_metric_families

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

FLOW = Path(__file__).parent / "slow_flows.py"
REGIONS = 18
WIDE = {"max_workers": "8"}  # four jobs of two


class Scaled(Disturbed):
    """A run of `marks`, which knows what was begun and ended where."""

    @property
    def marks(self) -> list[list[str]]:
        """What was marked: begin or end, which region, on which node, when."""
        path = self.home / "marks"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def mark(
        self, *words: str, seconds: float = 1.0, last: float = 1.0, site: dict[str, str] | None = None
    ) -> "Scaled":
        """Start it, or with --submit wait until it is submitted."""
        told = [f"seconds={seconds}", f"last={last}", f"path={self.home / 'marks'}"]
        self.home.mkdir(exist_ok=True)
        settings = [word for one in told for word in ("--set", one)]
        self.words = ["run", f"{FLOW}:marks", *settings, "--no-archive", *words]
        for name, value in {"poll": "1", **WIDE, **(site or {})}.items():
            self.words += ["--site-set", f"{name}={value}"]
        self.words += ["--site", "testbed"]
        self.process = subprocess.Popen(
            [TERP, *self.words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self

    def submitted(self, *words: str, site: dict[str, str] | None = None, seconds: float = 1.0) -> str:
        """Submit it; return the job of its controller."""
        code, said = self.mark("--submit", "--json", *words, site=site, seconds=seconds).end()
        assert code == 0, said
        self.process = None
        return str(json.loads(said.splitlines()[-1])["job"])

    def begun(self) -> int:
        """How often a region was begun."""
        return sum(what == "begin" for what, *_ in self.marks)

    def workers(self) -> int:
        """How many workers there are."""
        found = self.facts().get("workers", 0)
        assert isinstance(found, int)
        return found

    def nodes(self) -> set[str]:
        """Nodes with a job that is not over."""
        return {one["nodes"] for one in self.jobs() if not one["over"]}

    def refused(self, *words: str) -> str:
        """What a command says that is refused."""
        done = subprocess.run([TERP, *words], env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 64, done.stdout + done.stderr
        return done.stderr

    def status(self) -> dict[str, Any]:
        """What is told of the newest run."""
        found: list[dict[str, Any]] = json.loads(self.terp("status", self.run_id(), "--json"))
        return found[0]


@pytest.fixture
def run(bed: Any, tmp_path: Path, prefect: dict[str, str]) -> Iterator[Scaled]:
    """A run to be scaled; it ends with the test."""
    one = Scaled(tmp_path / "home", {**prefect, **bed.environment})
    yield one
    if one.process is not None and one.process.poll() is None:
        os.killpg(one.process.pid, signal.SIGKILL)
        one.process.communicate()


@pytest.fixture
def unaided(run: Scaled) -> Scaled:
    """The same without the Prefect server of the tests, which nodes do not reach."""
    run.environment = {k: v for k, v in run.environment.items() if not k.startswith("PREFECT_")}
    return run


def well(run: Scaled) -> str:
    code, said = run.end()
    assert code == 0, said + run.last_words()
    return said


@pytest.mark.campaign
def test_a_run_grows_with_its_work_once_and_lets_no_worker_go_that_is_wanted_soon(run: Scaled) -> None:
    run.mark(seconds=2)
    run.until(lambda: run.workers() == 8, "8 workers")
    well(run)
    assert len(run.jobs()) == 4, "jobs were let go and asked for again"
    assert run.begun() == REGIONS
    assert run.facts()["calls"]["sbatch"] <= 3  # type: ignore[index]


@pytest.mark.campaign
def test_in_the_tail_of_a_stage_idle_jobs_are_let_go_and_the_least_number_is_kept(run: Scaled) -> None:
    run.mark("--min-workers", "4", seconds=0.2, last=50)
    run.until(lambda: run.workers() == 8, "8 workers")
    run.until(lambda: run.workers() == 4, "4 workers", 45)
    assert len([one for one in run.marks if one[0] == "end"]) < REGIONS
    well(run)
    assert len(run.jobs()) == 4
    assert run.begun() <= REGIONS + 1, "what takes so long may be tried a second time, once"


@pytest.mark.campaign
def test_who_asks_for_fewer_workers_gets_them_without_losing_a_region_and_more_again(run: Scaled) -> None:
    run.mark(seconds=5)
    run.until(lambda: run.workers() == 8 and run.begun() >= 8, "8 workers at work")
    said = run.terp("scale", run.run_id(), "2")
    assert "at most 2 workers" in said
    assert "within 1 s" in said
    run.until(lambda: run.workers() == 2, "2 workers", 40)
    run.terp("scale", run.run_id(), "6")
    run.until(lambda: run.workers() == 6, "6 workers", 40)
    well(run)
    assert run.begun() == REGIONS


@pytest.mark.campaign
def test_a_drained_node_becomes_empty_and_gets_no_job_until_it_may_be_used_again(run: Scaled, bed: Any) -> None:
    run.mark(seconds=5)
    run.until(lambda: run.workers() == 8 and run.begun() >= 8, "8 workers at work")
    node = run.node()
    run.terp("scale", run.run_id(), "--drain", node)
    run.until(lambda: node not in run.nodes() and run.workers() == 8, f"workers elsewhere than on {node}", 45)
    assert not [job for job in bed.jobs() if job.node == node]
    assert run.facts()["avoids"] == [node]
    assert f"drained, no job goes there: {node}" in run.terp("status", "last")
    run.terp("scale", run.run_id(), "--undrain", node)
    run.until(lambda: run.facts()["avoids"] == [], "no drained node")
    well(run)
    assert run.begun() == REGIONS


@pytest.mark.campaign
def test_a_worker_that_does_not_answer_holds_up_nothing(run: Scaled, bed: Any) -> None:
    run.mark(seconds=4)
    run.until(lambda: run.workers() == 8 and run.begun() >= 8, "8 workers at work")
    parents = [int(number) for number, line in bed.processes().items() if "terp.cluster.worker" in line]
    os.kill(max(parents), signal.SIGSTOP)
    run.terp("scale", run.run_id(), "2")
    late = []

    def fewer() -> bool:
        late.append(time.time() - float(str(run.facts()["time"])))
        return run.workers() == 2

    run.until(fewer, "2 workers", 90)
    assert max(late) < 10, "looks at SLURM came late"
    well(run)


def test_a_job_that_waits_is_steered_off_a_drained_node_and_keeps_its_place(run: Scaled, bed: Any) -> None:
    for node in ("n1", "n2", "n3"):
        bed.wait(bed.sbatch("-p", "thin", "-w", node, "-n", "16", "--mem=100M", "--wrap", "sleep 600"), "RUNNING")
    run.mark("--workers", "2")
    run.until(lambda: "waits for free nodes" in str(run.facts().get("waiting")), "a job that waits")
    [job] = run.jobs()
    run.terp("scale", run.run_id(), "--drain", "n2")
    run.until(lambda: "ExcNodeList=n2" in bed.ask("scontrol", "show", "job", job["id"]), "word of it in SLURM")
    run.terp("cancel", run.run_id())
    assert run.end()[0] == 130
    assert [one["id"] for one in run.jobs()] == [job["id"]]


def test_what_cannot_be_is_refused_with_what_can(run: Scaled) -> None:
    run.mark(seconds=3)
    run.until(lambda: run.workers() > 0, "a worker")
    assert "gives a run 8 workers at most" in run.refused("scale", "last", "9")
    assert "no such node; there are n1, n2, n3, n4" in run.refused("scale", "last", "--drain", "n33")
    assert "no node left" in run.refused("scale", "last", "--drain", "n1", "--drain", "n2", "--drain", "n3")
    assert "not drained" in run.refused("scale", "last", "--undrain", "n1")
    run.terp("cancel", "last")
    assert run.end()[0] == 130


def test_the_cap_on_core_hours_stops_a_run_and_a_higher_one_goes_on(
    run: Scaled, bed: Any, prefect: dict[str, str], undisturbed: dict[str, bytes]
) -> None:
    capped = Disturbed(run.home, prefect | bed.environment)
    code, said = capped.start("--core-hours", "0.01").end()
    assert code == 77
    assert "the cap of 0.01 core hours is reached" in said
    assert "a higher --core-hours goes on" in said
    done = capped.recorded()
    assert 0 < done < 216
    capped.until_quiet(bed, 20)
    code, said = capped.start("--core-hours", "5").end()
    assert code == 0, said
    assert runs.products(run.home) == undisturbed


@pytest.mark.campaign
def test_status_tells_of_jobs_costs_and_what_is_to_come(run: Scaled) -> None:
    run.mark("--core-hours", "7", seconds=3)
    run.until(lambda: run.workers() == 8 and run.facts()["regions"]["done"], "regions by 8 workers")  # type: ignore[index]
    told = run.status()
    look = told["outlook"]
    assert (told["state"], told["site"]) == ("running", "testbed")
    assert told["now"].startswith("marked ")
    assert {one["state"] for one in look["jobs"]} == {"runs"}
    assert sum(one["workers"] for one in look["jobs"]) == look["workers"] == 8
    assert all(one["node"] in ("n1", "n2", "n3") and 500 < one["seconds_left"] <= 600 for one in look["jobs"])
    assert look["rate"] > 0
    assert 0 < look["so_far"]["core_hours"] == look["so_far"]["sbu"]
    assert look["to_go"]["seconds_estimate"] > 0
    text = run.terp("status", "last")
    assert "(an estimate)" in text
    assert "of 7 core hours at most" in text
    assert "regions/s" in text
    well(run)
    assert run.status()["state"] == "finished"


@pytest.mark.campaign
def test_a_controller_that_waits_in_the_queue_is_told_of_scaled_and_cancelled_there(unaided: Scaled, bed: Any) -> None:
    for node in ("n1", "n2", "n3"):
        bed.wait(bed.sbatch("-p", "thin", "-w", node, "-n", "16", "--mem=100M", "--wrap", "sleep 600"), "RUNNING")
    job = unaided.submitted()
    told = unaided.status()
    assert told["state"] == "submitted"
    assert told["why"] == "its controller waits for free nodes" or "is about to start" in told["why"]
    assert told["outlook"]["controller"]["job"] == job
    assert "as soon as the controller, which waits in SLURM's queue" in unaided.terp("scale", "last", "4")
    assert "is stopped" in unaided.terp("cancel", "last")
    assert bed.state(int(job)) == "CANCELLED"
    assert unaided.status()["state"] == "cancelled"


@pytest.mark.campaign
def test_a_controller_elsewhere_is_seen_scaled_and_stopped_from_here(unaided: Scaled, bed: Any) -> None:
    job = unaided.submitted(seconds=5)
    unaided.until(lambda: unaided.workers() == 8, "8 workers", 90)
    told = unaided.status()
    assert told["state"] == "running"
    assert told["outlook"]["controller"]["job"] == job
    assert told["outlook"]["controller"]["seconds_left"] > 400
    unaided.terp("scale", "last", "2")
    unaided.until(lambda: unaided.workers() == 2, "2 workers", 40)
    assert "is stopped" in unaided.terp("cancel", "last")
    unaided.until_quiet(bed, 20)
    assert unaided.key_files() == []
    assert unaided.status()["state"] == "cancelled"


@pytest.mark.campaign
def test_a_killed_controller_that_slurm_starts_again_is_not_called_killed(unaided: Scaled, bed: Any) -> None:
    job = unaided.submitted(seconds=5)
    unaided.until(lambda: unaided.workers() == 8, "8 workers", 90)
    bed.ask("scontrol", "requeuehold", job)
    unaided.until(lambda: unaided.status()["state"] == "to go on", "word that it is to go on", 40)
    assert "held" in unaided.status()["why"]
    assert unaided.status()["outlook"]["workers"] == 0
    unaided.terp("cancel", "last")
    unaided.until_quiet(bed, 20)


@pytest.mark.campaign
def test_what_a_kill_left_behind_is_told_and_ended_by_cancel(run: Scaled, bed: Any) -> None:
    run.mark(seconds=20)
    run.until(lambda: run.workers() == 8 and run.begun() >= 8, "8 workers at work")
    run.kill()
    told = run.status()
    assert told["state"] == "killed"
    assert len(told["left_behind"]) == 4
    assert "of its jobs were ended" in run.terp("cancel", "last")
    assert not [job for job in bed.jobs() if job.name == f"terp-{run.run_id()}" and job.state != "COMPLETING"]
    assert run.key_files() == []


@pytest.mark.campaign
def test_metrics_are_there_while_a_run_goes_on_and_a_dead_ones_are_removed_by_the_next(
    run: Scaled, tmp_path: Path
) -> None:
    folder = tmp_path / "collected"
    folder.mkdir()
    run.mark(seconds=1, site={"metrics": str(folder)})
    regions = value_of(folder, "terp_regions_done_total", stage="marked")
    run.until(lambda: (regions() or 0) >= 3, "regions in the metrics")
    workers, sbu = value_of(folder, "terp_workers", flow="marks", site="testbed"), value_of(folder, "terp_sbu_total")
    assert workers()
    assert sbu()
    assert value_of(folder, "terp_jobs", state="running")()
    run.kill()
    [left] = folder.iterdir()
    run.mark(seconds=1, site={"metrics": str(folder)})
    run.until(lambda: not left.exists(), "no metrics of the dead run")
    well(run)
    assert list(folder.iterdir()) == []


def value_of(folder: Path, name: str, **labels: str) -> Callable[[], float | None]:
    """Something that reads a value from the metrics there, by a parser that is not ours."""

    def read() -> float | None:
        for path in folder.glob("*.prom"):
            assert path.stat().st_mode & 0o777 == 0o644
            for family in text_string_to_metric_families(path.read_text()):
                for sample in family.samples:
                    if sample.name == name and labels.items() <= sample.labels.items():
                        return float(sample.value)
        return None

    return read
