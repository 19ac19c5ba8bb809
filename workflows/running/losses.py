"""Regions that were lost with their workers: whose fault it was, and when that stops the run."""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass

from terp.cluster.crew import Crew, Verdict
from terp.cluster.errors import WorkerLost
from terp.storage.ledger import Place

_TRIES = 3  # how often one region may be lost with its worker or its file
_DIED = "the workers that took it died{how}. It may need {cure}, or smaller blocks"


@dataclass(frozen=True)
class _Loss:
    """A task that was lost: its regions, the worker that had it, and when (seconds, monotonic clock)."""

    places: list[Place]
    worker: str
    since: float


class Losses:
    """The losses of one product, `name`; those by preemption are nobody's fault."""

    def __init__(self, name: str, crew: Crew) -> None:
        self.name, self.crew = name, crew
        self._times: Counter[Place] = Counter()
        self._weights: dict[Place, float] = defaultdict(float)
        self._undecided: list[_Loss] = []
        self._open: Counter[Place] = Counter()  # the undecided losses of each region

    def killed(self, places: list[Place], worker: str) -> None:
        """Note that a worker ended with the regions of a task; how it ended may be known only later."""
        self._undecided.append(_Loss(places, worker, time.monotonic()))
        self._open.update(places)

    def waits(self, place: Place) -> bool:
        """Say whether a region was lost so often that how its workers ended must be known before another takes it."""
        return self._open[place] >= _TRIES

    def decide(self) -> None:
        """Count the losses of which it is known by now how the worker ended."""
        if not self._undecided:
            return
        waiting, together = [], dict[str, list[tuple[_Loss, Verdict]]]()
        for loss in self._undecided:
            verdict = self.crew.verdict(loss.worker, loss.since)
            if verdict is None:
                waiting.append(loss)
            elif verdict.counts:
                together.setdefault(verdict.why or loss.worker, []).append((loss, verdict))
        self._undecided = waiting
        self._open = Counter(place for loss in waiting for place in loss.places)
        for tasks in together.values():
            for loss, verdict in tasks:
                for place in loss.places:
                    self.blame(place, _died(verdict, self.crew.cure), 1 / len(tasks) / len(loss.places))

    def blame(self, place: Place, why: str, share: float = 1.0) -> None:
        """Count a loss; of regions that were lost together, one is to blame, and nobody knows which.

        Raises WorkerLost when it was lost too often.
        """
        self._times[place] += 1
        self._weights[place] += share
        times = self._times[place]
        if times >= _TRIES and self._weights[place] >= 1 - 1e-9:
            raise WorkerLost(f"region {place[1]} of {self.name} was lost {times} times: {why}")


def _died(verdict: Verdict, cure: str) -> str:
    how = f" (the last time: {verdict.why})" if verdict.why else ""
    return _DIED.format(how=how, cure=cure)
