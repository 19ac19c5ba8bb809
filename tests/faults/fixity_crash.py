"""Audit or repair in processes that are killed: `fixity_crash.py WHAT TEMPLATE FOLDER TRIES`.

First one is not killed, in FOLDER/whole; then TRIES are (0: one before each operation on files), each in a folder named
by the number of the operation. For each a line is printed: its folder, whether it was killed, how many operations there
were, and the exit code if it was not.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import killing

from terp.storage import files
from terp.storage.audit import Order, audit
from terp.storage.places import Folder
from terp.storage.repair import repair
from terp.storage.repair.repair import Work

NAMES = ("archive", "attic")


def places(folder: Path) -> tuple[Folder, Folder]:
    return Folder(NAMES[0], folder / NAMES[0]), Folder(NAMES[1], folder / NAMES[1])


def work(what: str, folder: Path) -> int:
    """Do it, on one thread so that each time the same operations come; return the exit code."""
    custody = folder / "custody"
    if what == "audit":
        return audit(Order(places(folder), custody, NAMES, threads=1)).exit_code
    return repair(Work(places(folder), custody, folder / "scratch", NAMES, NAMES)).exit_code


def main() -> None:
    files.GLANCE = 0.0
    what, template, folder, tries = sys.argv[1:]
    act = lambda place, tell: tell(str(work(what, place)))  # noqa: E731
    for name, dead, code, count in killing.everywhere(template, folder, int(tries), act):
        print(name, int(dead), count, code, flush=True)


if __name__ == "__main__":
    main()
