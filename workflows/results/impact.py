"""What was made of an input: products, runs and archived objects, over all runs and archived objects of a home."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from terp.storage.errors import BadProduct
from terp.storage.home import Home
from terp.storage.ingest import locate
from terp.storage.product import StoredProduct
from terp.storage.scrub import scrub
from terp.storage.source import Identity, parts_at
from terp.workflows.errors import Usage
from terp.workflows.results.kept import Making, all_kept
from terp.workflows.running.record import all_runs

Told = dict[str, Any]


class Known:
    """All that a home tells of how anything was made: its products, its runs and its archived objects."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.runs = all_runs(home)
        self.read = {run.id: list(run.identities(home).values()) for run in self.runs}
        self.objects, damaged = all_kept(home)
        self.here, self.damaged = _products(home)
        self.damaged += damaged
        self.makings = self._by_runs()
        for kept in self.objects:
            self.makings |= kept.making
        self.makings |= self.here
        for kept in self.objects:  # what nobody tells more of was made of all that the run has read
            of = {key for one in kept.making.values() for key in one.inputs} | set(kept.results.values())
            for key in of - self.makings.keys():
                self.makings[key] = Making("", frozenset(), kept.read)

    def _by_runs(self) -> dict[str, Making]:
        """Return how products were made by the records of runs, for these may be all that is left."""
        found = {}
        for run in self.runs:
            files = {one.sha256: {part.sha256 for part in one.parts} for one in self.read[run.id]}
            for stage in run.stages:
                found[stage.key] = Making(stage.name, frozenset(stage.inputs), frozenset(files.get(stage.source, ())))
        return found

    def names(self, key: str) -> bool:
        """Say whether it is the key of a product, be it that this is gone."""
        return key in self.makings or any(key in one.inputs for one in self.makings.values())

    def reached(self, keys: Iterable[str], digests: Iterable[str]) -> tuple[set[str], set[str]]:
        """Return the keys of some products and of all that was made of them or of files, and the SHA-256s of these.

        A result that was archived is such a file too, where it was read as a source.
        """
        keys, digests, before = set(keys), set(digests), -1
        while before < len(keys) + len(digests):
            before = len(keys) + len(digests)
            keys |= {key for key, one in self.makings.items() if one.inputs & keys or one.sha256 & digests}
            for kept in self.objects:
                digests = digests.union(*(kept.files[name] for name, key in kept.results.items() if key in keys))
        return keys, digests


def impact(home: Home, named: str) -> Told:
    """Return, as plain values, what was made of an input: a file, folder or URL, a SHA-256, or a product's key.

    Directly, or of what was made of it, though that be removed. What is at a path now, and what was there when a run
    read it, are told apart by digest. Raises Usage where nothing here was made of it.
    """
    known = Known(home)
    if known.names(named):
        return {"input": named, **made_of(known, {named}, set()), "versions": [], "damaged": known.damaged}
    versions = _versions(home, named, known.read)
    made = made_of(known, set(), {digest for version in versions for digest in version["sha256"].values()})
    if not any(made.values()):
        raise Usage(f"nothing in {home.root} was made of {named}: give the path of a source, a SHA-256 or a product")
    return {"input": named, **made, "versions": versions, "damaged": known.damaged}


def made_of(known: Known, start: set[str], given: set[str]) -> Told:
    """Return all that was made of products and files: products that are here or gone, runs and archived objects.

    Runs that have read a file are among them, whatever they made of it, and objects that hold their results.
    """
    keys, digests = known.reached(start, given)
    readers = set(_readers(known.read, digests))
    using = [run for run in known.runs if run.id in readers or keys & {stage.key for stage in run.stages}]
    archived = {(run.archived["identifier"], run.archived["version"]): run.id for run in using if run.archived}
    archived |= {
        (kept.identifier, kept.version): kept.run
        for kept in known.objects
        if keys & set(kept.results.values()) or digests & kept.read
    }
    told = [{"product": key, **_made(known.makings[key], digests)} for key in sorted(keys & known.makings.keys())]
    return {
        "products": [one for one in told if one["product"] in known.here],
        "gone": [one for one in told if one["product"] not in known.here],
        "runs": [{"run": run.id, "flow": run.flow, "state": run.shown_state, "started": run.started} for run in using],
        "archived": [{"identifier": one, "version": version, "run": run} for (one, version), run in archived.items()],
    }


def _made(making: Making, digests: set[str]) -> Told:
    return {"stage": making.stage, "inputs": sorted(making.inputs), "sha256": sorted(digests & making.sha256)}


def _products(home: Home) -> tuple[dict[str, Making], list[str]]:
    """Return how all products were made that are here, by key, and a sentence for each that cannot be read."""
    found: dict[str, Making] = {}
    damaged = []
    for folder in sorted(home.products.glob("[!.]*")):
        try:
            found[folder.name] = Making.of(StoredProduct(folder).frozen)
        except BadProduct as damage:
            damaged.append(str(damage))
    return found, damaged


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
