"""Clock: the times that a run's record and journal tell. They never go back, whatever the machine's clock does."""

import time
from datetime import UTC, datetime

_JUMP = 2.0  # seconds back that a clock may be set without anybody being told


class _Clock:
    """The machine's clock, held at the latest time it told; `back` is how far it went back at most, in seconds."""

    def __init__(self) -> None:
        self.latest, self.back = 0.0, 0.0

    def now(self) -> datetime:
        told = time.time()
        self.back = max(self.back, self.latest - told)
        self.latest = max(self.latest, told)
        return datetime.fromtimestamp(self.latest, UTC)


_CLOCK = _Clock()


def moment() -> datetime:
    """Return the time in UTC; never earlier than what it returned before."""
    return _CLOCK.now()


def now() -> str:
    """Return that time to the second, as a record has it."""
    return moment().isoformat(timespec="seconds")


def not_before(known: str) -> None:
    """Let no later time be before this one, which an earlier process may have told."""
    if known:
        _CLOCK.latest = max(_CLOCK.latest, datetime.fromisoformat(known).timestamp())


def went_back() -> str:
    """Return in words how far the clock went back since this process began; "" where it did not."""
    if _CLOCK.back < _JUMP:
        return ""
    return (
        f"the clock of this machine went back by {_CLOCK.back:,.0f} s during the run: the times that are told are in "
        "order, but may be late by that"
    )
