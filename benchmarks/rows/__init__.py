"""The rows: each with its data, what is expected of the results, and the candidates."""

from importlib import import_module

from benchmarks.job import Row, Told

ROWS = {
    "a": ("flag", "ROW"),
    "b": ("climatology", "ROW"),
    "c": ("rechunk", "ROW"),
    "d": ("image", "ROW"),
    "e1": ("shards", "WRITE"),
    "e2": ("shards", "READ"),
    "e3": ("shards", "READ_COLD"),
    "f3": ("regions", "ROW3"),
    "f4": ("regions", "ROW4"),
    "f5": ("regions", "ROW5"),
    "f6": ("regions", "ROW6"),
    "g": ("resume", "RESUMED"),
    "h1": ("resume", "SCALED"),
    "h2": ("head", "ROW2"),
    "h3": ("head", "ROW3"),
    "h4": ("head", "ROW4"),
}
LONG = ("f5", "f6", "h3", "h4")  # only if they are asked for by name


def chosen(words: str) -> list[str]:
    """Return the rows that are meant: `e` is e1 to e3, and `f` those of f that do not take long; raises KeyError."""
    found: list[str] = []
    for word in words.split(","):
        some = [word] if word in ROWS else [one for one in ROWS if one.startswith(word or "-") and one not in LONG]
        if not some:
            raise KeyError(word)
        found += some
    return list(dict.fromkeys(found))


def load(letter: str) -> Row | Told:
    """Return a row; what its candidates need is imported when they run."""
    module, name = ROWS[letter]
    row: Row | Told = getattr(import_module(f"benchmarks.rows.{module}"), name)
    return row
