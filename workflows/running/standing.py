"""What a run is doing now, as far as can be known from here: by its record, its process, and SLURM."""

from dataclasses import dataclass

from terp.cluster.jobs import Job
from terp.cluster.words import ending, reason
from terp.storage.holder import Holder
from terp.workflows.running.queue import Queue
from terp.workflows.running.record import RunRecord


@dataclass(frozen=True)
class Standing:
    """The state of a run as it is now, why, and the job of its controller where that is known.

    `over`: nothing of it is at work or in the queue, and only a person goes on with it.
    """

    state: str
    why: str = ""
    job: Job | None = None
    over: bool = False

    @property
    def queued(self) -> bool:
        """Whether its controller is yet to start, for the first time or again."""
        return self.job is not None and self.job.waits


def standing(record: RunRecord, queue: Queue, closely: bool = False) -> Standing:
    """Return how a run stands; SLURM is asked only where its word is needed, or `closely` wants the job too."""
    if record.state == "submitted" or (record.state == "to go on" and record.submitted):
        return _by_job(record, queue)
    if record.state == "cancelled" and record.submitted and closely and _comes_again(record, queue):
        return _by_job(record, queue)
    if record.state not in ("planned", "running"):
        return Standing(record.state, record.error, over=True)
    holder = Holder.from_json(record.holder)
    number = holder.job.partition(".")[0]
    if holder.is_gone():
        return _gone(record, queue)
    if holder.is_here() or not number:
        return Standing(record.state, "", queue.find(number) if number and closely else None)
    return _elsewhere(record, holder, number, queue)


def _elsewhere(record: RunRecord, holder: Holder, number: str, queue: Queue) -> Standing:
    """Say how a run stands whose controller is a job on another machine."""
    from terp.workflows.running.where import is_gone  # heavy

    gone = is_gone(holder, queue.seen, queue.slurm)
    if queue.trouble:
        return Standing(record.state, f"as it was when last heard of: {queue.trouble}")
    return _gone(record, queue) if gone else Standing(record.state, "", queue.find(number))


def _gone(record: RunRecord, queue: Queue) -> Standing:
    """Say how a run stands whose process is gone: perhaps SLURM has put its job back into the queue."""
    job = queue.controller(record.id, record.job) if record.submitted else None
    if job is not None and job.waits:
        return Standing("to go on", f"its controller {reason(job.reason)}", job)
    return Standing("killed", record.error or "its process is gone; the same command goes on", job, over=True)


def _comes_again(record: RunRecord, queue: Queue) -> bool:
    """Say whether SLURM, which ended a controller, has put its job back into the queue."""
    job = queue.controller(record.id, record.job)
    return job is not None and not job.over


def _by_job(record: RunRecord, queue: Queue) -> Standing:
    """Say how a run stands whose controller is to start."""
    job = queue.controller(record.id, record.job)
    if queue.trouble:
        return Standing(record.state, f"as it was when last heard of: {queue.trouble}")
    if job is None:
        return Standing(
            "killed", "SLURM does not know the job of its controller; submit the same command again", over=True
        )
    if job.waits:
        state = "submitted" if record.state == "submitted" else "to go on"
        return Standing(state, f"its controller {reason(job.reason)}", job)
    if job.over:
        return Standing("killed", f"its controller {ending(job.state)}; submit the same command again", job, over=True)
    return Standing(record.state, "its controller starts", job)
