"""What is computed: stages, plans, runs, the flows and the command line."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "terp.workflows":  # a second name would make a second copy of every class
    raise ImportError(f"import terp.workflows, not {__name__}")

from terp.workflows.session import Product
from terp.workflows.stage import ingest, iterate, rechunk, stage

if TYPE_CHECKING:
    from terp.workflows.api import plan as plan
    from terp.workflows.api import run as run

__all__ = ["Product", "ingest", "iterate", "plan", "rechunk", "run", "stage"]


def __getattr__(name: str) -> Any:
    """Import what runs flows (and with it Prefect) only when it is asked for: workers never do."""
    if name in ("plan", "run"):
        return getattr(import_module("terp.workflows.api"), name)
    raise AttributeError(f"module 'terp.workflows' has no attribute {name!r}")
