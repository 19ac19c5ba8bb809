"""A product that grows along time, for tests of its bands; or packed by processes that are killed.

`banded.py PRODUCT FOLDER POINT ...` packs it in FOLDER/POINT for each point, which is the number of a file operation
before which the process kills itself; it prints for each whether it was killed (1 or 0) and how many there were.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
import killing

from terp.storage.filling import Filling
from terp.storage.grid import Group, shape_array
from terp.storage.making import Layout, create
from terp.storage.package import pack_product
from terp.storage.product import Seal, StoredProduct
from terp.storage.writing import Written, write_region

BLOCK, WIDE = 4, 6  # rows of a shard of the main group, of that of the other
ROWS = 24  # of a band, at MOST
MOST = 180_000


def whole(length: int) -> dict[str, xr.Dataset]:
    """The values of each group: what a longer one begins with is the same."""
    row = np.arange(length, dtype="f4")
    wind = np.random.default_rng(7).normal(size=(1000, 5, 8)).astype("f4")[:length]
    wind[3, 2, 1], wind[-1, -1, -1] = np.nan, -0.0
    time = xr.Variable("time", row.astype("i8") * 6, {"units": "hours since 2001-01-01"})
    name = xr.Variable("time", np.array([f"é{n}" * (n % 3) for n in range(length)], "O"))
    bounds = xr.Variable(("time", "edge"), np.stack([row, row + 1], 1).astype("f8"))
    root = xr.Dataset(
        {
            "wind": (("time", "y", "x"), wind, {"units": "m s-1"}),
            "gust": (("x", "time", "y"), wind.transpose(2, 0, 1).astype("f8")),
        },
        {"time": time, "y": np.arange(5) * 0.5, "x": np.arange(8), "name": name, "bounds": bounds, "pole": 90.0},
        {"title": "Winds"},
    )
    rain = xr.Dataset({"rain": (("y", "time"), wind[:, :3, 0].T * 2)}, {"time": time, "y": np.arange(3)})
    still = xr.Dataset({"height": (("y", "x"), wind[0])}, {"y": np.arange(5), "x": np.arange(8)})
    return {"": root, "wet/rain": rain, "still": still}


CUTS = {"": {"time": BLOCK, "y": 3}, "wet/rain": {"time": WIDE}, "still": {"y": 2}}


def made(folder: Path, length: int) -> StoredProduct:
    """Make the product of so many rows, and seal it."""
    groups, schemas = [], {}
    for path, data in whole(length).items():
        cut = {dim: (data.sizes[dim], block) for dim, block in CUTS[path].items()}
        arrays = tuple(
            replace(shape_array(str(name), tuple(map(str, one.dims)), one.shape, str(one.dtype), cut), attrs=one.attrs)
            for name, one in data.data_vars.items()
        )
        groups.append(Group(path, cut, arrays))
        schemas[path] = data.drop_vars(list(data.data_vars))
    product = create(folder / "winds-0", "winds", "winds-0", {"stage": "winds"}, Layout(tuple(groups), schemas))
    data = whole(length)
    with Filling(product) as filling:
        done = []
        for path, index in filling.missing():
            group = product.group(path)
            box = group.box(index)
            blocks = {
                one.name: np.ascontiguousarray(
                    data[path][one.name].isel({d: part for d, part in box.items() if d in one.dims}).values
                )
                for one in group.arrays
            }
            done.append(Written(path, index, write_region(filling.attempts, group, index, blocks), 0.01, "test"))
        filling.commit(done)
        assert isinstance(filling.seal(), Seal)
    return product


def main() -> None:
    """Pack, once for each point, each time in a process of its own."""
    product = StoredProduct(Path(sys.argv[1]))
    for point in map(int, sys.argv[3:]):
        target = Path(sys.argv[2]) / str(point)
        target.mkdir(parents=True)
        dead, _, count = killing.killed(point, lambda _, at=target: pack_product(product, at, "winds", MOST))
        print(int(dead), count, flush=True)


if __name__ == "__main__":
    main()
