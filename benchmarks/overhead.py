"""`python -m benchmarks.overhead`: what provenance costs, with it and without it in turns, by the same two workers.

Workers are started once; then each round runs the row's step twice, in an order that chance decides. What is told is
the median of the differences within rounds, and between what two values it lies (95 %, bootstrap), as parts of the
median without; and, as that is more than most machines let one see, the seconds that all processes were at it.
"""

import argparse
import functools
import gc
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

from benchmarks.flows import measure
from benchmarks.job import WORKERS, Job, Row, Values
from benchmarks.rows import load
from benchmarks.uncaptured import count, spent, turn_off, turn_on
from benchmarks.watching import cpu_seconds
from terp.cluster.crew import Crew
from terp.cluster.launch_here import launch_here
from terp.workflows.running.where import PRELOAD, Where

DRAWS = 2000


@dataclass(frozen=True)
class Timed(Job):
    """A job that keeps what its measured part took: wall and CPU seconds of all processes, and those counted here."""

    taken: list[tuple[float, float]] = field(default_factory=list)
    here: list[Counter[str]] = field(default_factory=list)

    @contextmanager
    def measured(self) -> Iterator[None]:
        me = psutil.Process()
        spent().clear()
        cpu, began = cpu_seconds(me), time.perf_counter()
        yield
        self.here.append(+spent())
        self.taken.append((time.perf_counter() - began, cpu_seconds(me) - cpu))


@dataclass(frozen=True)
class There(Where):
    """Workers that are there already, and stay."""

    crew: Crew | None = None

    def launch(self, *_: Any) -> AbstractContextManager[Crew]:
        assert self.crew is not None
        return nullcontext(self.crew)


@dataclass
class Costs:
    """What runs took: (wall, CPU) seconds of each, with provenance and without, and nanoseconds at it in each."""

    captured: list[tuple[float, float]] = field(default_factory=list)
    plain: list[tuple[float, float]] = field(default_factory=list)
    counted: list[Counter[str]] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--rows", default="a,b")
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--place", type=Path, default=Path.cwd(), help="where the data are, while they are")
    asked = parser.parse_args()
    logging.getLogger("distributed").setLevel(logging.ERROR)
    for row in asked.rows.split(","):
        with TemporaryDirectory(prefix="overhead-", dir=asked.place) as folder:
            tell(row, compared(row, Path(folder), asked.gib, asked.rounds))


def compared(row: str, folder: Path, gib: float, rounds: int) -> Costs:
    """Run a row's step round by round, with provenance, which is counted, and without it."""
    job, costs, chance, given = Timed(folder, gib), Costs(), np.random.default_rng(), load(row)
    assert isinstance(given, Row), f"row {row} has no step of terp's"
    job.source.mkdir(parents=True)
    given.make(job)
    with launch_here(WORKERS, preload=PRELOAD) as crew:
        where = There(most=WORKERS, crew=crew)
        measure(job, row, where)  # what is taken in and compiled once
        for _ in range(rounds):
            for captured in chance.permutation([True, False]):
                for switch in (forget, turn_on, count if captured else turn_off):
                    switch()
                    crew.client.run(switch)
                measure(job, row, where)
                (costs.captured if captured else costs.plain).append(job.taken[-1])
                if captured:
                    costs.counted.append(sum(crew.client.run(spent).values(), job.here[-1]))
    turn_on()
    return costs


def tell(row: str, costs: Costs) -> None:
    """Print what provenance costs in a row."""
    captured, plain = np.array(costs.captured), np.array(costs.plain)
    print(f"{row}: {load(row).title}, {len(plain)} rounds")
    for number, name in enumerate(("wall", "CPU")):
        base = float(np.median(plain[:, number]))
        parts = (captured - plain)[:, number] / base
        low, high = spread(parts)
        print(f"  {name:4} {base:.3f} s without; with it {np.median(parts):+.2%} ({low:+.2%} to {high:+.2%})")
    counted = {name: float(np.median([one[name] for one in costs.counted])) / 1e9 for name in costs.counted[0]}
    parts = ", ".join(f"{name} {1000 * seconds:.2f}" for name, seconds in counted.items())
    share = sum(counted.values()) / float(np.median(captured[:, 0]))
    print(f"  ms at it, in all processes: {parts}; {share:.2%} of the wall", flush=True)


def forget() -> None:
    """Forget what a process keeps of products: those of a run have the names of those of the run before."""
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper):
            one.cache_clear()


def spread(parts: Values) -> tuple[float, float]:
    """Return between what values the median lies (95 %)."""
    drawn = np.random.default_rng(1).choice(parts, (DRAWS, len(parts)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main()
