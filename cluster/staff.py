"""How many jobs a run has: what is missing is submitted, what is too much is let go, what is silent is ended."""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from terp.cluster import walltime
from terp.cluster.errors import SlurmRefused
from terp.cluster.roster import Member
from terp.cluster.script import Order, worker_script

if TYPE_CHECKING:
    from terp.cluster.supervise import Supervisor

_TIMES = 3  # refusals of a single job, while there is none, that stop the run
_BACK_OFF = 300.0  # most seconds between two tries to submit
_LEAD, _MOST_LEAD = 0.1, 0.5  # share of a job's time before its end in which its successor is asked for
_BAD = 2  # jobs that fail at once on a node before it is kept off
_CALM = 3  # looks in a row that must find a job to be too many before it is let go: the next stage may want it


@dataclass
class Bounds:
    """How many workers there may be, and what they may cost; `requeue`: the controller is a job of terp's own."""

    minimum: int
    maximum: int
    core_hours: float | None = None
    requeue: bool = False


class Staff:
    """The jobs that there should be, for what a supervisor sees."""

    def __init__(self, crew: "Supervisor", order: Order) -> None:
        self.crew, self.order = crew, order
        self._after, self._tries, self._told_of = 0.0, 0, ""
        self._most = order.site.array
        self._regions, self._later, self._peak = 0, 0, 0
        self._lately = deque[int](maxlen=_CALM)
        self._full = time.monotonic()  # when this stage had work for as many as a later one will have
        self._there = 0  # jobs that are there, or asked for
        self._ends: dict[str, float] = {}  # when its job ends, as each worker was told, by address
        self._failed = Counter[str]()  # jobs from which no worker ever came, by node
        self._bad = set[str]()  # nodes to keep off for that

    def need(self, regions: int, later: int) -> bool:
        """Be told of regions left in this stage, and in any one later; say whether that takes more jobs at once."""
        before = self._at_once()
        self._regions, self._later = regions, later
        if regions >= min(later, self.crew.bounds.maximum):
            self._full = time.monotonic()
        self._peak = max(self._peak, self._at_once())
        return self._at_once() > before and self._jobs_for(self._at_once()) > self._there

    def workers_wanted(self) -> int:
        """Return how many workers the work that is left is worth."""
        return self._worth(self._at_once())

    def _at_once(self) -> int:
        """Return the regions that there should be workers for: what comes later counts until it is long in coming."""
        soon = time.monotonic() - self._full < self.order.site.patience
        return max(self._regions, self._later if soon else 0)

    def _worth(self, regions: int) -> int:
        bounds = self.crew.bounds
        return max(min(regions, bounds.maximum), min(bounds.minimum, bounds.maximum))

    def _at_most(self) -> int:
        """Return how many jobs there may be: no more workers than allowed, but for a job at least."""
        return max(self.crew.bounds.maximum // self.order.site.cores, 1)

    def _jobs_for(self, regions: int) -> int:
        return min(-(-self._worth(regions) // self.order.site.cores), self._at_most())

    def mind(self, wish: dict[str, Any]) -> None:
        """Make the jobs be as many, and where, as they should; `wish` is what people asked for meanwhile."""
        here = self._addresses()
        self._end_the_silent()
        self._tell_ends(here)
        if wish.get("workers"):
            self.crew.bounds.maximum = int(wish["workers"])
        self._drain(tuple(sorted({*wish.get("drain", ()), *self._bad})), here)
        self._let_go([one for one in self.crew.roster if one.ours and not one.ended_or_ending], "", here)
        self._keep_off()
        site, wanted = self.order.site, self._jobs_for(self._at_once())
        self._lately.append(self._jobs_for(max(self._peak, self._at_once())))
        self._peak = 0
        lead = min(max(_LEAD * site.walltime, walltime.needs(self.crew.longest)), _MOST_LEAD * site.walltime)
        present = [one for one in self.crew.roster if one.present]
        lasting = [one for one in present if one.job.waits or not one.job.end or one.job.end - time.time() > lead]
        self._there = max(len(lasting), wanted)
        if len(lasting) < wanted:
            self._submit(min(wanted - len(lasting), 2 * self._at_most() - len(present)))  # successors come early
        else:
            self._release(lasting, here)

    def put_off(self) -> None:
        """Wait longer and longer before the next try to submit."""
        self._tries += 1
        self._after = time.monotonic() + min(self.order.site.poll * 2 ** (self._tries - 1), _BACK_OFF)

    def cancel(self, members: list[Member], why: str) -> None:
        """End jobs at once."""
        for member in members:
            member.ours = member.ours or why
        if members:
            self.crew.slurm.cancel([member.job.id for member in members])

    def _submit(self, count: int) -> None:
        if count < 1 or time.monotonic() < self._after or self.crew.closing or self.crew.trouble is not None:
            return
        script = self.order.folder / "jobs" / "workers.sh"
        script.write_text(worker_script(self.order))
        while count > 0 and not self.crew.stopping:
            tasks = min(count, self._most)
            try:
                ids = self.crew.slurm.submit(script, tasks)
            except SlurmRefused as refused:
                self._answer(refused, tasks)
                return
            self.crew.roster.add(ids, self.order.name, self.order.memory, self.order.avoid)
            self._tries = 0
            self._most = min(2 * self._most, self.order.site.array)
            count -= tasks

    def _answer(self, refused: SlurmRefused, tasks: int) -> None:
        """Take a refusal: perhaps fewer are taken, or the same later; where neither helps, it stops the run."""
        self._most = max(tasks // 2, 1)
        self.put_off()
        here = any(not one.job.over for one in self.crew.roster)
        fewer = tasks > 1 and (refused.may_pass or "array" in str(refused))
        later = refused.may_pass and (self._tries <= _TIMES or self.crew.others)
        if not (here or fewer or later):
            raise refused
        if str(refused) != self._told_of:
            self._told_of = str(refused)
            self.crew.tell(f"{refused}{'; the jobs that are there go on' if here else ''}")

    def _release(self, members: list[Member], here: dict[str, list[str]]) -> None:
        """Let go what was too much for a while: jobs that wait, those that begin, then those whose workers are idle.

        Those that wait stay where later stages want them. Busy ones go only where there may not be so many any more;
        those that end first leave first.
        """
        over = max(len(members) - self._at_most(), 0)
        if not over and len(members) <= self._jobs_for(max(self._regions, self._later)):
            members = [one for one in members if not one.job.waits]  # they cost nothing yet, and will be wanted
        spare = max(len(members) - max(self._lately), over)
        if not spare:
            return
        processing = self.crew.client.processing()

        def use(member: Member) -> tuple[int, float]:
            busy = any(processing.get(address) for address in here.get(member.job.id, ()))
            return 0 if member.job.waits else 3 if busy else 2 if member.job.id in here else 1, member.job.end or 0.0

        ranked = sorted(members, key=use)
        unused = [member for member in ranked if use(member)[0] < 3][:spare]
        self._let_go(unused + ranked[len(unused) : over], "not needed", here)

    def failed_at(self, node: str) -> None:
        """Count a job that failed on a node before any worker came of it."""
        self._failed[node] += 1

    def _keep_off(self) -> None:
        """Send no more jobs to nodes on which they fail at once, where there are others: one would eat all jobs."""
        worst = [node for node, times in self._failed.items() if times >= _BAD and node not in self._bad]
        if not worst:
            return
        usable = self.crew.slurm.nodes(self.order.site.partition) - self._bad
        for node in worst:
            usable.discard(node)
            self._failed[node] = 0
            if usable:
                self._bad.add(node)
                self.crew.tell(f"jobs fail at once on {node}: the next go elsewhere")

    def _drain(self, nodes: tuple[str, ...], here: dict[str, list[str]]) -> None:
        """Keep off nodes that the operator wants to be empty."""
        self.order = replace(self.order, avoid=nodes)
        there = [one for one in self.crew.roster if one.present]
        self._let_go([one for one in there if one.job.nodes in nodes], "drained", here)
        for member in there:
            if member.job.waits and tuple(member.avoid) != nodes:
                self._steer(member, nodes)

    def _steer(self, member: Member, nodes: tuple[str, ...]) -> None:
        """Have a job that waits keep off nodes, without losing its place in the queue where SLURM can do that."""
        try:
            self.crew.slurm.ask("scontrol", "update", f"JobId={member.job.id}", f"ExcNodeList={','.join(nodes)}")
            member.avoid = nodes
        except SlurmRefused:
            seen = self.crew.slurm.look().get(member.job.id)
            if seen is not None and seen.waits:  # else it has just started, and is let go if that was there
                self.cancel([member], "drained")  # it is asked for anew

    def _let_go(self, members: list[Member], why: str, here: dict[str, list[str]]) -> None:
        """Have the workers of jobs end their regions and leave: the jobs end with them. Those without workers end."""
        self.cancel([one for one in members if one.job.id not in here], why)
        for member in members:
            member.ours = member.ours or why
            if member.job.id in here:
                self._told(_leave, here[member.job.id])

    def _end_the_silent(self) -> None:
        """End jobs whose workers never came, or have gone while the job goes on, and those that SLURM gave up."""
        late = time.monotonic() - self.order.site.patience
        here = [one for one in self.crew.roster if one.present]
        self.cancel([one for one in here if one.silent_since is not None and one.silent_since < late], "silent")
        self.cancel([one for one in here if one.job.held], "held")

    def _tell_ends(self, here: dict[str, list[str]]) -> None:
        """Tell workers how long their job has yet, where they do not know; clocks of nodes differ."""
        for member in self.crew.roster:
            end = member.job.end
            if not (member.job.runs and end):
                continue
            unknowing = [one for one in here.get(member.job.id, ()) if abs(end - self._ends.get(one, 0.0)) > 1]
            self._ends.update(dict.fromkeys(unknowing, end))
            if unknowing:
                self._told(_set_left, unknowing, end - time.time())

    def hold(self) -> None:
        """Have all workers take nothing more."""
        self._told(_hold, [one for addresses in self._addresses().values() for one in addresses])

    def _told(self, function: Callable[..., Any], addresses: list[str], *words: Any) -> None:
        """Have workers call a function; nobody waits for it, as one that does not answer must not hold up the rest."""
        run = self.crew.client.run
        self.crew.client.loop.add_callback(run, function, *words, workers=addresses, wait=False, on_error="ignore")

    def _addresses(self) -> dict[str, list[str]]:
        """Return the addresses of the workers that are there, by job."""
        found: dict[str, list[str]] = {}
        for address, one in self.crew.workers().items():
            found.setdefault(str(one["name"]).rsplit(".", 2)[0], []).append(address)
        return found


async def _set_left(seconds: float) -> None:
    walltime.set_end(time.time() + seconds)


async def _hold(dask_worker: Any) -> None:
    await walltime.hold(dask_worker)


async def _leave(dask_worker: Any) -> None:
    await walltime.leave(dask_worker)
