"""`terp status`, `scale`, `cancel` and `top` where there is no SLURM, and what they make of what they know."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from terp.cluster.jobs import Job
from terp.storage.holder import Holder
from terp.storage.home import Home
from terp.workflows.cli import terp as command
from terp.workflows.errors import Usage
from terp.workflows.running import wishes
from terp.workflows.running.outlook import at_work, outlook
from terp.workflows.running.queue import Queue, groups
from terp.workflows.running.record import RunRecord
from terp.workflows.running.standing import Standing, standing
from terp.workflows.running.stopping import stop

RUN = "tides-20261122-030755-ebd6"
NO_SLURM = "there is no `squeue` here"


@pytest.fixture
def house(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home on a machine without SLURM."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return Home(home).open()


def record(house: Home, state: str = "running", **known: Any) -> RunRecord:
    """The record of a run whose controller is this process, but for what is known otherwise."""
    made = RunRecord.begin(house, "tides", "tides", {})
    made.go_on(house, 0)
    for name, value in {"state": state, **known}.items():
        setattr(made, name, value)
    made.save(house)
    return made


def elsewhere(job: str = "") -> dict[str, Any]:
    """A process on another machine, in a job or not."""
    return replace(Holder.me(), host="elsewhere", job=job).to_json()


def say(*words: str) -> Result:
    """A command of terp's."""
    return CliRunner().invoke(command, words)


def facts(**more: Any) -> dict[str, Any]:
    """What a controller at a site writes: a job that runs, one that waits, one that leaves, two that have ended."""
    usual = {"over": False, "ours": "", "reason": "", "cores": 4, "workers": 4, "restarts": 0, "end": time.time() + 300}
    jobs = [
        {**usual, "id": "1", "state": "RUNNING", "nodes": "n1"},
        {**usual, "id": "2", "state": "PENDING", "nodes": "", "reason": "Resources", "workers": 0},
        {**usual, "id": "3", "state": "RUNNING", "nodes": "n2", "ours": "drained"},
        {**usual, "id": "4", "state": "TIMEOUT", "nodes": "n2", "over": True},
        {**usual, "id": "5", "state": "COMPLETED", "nodes": "n2", "over": True, "ours": "not needed"},
    ]
    known = {"time": time.time(), "poll": 30.0, "stage": "slow", "regions": {"done": 40, "left": 60}, "workers": 8}
    known |= {"wanted": 12, "bounds": {"minimum": 1, "maximum": 16, "core_hours": 9.0}, "rate": 0.5, "waiting": ""}
    known |= {"seconds_left_estimate": 120.0, "core_hours": 3.0, "sbu": 6.0, "sbu_per_core_hour": 2.0, "avoids": []}
    known |= {"most": 16, "cores": 4, "partition": "thin"}
    return {**known, "jobs": jobs, **more}


def test_the_list_of_runs_asks_no_slurm_for_those_that_are_here_or_over(
    house: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Queue, "seen", property(lambda _: pytest.fail("SLURM was asked")))
    for state in ("running", "finished", "failed", "cancelled"):
        record(house, state, site="testbed")
    said = say("status")
    assert said.exit_code == 0, said.output
    assert sorted(line.split()[1] for line in said.output.splitlines()) == [
        "cancelled",
        "failed",
        "finished",
        "running",
    ]


def test_where_slurm_cannot_be_asked_that_is_said_and_nothing_is_made_up(house: Home) -> None:
    record(house, "submitted", site="testbed", submitted=True, job="77")
    [waiting] = json.loads(say("status", "--json").output)
    assert waiting["state"] == "submitted"
    assert NO_SLURM in waiting["why"]
    far = record(house, "running", site="testbed", submitted=True, job="78", holder=elsewhere("78.0"))
    told = json.loads(say("status", far.id, "--json").output)[0]
    assert told["state"] == "running"
    assert NO_SLURM in told["why"]
    assert NO_SLURM in say("status", far.id).output


def test_a_run_here_whose_process_is_gone_is_killed_and_not_looked_for(house: Home) -> None:
    gone = record(house, site="testbed", holder=replace(Holder.me(), started="1").to_json())
    stands = standing(gone, queue := Queue())
    assert (stands.state, stands.over) == ("killed", True)
    assert queue.slurm.calls == {}


def test_status_of_a_run_at_a_site_tells_its_jobs_costs_and_prospects(house: Home) -> None:
    made = record(house, site="testbed")
    (made.folder(house) / "cluster.json").write_text(json.dumps(facts()))
    lines = [line.strip() for line in say("status", made.id).output.splitlines()]
    assert lines[0] == f"{made.id}  running at testbed  slow 40/100 regions"
    assert any(line.startswith("controller: a process on ") for line in lines)
    assert any("3 core hours, 6 SBU since it was started, of 9 core hours at most" in line for line in lines)
    assert "to go, for the stage at work: about 2 min, 0.133 core hours, 0.267 SBU (an estimate)" in lines
    assert "workers: 8 (12 wanted, 1 to 16 allowed), 0.5 regions/s" in lines
    assert "jobs that ended: 1 reached its time limit, 1 ended as it was not needed" in lines
    assert [line.split()[:3] for line in lines[-3:]] == [
        ["1", "runs", "n1"],
        ["2", "waits", "-"],
        ["3", "leaves", "n2"],
    ]
    assert lines[-2].endswith("waits for free nodes")
    assert lines[-1].endswith("drained")


def test_a_controller_that_says_nothing_any_more_is_told_of(house: Home) -> None:
    made = record(house, site="testbed", holder=elsewhere())
    (made.folder(house) / "cluster.json").write_text(json.dumps(facts(time=time.time() - 3000)))
    assert "its controller has not been heard of for 50 min" in say("status", made.id).output


def test_of_a_controller_that_waits_no_worker_is_told_that_is_not_there() -> None:
    made = RunRecord(RUN, "tides", "tides", {}, site="testbed", submitted=True, job="9")
    waits = Standing("to go on", "", Job("9", "9", "", "PENDING", reason="Resources"))
    look = outlook(made, waits, facts(), {"3"})
    assert (look["workers"], [one["id"] for one in look["jobs"]], look["to_go"], look["rate"]) == (4, ["3"], {}, 0.0)
    assert look["controller"]["words"] == "waits for free nodes"


def test_before_its_first_stage_a_run_is_at_nothing() -> None:
    assert at_work(facts(stage="")) == at_work({}) == ""


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["3"], "has its workers on one machine"),
        (["0"], "to stop it: terp cancel"),
        ([], "say how many workers"),
    ],
)
def test_scale_refuses_what_makes_no_sense(house: Home, words: list[str], why: str) -> None:
    made = record(house)
    with pytest.raises(Usage, match=why):
        CliRunner().invoke(command, ["scale", made.id, *words], catch_exceptions=False)
    assert wishes.read(made.folder(house)) == {}


def test_scale_refuses_runs_that_are_over_or_unknown(house: Home) -> None:
    over = record(house, "finished", site="testbed")
    with pytest.raises(Usage, match=r"is over \(finished\)"):
        CliRunner().invoke(command, ["scale", over.id, "3"], catch_exceptions=False)
    with pytest.raises(Usage, match="there is no run 'nobody'"):
        CliRunner().invoke(command, ["scale", "nobody", "3"], catch_exceptions=False)


def test_scale_says_what_will_happen_and_by_when(house: Home) -> None:
    made = record(house, site="testbed")
    (made.folder(house) / "cluster.json").write_text(json.dumps(facts()))
    said = say("scale", made.id, "9")
    assert said.exit_code == 0, said.output
    assert "at most 9 workers from now on (2 jobs of 4)" in said.output
    assert "within 30 s" in said.output
    assert wishes.read(made.folder(house)) == {"workers": 9}
    with pytest.raises(Usage, match="gives a run 16 workers at most"):
        CliRunner().invoke(command, ["scale", made.id, "17"], catch_exceptions=False)


def test_what_is_asked_stays_asked_and_no_reader_sees_half_of_it(tmp_path: Path) -> None:
    seen, over = [], threading.Event()
    wishes.ask(tmp_path, drain=["n1"])

    def read() -> None:
        while not over.is_set():
            seen.append(wishes.read(tmp_path))

    reader = threading.Thread(target=read)
    reader.start()
    for workers in range(1, 100):
        wishes.ask(tmp_path, workers=workers)
    over.set()
    reader.join()
    assert wishes.ask(tmp_path, stop=True) == {"drain": ["n1"], "workers": 99, "stop": True}
    assert all(wish.get("drain") == ["n1"] for wish in seen)
    assert [one.name for one in tmp_path.iterdir()] == ["wish.json"]


def test_a_run_that_is_over_is_not_stopped_again(house: Home) -> None:
    assert "is not running (finished)" in say("cancel", record(house, "finished").id).output
    walled = record(house, "to go on", holder=replace(Holder.me(), started="1").to_json())
    assert "is not running (to go on)" in say("cancel", walled.id).output


def test_a_process_elsewhere_that_has_no_site_has_to_be_stopped_there(house: Home) -> None:
    with pytest.raises(Usage, match=r"on elsewhere since .*: cancel it there"):
        stop(house, record(house, holder=elsewhere()), pytest.fail)


def test_a_run_in_the_queue_cannot_be_cancelled_without_slurm(house: Home) -> None:
    waiting = record(house, "submitted", site="testbed", submitted=True, job="77")
    with pytest.raises(Usage, match=f"cannot be stopped now: {NO_SLURM}"):
        stop(house, waiting, pytest.fail)


def test_a_controller_elsewhere_sees_that_it_shall_stop(house: Home) -> None:
    made, told = record(house, site="testbed", holder=elsewhere()), list[str]()

    def controller() -> None:
        while not wishes.read(made.folder(house)).get("stop"):
            time.sleep(0.01)
        made.state = "cancelled"
        made.save(house)

    other = threading.Thread(target=controller)
    other.start()
    assert "is stopped" in stop(house, made, told.append)
    other.join()
    assert "is asked to stop; its controller is process" in told[0]


def test_the_runs_in_a_queue_are_grouped_whoever_names_his_jobs_what() -> None:
    def job(number: int, name: str, state: str = "RUNNING", user: str = "ann", **more: Any) -> Job:
        return Job(str(number), str(number), name, state, user=user, cores=2, start=time.time() - 1800, **more)

    jobs = [
        job(1, f"terp-{RUN}-controller", nodes="n1"),
        job(2, f"terp-{RUN}", nodes="n2"),
        job(3, f"terp-{RUN}", "PENDING", reason="Priority"),
        job(4, f"terp-{RUN}", "COMPLETED"),
        job(5, f"terp-{RUN}", user="bob", nodes="n2"),
        job(6, "terp-sea-level-20261122-030755-ebd6", nodes="n3"),
        *(job(7, name) for name in ("terp-", "terp-\x1b[2J-20261122-030755-ebd6", "my-terp-run", "wrap")),
    ]
    first, *others = groups(jobs)
    assert [(one.run, one.user) for one in others] == [("sea-level-20261122-030755-ebd6", "ann"), (RUN, "bob")]
    told = first.to_json()
    assert told.pop("core_hours") == pytest.approx(2.0, abs=0.01)
    assert told == {
        "run": RUN,
        "user": "ann",
        "controller": "RUNNING",
        "running": 2,
        "waiting": 1,
        "cores": 4,
        "nodes": ["n1", "n2"],
        "reasons": {"waits its turn: jobs of higher priority come first": 1},
    }


@pytest.mark.usefixtures("house")
def test_top_without_slurm_says_so() -> None:
    with pytest.raises(Exception, match=NO_SLURM):
        CliRunner().invoke(command, ["top"], catch_exceptions=False)


def test_logs_show_what_a_controller_said_before_it_could_keep_a_log(house: Home) -> None:
    made = record(house, "submitted", site="testbed")
    (made.folder(house) / "jobs").mkdir()
    (made.folder(house) / f"jobs/terp-{made.id}-controller-7.log").write_text("module: no such module\n")
    assert "no such module" in say("logs", made.id).output
