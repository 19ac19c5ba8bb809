"""The jobs of a run's workers: what each is doing, how it ended, and whether that says anything about the work."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from terp.cluster.crew import Verdict
from terp.cluster.jobs import Job
from terp.cluster.words import ending, reason

_UNKNOWN = 2  # looks in which SLURM does not know a job before its accounting is asked

# Ends that say nothing about what a worker was doing; more memory has an answer of its own.
_NO_FAULT = frozenset(["PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "CANCELLED", "COMPLETED", "OUT_OF_MEMORY", "VANISHED"])
_FAILURES = frozenset(
    ["FAILED", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "VANISHED", "CANCELLED", "SILENT", "HELD", "NODE_FAIL"]
)
_FAULTS = {"silent": "said nothing and was ended", "held": "could not be started by SLURM and was ended"}  # ours


@dataclass
class Member:
    """A job with workers: as SLURM told of it last, and what its workers do."""

    job: Job
    memory: int
    names: Sequence[str] = ()  # of its workers that are there
    lives: dict[str, int] = field(default_factory=dict)  # the last worker that each place is known to have had
    came: bool = False  # whether a worker of this start has been here
    quiet_since: float = field(default_factory=time.monotonic)
    ours: str = ""  # why it was ended by us
    missed: int = 0
    judged: bool = False
    seen: float = field(default_factory=time.time)  # when SLURM told of it last
    spent: float = 0.0  # core seconds of its earlier starts
    restarts: int = 0
    avoid: Sequence[str] = ()  # nodes that it was told to keep off

    def see(self, job: Job) -> None:
        """Take in what SLURM tells now."""
        old, self.missed = self.job, 0
        again = old.start is not None and job.start is not None and job.start > old.start + 1
        if old.runs and (job.waits or again):  # it was put back into the queue
            self.spent += _span(old, self.seen) * old.cores  # it ended soon after
            self.restarts += 1
            self.came = False
        if job.runs and (self.restarts or not old.runs) and not self.came and not old.runs:
            self.quiet_since = time.monotonic()
        self.job, self.seen = job, time.time()
        self.judged = self.judged and job.over

    def meet(self, name: str) -> None:
        """Take in that there is, or has been, a worker of that name."""
        place, life = _placed(name)
        self.lives[place] = max(life, self.lives.get(place, 0))

    def followed(self, name: str) -> bool:
        """Say whether another worker has taken the place of one."""
        place, life = _placed(name)
        return self.lives.get(place, 0) > life

    @property
    def workers(self) -> int:
        """How many workers of it are there."""
        return len(self.names)

    @property
    def core_seconds(self) -> float:
        """Core seconds until now, over all its starts."""
        running = self.job.runs or self.job.over or self.job.state == "COMPLETING"
        return self.spent + (_span(self.job, time.time()) * self.job.cores if running else 0.0)

    @property
    def ended_or_ending(self) -> bool:
        """Whether nothing has to be done any more for it to end."""
        return not (self.job.waits or self.job.runs)

    @property
    def present(self) -> bool:
        """Whether it waits or runs, and nobody has asked it to end."""
        return (self.job.waits or self.job.runs) and not self.ours

    @property
    def silent_since(self) -> float | None:
        """When nothing was heard of its workers any more (seconds, monotonic clock), where they should be heard."""
        return self.quiet_since if self.present and self.job.runs and self.job.state != "SUSPENDED" else None

    @property
    def kind(self) -> str:
        """How it ended: SLURM's state, or why we ended it where that was not our wish."""
        return self.ours.upper() if self.ours in _FAULTS else self.job.state

    @property
    def failed(self) -> bool:
        """Whether it ended, not by our will, in a way that should not happen again and again."""
        early = self.job.state in ("COMPLETED", "TIMEOUT") and not self.came
        return self.job.over and self.ours in ("", *_FAULTS) and (self.kind in _FAILURES or early)

    def tale(self) -> str:
        """Tell in words what happened to it, or what it waits for."""
        where = f" on {self.job.nodes}" if self.job.nodes and self.job.nodes != "None assigned" else ""
        if self.job.waits:
            return f"job {self.job.id} {reason(self.job.reason)}"
        if not self.job.over:
            return f"job {self.job.id}{where} runs"
        how = _FAULTS.get(self.ours) or ending(self.job.state)
        code = f" (exit code {self.job.exit_code})" if self.job.state == "FAILED" and self.job.exit_code else ""
        return f"job {self.job.id}{where} {how}{code}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "id": self.job.id,
            "raw": self.job.raw,
            "state": self.kind,
            "over": self.job.over,
            "ours": self.ours,
            "words": self.tale(),
            "reason": self.job.reason if self.job.waits else "",
            "nodes": self.job.nodes,
            "cores": self.job.cores,
            "start": self.job.start,
            "end": self.job.end,
            "workers": self.workers,
            "restarts": self.restarts,
            "memory": self.memory,
            "core_hours": round(self.core_seconds / 3600, 4),
        }


class Roster:
    """All jobs of a run's workers, by id."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self.members.values()))

    def add(self, ids: list[str], name: str, memory: int, avoid: Sequence[str] = ()) -> None:
        """Note jobs that were just submitted, and the nodes that they were told to keep off."""
        for one in ids:
            self.members[one] = Member(Job(one, one, name, "PENDING", reason="None"), memory, avoid=avoid)

    def update(self, seen: Mapping[str, Job], comment: str, memory: int) -> list[str]:
        """Take in a look at SLURM, with jobs of ours that we did not know; return ids to ask the accounting for."""
        for job in seen.values():
            if job.id in self.members:
                self.members[job.id].see(job)
            elif job.comment == comment and not job.over:  # its sbatch gave no answer, but was heard
                self.members[job.id] = Member(job, memory)
        for member in self:
            if member.job.id not in seen and not member.job.over:
                member.missed += 1
                if member.ours:  # a job of an array that is cancelled before it starts is forgotten at once
                    member.see(replace(member.job, state="CANCELLED", end=time.time()))
        return [member.job.id for member in self if member.missed >= _UNKNOWN and not member.job.over]

    def settle(self, asked: list[str], past: Mapping[str, Job]) -> None:
        """Take in what the accounting says of jobs that SLURM knows no more."""
        for one in asked:
            member, told = self.members[one], past.get(one)
            if told is not None and told.over:
                member.see(told)
            elif told is not None:  # the queue has kept it from us
                member.missed = 0
            elif member.missed >= 2 * _UNKNOWN:
                now = time.time()
                member.see(
                    Job(one, member.job.raw, member.job.name, "VANISHED", member.job.start, now, member.job.cores)
                )

    def connect(self, names: list[str]) -> None:
        """Take in the names of the workers that are there: JOB.RESTART.PLACE-LIFE."""
        there: dict[str, list[str]] = {}
        for name in names:
            there.setdefault(name.rsplit(".", 2)[0], []).append(name)
        now = time.monotonic()
        for member in self:
            member.names = there.get(member.job.id, ())
            for name in member.names:
                member.meet(name)
            if member.workers:
                member.came, member.quiet_since = True, now
            elif not member.job.runs or member.job.state == "SUSPENDED":
                member.quiet_since = now

    def waiting(self) -> str:
        """Return in words what is waited for."""
        waits = Counter(reason(member.job.reason) for member in self if member.job.waits)
        if waits:
            words = "; ".join(
                f"{count} {'job' if count == 1 else 'jobs'}: {why}" for why, count in waits.most_common(2)
            )
            return f"in SLURM's queue: {words}"
        runs = [member.job.id for member in self if member.job.runs]
        return f"workers are starting in job {', '.join(runs[:3])}" if runs else "jobs are being submitted"

    def ended(self) -> list[Member]:
        """Return the jobs that have ended since this was asked last."""
        found = [member for member in self if member.job.over and not member.judged]
        for member in found:
            member.judged = True
        return found

    def verdict(self, worker: str, since: float, patience: float) -> Verdict | None:
        """Return how a worker came to its end, as soon as it is known of its job."""
        job, restart, place = worker.rsplit(".", 2)
        member = self.members.get(job)
        if member is None:
            return Verdict(False, "its job is not one of this run")
        member.meet(worker)  # it may have come and gone between two looks
        if member.followed(worker):
            return Verdict(True, f"worker {place.partition('-')[0]} of job {job} died, and the job went on")
        if member.job.over:
            return Verdict(member.kind not in _NO_FAULT, member.tale())
        if member.job.waits or member.restarts > int(restart):
            return Verdict(False, "its job was put back into the queue")
        if time.monotonic() - since > patience:
            return Verdict(True, f"job {job} goes on without it, which said nothing more")
        return None


def _placed(name: str) -> tuple[str, int]:
    """Return the place that a worker has, and which of its workers it is."""
    place, _, life = name.rpartition("-")
    return place, int(life)


def _span(job: Job, now: float) -> float:
    """Return the seconds that a job had its nodes in this start."""
    if job.start is None or job.start > now:
        return 0.0
    return max(min(job.end if job.over and job.end else now, now) - job.start, 0.0)
