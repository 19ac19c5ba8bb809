"""How fast results are archived, beside what disk and SHA allow: `python -m benchmarks.archiving [--gib 2]`.

The same product, in the same run, again and again in turn: its shards copied and synced; hashed as the standards ask
(SHA-512 and SHA-256, a thread each); `terp`: packed in one pass and taken into an archive; `ocfl-py` makes an object of
the product's folder, and `bagit` a bag of a copy of it. Medians of the rounds. The limit is the slower of copying and
hashing. Printed too: what metadata an inner chunk costs, and how many files a TB has in products of this kind.
"""

import argparse
import hashlib
import json
import logging
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import bagit
import ocfl

from benchmarks.machine import facts
from benchmarks.package import CHUNK, COLUMNS, ROWS, made
from terp.storage.archive import Archive
from terp.storage.package import pack_product
from terp.storage.product import StoredProduct

BLOCK = 4 << 20
PROCESSES = 2  # of bagit, as terp hashes on two threads
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Results:
    """A sealed product, and the ways to put it away; each into a folder of its own that is removed again."""

    def __init__(self, work: Path, shards: int, rows: int = ROWS, columns: int = COLUMNS) -> None:
        self.work, self.product = work, made(work / "product", shards, rows, columns)
        self.chunks = shards * (rows // 256) * (columns // CHUNK)
        self.files = [path for path in self.product.data.rglob("*") if path.is_file()]
        self.bytes = sum(path.stat().st_size for path in self.files)
        self._numbers = count()

    def folder(self) -> Path:
        target = self.work / f"target{next(self._numbers)}"
        target.mkdir()
        return target

    def copy(self, target: Path) -> None:
        for number, path in enumerate(self.files):
            with path.open("rb", buffering=0) as source, (target / str(number)).open("xb", buffering=0) as file:
                while block := source.read(BLOCK):
                    file.write(block)
                os.fsync(file.fileno())

    def digests(self, _: Path) -> None:
        with ThreadPoolExecutor(2) as threads:
            for path in self.files:
                list(threads.map(_digest, (path, path), ("sha512", "sha256")))

    def terp(self, target: Path) -> Archive:
        packed = pack_product(StoredProduct(self.product.folder), target, "v")
        archive = Archive(target / "archive")
        archive.create_if_missing()
        files = {path.name: path for path in target.iterdir() if path.is_file()}
        known = {one.path.name: one.sha512 for one in packed}
        about: dict[str, Any] = {"message": "results", "user_name": "a benchmark", "created": NOON}
        archive.ingest("urn:bench", files, digests=known, move=True, **about)
        return archive

    def ocfl_py(self, target: Path) -> None:
        new = ocfl.Object(identifier="urn:bench")
        new.create(srcdir=str(self.product.data), objdir=str(target / "object"))
        os.sync()

    def bagit(self, target: Path) -> None:
        shutil.copytree(self.product.data, target / "bag")
        bagit.make_bag(str(target / "bag"), checksums=["sha512", "sha256"], processes=PROCESSES)
        os.sync()


def _digest(path: Path, name: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, name).hexdigest()


def measured(results: Results, rounds: int) -> dict[str, float]:
    """GB/s of each way, the median of some rounds."""
    ways: dict[str, Callable[[Path], object]] = {
        "copy, synced": results.copy,
        "SHA-512 and SHA-256, 2 threads": results.digests,
        "terp: pack and ingest": results.terp,
        "ocfl-py: create": results.ocfl_py,
        "bagit: copy and make": results.bagit,
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            target = results.folder()
            began = time.perf_counter()
            way(target)
            took[name].append(results.bytes / (time.perf_counter() - began) / 1e9)
            shutil.rmtree(target)
    return {name: statistics.median(rates) for name, rates in took.items()}


def described(results: Results) -> dict[str, float]:
    """What an archived object of these results has of files and metadata."""
    archive = results.terp(results.folder())
    home = next(archive.root.glob("*/*/*/*"))
    files = [path for path in home.rglob("*") if path.is_file()]
    inventory = (home / "inventory.json").stat().st_size
    table = archive.files("urn:bench")["v.zarr.zip.members.json"].stat().st_size
    return {
        "inner chunks": results.chunks,
        "inventory, bytes": inventory,
        "table of members, bytes an inner chunk": table / results.chunks,
        "files of the object": len(files),
        "bytes of the object": sum(path.stat().st_size for path in files),
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, and return what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--place", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    for noisy in ("bagit", "ocfl"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(dir=options.place) as folder:
        results = Results(Path(folder), max(1, round(options.gib * 4)))
        rates = measured(results, options.rounds)
        most = min(rates["copy, synced"], rates["SHA-512 and SHA-256, 2 threads"])
        for name, rate in rates.items():
            print(f"{name:32} {rate:6.2f} GB/s  {100 * rate / most:4.0f} % of the limit")
        about = described(results)
        for name, value in about.items():
            print(f"{name}: {value:,.1f}")
    found = {"machine": facts(), "rates": rates, "object": about}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    main()
