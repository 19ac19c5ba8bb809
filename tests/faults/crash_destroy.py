"""Destroy an archived object in processes that are killed, as in crash.py: `... TEMPLATE FOLDER POINT ...`."""

import os
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


def child(point: int, folder: Path, report: int) -> None:
    """Destroy and be killed."""
    count, write = [0], os.write
    for name in killing.OPERATIONS:
        killing.wrap(name, count, point)
    work(folder)
    write(report, b"%d" % count[0])


def killed(point: int, folder: Path) -> str:
    """Return whether a child was killed, and how many operations it had done."""
    return killing.killed(lambda report: child(point, folder, report))


def main() -> None:
    """Kill a process at each point."""
    template, folder, *points = sys.argv[1:]
    for point in points:
        shutil.copytree(template, Path(folder) / point)
        print(killed(int(point), Path(folder) / point), flush=True)


if __name__ == "__main__":
    main()
