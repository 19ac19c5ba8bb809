"""To wait for what will be so."""

import time
from collections.abc import Callable


def until[Found](what: Callable[[], Found], seconds: float) -> Found:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"not so in {seconds} s"
        time.sleep(0.01)
    return found
