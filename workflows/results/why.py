"""Why values are what they are: the regions that hold them, how these were made, and of what, down to the sources."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from blake3 import blake3

from terp.storage.archive import Archive, tombstone
from terp.storage.canonical import canonical
from terp.storage.codec import Values
from terp.storage.descent import ARCHIVED, Find, Made, Step, descent, found_in, of_product, results, unpacked
from terp.storage.errors import BadPackage
from terp.storage.grid import Group
from terp.storage.home import Home
from terp.storage.labels import labels
from terp.storage.package.excerpt import Excerpt
from terp.storage.package.packed import PackedProduct
from terp.storage.package.table import MEMBERS
from terp.storage.product import StoredProduct
from terp.storage.segments import making
from terp.workflows.errors import Usage
from terp.workflows.results.place import along, chosen, regions
from terp.workflows.results.show import find
from terp.workflows.running.record import RunRecord, all_runs

Told = dict[str, Any]


@dataclass(frozen=True)
class _Subject:
    """What is asked about: a product that is here, or a result in an archived object."""

    key: str
    made: Made
    find: Find
    labels: Callable[[Group, str], Values | None]
    region: Callable[[Group, int], Told]


def why(home: Home, reference: str, result: str = "", variable: str = "", at: Mapping[str, str] | None = None) -> Told:
    """Return, as plain values, how the regions that hold a value were made, and of what.

    `reference` is a product, a run or an archived object, `result` one of its results; `at` has a label for a
    dimension, a part of a date or the nearest number too. Where several regions hold what is asked for, `region`,
    `shards` and `made` are of the first; `box` and `from` are of all. Raises Usage for what is not there, with what is,
    BadProduct where the product is not finished, or older than its lineage could be.
    """
    subject = _subject(home, reference, result)
    group = chosen(tuple(Group.from_json(one) for one in subject.made.frozen["groups"]), variable)
    sizes = {dim: n for a in group.arrays for dim, n in zip(a.dims, a.shape, strict=True)}
    places = along(partial(subject.labels, group), sizes, at or {})
    asked = regions(group, places)
    steps = list(descent(subject.find, subject.key, group.path, asked))
    index, ends = int(asked[0]), group.box(int(asked[-1]))
    box = {dim: [part.start, ends[dim].stop] for dim, part in group.box(index).items()}
    runs = all_runs(home)
    return {
        "at": {dim: {**asdict(one), "text": str(one)} for dim, one in places.items()},
        "product": subject.key,
        "group": group.path,
        "region": index,
        "asked": len(asked),
        "regions": group.regions,
        "box": box,
        **subject.region(group, index),
        "stage": _stage(subject.made),
        "runs": [run.id for run in runs if subject.key in {stage.key for stage in run.stages}],
        "from": [_step(home, step, subject.find, runs) for step in steps],
    }


def _subject(home: Home, reference: str, result: str) -> _Subject:
    found = find(home, reference)
    if found.product:
        return _here(home, found.product)
    if found.run:
        name = _named(result, found.run.results, found.run.id)
        if home.holds(found.run.results[name]):
            return _here(home, StoredProduct(home.product(found.run.results[name])))
        if not found.run.archived:
            raise Usage(f"the product {found.run.results[name]} is not here any more, nor is it archived")
        return _archived(home, found.run.archived["identifier"], name, found.run.archived["version"])
    return _archived(home, found.identifier, result, None)


def _named(result: str, known: Mapping[str, str], owner: str) -> str:
    name = result or (next(iter(known)) if len(known) == 1 else "")
    if name not in known:
        said = f"no result {result!r}" if result else "several results"
        raise Usage(f"{owner} has {said}: name one of {', '.join(known)}")
    return name


def _here(home: Home, product: StoredProduct) -> _Subject:
    def labels_of(group: Group, dim: str) -> Values | None:
        return labels(product.proven, group, dim, lambda: product.frame(group.path))

    return _Subject(product.key, of_product(product), found_in(home.products), labels_of, partial(_region, product))


def _region(product: StoredProduct, group: Group, index: int) -> Told:
    """Return what the ledger and the manifest say of a region."""
    shards = [product.manifest.shard(group.path, index, number) for number in range(len(group.arrays))]
    keys = [group.shard_key(array, index) for array in group.arrays]
    ledger, number = product.folder / "ledger", product.groups.index(group)
    most = max(len(one.arrays) for one in product.groups)
    how = making(ledger, most, product.origins.type, number, index)
    when = datetime.fromtimestamp(how.when, UTC).isoformat() if how.when else ""
    return {
        "shards": [
            {"key": key, "bytes": one.size, "blake3": one.blake3, "values": one.values}
            for key, one in zip(keys, shards, strict=True)
        ],
        "made": {**asdict(how), "when": when},
    }


def _archived(home: Home, identifier: str, result: str, version: str | None) -> _Subject:
    tombstone.demand_none(home.custody, identifier)
    files = Archive(home.archive).files(identifier, version)
    kept = files.get(ARCHIVED)
    if kept is None:
        raise BadPackage(f"{identifier} was archived before terp kept what a region is made of: nothing more is known")
    keys = results(kept)
    name = _named(result, keys, identifier)
    look = unpacked(kept)
    made = look(keys[name])
    if made is None:
        raise BadPackage(f"{kept} does not tell of {keys[name]}: restore it from a copy")
    excerpt = Excerpt(files[f"{name}{MEMBERS}"], files)

    def labels_of(group: Group, dim: str) -> Values | None:
        small = excerpt.small(f"{group.path}/{dim}".strip("/"))
        return labels(small, group, dim, lambda: PackedProduct(excerpt.table, files).frame(group.path))

    return _Subject(keys[name], made, look, labels_of, partial(_members, excerpt))


def _members(excerpt: Excerpt, group: Group, index: int) -> Told:
    """Return what the table of members says of a region; the archive keeps no host, and no times of regions."""
    rows = [excerpt.shard(group, array, index) for array in group.arrays]
    return {"shards": [{"key": one["key"], "bytes": one["size"], "blake3": one["blake3"]} for one in rows], "made": {}}


def _stage(made: Made) -> Told:
    """Return by what code a product was made, and with what."""
    ingredients = made.frozen["ingredients"]
    return {
        "name": made.frozen["name"],
        "code": ingredients.get("code", {}),
        "code_blake3": blake3(canonical(ingredients.get("code", {}))).hexdigest(),
        "parameters": ingredients.get("parameters", {}),
        "libraries": ingredients.get("libraries", {}),
        "reader": ingredients.get("reader", ""),
    }


def _step(home: Home, step: Step, find_: Find, runs: list[RunRecord]) -> Told:
    told = {"by": step.by, "group": step.group, "box": step.box, "of": step.total, "first": list(step.first)}
    if step.key:
        return {**told, "product": step.key, "shards": step.count, "lost": step.lost}
    made = find_(step.by)
    digests: dict[str, str] = made.frozen["ingredients"]["source"] if made else {}
    found = {name: digests.get(name, "") for name in step.first}
    takers = [run for run in runs if step.by in {stage.key for stage in run.stages}]  # lists of files are long
    return {**told, "files": step.count, "sha256": found, "path": _path(home, takers, set(digests.values()))}


def _path(home: Home, runs: list[RunRecord], digests: set[str]) -> str:
    """Return where a source was when one of the runs read it last."""
    for run in reversed(runs):
        for source in run.identities(home).values():
            if {part.sha256 for part in source.parts} == digests:
                return source.path
    return ""
