"""Regions that take much longer than others did: stragglers, and those that never come back.

A straggler is handed out a second time where workers are idle, and the first that comes back counts. A region that
never comes back is taken from its worker, which is ended; what is merely slow has twenty times the longest for it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from terp.cluster.crew import AtWork, Crew

_EVERY = 5.0  # seconds between looks
_MUCH, _BRIEF = 3, 30.0  # a straggler takes so many times as long as the longest until now, and so many seconds
_NEVER, _MINUTES = 20, 600.0  # a region that never comes back: the same
_STEP = 60.0  # most seconds that count between two looks: more is a machine that slept, or a clock that was set
_DAY = 86400.0  # seconds after which it is said of a region, too, where none has come back yet


@dataclass(frozen=True)
class Late:
    """What is late: stragglers, regions that never come back, and the addresses of workers that are idle."""

    slow: list[AtWork] = field(default_factory=list)
    stuck: list[AtWork] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)


class Watch:
    """Looks at workers now and then, and has the crew tell what is `late`.

    `before` returns the seconds that the longest region of this product took in earlier runs; it is asked once, when it
    matters.
    """

    def __init__(self, crew: Crew, before: Callable[[], float]) -> None:
        self.crew, self._before = crew, before
        self._earlier: float | None = None
        self._last = time.monotonic()
        self._watched: dict[tuple[str, str], float] = {}  # seconds for which we have seen it, by task and worker
        crew.late = ""

    @property
    def due(self) -> bool:
        """Whether it is time for another look."""
        return time.monotonic() - self._last >= _EVERY

    def look(self, sizes: Mapping[str, int]) -> Late:
        """Return what is late of tasks in flight, which are of so many regions by key; nothing before it is `due`."""
        if not self.due:
            return Late()
        passed = time.monotonic() - self._last
        self._last += passed
        tasks, idle = self.crew.at_work(_BRIEF)
        tasks = [one for one in tasks if one.key in sizes and one.seconds > self._most(_MUCH, sizes[one.key])]
        seen, names = self._watched, [(one.key, one.worker) for one in tasks]
        self._watched = {name: seen.get(name, 0.0) + min(passed, _STEP) for name in names}
        self.crew.late = ""
        if not tasks:
            return Late()
        never = {one: self.never(sizes[one.key]) for one in tasks}
        stuck = [
            one for one in tasks if one.seconds > never[one] and self._watched[one.key, one.worker] > never[one] / 2
        ]
        longest = max(tasks, key=lambda one: one.seconds)
        self.crew.late = self._words(longest, len(tasks), never[longest])
        return Late([one for one in tasks if self.usual and one not in stuck], stuck, idle)

    @property
    def usual(self) -> float:
        """Seconds that the longest region took until now; 0 where none has come back."""
        if self._earlier is None:
            self._earlier = self._before()
        return max(self._earlier, self.crew.longest)

    def _most(self, times: int, regions: int) -> float:
        """Return the seconds that a task takes at most where one of its regions takes so many times the longest."""
        return self.usual * (regions - 1 + times)

    def never(self, regions: int) -> float:
        """Return the seconds after which a task of so many regions is taken to never come back."""
        return max(self._most(_NEVER, regions), _MINUTES) if self.usual else _DAY

    def compared(self, seconds: float) -> str:
        """Say how long something has been at work, and how long others were."""
        return (
            f"{_span(seconds)}, where the longest until now took {_span(self.usual)}" if self.usual else _span(seconds)
        )

    def _words(self, longest: AtWork, count: int, never: float) -> str:
        many = "a region has" if count == 1 else f"{count} regions have"
        much = "up to " if count > 1 else ""
        return f"{many} been at work for {much}{self.compared(longest.seconds)}; given up after {_span(never)}"


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
