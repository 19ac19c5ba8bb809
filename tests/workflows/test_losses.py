"""Which region is to blame for the workers that are lost, and how soon that is known."""

import pytest

from terp.cluster.crew import Crew, Verdict
from terp.cluster.errors import WorkerLost
from terp.workflows.running.losses import Losses

BAD, OTHER = ("", 13), ("", 14)
MANY = [("", index) for index in range(14, 78)]


class Slow(Crew):
    """A crew of which it is known only after a look how a worker ended."""

    def __init__(self) -> None:
        self.looked = False

    def verdict(self, worker: str, since: float) -> Verdict | None:
        return Verdict(True, f"{worker} died") if self.looked else None


def test_a_region_lost_three_times_waits_until_it_is_known_how_its_workers_ended() -> None:
    crew = Slow()
    losses = Losses("crashing", crew)
    for life in range(3):
        assert not losses.waits(BAD)
        losses.killed([BAD], f"7.0.1-{life}")
        losses.decide()
    assert losses.waits(BAD)
    assert not losses.waits(OTHER)
    crew.looked = True
    with pytest.raises(WorkerLost, match="region 13 of crashing was lost 3 times"):
        losses.decide()


def test_of_tasks_lost_with_one_worker_each_bears_a_share_whatever_it_holds() -> None:
    crew = Slow()
    crew.looked = True
    losses = Losses("crashing", crew)
    for life in range(2):
        losses.killed([BAD], f"7.0.1-{life}")
        losses.killed(MANY, f"7.0.1-{life}")
        losses.decide()
    losses.killed([BAD], "7.0.1-2")
    with pytest.raises(WorkerLost, match="region 13"):
        losses.decide()
