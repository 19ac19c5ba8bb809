"""The job that the controller itself is in, if any: when it ends, and whether it is still this start of it."""

import time

from terp.cluster.errors import Replaced
from terp.cluster.jobs import Job, own_job

HARD = 30.0  # seconds before the controller's own end at which nobody is waited for any more


class OwnJob:
    """What SLURM tells of it; `id` is "" outside of any job."""

    def __init__(self) -> None:
        self.id = own_job()
        self.end: float | None = None
        self._start: float | None = None
        self._cores = 0

    def see(self, job: Job) -> None:
        """Take in what SLURM tells; raise Replaced where it was started anew, and this process is a relic."""
        self._start = self._start or (job.start if job.runs else None)
        if self._start is not None and (job.waits or (job.start or 0.0) > self._start + 1):
            raise Replaced(f"job {self.id} was started anew elsewhere, and this start of it has nothing more to say")
        self.end, self._cores = job.end if job.runs else self.end, job.cores

    def ends_within(self, seconds: float) -> bool:
        """Say whether its time is up so soon."""
        return self.end is not None and time.time() > self.end - seconds

    def pause(self, longest: float) -> float:
        """Return the seconds until it should be looked at again: near the end they get short."""
        return longest if self.end is None else min(max(self.end - HARD - time.time(), 1.0), longest)

    def cost(self) -> dict[str, float]:
        """Return the core seconds of this start, by a name that no other start has."""
        if self._start is None:
            return {}
        return {f"{self.id} from {self._start:.0f}": (time.time() - self._start) * self._cores}
