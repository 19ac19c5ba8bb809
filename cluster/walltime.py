"""The end of a worker's job: no region is begun that would not end before it.

A worker knows when its job ends: by the job's time limit, and by what the controller saw in SLURM since. A worker that
has no time for a region gives it back and leaves: it takes no more, waits until its results were fetched, and goes.
The region counts as never begun.
"""

import asyncio
import threading
import time
from typing import Any

_CUSHION = 10.0  # seconds for writing, recording and leaving
_SPREAD = 1.25  # regions may take so much longer than the longest so far
_FETCH = 20.0  # seconds for results to be fetched
_FRESH = 0.9  # share of a job's time that is left to one that has just begun
_END: list[float] = []  # seconds since the epoch; empty where there is no end, as on a laptop
_WHOLE: list[float] = []  # seconds that there were when an end was first known
_LONGEST: dict[str, float] = {}  # seconds that the longest region of each kind took here
_LOCK = threading.Lock()


def set_end(end: float) -> None:
    """Say when this process's job ends, in seconds since the epoch by the clock of this node."""
    with _LOCK:
        _END[:] = [end]
        if not _WHOLE:
            _WHOLE[:] = [end - time.time()]


def time_left() -> float | None:
    """Return the seconds until the end, or None where there is none."""
    return _END[0] - time.time() if _END else None


def needs(seconds: float) -> float:
    """Return the time that must be left for a region which took so many seconds elsewhere."""
    return seconds * _SPREAD + _CUSHION


def took(kind: str, seconds: float) -> None:
    """Note how long a region of some kind took here, for those that were handed out before anybody knew."""
    _LONGEST[kind] = max(seconds, _LONGEST.get(kind, 0.0))


def take(kind: str, seconds: float) -> None:
    """Begin a region of some kind that takes about so many seconds, or (0) nobody knows how many.

    Where the time is too short: leave, and raise Dask's Reschedule. A worker whose job has just begun takes it
    whatever it takes, as no other would have more time.
    """
    left = time_left()
    expected = max(seconds, _LONGEST.get(kind, 0.0))
    if left is None or left > min(needs(expected), _FRESH * _WHOLE[0]):
        return
    from distributed import Reschedule, get_worker

    worker = get_worker()
    worker.loop.add_callback(leave, worker)
    raise Reschedule


async def hold(worker: Any) -> None:
    """Take no more regions: the controller is to end. What is at work is done."""
    from distributed.core import Status

    if worker.status == Status.running:
        worker.status = Status.paused


async def leave(worker: Any) -> None:
    """Take no more, let the results be fetched, and go; what was handed to this worker goes to others."""
    from distributed.core import Status

    if worker.status not in (Status.running, Status.paused) or getattr(worker, "terp_leaves", False):
        return
    worker.terp_leaves = True
    worker.status = Status.paused
    while worker.state.executing_count:  # its job's end is what ends a region that takes too long
        await asyncio.sleep(0.05)
    deadline = time.monotonic() + _FETCH
    while worker.data and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    await worker.close_gracefully(reason="its job ends soon")
