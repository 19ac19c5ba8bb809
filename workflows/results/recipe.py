"""Recipe: what it takes to make a run's results again, as a file of its crate.

Parameters keep their types here (null is not "null"); a source is what the flow calls it and its files by SHA-256.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3

from terp.storage.canonical import canonical
from terp.storage.home import Home
from terp.storage.product import StoredProduct
from terp.storage.scrub import Named, scrub
from terp.storage.source import Identity
from terp.workflows.results.bundle import Bundle
from terp.workflows.running.capture import machines_of
from terp.workflows.running.record import RunRecord

RECIPE = "replay.json"
FORMAT = 1


def recipe(home: Home, run: RunRecord, code: Bundle, products: Mapping[str, StoredProduct]) -> dict[str, Any]:
    """Return the recipe of a run, of its code and its results by name."""
    plain = {
        "format": FORMAT,
        "run": run.id,
        "flow": run.flow,
        "target": code.target,
        "files": sorted(code.files),
        "withheld": list(code.withheld),
        "terp": dict(code.terp),
        "parameters": run.parameters,
        "machines": [machine.to_json() for machine in machines_of(run)],
        "sources": [_source(*one) for one in run.identities(home).items()],
        "stages": [_stage(StoredProduct(home.product(noted.key))) for noted in run.stages],
        "results": Named({name: product.key for name, product in products.items()}),
    }
    scrubbed: dict[str, Any] = scrub(plain)
    return scrubbed


def _source(given: str, source: Identity) -> dict[str, Any]:
    parts = [{"name": part.name, "size": part.size, "sha256": part.sha256} for part in source.parts]
    return {"given": given, "name": Path(source.path).name, "reader": source.reader, "parts": parts}


def _stage(product: StoredProduct) -> dict[str, Any]:
    made_of = product.frozen["ingredients"]
    tolerance = list(made_of.get("tolerance", ()))
    return {"name": product.name, "key": product.key, "code": digest_of(made_of), "tolerance": tolerance}


def digest_of(ingredients: Mapping[str, Any]) -> str:
    """Return the digest of the code that a product was made by."""
    return blake3(canonical(ingredients["code"])).hexdigest()
