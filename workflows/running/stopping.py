"""Stopping a run, wherever its controller is, so that nothing of it is left running."""

import os
import shutil
import signal
import time
from collections.abc import Callable

from terp.storage.holder import Holder
from terp.storage.home import Home
from terp.workflows.errors import Usage
from terp.workflows.running import wishes
from terp.workflows.running.clock import now
from terp.workflows.running.queue import Queue
from terp.workflows.running.record import RunRecord, load_run
from terp.workflows.running.standing import Standing, standing

_PATIENCE = 30.0  # seconds a run without jobs may take to stop
_JOBS = 90.0  # seconds it may take to end its jobs too, or a controller elsewhere to see what is asked of it
_PAUSE = 0.2


def stop(home: Home, record: RunRecord, tell: Callable[[str], None]) -> str:
    """Stop a run and wait until it is over; return what to say of it. Raises Usage where it does not stop in time."""
    queue = Queue()
    stands = standing(record, queue, closely=True)
    holder = Holder.from_json(record.holder)
    if stands.over:
        left = _end_jobs(home, record, queue, tell)
        return f"{record.id} is not running ({stands.state}){f'; {left} of its jobs were ended' if left else ''}"
    if queue.trouble and record.state in ("submitted", "to go on"):
        raise Usage(f"{record.id} cannot be stopped now: {queue.trouble}")
    if stands.job is not None and (stands.queued or record.state in ("submitted", "to go on")):
        queue.slurm.cancel([stands.job.id])
        _until(
            lambda: _job_over(queue, record.job), _JOBS, f"job {record.job} does not end: see `squeue -j {record.job}`"
        )
    elif holder.is_here() and not holder.is_gone():
        os.kill(holder.pid, signal.SIGINT)
        patience = _JOBS if record.site else _PATIENCE
        last = f"{record.id} has not stopped in {patience:.0f} s; if it must: kill -9 {holder.pid} (nothing is lost)"
        _until(holder.is_gone, patience, last)
    elif record.site:
        _ask(home, record, stands, queue, tell)
    else:
        raise Usage(f"{record.id} is {holder}: cancel it there")
    _end_jobs(home, record, queue, tell)
    _note(home, record)
    return f"{record.id} is stopped; the same command goes on where it was"


def _ask(home: Home, record: RunRecord, stands: Standing, queue: Queue, tell: Callable[[str], None]) -> None:
    """Have a controller elsewhere stop; where it does not, and is a job of terp's own, end the job."""
    folder, holder, job = record.folder(home), Holder.from_json(record.holder), stands.job
    tell(f"{record.id} is asked to stop; its controller is {holder}")

    def stopped() -> bool:
        if not wishes.read(folder).get("stop"):  # somebody else may have asked for something in the same moment
            wishes.ask(folder, stop=True)
        return load_run(home, record.id).state in ("finished", "failed", "cancelled")

    if _comes(stopped, _JOBS):
        return
    if job is None:
        raise Usage(f"{record.id} has not stopped in {_JOBS:.0f} s: it is {holder}; end it there (nothing is lost)")
    tell(f"it has not stopped in {_JOBS:.0f} s: its job {job.id} is ended (nothing is lost)")
    queue.slurm.cancel([job.id])
    _until(lambda: _job_over(queue, job.id), _JOBS, f"job {job.id} does not end: see `squeue -j {job.id}`")


def _job_over(queue: Queue, number: str) -> bool:
    queue.refresh()
    job = queue.find(number)
    return not queue.trouble and (job is None or job.over)


def _end_jobs(home: Home, record: RunRecord, queue: Queue, tell: Callable[[str], None]) -> int:
    """End the jobs that a run has left behind, and remove its keys; return how many there were."""
    if not record.site:
        return 0
    queue.refresh()
    left = queue.of(record.id)
    if queue.trouble:
        tell(f"whether jobs of {record.id} are left cannot be known from here: {queue.trouble}")
        return 0
    if left:
        queue.slurm.cancel([job.id for job in left])

    def ended() -> bool:
        queue.refresh()
        return not queue.of(record.id) and not queue.trouble

    if left:
        _until(ended, _JOBS, f"jobs of {record.id} do not end: see `squeue --name=terp-{record.id}`")
    shutil.rmtree(home.keys / record.id, ignore_errors=True)
    return len(left)


def _note(home: Home, record: RunRecord) -> None:
    """Have the record say so, where the run itself could not."""
    last = load_run(home, record.id)
    if last.state not in ("finished", "failed", "cancelled"):
        last.state, last.error, last.ended = "cancelled", "stopped by a person", now()
        last.note(home, "stopped", state=last.state, why=last.error)
        last.save(home)


def _until(done: Callable[[], bool], patience: float, otherwise: str) -> None:
    if not _comes(done, patience):
        raise Usage(otherwise)


def _comes(done: Callable[[], bool], patience: float) -> bool:
    """Wait until something is so; say whether it came to be."""
    deadline, pause = time.monotonic() + patience, _PAUSE
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(pause)
        pause = min(pause * 1.5, 5.0)  # SLURM may be what is asked
    return False
