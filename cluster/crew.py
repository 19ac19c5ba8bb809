"""The workers of a run, behind one client: what a controller asks of them, wherever they are."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """How a worker came to its end: whether what it was doing may have to do with it, and how it is told to people."""

    counts: bool
    why: str = ""


class Crew:
    """Workers that were there at once and stay, as on a laptop; those in SLURM jobs do more (`supervise`).

    `client` is a `distributed.Client`; `longest` the seconds that the longest region of the stage at work took.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.longest = 0.0

    def workers(self) -> dict[str, Any]:
        """Return what the scheduler knows of the workers that are there, by address."""
        found: dict[str, Any] = self.client.scheduler_info(n_workers=-1)["workers"]
        return found

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
