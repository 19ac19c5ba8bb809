"""What was made of an input: products, runs and archived objects, over all runs of a home."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from terp.storage.descent import keys_of
from terp.storage.errors import BadProduct
from terp.storage.home import Home
from terp.storage.ingest import locate
from terp.storage.product import StoredProduct
from terp.storage.scrub import scrub
from terp.storage.source import Identity, parts_at
from terp.workflows.errors import Usage
from terp.workflows.running.record import RunRecord, all_runs

Told = dict[str, Any]


def impact(home: Home, named: str) -> Told:
    """Return, as plain values, what was made of an input: a file, folder or URL, a SHA-256, or a product's key.

    What is at a path now, and what was there when a run read it, are told apart by digest. Raises Usage where nothing
    here was made of it.
    """
    products, damaged = _products(home)
    runs = all_runs(home)
    if named in products or any(named == stage.key for run in runs for stage in run.stages):
        return {**_made(named, {named}, products, runs, set(), set()), "versions": [], "damaged": damaged}
    read = {run.id: list(run.identities(home).values()) for run in runs}
    versions = _versions(home, named, read)
    digests = {digest for version in versions for digest in version["sha256"].values()}
    ingested = {key for key, frozen in products.items() if digests & set(_source(frozen).values())}
    made = _made(named, ingested, products, runs, digests, set(_readers(read, digests)))
    if not (made["products"] or made["runs"]):
        raise Usage(f"nothing in {home.root} was made of {named}: give the path of a source, a SHA-256 or a product")
    return {**made, "versions": versions, "damaged": damaged}


def _products(home: Home) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """Return what is frozen of all products, by key, and a sentence for each that cannot be read."""
    found: dict[str, Mapping[str, Any]] = {}
    damaged = []
    for folder in sorted(home.products.glob("[!.]*")):
        try:
            found[folder.name] = StoredProduct(folder).frozen
        except BadProduct as damage:
            damaged.append(str(damage))
    return found, damaged


def _source(frozen: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = frozen["ingredients"].get("source", {})
    return found


def _versions(home: Home, named: str, read: Mapping[str, Sequence[Identity]]) -> list[Told]:
    """Return what a name stands for: digests of files by path, what is there now first, then what runs have read."""
    if len(named) == 64 and all(letter in "0123456789abcdef" for letter in named.lower()):
        return [{"sha256": {named: named.lower()}, "now": False, "runs": _readers(read, {named.lower()})}]
    path = locate(named).absolute()
    versions: list[Told] = []
    if path.exists():
        versions.append({"sha256": _digests(home, path), "now": True, "runs": []})
    for sources in read.values():
        found = {name: digest for source in sources for name, digest in _read_of(source, named, path).items()}
        if found:
            known = next((one for one in versions if found.items() <= one["sha256"].items()), None)
            if known is None:
                versions.append({"sha256": found, "now": False, "runs": []})
    return [{**one, "runs": _readers(read, set(one["sha256"].values()))} for one in versions]


def _readers(read: Mapping[str, Sequence[Identity]], digests: set[str]) -> list[str]:
    """Return the runs that have read one of some files, wherever that was."""
    return [
        run for run, sources in read.items() if any(part.sha256 in digests for one in sources for part in one.parts)
    ]


def _digests(home: Home, path: Path) -> dict[str, str]:
    """Return the SHA-256 of the files at a path; digests that are remembered are not made again."""
    return {str(path if path.is_file() else path / one.name): one.sha256 for one in parts_at(path, home.cache)}


def _read_of(source: Identity, named: str, path: Path) -> dict[str, str]:
    """Return what a run has read of what lies at or below a path, or was fetched from there: SHA-256 by path."""
    if source.url and source.url == scrub(named):
        return {source.url: source.sha256}
    root = Path(source.path)
    files = {root if source.is_file else root / part.name: part.sha256 for part in source.parts}
    return {str(file): digest for file, digest in files.items() if file == path or path in file.parents}


def _made(
    named: str,
    start: set[str],
    products: Mapping[str, Mapping[str, Any]],
    runs: Iterable[RunRecord],
    digests: set[str],
    readers: set[str],
) -> Told:
    """Return all that was made of some products, with the runs and archived objects that hold it.

    `readers` are runs that have read the input, whatever they made of it.
    """
    inputs = {key: set(keys_of(frozen)) for key, frozen in products.items()}
    reached = set(start)
    while new := {key for key, of in inputs.items() if of & reached} - reached:
        reached |= new
    using = [run for run in runs if run.id in readers or reached & {stage.key for stage in run.stages}]
    archived = {run.archived["identifier"]: run for run in using if run.archived}
    return {
        "input": named,
        "products": [
            {
                "product": key,
                "stage": products[key]["name"],
                "inputs": sorted(inputs[key]),
                "sha256": sorted(digests & set(_source(products[key]).values())),
            }
            for key in sorted(reached & products.keys())
        ],
        "runs": [{"run": run.id, "flow": run.flow, "state": run.shown_state, "started": run.started} for run in using],
        "archived": [
            {"identifier": name, "version": run.archived["version"], "run": run.id} for name, run in archived.items()
        ],
    }
