"""What terp would be without provenance, and how long it is at it: for who asks what it costs.

Turned off, no region notes what it read, or on what machine it was made; no product has lineage; the run keeps no
journal. Digests stay: without them nothing could be proven. A run like that is fit for nothing else.
"""

import time
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

_AS_IT_WAS: list[tuple[Any, str, Any]] = []
_SPENT: Counter[str] = Counter()  # nanoseconds of this process, by what was called


def turn_off() -> None:
    """Capture nothing any more in this process."""
    from terp.storage.lineage import Origins
    from terp.workflows.planning.step import Step

    _change(lambda _: _nothing)
    _replace(Step, "_origins", lambda *_: Origins())


def turn_on() -> None:
    """Capture again, as if it had never been turned off or counted."""
    while _AS_IT_WAS:
        setattr(*_AS_IT_WAS.pop())


def count() -> None:
    """Capture, and count from now on how long this process is at it."""
    _SPENT.clear()
    _change(_counted)


def spent() -> Counter[str]:
    """Return the nanoseconds that were counted, by what was called."""
    return _SPENT


def _change(change: Callable[[Any], Any]) -> None:
    from terp.storage import sharded
    from terp.storage.machine import Machine
    from terp.workflows.planning.step import Step
    from terp.workflows.running import gather, task
    from terp.workflows.running.record import RunRecord

    noting = [(sharded, "note"), (gather, "note"), (task, "note"), (Step, "_origins"), (RunRecord, "note")]
    for owner, name in noting:
        _replace(owner, name, change(getattr(owner, name)))
    _replace(task, "Machine", SimpleNamespace(here=change(Machine.here)))


def _replace(owner: Any, name: str, value: Any) -> None:
    _AS_IT_WAS.append((owner, name, getattr(owner, name)))
    setattr(owner, name, value)


def _counted(function: Any) -> Any:
    def counted(*given: Any, **named: Any) -> Any:
        began = time.perf_counter_ns()
        try:
            return function(*given, **named)
        finally:
            _SPENT[function.__qualname__] += time.perf_counter_ns() - began

    return counted


def _nothing(*_: Any, **__: Any) -> None:
    """Stand for what would note something."""
