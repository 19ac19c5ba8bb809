"""The rows: each with its data, what is expected of the results, and the candidates."""

from importlib import import_module

from benchmarks.job import Row

ROWS = {
    "a": ("flag", "ROW"),
    "b": ("climatology", "ROW"),
    "c": ("rechunk", "ROW"),
    "d": ("image", "ROW"),
    "e1": ("shards", "WRITE"),
    "e2": ("shards", "READ"),
    "e3": ("shards", "READ_COLD"),
}


def load(letter: str) -> Row:
    """Return a row; what its candidates need is imported when they run."""
    module, name = ROWS[letter]
    row: Row = getattr(import_module(f"benchmarks.rows.{module}"), name)
    return row
