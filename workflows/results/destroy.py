"""What belongs to an archived object outside of the archive, so that destroying it leaves nothing."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from terp.storage import descent
from terp.storage.archive import Archive
from terp.storage.archive.copies import places_of
from terp.storage.archive.ocfl import newest, place
from terp.storage.archive.proposal import Scope
from terp.storage.crate import INPUTS
from terp.storage.errors import BadPackage, Busy
from terp.storage.home import Home
from terp.storage.ledger import Ledger
from terp.storage.package.table import MEMBERS
from terp.workflows.errors import Usage
from terp.workflows.results.copies import files_at, remove_at
from terp.workflows.results.impact import impact
from terp.workflows.results.recipe import RECIPE
from terp.workflows.running.record import RunRecord, all_runs


def scope(home: Home, identifier: str) -> Scope:
    """Return where all of an object can be, and what was made of it.

    Its results go, unless they are all that a run has that is not archived, and what only its runs needed; their
    records go with it.
    """
    runs = all_runs(home)
    own = [run for run in runs if run.archived.get("identifier") == identifier]
    files = _files(home, identifier)
    results = {
        *(key for one in _versions(home, identifier) for key in _results(one)),
        *(key for run in own for key in run.results.values()),
    }
    others = {stage.key for run in runs if run not in own for stage in run.stages}
    keys = sorted(results | {stage.key for run in own for stage in run.stages if stage.key not in others})
    names = [*(home.products / key for key in keys), *(run.folder(home) for run in own)]
    folders = [path for name in names for path in (name, name.with_name(f".going-{name.name}")) if path.is_dir()]
    return Scope(
        places_of(home),
        folders,
        [run.id for run in own],
        _derived(home, identifier, results, {run.id for run in own}, files, set(keys)),
        [*_working(home, keys), *_needed(runs, own, keys, results)],
        partial(files_at, home),
        partial(remove_at, home),
    )


def _needed(runs: list[RunRecord], own: list[RunRecord], keys: list[str], results: set[str]) -> Iterator[str]:
    """Say for which runs what would go is needed: those that go on, and those whose only result it is."""
    for run in runs:
        mine = run in own
        if run.alive and (mine or {stage.key for stage in run.stages} & set(keys)):
            yield f"the run {run.id} is being worked on"
        elif not mine and not run.archived and (same := sorted(set(run.results.values()) & results)):
            yield (
                f"{same[0]} is a result of the run {run.id} too, which is not archived: archive that under its own "
                f"decision, or remove it (`terp rm {run.id}`)"
            )


def _files(home: Home, identifier: str) -> dict[str, Path]:
    with suppress(BadPackage):  # its destruction has begun, and it is not there any more
        return Archive(home.archive).files(identifier)
    return {}


def _versions(home: Home, identifier: str) -> Iterator[dict[str, Path]]:
    """Yield the files of each version of an object: an older one may have had other results."""
    with suppress(BadPackage):
        archive = Archive(home.archive)
        for version in newest(home.archive / place(identifier))[0]["versions"]:
            yield archive.files(identifier, version)


def _results(files: dict[str, Path]) -> list[str]:
    """Return the keys of an object's results, as it tells them itself."""
    with suppress(OSError, ValueError, KeyError, AttributeError):
        return [str(key) for key in json.loads(files[RECIPE].read_bytes())["results"].values()]
    return []


def _working(home: Home, keys: list[str]) -> Iterator[str]:
    for key in keys:
        with suppress(Busy):  # a damaged ledger names nobody
            holder = Ledger(home.product(key) / "ledger").holder() if home.product(key).is_dir() else None
            if holder is not None and not holder.is_gone():
                yield f"the product {key} is being worked on by {holder}: {holder.advice()}"


def _derived(
    home: Home, identifier: str, results: set[str], own: set[str], files: dict[str, Path], going: set[str]
) -> list[str]:
    """Return what was made of an object's results, as far as records and the archive tell."""
    packages = _packages(files)
    found = set[str]()
    for named in sorted(results | packages):
        with suppress(Usage):  # nothing was
            told = impact(home, named)
            found |= {f"product {one['product']}" for one in told["products"] if one["product"] not in going}
            found |= {f"run {one['run']}" for one in told["runs"] if one["run"] not in own}
            found |= {one["identifier"] for one in told["archived"] if one["identifier"] != identifier}
    for other in Archive(home.archive).list():
        if other != identifier and _made_of(_files(home, other), results, packages):
            found.add(other)
    return sorted(found)


def _packages(files: dict[str, Path]) -> set[str]:
    """Return the SHA-256s of an object's packages, by which they are known where they were read as a source."""
    found = set[str]()
    for name, path in files.items():
        with suppress(OSError, ValueError, KeyError, TypeError):
            if name.endswith(MEMBERS):
                found |= {str(one["sha256"]) for one in json.loads(path.read_bytes())["packages"]}
    return found


def _made_of(files: dict[str, Path], results: set[str], packages: set[str]) -> bool:
    """Say whether an archived object tells that it was made of some results, or of packages of them."""
    with suppress(OSError, KeyError, zipfile.BadZipFile):
        with zipfile.ZipFile(files[descent.ARCHIVED]) as kept:
            if results & {name.partition("/")[0] for name in kept.namelist()}:
                return True
        return any(line.split()[0] in packages for line in files[INPUTS].read_text().splitlines() if line.strip())
    return False
