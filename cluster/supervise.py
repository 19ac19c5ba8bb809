"""Supervision of SLURM jobs with workers: enough of them, none in vain, and an answer for each that ends.

A thread of the controller looks at all jobs of the run with one call now and then. Jobs that fail, reach their time
limit, lose their node or vanish are replaced; those that SLURM puts back into the queue are left alone. What happens
again and again without any region done in between stops the run, with the job's own last words.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from terp.cluster import walltime
from terp.cluster.crew import Crew, Verdict
from terp.cluster.errors import ClusterError, JobsFail, OverBudget, SlurmAway, SlurmRefused, Stopped
from terp.cluster.jobs import Slurm
from terp.cluster.notes import Notes
from terp.cluster.own import HARD, OwnJob
from terp.cluster.pace import Pace
from terp.cluster.roster import Member, Roster
from terp.cluster.script import Order
from terp.cluster.staff import Bounds, Staff

_TIMES = 3  # rounds of the same failure, with nothing done in between, that stop the run
_BEAT = 2.0  # seconds after which what workers say of themselves is new
_FATE = ("NODE_FAIL", "CANCELLED")


class Supervisor(Crew):
    """Workers in SLURM jobs; `tell` is given what people should know."""

    cure = "more memory (`memory_per_core` of the site) or more time (`walltime`)"

    def __init__(self, client: Any, order: Order, bounds: Bounds, tell: Callable[[str], None]) -> None:
        super().__init__(client)
        self.bounds, self.tell, self.site, self.slurm = bounds, tell, order.site, Slurm()
        self.folder, self.name = order.folder, order.name
        self.roster = Roster()
        self.staff = Staff(self, order)
        self.own = OwnJob()
        self.stage, self.pace = "", Pace()
        self.notes = Notes(order.folder, order.run, order.site.metrics, tell)
        self.by_stage: dict[str, float] = {}  # core seconds of this start of the controller
        self.failures: Counter[str] = Counter()
        self.enlarged = self._interrupted = False
        self.trouble: ClusterError | None = None
        self.away_since: float | None = None
        self.others = False  # whether the user has other jobs in the queue
        self._odd = 0  # looks in a row that failed as none should
        self._held_at, self._stop_by = 0.0, 0.0
        self._stop, self._nudge = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervise", daemon=True)
        self._began = time.monotonic()

    # what the controller asks

    def start(self) -> None:
        """Begin to supervise."""
        (self.folder / "jobs").mkdir(0o700, exist_ok=True)  # what stages and prologues say is nobody else's
        self._thread.start()

    def need(self, regions: int, stage: str, later: int = 0) -> None:
        """Be told how many regions of the stage at work are left, and how many of any one stage come later."""
        self.stage = stage
        self.pace.need(regions, stage)
        if self.staff.need(regions, later):
            self._nudge.set()

    def progress(self, regions: int) -> None:
        """Be told that regions were done: what failed before then did not stop the work."""
        self.pace.add(regions)
        self.failures.clear()

    def check(self) -> None:
        """Raise what must stop the run."""
        if self.trouble is not None:
            raise self.trouble

    @property
    def closing(self) -> bool:
        """Whether the controller's own job ends too soon to begin anything new."""
        return self.own.ends_within(HARD + walltime.needs(self.longest) + self.site.poll)

    @property
    def stopping(self) -> bool:
        """Whether nothing shall be asked of SLURM any more but to end."""
        return self._stop.is_set()

    @property
    def busy(self) -> bool:
        """Whether workers are still at regions that may end in time; from now on they take no more."""
        if not self._held_at:
            self._held_at = time.time()
            self.staff.hold()
        if self.own.ends_within(HARD):
            return False
        workers = self.workers().values()
        return any(one["last_seen"] < self._held_at + _BEAT or one["metrics"].get("executing") for one in workers)

    def waiting(self) -> str:
        """Return in words what is waited for."""
        if self.away_since is not None:
            return f"SLURM's controller has not answered for {time.monotonic() - self.away_since:.0f} s"
        return self.roster.waiting()

    def verdict(self, worker: str, since: float) -> Verdict | None:
        """Return how a worker came to its end; None while it is not known."""
        return self.roster.verdict(worker, since, 2 * self.site.patience)

    def jobs(self) -> dict[str, Any]:
        """Return what is known of the jobs of this start of the controller; core hours and SBU are the run's."""
        partition, bounds, hours = self.site.partitions[self.site.partition], self.bounds, self._core_hours()
        elapsed = (time.monotonic() - self._began) / 3600
        calls = sum(self.slurm.calls.values())
        return {
            "site": self.site.name,
            "time": time.time(),
            "stage": self.stage,
            "workers": sum(member.workers for member in self.roster),
            "wanted": self.staff.workers_wanted(),
            "bounds": {"minimum": bounds.minimum, "maximum": bounds.maximum, "core_hours": bounds.core_hours},
            "most": self.site.max_workers,
            "cores": self.site.cores,
            "partition": self.site.partition,
            "poll": self.site.poll,
            "metrics": self.site.metrics,
            "avoids": list(self.staff.order.avoid),
            "regions": {"done": self.pace.done, "left": self.pace.left},
            "done_by_stage": dict(self.pace.by_stage),
            "rate": round(self.pace.rate, 4),
            "seconds_left_estimate": self.pace.seconds_left,
            "waiting": self.late if any(member.workers for member in self.roster) else self.waiting(),
            "jobs": [member.to_json() for member in self.roster],
            "own_job": self.own.id,
            "core_hours": round(hours, 4),
            "sbu": round(hours * partition.sbu, 4),
            "sbu_per_core_hour": partition.sbu,
            "core_hours_by_stage": {name: round(spent / 3600, 4) for name, spent in self.by_stage.items()},
            "calls": dict(self.slurm.calls),
            "calls_an_hour": round(calls / max(elapsed, self.site.poll / 3600)),
        }

    def close(self) -> None:
        """Stop supervising and end all jobs; where SLURM does not answer they end by themselves, without scheduler."""
        self._stop.set()
        self._nudge.set()
        self._thread.join(self.slurm.time_limit * 2)
        deadline, pause = time.monotonic() + self.slurm.time_limit, 0.25
        while time.monotonic() < deadline and self._end_jobs():
            time.sleep(pause)
            pause = min(2 * pause, self.site.poll)
        self.notes.end(self.jobs())

    def _end_jobs(self) -> bool:
        """End the jobs that there are; return whether any is still to be ended."""
        try:
            seen = self.slurm.look()
            self.roster.update(seen, self.staff.order.comment, self.staff.order.memory)
            left = [member for member in self.roster if not member.ended_or_ending]
            self.staff.cancel(left, "the run ends")
        except SlurmAway:
            return True
        return bool(left)

    # one look

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._tick()
            except ClusterError as trouble:
                self.trouble = trouble
                self._odd = 0
            except Exception as fault:  # noqa: BLE001 (a silent thread would be a run that hangs)
                self._odd += 1
                if self._odd >= _TIMES:
                    self.trouble = ClusterError(f"the supervision of jobs failed: {type(fault).__name__}: {fault}")
            else:
                self._odd = 0
            self._nudge.wait(self.own.pause(self.site.poll) if self.bounds.requeue else self.site.poll)
            self._nudge.clear()

    def _tick(self) -> None:
        before = self._core_hours()
        self.pace.mark()
        wish = self.notes.read("wish.json")  # what `terp scale` and `terp cancel` asked for
        if wish.get("stop"):
            if not self._interrupted:  # once: what ends in good order must not be interrupted again
                self._interrupted = True
                self._stop_by = time.monotonic() + HARD
                os.kill(os.getpid(), signal.SIGINT)
            elif time.monotonic() > self._stop_by:  # somebody has taken the interrupt for something else
                raise Stopped("it was asked to stop (`terp cancel`); what is recorded stays")
            return
        try:
            self._look()
            self._judge()
            self.staff.mind(wish)
        except SlurmAway as away:
            self.away_since = self.away_since or time.monotonic()
            if time.monotonic() - self.away_since < 2 * self.site.poll:
                self.tell(f"{away}; what runs goes on")
        spent = self._core_hours() - before
        self.by_stage[self.stage] = self.by_stage.get(self.stage, 0.0) + 3600 * spent
        with suppress(SlurmAway, SlurmRefused):  # it is tried again until the end, and then by the job's script
            self._mind_the_end()
        self._mind_the_budget()
        self.notes.write(self.jobs())

    def _look(self) -> None:
        seen = self.slurm.look()
        self.away_since = None
        asked = self.roster.update(seen, self.staff.order.comment, self.staff.order.memory)
        if asked:
            self.roster.settle(asked, self.slurm.past(asked))
        self.roster.connect([str(one["name"]) for one in self.workers().values()])
        mine = {member.job.id for member in self.roster} | {self.own.id}
        self.others = any(not job.over for job in seen.values() if job.id not in mine)
        if self.own.id in seen:
            self.own.see(seen[self.own.id])

    def _judge(self) -> None:
        """Find an answer for the jobs that ended; failures that come together count once."""
        bad: dict[str, Member] = {}
        ended = self.roster.ended()
        self._ask_how([member for member in ended if member.failed])
        for member in ended:
            if not member.ours or member.ours == "silent":
                self.tell(f"{member.tale()}{'' if member.job.state == 'COMPLETED' else '; another takes its place'}")
            if member.failed:
                bad[member.kind] = max(member, bad.get(member.kind, member), key=lambda one: one.memory)
                if not member.came and member.job.nodes:
                    self.staff.failed_at(member.job.nodes)
        starved = bad.pop("OUT_OF_MEMORY", None)
        if starved is not None and starved.memory >= self.staff.order.memory:  # else more is asked for already
            self._enlarge(starved)
        if self.workers():  # others work: these ends are what clusters do
            bad = {kind: member for kind, member in bad.items() if kind not in _FATE}
        for kind, member in bad.items():
            self.failures[kind] += 1
            self.staff.put_off()
            if self.failures[kind] >= _TIMES:
                raise JobsFail(
                    f"jobs of workers end in the same way again and again: {member.tale()}. {self._last_words(member)}"
                )

    def _ask_how(self, failed: list[Member]) -> None:
        codes = self.slurm.exit_codes([member.job.id for member in failed]) if failed else {}
        for member in failed:
            member.job = replace(member.job, exit_code=codes.get(member.job.id, member.job.exit_code))

    def _enlarge(self, member: Member) -> None:
        """Answer OUT_OF_MEMORY with twice as much, once."""
        partition = self.site.partitions[self.site.partition]
        twice = min(2 * self.staff.order.memory, partition.memory)
        asked = self.staff.order.memory >> 20
        if self.site.memory_flag == "none":
            raise JobsFail(
                f"{member.tale()}, and {self.site.name} gives memory by the core: make smaller blocks, or name a "
                f"partition with more memory a core. {self._last_words(member)}"
            )
        if self.enlarged or twice <= self.staff.order.memory:
            raise JobsFail(
                f"{member.tale()} with {asked:,} MiB, which is all that it can be given here"
                f"{', as before with half of that' if self.enlarged else ''}: make smaller blocks, or set the site's "
                f"`memory_per_core` or `partition`. {self._last_words(member)}"
            )
        self.enlarged = True
        self.staff.order = replace(self.staff.order, memory=twice)
        self.tell(f"{member.tale()} with {asked:,} MiB; from now on jobs ask for {twice >> 20:,} MiB")

    def _last_words(self, member: Member) -> str:
        return self.notes.last_words(f"{self.name}-{member.job.raw}.log")

    # limits

    def _mind_the_end(self) -> None:
        """Where the controller's own time is up and the run has not ended by itself: leave, and go on later."""
        if self.own.ends_within(HARD) and self.bounds.requeue and not self.trouble:
            self.slurm.requeue(self.own.id)  # its workers see that their scheduler is gone

    def _mind_the_budget(self) -> None:
        spent = self._core_hours()
        if self.bounds.core_hours is not None and spent >= self.bounds.core_hours and self.trouble is None:
            self.trouble = OverBudget(
                f"the cap of {self.bounds.core_hours:g} core hours is reached ({spent:.2f} spent); what is recorded "
                "stays, the same command with a higher --core-hours goes on"
            )

    def _core_hours(self) -> float:
        spent = {member.job.id: member.core_seconds for member in self.roster}
        mine = self.own.cost() if self.bounds.requeue else {}  # a job of terp's own is part of what the run costs
        return self.notes.core_hours(spent | mine)
