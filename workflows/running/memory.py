"""What this process has held of memory at most, since it was asked to forget."""

import ctypes
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

_FORGET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def forget_peak() -> bool:
    """Begin anew, and say whether the system could (Linux can, proc_pid_clear_refs(5))."""
    with suppress(OSError):
        _FORGET.write_text("5")
        return True
    return False


def peak() -> int:
    """Return the most bytes that were resident since; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        told = _STATUS.read_text().partition("VmHWM:")[2]
        return int(told.split(maxsplit=1)[0]) << 10
    return 0


@lru_cache(maxsize=1)
def begin(product: str) -> None:  # noqa: ARG001 (once for each: that is what the cache is for)
    """Give back to the system what regions of another product have left (workers keep what they free)."""
    with suppress(AttributeError):  # not every C library can
        ctypes.CDLL(None).malloc_trim(0)
