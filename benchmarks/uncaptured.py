"""What terp would be without provenance, for who asks what that costs: a run like this is fit for nothing else.

No region notes what it read, or on what machine it was made; no product has lineage; the run keeps no journal. Digests
stay: without them nothing could be proven.
"""

import os
from types import SimpleNamespace
from typing import Any

SAID = "TERP_BENCHMARK_UNCAPTURED"  # seen by workers too, as they inherit it


def turn_off() -> None:
    """Capture nothing any more in this process, nor in those that it will start."""
    os.environ[SAID] = "1"
    from terp.storage import sharded
    from terp.storage.lineage import Origins
    from terp.workflows.planning.step import Step
    from terp.workflows.running import gather, task
    from terp.workflows.running.record import RunRecord

    for module in (sharded, gather, task):
        vars(module)["note"] = _nothing
    unheard: Any = _nothing
    Step._origins = lambda *_: Origins()  # type: ignore[method-assign]
    RunRecord.note = unheard  # type: ignore[method-assign]
    vars(task)["Machine"] = SimpleNamespace(here=_nothing)


def turn_off_as_said() -> None:
    """Capture nothing, if the process that started this one said so."""
    if SAID in os.environ:
        turn_off()


def _nothing(*_: Any, **__: Any) -> None:
    """Stand for what would note something."""
