"""What belongs to an archived object outside of the archive, so that destroying it leaves nothing."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from terp.storage.archive.copies import places_of
from terp.storage.archive.proposal import Scope
from terp.storage.errors import BadPackage, Busy
from terp.storage.home import Home
from terp.storage.ledger import Ledger
from terp.workflows.results.copies import files_at, remove_at
from terp.workflows.results.impact import Known, made_of
from terp.workflows.results.kept import recipe_of, versions
from terp.workflows.running.record import RunRecord, all_runs


def scope(home: Home, identifier: str) -> Scope:
    """Return where all of an object can be, and what was made of it.

    Its results go, unless they are all that a run has that is not archived, and what only its runs needed; their
    records go with it.
    """
    runs = all_runs(home)
    own = [run for run in runs if run.archived.get("identifier") == identifier]
    results = {
        *_results(home, identifier),
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
        _derived(home, identifier, results, {run.id for run in own}, set(keys)),
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


def _results(home: Home, identifier: str) -> Iterator[str]:
    """Walk the keys of the results of all versions of an object, as it tells them itself."""
    with suppress(BadPackage):
        for _, files in versions(home, identifier):
            yield from map(str, recipe_of(files)["results"].values())


def _working(home: Home, keys: list[str]) -> Iterator[str]:
    for key in keys:
        with suppress(Busy):  # a damaged ledger names nobody
            holder = Ledger(home.product(key) / "ledger").holder() if home.product(key).is_dir() else None
            if holder is not None and not holder.is_gone():
                yield f"the product {key} is being worked on by {holder}: {holder.advice()}"


def _derived(home: Home, identifier: str, results: set[str], own: set[str], going: set[str]) -> list[str]:
    """Return what was made of an object's results, as far as records and the archive tell."""
    told = made_of(Known(home), results, set())
    found = {f"product {one['product']}" for one in told["products"] if one["product"] not in going}
    found |= {f"run {one['run']}" for one in told["runs"] if one["run"] not in own}
    return sorted(found | {one["identifier"] for one in told["archived"] if one["identifier"] != identifier})
