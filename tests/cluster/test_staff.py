"""How many jobs there are, over hours, in a queue that starts each at once: the clock and SLURM are made up."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from terp.cluster import roster, staff
from terp.cluster.jobs import Job
from terp.cluster.roster import Roster
from terp.cluster.script import Order
from terp.cluster.site import load_site
from terp.cluster.staff import Bounds, Staff

HOUR = 3600.0
POLL = 30.0


class Clock:
    """The time, which a test sets."""

    def __init__(self) -> None:
        self.now = 1e9

    def time(self) -> float:
        """Seconds since the epoch."""
        return self.now

    monotonic = time


class World:
    """A SLURM that starts jobs at once, and the supervisor that sees it; each worker leaves when no region fits."""

    def __init__(self, clock: Clock, folder: Path, region: float, walltime: str, most: int) -> None:
        keys = {"walltime": walltime, "cores": "4", "array": "1000", "poll": "30", "patience": "300"}
        site = load_site("testbed", keys)
        (folder / "jobs").mkdir()
        self.clock, self.region, self.walltime = clock, region, site.walltime
        self.bounds, self.roster, self.longest = Bounds(1, most), Roster(), 0.0
        self.closing = self.stopping = self.others = False
        self.trouble = None
        self.client = self.slurm = self
        self.made: dict[str, float] = {}
        self.staff = Staff(self, Order(site, "r", folder, folder / "k", "tls://h:1", 1, "python3"))  # type: ignore[arg-type]

    def submit(self, _: Path, tasks: int) -> list[str]:
        ids = [str(len(self.made) + number) for number in range(tasks)]
        self.made |= dict.fromkeys(ids, self.clock.now)
        return ids

    def cancel(self, ids: list[str]) -> None:
        raise AssertionError(f"nothing is to be cancelled here: {ids}")

    def workers(self) -> dict[str, Any]:
        return {one: {"name": f"{one}.0.0-0"} for one, job in self.seen().items() if job.runs}

    @property
    def loop(self) -> Any:
        return self

    def add_callback(self, *_: Any, **__: Any) -> None:
        """What workers are told is not told here."""

    def run(self, *_: Any) -> None:
        raise AssertionError

    def processing(self) -> dict[str, Any]:
        return {}

    def seen(self) -> dict[str, Job]:
        stays = self.region
        while self.walltime - stays > self.region * 1.25 + 10:
            stays += self.region
        found = {}
        for one, began in self.made.items():
            job = Job(one, one, "terp-r", "RUNNING", began, began + self.walltime, 4, "n1", comment="terp-k")
            over = self.clock.now - began >= stays
            found[one] = replace(job, state="COMPLETED", end=began + stays) if over else job
        return found

    def pass_time(self) -> int:
        """Let a poll pass; return how many workers there are then."""
        self.roster.update(self.seen(), "terp-k", 1)
        self.roster.connect([one["name"] for one in self.workers().values()])
        self.longest = self.region if self.clock.now > 1e9 + self.region else 0.0
        self.staff.need(10**6, 0)
        self.staff.mind({})
        self.clock.now += POLL
        return sum(4 for member in self.roster if not member.job.over)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(staff, "time", found)
    monkeypatch.setattr(roster, "time", found)
    return found


@pytest.mark.parametrize("region", [60, 900, 1800, 2400, 2800, 3000, 3300])
def test_however_long_regions_are_there_are_never_more_workers_than_allowed_and_their_successors(
    clock: Clock, tmp_path: Path, region: int
) -> None:
    world = World(clock, tmp_path, region, "1:00:00", most=64)
    seen = [world.pass_time() for _ in range(int(3 * HOUR / POLL))]
    assert max(seen) <= 2 * 64
    assert min(seen[1:]) >= 64 - 4, "the work goes on all the time"
