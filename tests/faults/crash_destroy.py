"""Destroy an archived object in processes that are killed, as in crash.py: `... TEMPLATE FOLDER POINT ...`."""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "storage"))
import custody_of
import killing

from terp.storage.archive import destroying
from terp.storage.home import Home


def work(folder: Path) -> None:
    """Destroy the first object of the scene."""
    home = Home(folder / "home")
    destroying.execute(home, custody_of.URN, custody_of.scope(home), "B. Archivist", custody_of.TODAY)


def main() -> None:
    """Kill a process at each point; print whether it was, and how many operations there were."""
    template, folder, *points = sys.argv[1:]
    for point in points:
        place = Path(shutil.copytree(template, Path(folder) / point))
        dead, _, count = killing.killed(int(point), lambda _, place=place: work(place))
        print(int(dead), count, flush=True)


if __name__ == "__main__":
    main()
