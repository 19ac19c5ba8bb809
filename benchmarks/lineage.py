"""What lineage weighs, and how long a question takes: `python -m benchmarks.lineage [--regions 1000 100000 1000000]`.

A source, a map, a stage with a halo and a reduction over all, each of so many regions. Their ledgers are written
directly and there are no shards, so that it is only the record that is measured. Asked is about the one region of the
result, which all of them went into; and, by the command `terp why` as a process of its own, about one value of the halo
by its labels, as a working product and as an archived object.
"""

import argparse
import json
import math
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import google_crc32c
import numpy as np
import xarray as xr

from terp.storage import lineage
from terp.storage.archive import Archive
from terp.storage.canonical import canonical
from terp.storage.descent import ARCHIVED, descent, found_in, pack
from terp.storage.grid import Group, shape_array
from terp.storage.home import Home
from terp.storage.lineage import Origin, Origins
from terp.storage.making import Layout, create
from terp.storage.package import packing, table
from terp.storage.product import StoredProduct
from terp.storage.runs import Put
from terp.storage.sealing import closed, lineage_written
from terp.storage.segments import making

BLOCK, REACH, FAN, WIDTH = 10, 3, 16, 64
OBJECT = "urn:terp:halo:0"
LABELS = "time=1950-01-05", "lat=5"
Boxes = np.ndarray[Any, Any]


def timed(what: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Return seconds that something took."""
    began = clock()
    what()
    return clock() - began


def own(grid: tuple[int, int], reach: int = 0) -> Boxes:
    """The box of each region of a grid, along time, lat and lon, with a halo along time."""
    time_, lat = (place.reshape(-1) for place in np.indices(grid))
    first = np.stack([time_ * BLOCK - reach, lat * BLOCK, 0 * lat], 1)
    last = np.stack([(time_ + 1) * BLOCK + reach, (lat + 1) * BLOCK, 0 * lat + WIDTH], 1)
    return np.stack([first.clip(0), np.minimum(last, [grid[0] * BLOCK, grid[1] * BLOCK, WIDTH])], 2)


def parts(below: int, count: int) -> Boxes:
    """The run of partial results that each of a level's regions combines, all for one that finishes."""
    fan = FAN if count > 1 else below
    first = np.arange(count) * fan
    return np.stack([first, np.minimum(first + fan, below)], 1)[:, None]


class Chain:
    """Products in a folder, each made of the one before."""

    def __init__(self, folder: Path, regions: int) -> None:
        self.folder = folder
        rows = 10 ** (round(math.log10(regions)) // 2)
        grid = rows, regions // rows
        cut = {"time": (grid[0] * BLOCK, BLOCK), "lat": (grid[1] * BLOCK, BLOCK)}
        space = ("time", "lat", "lon"), (grid[0] * BLOCK, grid[1] * BLOCK, WIDTH)
        self.products = [self.product("source", cut, *space, own(grid))]
        self.add("map", cut, *space, own(grid))
        self.add("halo", cut, *space, own(grid, REACH))
        self.add("blocks", {"part": (regions, 1)}, ("part",), (regions,), own(grid))
        while regions > FAN:
            below, regions = regions, -(-regions // FAN)
            self.add(f"level{regions}", {"part": (regions, 1)}, ("part",), (regions,), parts(below, regions))
        self.add("result", {"x": (1, 1)}, ("x",), (1,), parts(regions, 1))

    def add(self, name: str, *what: Any) -> None:
        """Add a product that is made of the last."""
        self.products.append(self.product(name, *what))

    def product(
        self, name: str, cut: dict[str, tuple[int, int]], dims: tuple[str, ...], shape: tuple[int, ...], boxes: Boxes
    ) -> StoredProduct:
        """Make a sealed product without shards, for whose regions these boxes were read."""
        group = Group("", cut, (shape_array("v", dims, shape, "float32", cut),))
        below = self.products[-1] if name != "source" else None
        read = below.groups[0] if below else group
        origins = Origins({"": (Origin.of(below.key if below else "", "", read.arrays),)})
        made_of = {"stage": name, "code": {}, "source": {"": "0" * 64}}
        schema = xr.Dataset(coords={dim: labels(dim, size) for dim, (size, _) in cut.items() if dim in ("time", "lat")})
        product = create(self.folder / name, name, name, made_of, Layout((group,), {"": schema}, origins))
        recorded(product, boxes)
        sealed(product)
        return product


def labels(dim: str, size: int) -> Boxes:
    """Days, or degrees."""
    days = np.datetime64("1950-01-01", "ns") + np.arange(size) * np.timedelta64(1, "D")
    return days if dim == "time" else np.linspace(-90, 90, size)


def recorded(product: StoredProduct, boxes: Boxes) -> None:
    """Write a ledger as its controller would have."""
    rows = np.zeros(len(boxes), product.ledger.type)
    rows["index"], rows["seconds"], rows["when"], rows["reads"] = np.arange(len(boxes)), 1, time.time(), boxes
    rows["stored"]["size"] = 1000
    size = rows.itemsize
    bodies = (body for (body,) in struct.iter_unpack(f"{size - 4}s4x", rows.tobytes()))
    rows["crc32c"] = np.fromiter(map(google_crc32c.value, bodies), "<u4", len(rows))
    product.ledger.claim()
    (product.folder / "ledger/000001.rows").write_bytes(rows.tobytes())


def sealed(product: StoredProduct) -> None:
    """Write manifest, lineage and seal of a product as filling it would have."""
    closed(product, product.ledger, put_into(product.folder))


def put_into(folder: Path) -> Put:
    """Return what makes the files of a product in a folder, synced by nobody."""

    def put[T](name: str, write: Callable[[int], T], /) -> T:
        with (folder / name).open("wb") as file:
            return write(file.fileno())

    return put


def archived(home: Home, halo: StoredProduct, below: Sequence[StoredProduct]) -> Path:
    """Archive the halo as a run would have, but for its shards; return where its table is."""
    folder = home.root / "made"
    folder.mkdir()
    pack({"halo": halo.key}, [*below, halo], folder / ARCHIVED)
    small = [packing.Member(one.key, halo.data / one.key, one.size, None, one.blake3) for one in halo.small_files]
    packed = packing.pack(small, folder / f"halo{table.PACKAGE}")
    about = {"name": packed.path.name, "size": packed.size, "sha256": packed.sha256, "sha512": packed.sha512}
    told = {"format": table.FORMAT, "bands": None, "most": 1, "packages": [about], "small": 0, "members": []}
    told |= {"groups": [one.to_json() for one in halo.groups], "stored": "0" * 64, "values": "0" * 64}
    before, behind = canonical(told).split(b'"members":[')
    path = folder / f"halo{table.MEMBERS}"
    path.write_bytes(before + b'"members":[' + b",".join(rows_of(halo, packed)) + behind)
    names = ARCHIVED, packed.path.name, path.name
    Archive(home.archive).create_if_missing()
    files = {name: folder / name for name in names}
    Archive(home.archive).ingest(OBJECT, files, message="", user_name="who", created=datetime.now(UTC), move=True)
    return Archive(home.archive).files(OBJECT)[path.name]


def rows_of(product: StoredProduct, packed: packing.Packed) -> Iterator[bytes]:
    """Walk the rows of a table, in order: of what is packed, and of shards that are not."""
    [group] = product.groups
    shards = ((packing.rank(key), key, None) for key in group.keys(np.arange(group.regions)))
    for _, name, one in sorted((*shards, *((packing.rank(one.name), one.name, one) for one in packed.members))):
        row: dict[str, Any] = {"name": name, "package": 0, "crc32": "0" * 8, "blake3": "0" * 64}
        if one:
            row |= {"offset": one.offset, "size": one.size, "blake3": one.blake3}
        else:
            row |= {"key": name, "offset": 10**9, "size": 1000, "values": "0" * 64}
        yield json.dumps(row, sort_keys=True, separators=(",", ":")).encode()


def commanded(home: Home, *words: str) -> tuple[float, float]:
    """Return wall and CPU seconds of `terp why` as a process of its own: medians of seven."""
    command = [sys.executable, "-m", "terp.workflows.cli", "why", *words, *(f"--at={label}" for label in LABELS)]
    wall, spent = list[float](), list[float]()
    for _ in range(7):
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "TERP_HOME": str(home.root)})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall.append(time.perf_counter() - began)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return round(median(wall), 2), round(median(spent), 2)


def measured(home: Home, regions: int) -> dict[str, Any]:
    """Measure one chain."""
    folder = home.products
    folder.mkdir()
    chain = Chain(folder, regions)
    *below, halo = chain.products[:3]
    ledger = halo.ledger

    def ask() -> list[Any]:
        return list(descent(found_in(folder), "result", "", [0]))

    def one_row() -> None:
        StoredProduct(halo.folder).lineage.of("", np.array([regions // 2]))

    def seal() -> None:
        lineage_written(halo, ledger, put_into(folder))

    members = archived(home, halo, below)
    working, kept = commanded(home, halo.key), commanded(home, OBJECT)
    steps = ask()
    assert [step.count for step in steps if step.key == "source"] == [regions], "every region is found"
    return {
        "regions": regions,
        "products": len(chain.products),
        "bytes of a region's lineage in the ledger": halo.origins.type.itemsize,
        "bytes of a region's row in the ledger": ledger.type.itemsize,
        "bytes of a region at rest": round(
            sum((halo.folder / one).stat().st_size for one in lineage.NAMES) / regions, 1
        ),
        "bytes of a region in lineage.zip, of 3 products": round(
            Archive(home.archive).files(OBJECT)[ARCHIVED].stat().st_size / regions, 1
        ),
        "bytes of a region in the table of members": round(members.stat().st_size / regions),
        "seconds to seal the lineage": best(seal),
        "seconds to find one region's row": best(one_row),
        "seconds to find who made one region": best(lambda: making(halo.folder / "ledger", 1, halo.origins.type, 0, 1)),
        "seconds for why, over all": best(ask),
        "of which of a processor": best(ask, time.process_time),
        "seconds of terp why, of a product": working[0],
        "of which of a processor, for it": working[1],
        "seconds of terp why, of an archived object": kept[0],
        "of which of a processor, for that": kept[1],
    }


def best(what: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the least of five times, in seconds."""
    return round(min(timed(what, clock) for _ in range(5)), 4)


def told(results: list[dict[str, Any]]) -> Iterator[str]:
    """Walk the lines of a table."""
    for name in results[0]:
        yield f"{name:48}" + "".join(f"{result[name]:>14,}" for result in results)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lineage", description=__doc__)
    parser.add_argument("--regions", type=int, nargs="+", default=[10**3, 10**5, 10**6], help="powers of ten")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    asked = parser.parse_args()
    results = []
    for regions in asked.regions:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measured(Home(Path(folder)), regions))
    print("\n".join(told(results)))
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
