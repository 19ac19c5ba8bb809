"""SLURM's queue as commands see it: looked at once, when it is first needed; and which runs of terp are in it."""

import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from terp.cluster.errors import ClusterError
from terp.cluster.jobs import Job, Slurm
from terp.cluster.words import reason

# What terp's jobs are called; anybody may call theirs anything.
_NAME = re.compile(r"terp-([\w.-]+-\d{8}-\d{6}-[0-9a-f]{4})(-controller)?", re.ASCII)


class Queue:
    """The user's own jobs, as SLURM knows them; `trouble` says why it could not be asked, if so."""

    def __init__(self) -> None:
        self.slurm = Slurm()
        self.trouble = ""
        self._seen: dict[str, Job] | None = None

    @property
    def seen(self) -> dict[str, Job]:
        """All of them by id; {} where SLURM cannot be asked."""
        if self._seen is None:
            try:
                self._seen = self.slurm.look()
            except ClusterError as error:
                self._seen, self.trouble = {}, str(error)
        return self._seen

    def refresh(self) -> None:
        """Forget what was seen, so that SLURM is asked again."""
        self._seen, self.trouble = None, ""

    def find(self, number: str) -> Job | None:
        """Return the job of a number, from the accounting where the queue has forgotten it."""
        found = next((job for job in self.seen.values() if number in (job.raw, job.id)), None)
        if found or self.trouble or not number:
            return found
        return next(iter(self.slurm.past([number]).values()), None)

    def of(self, run: str) -> list[Job]:
        """Return the jobs of a run that are not over: those of its workers, and of its controller."""
        names = (f"terp-{run}", f"terp-{run}-controller")
        return [job for job in self.seen.values() if job.name in names and not job.over]

    def controller(self, run: str, number: str) -> Job | None:
        """Return the job of a run's controller; by its name where SLURM took too long to say its number."""
        named = f"terp-{run}-controller"
        return self.find(number) if number else next((job for job in self.seen.values() if job.name == named), None)


@dataclass
class Group:
    """The jobs of one run that are in the queue."""

    run: str
    user: str
    controller: Job | None = None
    workers: list[Job] = field(default_factory=list)

    @property
    def jobs(self) -> list[Job]:
        """All of them."""
        return [*([self.controller] if self.controller else []), *self.workers]

    @property
    def nodes(self) -> list[str]:
        """The nodes that they are on."""
        return sorted({job.nodes for job in self.jobs if job.runs and job.nodes})

    @property
    def cores(self) -> int:
        """The cores that they have."""
        return sum(job.cores for job in self.jobs if job.runs)

    @property
    def core_hours(self) -> float:
        """What those that run have cost since they began."""
        now = time.time()
        return sum(max(now - job.start, 0.0) * job.cores for job in self.jobs if job.runs and job.start) / 3600

    def waits(self) -> dict[str, int]:
        """Return why jobs wait, in words, and how many for each."""
        return dict(Counter(reason(job.reason) for job in self.jobs if job.waits).most_common())

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "run": self.run,
            "user": self.user,
            "controller": self.controller.state if self.controller else "",
            "running": sum(job.runs for job in self.jobs),
            "waiting": sum(job.waits for job in self.jobs),
            "cores": self.cores,
            "nodes": self.nodes,
            "core_hours": round(self.core_hours, 4),
            "reasons": self.waits(),
        }


def groups(jobs: Iterable[Job]) -> list[Group]:
    """Return the runs of terp that jobs belong to, those with most cores first; jobs that are over are left out."""
    found: dict[tuple[str, str], Group] = {}
    for job in jobs:
        name = _NAME.fullmatch(job.name)
        if not name or job.over:
            continue
        group = found.setdefault((name[1], job.user), Group(name[1], job.user))
        if name[2]:
            group.controller = job
        else:
            group.workers.append(job)
    return sorted(found.values(), key=lambda one: (-one.cores, one.run))
