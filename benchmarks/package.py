"""Open a package and read one inner chunk out of it: `python -m benchmarks.package`; terp beside zarr's own ZipStore.

The package is real: as many whole shards as make its size, chunks of 1 MiB that LZ4 does not shrink. All of it lies in
the page cache if there is room, so what is measured is the reader. Bytes are those that the process reads by any call,
as the kernel counts them (/proc/self/io); a chunk is another one each time. `--members` is how many shards a second
package has, tiny ones, of which only the opening is measured. `--chunks` is how many inner chunks a third has, the
smallest that there can be: what is told of it is how large the metadata become that the archive keeps beside it.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import batched
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

import terp.storage
from benchmarks import environments
from terp.storage.archive import Archive
from terp.storage.filling import Filling
from terp.storage.grid import Group, shape_array
from terp.storage.making import Layout, create
from terp.storage.package import pack_product
from terp.storage.package.zipstore import PackageStore
from terp.storage.product import StoredProduct
from terp.storage.writing import Written, write_region

COLUMNS, CHUNK = 1 << 15, 1 << 10  # of an array; a shard has 2048 rows of them: 256 MiB
ROWS, TINY = 2048, 16
FEW = (64, 32)  # chunks of a shard where these are one value each
CHUNK_BYTES = 4 * 256 * CHUNK


@dataclass(frozen=True)
class Took:
    """What something took: milliseconds and bytes read."""

    ms: float
    read: int


def made(folder: Path, shards: int, rows: int, columns: int, chunk: tuple[int, int] = (256, CHUNK)) -> StoredProduct:
    """Make a product of so many shards, which differ in a value."""
    cut = {"t": (shards * rows, rows)}
    array = shape_array("v", ("t", "x"), (shards * rows, columns), "f4", cut, {"t": min(rows, chunk[0]), "x": chunk[1]})
    group = Group("", cut, (array,))
    schema = xr.Dataset(coords={"x": np.arange(columns)})
    product = create(folder / "v-0", "v", "v-0", {}, Layout((group,), {"": schema}).stored(True, "lz4-5-shuffle"))
    block = np.random.default_rng(1).random((rows, columns), "f4")
    with Filling(product) as filling:
        for places in batched(list(filling.missing()), 64, strict=False):
            done = []
            for _, index in places:
                block[0, 0] = index
                stored = write_region(filling.attempts, product.groups[0], index, {"v": block})
                done.append(Written("", index, stored, 0.0, "w"))
            filling.commit(done)
        filling.seal()
    return product


def read_bytes() -> int:
    """Return how many bytes this process has read so far."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("rchar"):
            return int(line.split()[1])
    raise AssertionError


def measured(work: Callable[[], Any]) -> tuple[Any, Took]:
    """Do something; return what it returned and what it took, without what it takes to look."""
    looking = -read_bytes()
    looking += read_bytes()
    before, began = read_bytes(), time.perf_counter()
    found = work()
    took = time.perf_counter() - began
    return found, Took(1000 * took, read_bytes() - before - looking)


def openers(package: Path) -> dict[str, Callable[[], Any]]:
    """Return the ways to open the array of a package."""
    from terp.storage.package import zipstore

    def joined() -> Any:
        return terp.storage.open(package)["v"]

    def store() -> Any:
        zipstore._members.cache_clear()  # what is known of it from the time before
        return zarr.open_array(PackageStore(package), path="v", mode="r", zarr_format=3)

    def zarrs() -> Any:
        return zarr.open_array(zarr.storage.ZipStore(package, read_only=True), path="v", mode="r", zarr_format=3)

    def whole() -> Any:
        zipstore._members.cache_clear()
        return joined()

    return {"terp.storage.open": whole, "PackageStore, zarr": store, "zarr's ZipStore": zarrs}


def picks(shape: tuple[int, ...], count: int) -> Iterator[tuple[slice, slice]]:
    """Yield chunks, each within another one, anywhere."""
    random, (rows, columns) = np.random.default_rng(2), shape
    for t, x in zip(
        random.integers(rows // 256, size=count), random.integers(columns // CHUNK, size=count), strict=True
    ):
        yield slice(int(t) * 256, int(t + 1) * 256), slice(int(x) * CHUNK, int(x + 1) * CHUNK)


def measure(package: Path, rounds: int, each: int) -> dict[str, dict[str, Any]]:
    """Open and read by each way in turn, round by round; return medians."""
    took: dict[str, dict[str, list[Took]]] = {name: {"open": [], "chunk": []} for name in openers(package)}
    for number in range(rounds):
        for name, opener in openers(package).items():
            array, opening = measured(opener)
            took[name]["open"].append(opening)
            for place in list(picks(array.shape, each if "ZipStore" not in name else 3))[number:]:
                values, one = measured(partial(_read, array, place))
                assert values.shape == (256, CHUNK)
                took[name]["chunk"].append(one)
    return {name: {what: _medians(some) for what, some in both.items()} for name, both in took.items()}


def metadata_of(folder: Path, chunks: int) -> dict[str, Any]:
    """Archive a product of so many inner chunks; return how large what is kept beside it is."""
    shards = -(-chunks // math.prod(FEW))
    [packed] = pack_product(made(folder / "chunks", shards, *FEW, (1, 1)), folder, "chunks")
    table = packed.path.with_name(f"{packed.path.name}.members.json")
    archive = Archive(folder / "archive")
    archive.create_if_missing()
    files = {path.name: path for path in (packed.path, table)}
    archive.ingest("urn:chunks", files, message="a benchmark", user_name="a benchmark", created=datetime.now(UTC))
    [inventory, *_] = sorted(archive.root.rglob("inventory.json"), key=lambda path: len(path.parts))
    return {
        "chunks": shards * math.prod(FEW),
        "shards": shards,
        "table, bytes": table.stat().st_size,
        "inventory, bytes": inventory.stat().st_size,
        "table, bytes a chunk": round(table.stat().st_size / (shards * math.prod(FEW)), 3),
    }


def _read(array: Any, place: tuple[slice, slice]) -> Any:
    return np.asarray(array[place])


def _medians(some: list[Took]) -> dict[str, float]:
    return {
        "ms": round(statistics.median(one.ms for one in some), 3),
        "worst ms": round(max(one.ms for one in some), 3),
        "bytes": statistics.median(one.read for one in some),
        "of a chunk": round(statistics.median(one.read for one in some) / CHUNK_BYTES, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.package", description=__doc__)
    parser.add_argument("--gb", type=float, default=10, help="size of the package (default: 10); twice that is needed")
    parser.add_argument("--members", type=int, default=10_000, help="shards of the package that is only opened")
    parser.add_argument("--chunks", type=int, default=1_000_000, help="inner chunks of which the metadata are measured")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--place", type=Path, default=environments.CACHE, help="where the data are, while they are")
    asked = parser.parse_args()
    asked.place.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="package-", dir=asked.place) as place:
        folder = Path(place)
        shards = max(round(asked.gb * 1e9 / (4 * ROWS * COLUMNS)), 1)
        [large] = pack_product(made(folder / "large", shards, ROWS, COLUMNS), folder, "large")
        told["package"] = {"bytes": large.size, "shards": shards, "chunks": shards * (ROWS // 256) * (COLUMNS // CHUNK)}
        told |= measure(large.path, asked.rounds, 40)
        if asked.members:
            [many] = pack_product(made(folder / "many", asked.members, 1, TINY), folder, "many")
            told["many members"] = {"members": asked.members} | {
                name: _medians([measured(opener)[1]]) for name, opener in openers(many.path).items()
            }
        if asked.chunks:
            told["metadata"] = metadata_of(folder, asked.chunks)
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
