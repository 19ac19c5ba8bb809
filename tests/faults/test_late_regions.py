"""Regions that take much longer than others, or never come back: the work ends, and it is said what is waited for."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest

from terp.cluster.crew import AtWork, Crew
from terp.cluster.errors import WorkerLost
from terp.cluster.launch_here import launch_here
from terp.storage.filling import Filling
from terp.storage.home import Home
from terp.storage.making import create
from terp.storage.product import StoredProduct
from terp.workflows.planning.plan import make_plan
from terp.workflows.running import late
from terp.workflows.running.fill import fill
from terp.workflows.running.progress import Progress, Tell
from terp.workflows.running.task import Input

sys.path.insert(0, str(Path(__file__).parent))
import flows

LATITUDES = 18  # and as many regions


class Lingering:
    """A product, one of whose regions does not come back the first times; `folder` has a file for each try."""

    def __init__(self, home: Path, times: int, holding: bool = False, together: int = 1) -> None:
        self.together = together  # regions in a task
        self.home, self.folder = Home(home).open(), home / "tries"
        self.folder.mkdir()
        said = {"source": "ostia", "folder": str(self.folder), "times": times, "holding": holding}
        _, planner = make_plan(flows.linger, said, self.home)
        self.source, self.stage = planner.steps.values()
        self.holding, self.news = holding, list[str]()
        self.waited = set[str]()

    def make(self, crew: Any) -> StoredProduct:
        """Make it with a crew."""
        source = self.fill(self.source, (), crew, lambda _: None)
        assert source.seal is not None
        return self.fill(self.stage, (Input(str(source.folder), "", source.seal.values),), crew, self.hear)

    def hear(self, progress: Progress) -> None:
        self.news += progress.news
        progress.news.clear()
        self.waited |= {progress.waiting} - {""}

    def fill(self, step: Any, inputs: tuple[Input, ...], crew: Any, tell: Tell) -> StoredProduct:
        product = create(self.home.product(step.key), step.name, step.key, step.ingredients, step.layout)
        progress = Progress(step.name, step.regions, 0)
        with Filling(product) as filling:
            task = replace(step.bound(inputs, self.home.runs), together=self.together)
            fill(task, filling, crew, progress, tell, self.home.runs)
            if not self.holding and self.together == 1:  # else a worker was killed, perhaps just when it had written
                assert list(filling.attempts.iterdir()) == [], "nothing is left of a second try"
            filling.seal()
        assert list((product.folder / "attempts").iterdir()) == []
        assert progress.done == step.regions, "each counts once"
        return product

    def tries(self) -> list[int]:
        """The processes that have taken the region, one after the other."""
        return [int(name.partition("-")[2]) for name in sorted(path.name for path in self.folder.iterdir())]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have seconds be enough for what takes minutes else."""

    def set_to(brief: float, minutes: float) -> None:
        for name, value in {"_EVERY": 0.3, "_NEVER": 4, "_BRIEF": brief, "_MINUTES": minutes}.items():
            monkeypatch.setattr(late, name, value)

    return set_to


def whole(product: StoredProduct) -> bool:
    return product.progress() == (LATITUDES, LATITUDES) and list(product.verify()) == []


@pytest.mark.parametrize("together", [1, 6])
def test_a_straggler_is_handed_out_twice_and_the_first_that_comes_back_counts(
    home: Path, soon: Callable[..., None], together: int
) -> None:
    soon(brief=2, minutes=3600)
    lingering = Lingering(home, times=1, together=together)
    with launch_here(2) as crew:
        product = lingering.make(crew)
        first, second = lingering.tries()
        assert first != second, "by another worker"
        with suppress(psutil.NoSuchProcess):
            psutil.Process(first).wait(30)  # the worker that never comes back is ended
    assert whole(product)
    assert lingering.news == [], "nothing of it needs to be looked at"


def test_a_region_that_does_not_come_back_is_told_and_given_to_another(home: Path, soon: Callable[..., None]) -> None:
    soon(brief=2, minutes=4)
    lingering = Lingering(home, times=1)
    with launch_here(1) as crew:
        product = lingering.make(crew)
    assert whole(product)
    [news] = lingering.news
    assert "is taken from its worker, which has been at it for" in news
    assert any("a region has been at work for" in one and "given up after" in one for one in lingering.waited)
    assert len(lingering.tries()) == 2


def test_a_region_that_never_comes_back_stops_the_run_and_is_named(home: Path, soon: Callable[..., None]) -> None:
    soon(brief=1, minutes=3)
    lingering = Lingering(home, times=99)
    with launch_here(2) as crew, pytest.raises(WorkerLost, match="of lingering was lost 3 times: it had"):
        lingering.make(crew)
    assert 3 <= len(lingering.tries()) <= 4


def test_what_is_slow_is_given_the_time_that_it_takes(home: Path, soon: Callable[..., None]) -> None:
    soon(brief=0.5, minutes=600)
    lingering = Lingering(home, times=0)
    with launch_here(1) as crew:
        assert whole(lingering.make(crew))
    assert len(lingering.tries()) == 1


def test_a_region_that_holds_pythons_lock_for_ever_is_made_by_another_worker(home: Path) -> None:
    lingering = Lingering(home, times=1, holding=True)
    with dask.config.set({"distributed.scheduler.worker-ttl": "4s"}), launch_here(2) as crew:
        assert whole(lingering.make(crew))
    assert len(lingering.tries()) == 2


class AtIt(Crew):
    """A worker that has been at a task for two hours, by its own clock."""

    def __init__(self) -> None:
        super().__init__(None)
        self.longest = 0.01

    def at_work(self, seconds: float) -> tuple[list[AtWork], list[str]]:
        """A region that was begun before."""
        return [AtWork("region", "tls://1", "worker", 7200.0)], []


def test_a_task_of_many_regions_has_the_time_of_all_of_them(soon: Callable[..., None]) -> None:
    soon(brief=0.1, minutes=0.1)
    crew = AtIt()
    crew.longest, watch = 120.0, late.Watch(crew, lambda: 0.0)
    began = time.monotonic()
    while time.monotonic() - began < 1:
        found = watch.look({"region": 64})  # of two minutes each
        assert (found.slow, found.stuck, crew.late) == ([], [], "")
        time.sleep(0.01)


def test_what_seems_to_take_long_as_the_machine_slept_is_given_time(soon: Callable[..., None]) -> None:
    soon(brief=0.1, minutes=3)
    watch, began, found = late.Watch(AtIt(), lambda: 0.0), time.monotonic(), late.Late()
    while not found.stuck:
        found = watch.look({"region": 1})
        time.sleep(0.01)
        assert time.monotonic() - began < 30
    assert time.monotonic() - began > 1.5
