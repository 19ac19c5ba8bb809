"""The user's own function is called, and watched: what it opens by itself and what it warns of is remarked on."""

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

_HERE = threading.local()
_SYSTEM = ("/proc/", "/sys/", "/dev/", sys.prefix, sys.base_prefix, "/usr/", "/etc/", "/lib")


def collected() -> set[str]:
    """Return the set that remarks on the calls of this thread go to from now on."""
    remarks: set[str] = set()
    _HERE.remarks = remarks
    return remarks


def call(function: Any, *blocks: Any, **parameters: Any) -> "xr.Dataset":
    """Call the user's function; remark on what it opens and on the warnings it raises."""
    with _watch() as opened, warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("default")
        try:
            result: xr.Dataset = function(*blocks, **parameters)
        except SystemExit as leaving:  # would end the worker
            raise RuntimeError(f"it calls sys.exit({leaving.code!r})") from leaving
    _HERE.remarks |= {f"it opens {place} by itself, which terp can neither record nor repeat" for place in opened}
    _HERE.remarks |= {f"{w.category.__name__}: {w.message}" for w in raised}
    return result


@contextmanager
def _watch() -> Iterator[set[str]]:
    """Collect the files that are opened meanwhile in this thread, but for those of the system and of libraries."""
    _listen()
    opened: set[str] = set()
    _HERE.opened = opened
    try:
        yield opened
    finally:
        _HERE.opened = None


@lru_cache(maxsize=1)
def _listen() -> None:
    sys.addaudithook(_audit)  # once a process: an audit hook can be added, never taken away


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    seen: set[str] | None = getattr(_HERE, "opened", None)
    if seen is not None and event == "open" and isinstance(arguments[0], str | os.PathLike):
        place = os.fspath(arguments[0])
        if not place.startswith(_SYSTEM) and not place.endswith((".py", ".pyc")) and "__pycache__" not in place:
            seen.add(str(Path(place).absolute()))
