"""The jobs of a run as SLURM tells of them: which end says something about the work, and which does not."""

import time

import pytest

from terp.cluster.jobs import Job
from terp.cluster.roster import Roster

NAME, COMMENT, MEMORY = "terp-run", "terp-start", 1 << 30


def job(state: str, start: float | None = None, one: str = "7", comment: str = COMMENT, reason: str = "None") -> Job:
    return Job(one, one, NAME, state, start, None, 2, "n1", "me", reason, comment=comment)


def roster(*jobs: Job) -> Roster:
    """A roster that has submitted job 7, and has seen it in some states since."""
    found = Roster()
    found.add(["7"], NAME, MEMORY)
    for one in jobs:
        found.update({one.id: one}, COMMENT, MEMORY)
    return found


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL", "CANCELLED", "OUT_OF_MEMORY", "COMPLETED"])
def test_a_worker_that_went_with_such_a_job_says_nothing_about_its_region(state: str) -> None:
    verdict = roster(job("RUNNING", 1.0), job(state, 1.0)).verdict("7.0.1-0", time.monotonic(), 10)
    assert verdict is not None
    assert not verdict.counts


@pytest.mark.parametrize(("state", "words"), [("FAILED", "failed"), ("TIMEOUT", "reached its time limit")])
def test_a_worker_that_went_with_such_a_job_may_have_gone_for_its_region(state: str, words: str) -> None:
    verdict = roster(job("RUNNING", 1.0), job(state, 1.0)).verdict("7.0.1-0", time.monotonic(), 10)
    assert verdict is not None
    assert verdict.counts
    assert words in verdict.why


def test_while_its_job_runs_nobody_knows_how_a_worker_ended_until_patience_is_up() -> None:
    running = roster(job("RUNNING", 1.0))
    assert running.verdict("7.0.1-0", time.monotonic(), 10) is None
    verdict = running.verdict("7.0.1-0", time.monotonic() - 11, 10)
    assert verdict is not None
    assert verdict.counts


def test_a_worker_whose_place_another_took_died_by_itself() -> None:
    running = roster(job("RUNNING", 1.0))
    running.connect(["7.0.0-0", "7.0.10-1"])
    assert running.verdict("7.0.1-0", time.monotonic(), 10) is None
    running.connect(["7.0.0-0", "7.0.1-1"])
    verdict = running.verdict("7.0.1-0", time.monotonic(), 10)
    assert verdict is not None
    assert verdict.counts
    assert "worker 1 of job 7 died" in verdict.why


def test_a_worker_that_came_and_died_between_two_looks_tells_of_those_before_it() -> None:
    ended = roster(job("RUNNING", 1.0), job("FAILED", 1.0))
    verdicts = [ended.verdict(f"7.0.1-{life}", time.monotonic(), 10) for life in (4, 0, 1, 2, 3)]
    assert all(one is not None and one.counts for one in verdicts)
    [last, *before] = [one.why for one in verdicts if one is not None]
    assert "job 7 on n1 failed" in last
    assert all("worker 1 of job 7 died" in one for one in before)


def test_a_job_that_was_put_back_is_waited_for_and_blames_no_region() -> None:
    again = roster(job("RUNNING", 1.0), job("PENDING", reason="BeginTime"))
    [member] = again
    assert member.present
    assert member.restarts == 1
    verdict = again.verdict("7.0.1-0", time.monotonic(), 10)
    assert verdict is not None
    assert not verdict.counts
    assert "starts a little later" in member.tale()


def test_a_start_that_no_look_saw_waiting_is_known_by_its_time() -> None:
    [member] = roster(job("RUNNING", 1000.0), job("RUNNING", 2000.0))
    assert member.restarts == 1


def test_a_job_whose_sbatch_gave_no_answer_is_taken_in_and_one_of_another_start_is_not() -> None:
    found = roster(job("RUNNING", 1.0, "8"), job("RUNNING", 1.0, "9", comment="terp-another"))
    assert {member.job.id for member in found} == {"7", "8"}


def test_what_slurm_knows_no_more_is_asked_of_the_accounting_then_given_up() -> None:
    found = roster(job("RUNNING", 1.0))
    assert found.update({}, COMMENT, MEMORY) == []
    assert found.update({}, COMMENT, MEMORY) == ["7"]
    found.settle(["7"], {})
    for _ in range(2):
        found.settle(found.update({}, COMMENT, MEMORY), {})
    [member] = found
    assert member.job.state == "VANISHED"
    assert member.failed


def test_each_end_is_judged_once() -> None:
    found = roster(job("RUNNING", 1.0), job("FAILED", 1.0))
    assert [member.job.id for member in found.ended()] == ["7"]
    assert found.ended() == []


def test_a_job_that_we_cancelled_and_slurm_knows_no_more_has_ended() -> None:
    found = roster(job("PENDING"))
    [member] = found
    member.ours = "not needed"
    assert found.update({}, COMMENT, MEMORY) == []
    assert member.job.over
    assert not member.failed


def test_a_suspended_job_was_not_put_back_and_is_not_silent() -> None:
    [member] = roster(job("RUNNING", 1000.0), job("SUSPENDED", 1000.0), job("RUNNING", 1000.0))
    assert member.restarts == 0
    assert member.spent == 0
    [member] = roster(job("RUNNING", 1000.0), job("SUSPENDED", 1000.0))
    assert member.silent_since is None


def test_a_job_that_was_let_go_and_forgotten_costs_nothing_more() -> None:
    began = time.time() - 100
    found = roster(Job("7", "7", NAME, "RUNNING", began, began + 36000, 4, "n1", comment=COMMENT))
    [member] = found
    member.ours = "not needed"
    found.update({}, COMMENT, MEMORY)
    assert member.job.over
    assert 400 <= member.core_seconds < 500
    assert member.job.end is not None
    assert member.job.end <= time.time()


def test_a_job_that_comes_back_from_its_end_is_judged_again() -> None:
    found = roster(job("RUNNING", 1.0), job("NODE_FAIL", 1.0))
    assert len(found.ended()) == 1
    for one in (job("PENDING"), job("RUNNING", 9.0), job("OUT_OF_MEMORY", 9.0)):
        found.update({"7": one}, COMMENT, MEMORY)
    [member] = found.ended()
    assert member.kind == "OUT_OF_MEMORY"


def test_a_queue_that_keeps_jobs_from_us_which_the_accounting_sees_running_replaces_none() -> None:
    found = roster(job("RUNNING", 1.0))
    for _ in range(10):
        asked = found.update({}, COMMENT, MEMORY)
        found.settle(asked, {"7": job("RUNNING", 1.0)} if asked else {})
    [member] = found
    assert member.present


@pytest.mark.parametrize("state", ["COMPLETED", "TIMEOUT"])
def test_a_job_that_ends_without_any_worker_having_come_has_failed(state: str) -> None:
    [member] = roster(job("RUNNING", 1.0), job(state, 1.0))
    assert member.failed


@pytest.mark.parametrize(
    "held",
    [
        job("PENDING", reason="launch failed requeued held"),
        job("REQUEUE_HOLD", reason="JobHeldAdmin"),
        job("SPECIAL_EXIT"),
    ],
)
def test_a_job_that_slurm_gave_up_is_known_from_one_that_waits(held: Job) -> None:
    [member] = roster(held)
    assert member.job.held
    assert not job("PENDING", reason="JobHeldUser").held
    member.ours = "held"
    member.see(job("CANCELLED"))
    assert member.failed
    assert "could not be started by SLURM" in member.tale()
