"""How fast regions are done, and how long those that are left may take."""

import time
from collections import Counter, deque

_SPAN = 180.0  # seconds that the rate is taken over


class Pace:
    """Regions of the stage at work, as the controller tells of them and the supervisor marks them at each look."""

    def __init__(self) -> None:
        self.stage, self.left, self.done = "", 0, 0
        self.by_stage: Counter[str] = Counter()  # regions done
        self._marks = deque([(time.monotonic(), 0)])

    def need(self, left: int, stage: str) -> None:
        """Be told how many regions of a stage are left; more than before, or of another, begin anew."""
        if stage != self.stage or left > self.left:
            self.stage, self.done = stage, 0
            self._marks = deque([(time.monotonic(), 0)])
        self.left = left

    def add(self, regions: int) -> None:
        """Count regions that were done."""
        self.done += regions
        self.by_stage[self.stage] += regions

    def mark(self) -> None:
        """Remember how many are done now."""
        marks, now = self._marks, time.monotonic()
        marks.append((now, self.done))
        while len(marks) > 1 and now - marks[1][0] > _SPAN:
            marks.popleft()

    @property
    def rate(self) -> float:
        """Regions a second, over the last minutes; 0 while none is done."""
        since, done = self._marks[0]
        return max(self.done - done, 0) / max(time.monotonic() - since, 1e-6)

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the regions left of this stage take at this rate, or None while there is no rate."""
        rate = self.rate
        return self.left / rate if rate else None if self.left else 0.0
