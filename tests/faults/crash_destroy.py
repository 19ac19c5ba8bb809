"""Destroy an archived object in processes that are killed, as in crash.py: `... TEMPLATE FOLDER POINT ...`."""

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "storage"))
import crash
import custody_of

from terp.storage.archive import destroying
from terp.storage.home import Home


def work(folder: Path) -> None:
    """Destroy the first object of the scene."""
    home = Home(folder / "home")
    destroying.execute(home, custody_of.URN, custody_of.scope(home), "B. Archivist", custody_of.TODAY)


def killed(point: int, folder: Path) -> str:
    """Return whether a child was killed, and how many operations it had done."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            count, write = [0], os.write
            for name in crash.OPERATIONS:
                crash.wrap(name, count, point)
            work(folder)
            write(theirs, b"%d" % count[0])
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as said:
        text = said.read()
    _, status = os.waitpid(pid, 0)
    return f"{int(os.WIFSIGNALED(status))} {text}"


def main() -> None:
    """Kill a process at each point."""
    template, folder, *points = sys.argv[1:]
    for point in points:
        shutil.copytree(template, Path(folder) / point)
        print(killed(int(point), Path(folder) / point), flush=True)


if __name__ == "__main__":
    main()
