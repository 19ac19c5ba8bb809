"""Workers that hang, vanish or are told to forget what they do: the work ends, or it is said why it does not."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from distributed import Future

from terp.cluster.crew import Crew
from terp.cluster.errors import NoWorkers
from terp.cluster.launch_here import launch_here
from terp.storage.filling import Filling
from terp.storage.home import Home
from terp.storage.making import create
from terp.storage.product import StoredProduct
from terp.workflows.planning.plan import make_plan
from terp.workflows.running import fill as filler
from terp.workflows.running.fill import fill
from terp.workflows.running.gather import Input
from terp.workflows.running.progress import Progress, Tell

sys.path.insert(0, str(Path(__file__).parent))
import flows
from runs import REGIONS


class Stages:
    """The first two stages of the departures: taking in, and the slow one (not slow here)."""

    def __init__(self, home: Path) -> None:
        self.home = Home(home).open()
        _, planner = make_plan(flows.departures, {"source": "ostia", "seconds": 0.0}, self.home)
        self.source, self.slow, *_ = planner.steps.values()

    def make(self, crew: Any, tell: Tell) -> StoredProduct:
        """Make both with a crew; `tell` is told how far the second is."""
        source = self._filled(self.source, (), crew, lambda _: None)
        assert source.seal is not None
        return self._filled(self.slow, (Input(str(source.folder), "", source.seal.values),), crew, tell)

    def _filled(self, step: Any, inputs: tuple[Input, ...], crew: Any, tell: Tell) -> StoredProduct:
        product = create(self.home.product(step.key), step.name, step.key, step.ingredients, step.layout)
        with Filling(product) as filling:
            fill(
                step.bound(inputs, self.home.runs),
                filling,
                crew,
                Progress(step.name, step.regions, 0),
                tell,
                self.home.runs,
            )
            filling.seal()
        return product


def once(act: Callable[[], Any]) -> Tell:
    """Do something when the first regions are recorded."""
    done: list[bool] = []

    def tell(progress: Progress) -> None:
        if progress.done and not done:
            done.append(True)
            act()

    return tell


def test_a_worker_that_hangs_costs_only_its_regions(home: Path) -> None:
    stopped: list[psutil.Process] = []

    def stop_one() -> None:
        stopped.append(psutil.Process(min(crew.client.run(os.getpid).values())))
        stopped[0].send_signal(signal.SIGSTOP)

    with dask.config.set({"distributed.scheduler.worker-ttl": "4s"}), launch_here(2) as crew:
        product = Stages(home).make(crew, once(stop_one))
        assert not psutil.wait_procs(stopped, timeout=30)[1], "what does not answer is ended"
    assert stopped
    assert product.progress() == (REGIONS, REGIONS)
    assert list(product.verify()) == []


def test_work_that_was_cancelled_behind_our_back_is_done_again(home: Path) -> None:
    with launch_here(1) as crew:
        stages = Stages(home)
        product = stages.make(
            crew, once(lambda: crew.client.cancel([Future(key, crew.client) for key in crew.client.futures]))
        )
    assert product.progress() == (REGIONS, REGIONS)
    assert list(product.verify()) == []


def test_when_all_workers_are_gone_for_good_it_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filler, "_ALONE", 1)

    def end_all() -> None:
        [worker] = crew.client.run(os.getpid).values()
        psutil.Process(worker).parent().kill()

    with launch_here(1) as crew, pytest.raises(NoWorkers, match="no Dask worker"):
        Stages(home).make(Crew(crew.client), once(end_all))
