"""Regions that were lost with their workers: whose fault it was, and when that stops the run."""

import time
from collections import Counter, defaultdict

from terp.cluster.crew import Crew, Verdict
from terp.cluster.errors import WorkerLost
from terp.storage.ledger import Place

_TRIES = 3  # how often one region may be lost with its worker or its file
_DIED = "the workers that took it died{how}. It may need {cure}, or smaller blocks"
_HERE = "more memory than a worker has: try fewer workers (--workers)"
_THERE = "more memory (`memory_per_core` of the site) or more time (`walltime`)"


class Losses:
    """The losses of one product, `name`; those by preemption are nobody's fault."""

    def __init__(self, name: str, crew: Crew) -> None:
        self.name, self.crew = name, crew
        self._times: Counter[Place] = Counter()
        self._weights: dict[Place, float] = defaultdict(float)
        self._undecided: list[tuple[Place, str, float]] = []

    def killed(self, place: Place, worker: str) -> None:
        """Note that a worker ended with a region; how it ended may be known only later."""
        self._undecided.append((place, worker, time.monotonic()))

    def decide(self) -> None:
        """Count the losses of which it is known by now how the worker ended."""
        waiting, together = [], dict[str, list[tuple[Place, Verdict]]]()
        for place, worker, since in self._undecided:
            verdict = self.crew.verdict(worker, since)
            if verdict is None:
                waiting.append((place, worker, since))
            elif verdict.counts:
                together.setdefault(verdict.why or worker, []).append((place, verdict))
        self._undecided = waiting
        for lost in together.values():
            for place, verdict in lost:
                self.blame(place, _died(verdict), 1 / len(lost))

    def blame(self, place: Place, why: str, share: float = 1.0) -> None:
        """Count a loss; of regions that were lost together, one is to blame, and nobody knows which.

        Raises WorkerLost when it was lost too often.
        """
        self._times[place] += 1
        self._weights[place] += share
        times = self._times[place]
        if times >= _TRIES and self._weights[place] >= 1 - 1e-9:
            raise WorkerLost(f"region {place[1]} of {self.name} was lost {times} times: {why}")


def _died(verdict: Verdict) -> str:
    how = f" (the last time: {verdict.why})" if verdict.why else ""
    return _DIED.format(how=how, cure=_THERE if verdict.why else _HERE)
