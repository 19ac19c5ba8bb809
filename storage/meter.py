"""Tell how far something is that counts bytes and may take long: a source that is fetched, or looked through whole."""

import threading
import time
from collections.abc import Callable

type Tell = Callable[[str], None]

_EVERY = 5.0  # seconds between two words


def silent(words: str) -> None:
    """Tell nobody."""


def size(count: float) -> str:
    """Return bytes as people write them."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def span(seconds: float) -> str:
    """Return seconds as people write them."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


class Meter:
    """Counts bytes, from any thread, and tells now and then; `total` is 0 where it is not known."""

    def __init__(self, tell: Tell, doing: str, total: int) -> None:
        self.tell, self.doing, self.total, self.done = tell, doing, total, 0
        self._began = self._told = time.monotonic()
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count bytes that were done."""
        with self._lock:
            self.done += count
            now = time.monotonic()
            if now - self._told < _EVERY:
                return
            self._told = now
            self.tell(self._words(now - self._began))

    def _words(self, seconds: float) -> str:
        rate, left = self.done / seconds, self.total - self.done
        if left < 0:
            return f"{self.doing}: {size(self.done)}, {size(rate)}/s"
        return f"{self.doing}: {size(self.done)} of {size(self.total)}, {size(rate)}/s, {span(left / rate)} to go"
