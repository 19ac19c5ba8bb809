"""What a check finds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is well, what was found, and the cure where it is not.

    What could not be tried is no fault: `tried` is False, and `found` says why. The cure is told for faults only.
    """

    what: str
    well: bool
    found: str
    cure: str = ""
    tried: bool = True


def untried(what: str, why: str) -> Finding:
    """Return that something could not be tried."""
    return Finding(what, True, f"not tried: {why}", tried=False)


def gigabytes(count: float) -> str:
    """Return bytes in words."""
    return f"{count / 2**30:,.1f} GiB"
