"""How fast an audit reads, beside what disk and SHA-512 allow: `python -m benchmarks.audit [--gib 2] [--files 2000]`.

The same bytes, in the same run, again and again in turn: `cat` to nowhere, SHA-512 of the files by hashlib on one and
two threads, `terp`'s audit, and `ocfl-py` and `bagit` as they validate. One package is hashed by one thread, as SHA-512
cannot be divided; many files by two. The best of all rounds counts, for each; processor seconds are told beside, as
they say what a machine with other work would hide.
"""

import argparse
import hashlib
import json
import logging
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bagit
import numpy as np
import ocfl

from benchmarks.machine import facts
from terp.storage.archive import Archive
from terp.storage.audit import Order, audit
from terp.storage.package import Member, pack
from terp.storage.places import Folder

SHARD = 64 << 20
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def package(work: Path, gib: float) -> dict[str, Path]:
    """One package of an array in shards of 64 MiB, of noise, with its table."""
    rng, members = np.random.default_rng(1), []
    (work / "zarr.json").write_text('{"zarr_format":3,"node_type":"group"}')
    paths = {"zarr.json": work / "zarr.json"}
    count = max(int(gib * 2**30) // SHARD, 1)
    for number in range(count):
        path = work / f"shard{number}"
        path.write_bytes(rng.bytes(SHARD))
        paths[f"v/c/{number}/0"] = path
    members = [Member(name, path, path.stat().st_size) for name, path in paths.items()]
    packed = pack(members, work / "noise.zarr.zip")
    for path in paths.values():
        path.unlink()
    array = {"name": "v", "dims": ["x", "t"], "shape": [count, SHARD], "shard": [1, SHARD]}
    rows = [
        {
            "package": 0,
            "name": e.name,
            "offset": e.offset,
            "size": e.size,
            "crc32": f"{e.crc32:08x}",
            "blake3": e.blake3,
        }
        for e in packed.members
    ]
    about = {"name": packed.path.name, "size": packed.size, "sha512": packed.sha512}
    table = {"groups": [{"path": "", "arrays": [array]}], "packages": [about], "members": rows}
    (work / "noise.zarr.zip.members.json").write_text(json.dumps(table))
    return {path.name: path for path in (packed.path, work / "noise.zarr.zip.members.json")}


def many(work: Path, count: int) -> dict[str, Path]:
    """So many files of half a MiB, of noise."""
    rng = np.random.default_rng(2)
    for number in range(count):
        (work / f"file{number:05}").write_bytes(rng.bytes(1 << 19))
    return {path.name: path for path in work.iterdir()}


class Held:
    """The same files as an OCFL object in an archive, and in a bag."""

    def __init__(self, folder: Path, make: Callable[[Path], dict[str, Path]]) -> None:
        work = folder / "work"
        work.mkdir(parents=True)
        files = make(work)
        self.bytes = sum(path.stat().st_size for path in files.values())
        self.bag = folder / "bag"
        self.bag.mkdir()
        for name, path in files.items():
            shutil.copyfile(path, self.bag / name)
        bagit.make_bag(str(self.bag), checksums=["sha512"], processes=2)
        self.archive = Archive(folder / "archive")
        self.archive.create_if_missing()
        self.archive.ingest("urn:bench", files, message="noise", user_name="a benchmark", created=NOON, move=True)
        self.files = list(self.archive.files("urn:bench").values())
        self.custody = folder / "custody"

    def terp(self) -> None:
        report = audit(Order((Folder("archive", self.archive.root),), self.custody, ("archive",)))
        assert report.exit_code == 0, report.text()

    def ocfl_py(self) -> None:
        assert ocfl.StorageRoot(root=str(self.archive.root)).validate()

    def bagit(self, processes: int) -> None:
        bagit.Bag(str(self.bag)).validate(processes=processes)

    def cat(self) -> None:
        for at in range(0, len(self.files), 500):
            subprocess.run(["cat", *map(str, self.files[at : at + 500])], stdout=subprocess.DEVNULL, check=True)

    def sha(self, threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(_sha512, self.files))


def _sha512(path: Path) -> str:
    digest, buffer = hashlib.sha512(), memoryview(bytearray(4 << 20))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def processor() -> float:
    """Seconds of processors that this process and its children took so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measured(held: Held, rounds: int) -> dict[str, tuple[float, float]]:
    """GB/s of each, and processor seconds for a GB, the best of some rounds."""
    ways: dict[str, Callable[[], None]] = {
        "cat > /dev/null": held.cat,
        "SHA-512, 1 thread": lambda: held.sha(1),
        "SHA-512, 2 threads": lambda: held.sha(2),
        "terp audit": held.terp,
        "ocfl-py validate": held.ocfl_py,
        "bagit validate, 1 process": lambda: held.bagit(1),
        "bagit validate, 2 processes": lambda: held.bagit(2),
    }
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            began, used = time.perf_counter(), processor()
            way()
            rate = held.bytes / (time.perf_counter() - began) / 1e9
            weight = (processor() - used) / held.bytes * 1e9
            before = best.get(name, (0.0, weight))
            best[name] = max(before[0], rate), min(before[1], weight)
    return best


def limit(rates: dict[str, tuple[float, float]]) -> float:
    """What disk and SHA-512 allow: `terp` cannot be faster than either, however many threads hash."""
    return min(
        rates["cat > /dev/null"][0], max(rates[f"SHA-512, {threads}"][0] for threads in ("1 thread", "2 threads"))
    )


def table(title: str, rates: dict[str, tuple[float, float]]) -> str:
    most = limit(rates)
    rows = [
        f"{name:30} {rate:6.2f} GB/s  {100 * rate / most:5.0f} % of the limit  {weight:5.2f} processor s a GB"
        for name, (rate, weight) in rates.items()
    ]
    return "\n".join([title, *rows])


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, and return what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--place", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    for noisy in ("bagit", "ocfl"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    found: dict[str, Any] = {"machine": facts()}
    with tempfile.TemporaryDirectory(dir=options.place) as folder:
        cases = {
            f"one package of {options.gib:g} GiB": lambda work: package(work, options.gib),
            f"{options.files:,} files of 512 KiB": lambda work: many(work, options.files),
        }
        for number, (title, make) in enumerate(cases.items()):
            held = Held(Path(folder) / str(number), make)
            found[title] = measured(held, options.rounds)
            print(table(title, found[title]), flush=True)
            shutil.rmtree(Path(folder) / str(number))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    main()
