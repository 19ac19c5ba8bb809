"""The workers of a run, behind one client: what a controller asks of them, wherever they are."""

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

ENDED = 86  # exit code of a worker that was told to end: another takes its place, however often that happens


@dataclass(frozen=True)
class Verdict:
    """How a worker came to its end: whether what it was doing may have to do with it, and how it is told to people."""

    counts: bool
    why: str = ""


@dataclass(frozen=True)
class AtWork:
    """A task that a worker is at: its key, the worker, which is another after each start, and the seconds until now."""

    key: str
    address: str
    worker: str
    seconds: float


class Crew:
    """Workers that were there at once and stay; those that terp starts do more (`launch_here`, `supervise`).

    `client` is a `distributed.Client`; `longest` the seconds that the longest region of the stage at work took; `late`
    what is told of regions that take much longer; `renews` whether another worker takes the place of one that ends.
    """

    cure = "more memory than a worker has: try fewer workers (--workers)"  # what work may need that ends its workers

    def __init__(self, client: Any, renews: bool = True) -> None:
        self.client, self.renews = client, renews
        self.longest, self.late = 0.0, ""

    def workers(self) -> dict[str, Any]:
        """Return what the scheduler knows of the workers that are there, by address."""
        found: dict[str, Any] = self.client.scheduler_info(n_workers=-1)["workers"]
        return found

    def strength(self) -> int:
        """Return how many workers there are: that is little to ask, where to hear all of them is much."""
        return len(self.client.nthreads())

    def at_work(self, seconds: float) -> tuple[list[AtWork], list[str]]:
        """Return what workers have been at for longer than that, as they said last, and the addresses of idle ones."""
        try:
            found: tuple[list[AtWork], list[str]] = self.client.run_on_scheduler(_at_work, seconds=seconds)
        except ImportError:  # a scheduler that is there already need not know terp
            return [], []
        return found

    def raised_at(self, key: str) -> tuple[list[str], list[str]]:
        """Return the addresses of workers on which a task raised, and of others: those on other hosts, if any."""
        try:
            found: tuple[list[str], list[str]] = self.client.run_on_scheduler(_raised_at, key=key)
        except ImportError:  # as above
            return [], []
        return found

    def end(self, address: str) -> None:
        """End a worker at once, whatever it is at; nobody waits for it, as it may not hear."""
        self.client.loop.add_callback(self._ended, address)

    async def _ended(self, address: str) -> None:
        with suppress(OSError):  # the scheduler may end meanwhile
            await self.client.run(_end, workers=[address], wait=False, on_error="ignore")

    def need(self, regions: int, stage: str, later: int = 0) -> None:
        """Be told how many regions of the stage at work are left, and how many of any one stage come later."""

    def progress(self, regions: int) -> None:
        """Be told that regions were done: what failed before then did not stop the work."""

    def check(self) -> None:
        """Raise what must stop the run, should something have happened that must."""

    @property
    def closing(self) -> bool:
        """Whether nothing new shall be begun, as the controller itself has to end soon."""
        return False

    @property
    def busy(self) -> bool:
        """Whether, where nothing new shall be begun, something is still at work that may end in time."""
        return True

    def waiting(self) -> str:
        """Return in words what is waited for while no worker is there; "" where none can be expected any more."""
        return ""

    def verdict(self, worker: str, since: float) -> Verdict | None:
        """Return how a worker, lost at `since` (seconds, monotonic clock), came to its end; None: not yet known."""
        return Verdict(True)

    def jobs(self) -> dict[str, Any]:
        """Return what is known of the jobs that the workers are in, for the record of the run."""
        return {}


def _at_work(dask_scheduler: Any, seconds: float) -> tuple[list[AtWork], list[str]]:
    from distributed.core import Status

    workers = list(dask_scheduler.workers.values())
    late = [
        AtWork(str(task.key), one.address, one.server_id, taken)
        for one in workers
        for task, taken in one.executing.items()
        if taken > seconds and task in one.processing
    ]
    return late, [one.address for one in workers if not one.processing and one.status == Status.running]


def _raised_at(dask_scheduler: Any, key: str) -> tuple[list[str], list[str]]:
    from distributed.core import Status

    task, workers = dask_scheduler.tasks.get(key), dask_scheduler.workers
    at = sorted(task.erred_on or ()) if task else []
    hosts = {workers[one].host for one in at if one in workers}
    others = [one for one in workers.values() if one.address not in at and one.status == Status.running]
    far = [one for one in others if one.host not in hosts]
    return at, [one.address for one in far or others]


async def _end() -> None:  # what nobody waits for has to be a coroutine
    os._exit(ENDED)
