"""What a kill left behind is removed by the next run; what others are about is not."""

from pathlib import Path

from terp.cluster.jobs import Slurm
from terp.storage.home import Home
from terp.workflows.running.where import _is_dead


def test_keys_that_another_run_removes_as_they_are_looked_at_are_passed_over(home: Path) -> None:
    house = Home(home).open()
    house.keys.mkdir(exist_ok=True)
    assert not _is_dead(house, "climatology-20260101-000000-abcd", {}, Slurm())
