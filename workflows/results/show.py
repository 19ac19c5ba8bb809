"""Find and open what was made: by run, product or archived object."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from terp.storage.archive import Archive, tombstone
from terp.storage.errors import BadPackage, BadProduct, Damaged
from terp.storage.home import Home
from terp.storage.package.packed import PackedProduct, tables
from terp.storage.product import StoredProduct
from terp.workflows.errors import Usage
from terp.workflows.results.catalogue import identifier_of, is_name
from terp.workflows.running.record import RunRecord, all_runs, load_run

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Found:
    """What a reference names: one of a run, a product, or an archived object (by its identifier)."""

    run: RunRecord | None = None
    product: StoredProduct | None = None
    identifier: str = ""


def find(home: Home, reference: str) -> Found:
    """Return what a reference names; raises Usage when it names nothing, Destroyed for what was destroyed."""
    if is_name(reference):
        return Found(identifier=identifier_of(home, reference))
    if home.holds(reference):
        return Found(product=StoredProduct(home.product(reference)))
    for stone in tombstone.tombstones(home.custody):
        if reference in stone.runs:
            raise stone.error()
    run = load_run(home, reference)
    if run.archived:
        tombstone.demand_none(home.custody, run.archived["identifier"])
    return Found(run=run)


def open_result(home: Home, run: RunRecord, name: str = "", group: str = "") -> "xr.Dataset":
    """Open a result of a run, out of the archive where it is there, else from its product; reads are proven."""
    name = name or _only(run)
    if name not in run.results:
        raise Usage(f"the run {run.id} has no result {name!r}; it has {', '.join(run.results)}")
    if run.archived:
        return open_archived(home, run.archived["identifier"], name, group, run.archived["version"])
    return open_product(StoredProduct(home.product(run.results[name])), group)


def open_product(product: StoredProduct, group: str = "") -> "xr.Dataset":
    """Open a group of a working product; raises Damaged with the way out."""
    try:
        return product.open(group)
    except Damaged as damage:
        raise Damaged(f"{damage}; run the same command again to make it anew", product.key) from damage


def _only(run: RunRecord) -> str:
    if len(run.results) != 1:
        raise Usage(f"the run {run.id} has several results: name one of {', '.join(run.results)}")
    return next(iter(run.results))


def open_archived(
    home: Home, identifier: str, name: str = "", group: str = "", version: str | None = None
) -> "xr.Dataset":
    """Open a result of an archived object in place, in however many packages it is."""
    tombstone.demand_none(home.custody, identifier)
    files = Archive(home.archive).files(identifier, version)
    names = tables(files)
    if not name and len(names) == 1:
        name = next(iter(names))
    if name not in names:
        raise Usage(f"{identifier} has {', '.join(names)}: name one of them")
    return PackedProduct(names[name], files).open(group)


def packed_results(home: Home, identifier: str, version: str | None = None) -> dict[str, PackedProduct]:
    """Return the results of an archived object by name; raises BadPackage where a part of one is gone."""
    tombstone.demand_none(home.custody, identifier)
    files = Archive(home.archive).files(identifier, version)
    return {name: PackedProduct(table, files) for name, table in tables(files).items()}


def product_row(product: StoredProduct) -> dict[str, Any]:
    """Return what is seen of a product without reading its values."""
    done, total = product.progress()
    seal = product.seal
    return {
        "product": product.key,
        "stage": product.name,
        "regions": total,
        "done": done,
        "sealed": seal is not None,
        "bytes": seal.bytes if seal else None,
        "values": seal.values if seal else None,
        "damage": "",
    }


def products(home: Home) -> list[dict[str, Any]]:
    """Return a line for each working product; damage of one does not hide the others."""
    lines = []
    for key in sorted(folder.name for folder in home.products.glob("[!.]*")):
        try:
            lines.append(product_row(StoredProduct(home.product(key))))
        except BadProduct as damage:
            lines.append({"product": key, "damage": str(damage)})
    return lines


def damage_of_object(home: Home, identifier: str) -> list[str]:
    """Read all of an archived object and return what is wrong with it, as sentences."""
    archive = Archive(home.archive)
    found = [f"{one.place} {one.message}" for one in archive.verify(identifier)]
    return [*found, f"{identifier}: restore it from a copy"] if found else []


def users_of(home: Home, key: str) -> list[str]:
    """Return the runs whose results a product is and that are not archived: what would be lost with it."""
    return [run.id for run in all_runs(home) if key in run.results.values() and not run.archived]


def pictures_of(home: Home, run: RunRecord) -> dict[str, str]:
    """Return where the picture of an archived run's results is, and that of the run itself, as far as there are."""
    from terp.storage.crate import DRAWING
    from terp.workflows.results.quicklook import PICTURE

    if not run.archived:
        return {}
    try:
        found = Archive(home.archive).files(run.archived["identifier"], run.archived["version"])
    except BadPackage:
        return {}
    shown = {"picture": found.get(PICTURE), "picture of the run": found.get(DRAWING)}
    return {what: str(path) for what, path in shown.items() if path}
