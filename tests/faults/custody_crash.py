"""Custody sent to a place, or brought back from one, in processes that are killed: `... WHAT TEMPLATE FOLDER TRIES`.

First one is not killed, in FOLDER/whole; then TRIES are (0: one before each operation on files), each in a folder named
by the number of the operation. For each a line is printed: its folder, whether it was killed, how many operations there
were.
"""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "storage"))
import killing
from holdings import folder_place, places

from terp.storage import files
from terp.storage.archive.copies import open_place
from terp.storage.archive.keeping import send
from terp.storage.home import Home
from terp.workflows.results.audit import mended


def prepare(what: str, top: Path) -> None:
    """Take away what a place keeps, or, to be brought back, all of the home."""
    if what == "send":
        shutil.rmtree(top / "disk/extensions/terp-custody")
        return
    shutil.rmtree(top / "home")
    for name in ("custody", "archive"):
        (top / "home" / name).mkdir(parents=True)


def work(what: str, top: Path) -> None:
    """Send or mend."""
    home = Home(top / "home")
    if what == "send":
        send(home.custody, open_place(home, "disk")[1])
    else:
        mended(home, [], [], [])


def settle(top: Path) -> None:
    """Tell where the place is now."""
    places(Home(top / "home"), folder_place("disk", top / "disk"))


def main() -> None:
    files.GLANCE = 0.0
    what, template, folder, tries = sys.argv[1:]
    act = lambda top, _: work(what, top)  # noqa: E731
    for name, dead, _, count in killing.everywhere(template, folder, int(tries), act, settle):
        print(name, int(dead), count, flush=True)


if __name__ == "__main__":
    main()
