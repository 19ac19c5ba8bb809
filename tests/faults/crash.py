"""Fill and seal a tiny product in processes that are killed: `crash.py TEMPLATE FOLDER POINT ...`.

A point is the number of a file operation (counted from 0) before which a process kills itself; a write is cut in the
middle. Each works in FOLDER/POINT, which begins as a copy of TEMPLATE. For each a line is printed: whether it was
killed (1 or 0), how many operations there were, and the numbers of recorded regions as it learnt them.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray.backends.zarr  # noqa: F401 (once, before processes fork)

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "storage"))
import killing
import products

from terp.storage import files
from terp.storage.filling import Filling

BATCH = 2


def prepare(scenario: str, folder: Path) -> None:
    """Make what a scenario begins with: nothing, or a sealed product with one shard lost, one short and one astray."""
    if scenario == "mend":
        product = products.new(folder)
        products.fill(product)
        shards = product.data / "v" / "c"
        (shards / "1" / "0").unlink()
        (shards / "3" / "0").write_bytes(b"short")
        (shards / "4" / "1").write_bytes(b"astray")


def work(folder: Path, tell: Callable[[str], Any]) -> None:
    """Do all that is missing in small batches, as a controller does, and seal."""
    product = products.new(folder)
    with Filling(product) as filling:
        todo = [index for _, index in filling.missing()]
        while todo:
            batch, todo = todo[:BATCH], todo[BATCH:]
            assert filling.commit([products.written(filling, index) for index in batch]) == []
            tell(f"{filling.ledger.count} ")
        filling.seal()


def main() -> None:
    """Kill a process at each point."""
    files.GLANCE = 0.0  # what is gone here is gone for good
    products.layout()  # imports what it needs: once, before processes fork
    template, folder, *points = sys.argv[1:]
    for point in points:
        place = Path(shutil.copytree(template, Path(folder) / point))
        dead, said, count = killing.killed(int(point), lambda tell, place=place: work(place, tell))
        print(int(dead), count, said, flush=True)


if __name__ == "__main__":
    main()
