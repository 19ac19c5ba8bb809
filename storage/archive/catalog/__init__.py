"""The catalog: an index over the archive, made again from the archive at any time.

One SQLite file with full-text search (FTS5). What is known of an object is its `Card`, which follows from the object
alone; the file follows from the cards alone, so the same archive gives the same bytes with the same SQLite. Nothing is
decided by it: who opens an object goes to the object, and a catalog that is stale, damaged or gone is made again.
"""

from terp.storage.archive.catalog.card import DAMAGED, DESTROYED, THERE, Card
from terp.storage.archive.catalog.catalog import FEW, Catalog, Refreshed
from terp.storage.archive.catalog.query import FIELDS, Query

__all__ = ["DAMAGED", "DESTROYED", "FEW", "FIELDS", "THERE", "Card", "Catalog", "Query", "Refreshed"]
