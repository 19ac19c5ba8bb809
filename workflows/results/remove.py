"""Remove working products and records of runs; never what is archived, nor what somebody still works on."""

import shutil
from contextlib import suppress
from pathlib import Path

from terp.storage import files
from terp.storage.errors import Busy
from terp.storage.home import Home
from terp.storage.ledger import Ledger
from terp.workflows.errors import Usage
from terp.workflows.results.show import find, users_of
from terp.workflows.running.record import RunRecord, all_runs


def what_goes(home: Home, reference: str) -> list[Path]:
    """Return the folders that go; raises Usage for what is archived or the only copy of a run's result."""
    if home.holds(reference):
        users = users_of(home, reference)
        if users:
            raise Usage(
                f"{reference} is a result of {', '.join(users)}, which is not archived: remove the run, or archive it"
            )
        return [home.product(reference)]
    run = find(home, reference).run
    if run is None:
        raise Usage(f"{reference} is archived: what is archived is not removed by terp")
    return [run.folder(home), *_only_of(home, run)]


def _only_of(home: Home, run: RunRecord) -> list[Path]:
    others = {stage.key for other in all_runs(home) if other.id != run.id for stage in other.stages}
    mine = dict.fromkeys(stage.key for stage in run.stages)
    return [home.product(key) for key in mine if key not in others and home.product(key).exists()]


def remove(folders: list[Path]) -> None:
    """Remove folders of products and runs; each is first renamed, so that none is ever seen half removed."""
    for folder in folders:
        _refuse_busy(folder)
    for folder in folders:
        with files.disk(folder):
            going = folder.with_name(f".going-{folder.name}")
            shutil.rmtree(going, ignore_errors=True)
            folder.rename(going)
            files.sync_folder(folder.parent)
            shutil.rmtree(going)


def _refuse_busy(folder: Path) -> None:
    holder = None
    with suppress(Busy):  # a damaged ledger names nobody
        holder = Ledger(folder / "ledger").holder()
    if holder is not None and not holder.is_gone():
        raise Busy(f"{folder.name} is being worked on by {holder}: {holder.advice()}")
