"""Whose fault it was: what a flow's own lines raise is told with the line; what terp raises is a fault of terp's."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from terp.cluster.errors import ClusterError
from terp.storage.errors import StorageError
from terp.workflows.errors import FlowFailed, WorkflowError
from terp.workflows.planning.source import is_own

if TYPE_CHECKING:
    from prefect import Flow


@contextmanager
def blaming(flow: "Flow[Any, Any]") -> Iterator[None]:
    """Raise FlowFailed for what the flow's own body raises in here; all else comes through as it is."""
    try:
        yield
    except (StorageError, ClusterError, WorkflowError):
        raise
    except (Exception, SystemExit) as error:
        line = own_line(error)
        if not line:
            raise
        raise FlowFailed(
            f"the flow {flow.name} failed at {line}: {type(error).__name__}: {error}. Mend it there and run again"
        ) from error


def own_line(error: BaseException) -> str:
    """Return the user's line that raised, itself or in a library that it called; "" where terp came after it."""
    line = ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        name = frame.f_globals.get("__name__", "")
        if name.startswith("terp."):
            line = ""
        elif is_own(name):
            line = f"{frame.f_code.co_filename}, line {number}"
    return line
