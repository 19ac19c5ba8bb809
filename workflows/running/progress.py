"""How far a stage is, for whoever wants to be told."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from terp.storage.environment import Environment
from terp.storage.machine import Machine
from terp.storage.writing import Written


@dataclass
class Progress:
    """How far a stage is: regions done before, done now, in all; seconds of work; when one last came back.

    `waiting` says what is waited for, where that is not as it should be; `news` is what happened and is not yet told;
    `memory` is what a worker held at most, in bytes; `machines` are the kinds that regions were made on, `software` the
    digests of what these ran; `environments` are those that are known, by digest.
    """

    name: str
    total: int
    before: int
    done: int = 0
    seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)
    landed: float = field(default_factory=time.monotonic)
    waiting: str = ""
    news: list[str] = field(default_factory=list)
    memory: int = 0
    machines: Counter[Machine] = field(default_factory=Counter)
    software: Counter[str] = field(default_factory=Counter)
    environments: dict[str, Environment] = field(default_factory=dict)

    def add(self, one: Written) -> None:
        """Count a region that was recorded."""
        self.done += 1
        self.seconds += one.seconds
        self.memory = max(self.memory, one.memory)
        if one.machine is not None:
            self.machines[one.machine] += 1
        if one.software:
            self.software[one.software] += 1
        if one.environment is not None:
            self.environments[one.software] = one.environment
        self.landed = time.monotonic()

    @property
    def rate(self) -> float:
        """Regions a second since the first was handed out."""
        return self.done / max(time.monotonic() - self.started, 1e-6)


Tell = Callable[[Progress], None]
