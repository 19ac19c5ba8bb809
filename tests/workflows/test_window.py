"""How many regions a controller hands out together: what short ones are worth, and never so that a worker has none."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.rows import head
from benchmarks.sleepers import Region, slept
from terp.cluster.crew import Crew
from terp.storage.filling import Filling
from terp.workflows.running.fill import fill
from terp.workflows.running.progress import Progress
from terp.workflows.running.task import Task


class Claiming:
    """A client whose workers say that a region took them so many seconds; it notes how many regions a task has."""

    def __init__(self, client: Any, seconds: float, region: Region) -> None:
        self._client, self._seconds, self._region, self.sizes = client, seconds, region, list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def submit(self, _: Any, task: Task, product: str, attempts: str, places: Any, *rest: Any, **options: Any) -> Any:
        # Defined here, it goes to the workers whole: they cannot import this file.
        async def claimed(seconds: float, region: Region) -> Any:
            return [replace(one, seconds=seconds) for one in await slept(0.0, region, attempts, places)]

        self.sizes.append(len(places))
        return self._client.submit(claimed, self._seconds, self._region, **options)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers."""
    with head.sleeping(2) as (one, _):
        yield one


@pytest.mark.parametrize(
    ("seconds", "together", "regions"), [(0.001, 64, 1500), (0.1, 10, 200), (0.4, 2, 60), (0.6, 1, 60), (5.0, 1, 60)]
)
def test_short_regions_go_together_until_a_task_takes_a_second_and_fewer_towards_the_end(
    client: Any, seconds: float, together: int, regions: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "REGIONS", regions)
    with Filling(head.product(tmp_path)) as filling:
        claiming = Claiming(client, seconds, head.one_region(filling))
        fill(Task("map", b"", (), {}), filling, Crew(claiming), Progress("many", regions, 0), lambda _: None, tmp_path)
        assert not any(filling.missing())
    assert sum(claiming.sizes) == regions
    assert claiming.sizes[0] == 1, "nobody knows yet how long one takes"
    assert max(claiming.sizes) == together
    assert claiming.sizes[-1] <= max(together / 2, 1)
