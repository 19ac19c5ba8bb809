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
    verdict = roster(job("RUNNING", 1.0), job(state, 1.0)).verdict("7.0.1", time.monotonic(), 10)
    assert verdict is not None
    assert not verdict.counts


@pytest.mark.parametrize(("state", "words"), [("FAILED", "failed"), ("TIMEOUT", "reached its time limit")])
def test_a_worker_that_went_with_such_a_job_may_have_gone_for_its_region(state: str, words: str) -> None:
    verdict = roster(job("RUNNING", 1.0), job(state, 1.0)).verdict("7.0.1", time.monotonic(), 10)
    assert verdict is not None
    assert verdict.counts
    assert words in verdict.why


def test_while_its_job_runs_nobody_knows_how_a_worker_ended_until_patience_is_up() -> None:
    running = roster(job("RUNNING", 1.0))
    assert running.verdict("7.0.1", time.monotonic(), 10) is None
    verdict = running.verdict("7.0.1", time.monotonic() - 11, 10)
    assert verdict is not None
    assert verdict.counts


def test_a_job_that_was_put_back_is_waited_for_and_blames_no_region() -> None:
    again = roster(job("RUNNING", 1.0), job("PENDING", reason="BeginTime"))
    [member] = again
    assert member.present
    assert member.restarts == 1
    verdict = again.verdict("7.0.1", time.monotonic(), 10)
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
