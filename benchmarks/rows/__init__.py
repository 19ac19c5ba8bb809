"""The rows: each a module with its data, what is expected of the results, and the candidates."""

from importlib import import_module

from benchmarks.job import Row

ROWS = {"a": "flag", "b": "climatology", "c": "rechunk", "d": "image"}


def load(letter: str) -> Row:
    """Return a row; what its candidates need is imported when they run."""
    row: Row = import_module(f"benchmarks.rows.{ROWS[letter]}").ROW
    return row
