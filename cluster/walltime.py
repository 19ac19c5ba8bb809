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

_END: list[float] = []  # seconds since the epoch; empty where there is no end, as on a laptop
_BEGUN: list[float] = []
_LOCK = threading.Lock()


def set_end(end: float) -> None:
    """Say when this process's job ends, in seconds since the epoch."""
    with _LOCK:
        _END[:] = [end]


def time_left() -> float | None:
    """Return the seconds until the end, or None where there is none."""
    return _END[0] - time.time() if _END else None


def needs(seconds: float) -> float:
    """Return the time that must be left for a region which took so many seconds elsewhere."""
    return seconds * _SPREAD + _CUSHION


def take(seconds: float) -> None:
    """Begin a region that takes about so many seconds, or (0) nobody knows how many.

    Where the time is too short: leave, and raise Dask's Reschedule. A worker that has begun nothing yet begins, as
    no other would have more time.
    """
    left = time_left()
    if left is None or left > needs(seconds) or (not _BEGUN and left > 0):
        _BEGUN.append(time.time())
        return
    from distributed import Reschedule, get_worker

    worker = get_worker()
    worker.loop.add_callback(leave, worker)
    raise Reschedule


async def leave(worker: Any) -> None:
    """Take no more, let the results be fetched, and go; what was handed to this worker goes to others."""
    from distributed.core import Status

    if worker.status != Status.running:
        return
    worker.status = Status.paused
    deadline = time.monotonic() + _FETCH
    while (worker.data or worker.state.executing_count) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    await worker.close_gracefully(reason="its job ends soon")
