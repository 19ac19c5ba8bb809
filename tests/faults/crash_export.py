"""Export an archived object in processes that are killed: `crash_export.py KIND FOLDER TRIES`.

In FOLDER/home is the object. First one is not killed, then TRIES are (0: one before each operation on files). What is
seen between must be the whole export or none, and the same command then ends it, or says that it is there.
"""

import hashlib
import shutil
import sys
from contextlib import suppress
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "storage"))
import killing
import objects

from terp.storage.archive import Archive
from terp.storage.archive.custody import Events
from terp.storage.errors import BadPackage
from terp.storage.home import Home
from terp.storage.transfer import export
from terp.storage.transfer.dip import Request

DAY = date(2026, 11, 28)
KINDS = ("bag", "sip", "dip")
OF_ITS_TIME = ("pakbon.xml", ".MDTO.xml", ".sha512")  # how the names end of what tells when a SIP was made


def work(kind: str, folder: Path) -> None:
    """Export the object to FOLDER/out."""
    home, whither = Home(folder / "home"), export.Whither(folder / "out", DAY, contact="A. Keeper")
    if kind == "bag":
        export.to_bag(home, objects.URN, whither)
    elif kind == "sip":
        export.to_sip(home, objects.URN, whither, "Het Archief, e-depot")
    else:
        export.to_dip(home, objects.URN, whither, Request((), {}, "public", DAY))


def digests(folder: Path) -> dict[str, str]:
    """Return what is in an export by name, and of what does not tell its time the digest; hold it to its own sums."""
    for sums in folder.glob("SIP-*.sha512"):
        for digest, _, name in (line.partition("  ") for line in sums.read_text().splitlines()):
            [path] = (path for path in (folder / name, sums.with_suffix("") / name) if path.is_file())
            assert hashlib.sha512(path.read_bytes()).hexdigest() == digest, name
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: "" if name.endswith(OF_ITS_TIME) else hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in found.items()
    }


def times(folder: Path) -> int:
    """Return how often it is known to have left."""
    return [one["event"] for one in Events(folder / "home/custody").of(objects.URN)].count("exported")


def shown(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def try_at(kind: str, folder: Path, point: int, whole: dict[str, str]) -> None:
    """Kill one at a point, look, and do the same again."""
    before = times(folder)
    assert killing.dies(point, lambda: work(kind, folder)), point
    there = "out" in shown(folder)
    assert not there or (digests(folder / "out") == whole and times(folder) == before + 1), point
    with suppress(BadPackage):
        work(kind, folder)
        assert not there, point
    assert digests(folder / "out") == whole, point
    assert {path.name for path in folder.iterdir()} == {"home", "out"}, point
    assert Archive(folder / "home/archive").verify(objects.URN) == [], point
    shutil.rmtree(folder / "out")


def main() -> None:
    """Kill a process at each point; print how many operations there are."""
    kind, folder, tries = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    work(kind, folder)  # imports what it needs: once, before processes fork
    shutil.rmtree(folder / "out")
    dead, _, count = killing.killed(killing.NEVER, lambda _: work(kind, folder))
    assert not dead
    whole = digests(folder / "out")
    shutil.rmtree(folder / "out")
    for point in sorted({*range(0, count, count // tries if tries else 1), count - 1}):
        try_at(kind, folder, point, whole)
    print(count)


if __name__ == "__main__":
    main()
