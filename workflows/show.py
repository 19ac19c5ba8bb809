"""Find and open what was made: by run, product or archived object."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terp.storage.archive import Archive
from terp.storage.errors import BadPackage, BadProduct
from terp.storage.home import Home
from terp.storage.product import StoredProduct
from terp.storage.zipstore import open_zip
from terp.workflows.errors import Usage
from terp.workflows.record import RunRecord, all_runs, load_run

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Found:
    """What a reference names: one of a run, a product, or an archived object (by its identifier)."""

    run: RunRecord | None = None
    product: StoredProduct | None = None
    identifier: str = ""


def find(home: Home, reference: str) -> Found:
    """Return what a reference names; raises Usage when it names nothing."""
    if reference.startswith("urn:"):
        if reference not in archived(home):
            raise Usage(f"there is no {reference} in the archive {home.archive}: `terp ls` lists what is there")
        return Found(identifier=reference)
    folder = home.product(reference)
    if reference and "/" not in reference and folder.is_dir():
        return Found(product=StoredProduct(folder))
    return Found(run=load_run(home, reference))


def archived(home: Home) -> list[str]:
    """Return the identifiers of all archived objects."""
    return list(Archive(home.archive).list()) if home.archive.is_dir() else []


def open_result(home: Home, run: RunRecord, name: str = "", group: str = "") -> "xr.Dataset":
    """Open a result of a run, out of the archive where it is there, else from its product; reads are proven."""
    name = name or _only(run)
    if name not in run.results:
        raise Usage(f"the run {run.id} has no result {name!r}; it has {', '.join(run.results)}")
    if run.archived:
        return open_archived(home, run.archived["identifier"], name, group, run.archived["version"])
    return StoredProduct(home.product(run.results[name])).open(group)


def _only(run: RunRecord) -> str:
    if len(run.results) != 1:
        raise Usage(f"the run {run.id} has several results: name one of {', '.join(run.results)}")
    return next(iter(run.results))


def open_archived(
    home: Home, identifier: str, name: str = "", group: str = "", version: str | None = None
) -> "xr.Dataset":
    """Open a package of an archived object in place."""
    files = Archive(home.archive).files(identifier, version)
    packages = {
        logical.removesuffix(".zarr.zip"): path for logical, path in files.items() if logical.endswith(".zarr.zip")
    }
    if not name and len(packages) == 1:
        name = next(iter(packages))
    if name not in packages:
        raise Usage(f"{identifier} has {', '.join(packages)}: name one of them")
    return open_zip(packages[name], group)


def catalogue(home: Home) -> list[dict[str, Any]]:
    """Return a line for each archived object, found in the archive itself."""
    archive = Archive(home.archive)
    made = {run.archived["identifier"]: run for run in all_runs(home) if run.archived}
    lines = []
    for identifier in archived(home):
        files = archive.files(identifier)
        run = made.get(identifier)
        lines.append(
            {
                "identifier": identifier,
                "results": sorted(n.removesuffix(".zarr.zip") for n in files if n.endswith(".zarr.zip")),
                "bytes": sum(path.stat().st_size for path in files.values()),
                "run": run.id if run else "",
            }
        )
    return lines


def all_products(home: Home) -> list[StoredProduct]:
    """Return all products of a home that can be read as such."""
    found = []
    for folder in sorted(home.products.glob("*")):
        try:
            found.append(StoredProduct(folder))
        except BadProduct:
            continue
    return found


def damage_of_object(home: Home, identifier: str) -> list[str]:
    """Read all of an archived object and return what is wrong with it."""
    return [str(finding) for finding in Archive(home.archive).verify(identifier)]


def users_of(home: Home, key: str) -> list[str]:
    """Return the runs whose results a product is and that are not archived: what would be lost with it."""
    return [run.id for run in all_runs(home) if key in run.results.values() and not run.archived]


def picture_of(home: Home, run: RunRecord) -> Path | None:
    """Return the picture of an archived run, if it has one."""
    if not run.archived:
        return None
    try:
        return Archive(home.archive).files(run.archived["identifier"], run.archived["version"]).get("picture.png")
    except BadPackage:
        return None
