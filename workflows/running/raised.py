"""What the code of a stage raised, and where: told in a sentence, with the rest in a file."""

import traceback
from pathlib import Path

from terp.storage.files import disk
from terp.storage.filling import Filling
from terp.storage.ledger import Place
from terp.workflows.errors import StageFailed
from terp.workflows.running.task import named


class Raised(Exception):
    """What the stage's code raised, and in which region."""

    def __init__(self, place: Place, error: BaseException) -> None:
        super().__init__(str(error))
        self.place, self.error = place, error


def stage_failed(name: str, filling: Filling, raised: Raised, reports: Path) -> StageFailed:
    """Return the error for people; the traceback goes to a file in `reports`."""
    group, index = raised.place
    where = named(filling.product.group(group).box(index))
    report = reports / f"failure-{name.partition(' ')[0]}-{index}.txt"
    error = raised.error
    with disk(report):
        report.write_text(f"{name}, region {index} ({where})\n\n" + "".join(traceback.format_exception(error)))
    return StageFailed(
        f"{name} failed on region {index} ({where}): {type(error).__name__}: {error}. What is done stays; "
        f"mend the stage and run again. The traceback is in {report}"
    )
