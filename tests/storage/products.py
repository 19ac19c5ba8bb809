"""Small products for tests, made with the storage layer alone."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from terp.storage.filling import Filling
from terp.storage.grid import Group, shape_array
from terp.storage.lineage import Origin, Origins
from terp.storage.making import Layout, create
from terp.storage.product import StoredProduct
from terp.storage.writing import Written, write_region

SHAPE = (6, 40)
REGIONS = 6


def layout() -> Layout:
    """One array (x, t), cut along x into regions of one row."""
    cut = {"x": (SHAPE[0], 1)}
    group = Group("", cut, (shape_array("v", ("x", "t"), SHAPE, "float32", cut),))
    small = xr.Dataset(coords={"x": np.arange(SHAPE[0]), "t": ("t", np.arange(SHAPE[1]), {"units": "s"})})
    return Layout((group,), {"": small}, Origins({"": (Origin.of("", "", group.arrays),)}))


def new(folder: Path) -> StoredProduct:
    """Create the product, or open the one that is there."""
    return create(folder / "rows-0", "rows", "rows-0", {"stage": "rows", "code": {"rows": "1"}}, layout())


def values(index: int) -> np.ndarray[Any, Any]:
    """The values of one region: compressible, of the same stored size for all, different."""
    return np.full((1, SHAPE[1]), index + 1, "f4")


def written(filling: Filling, index: int) -> Written:
    """Do a worker's work for one region."""
    blocks = {"v": values(index)}
    done = write_region(filling.attempts, filling.product.groups[0], index, blocks)
    return Written("", index, done, 0.01, "test", reads=((index, index + 1), (0, SHAPE[1])))


def fill(product: StoredProduct) -> list[int]:
    """Make what is missing, seal, and return what was made."""
    with Filling(product) as filling:
        made = [index for _, index in filling.missing()]
        assert filling.commit([written(filling, index) for index in made]) == []
        sealed = filling.seal()
        while isinstance(sealed, list):
            again = [index for _, index in sealed]
            filling.commit([written(filling, index) for index in again])
            made += again
            sealed = filling.seal()
    return made


def fill_taking_over(product: StoredProduct) -> None:
    """Do all as a controller that takes over from one that may live."""
    with Filling(product, take_over=True) as filling:
        assert filling.commit([written(filling, index) for _, index in filling.missing()]) == []
        filling.seal()


def tree(folder: Path) -> dict[str, bytes]:
    """All files of a product's Zarr group."""
    data = folder / "data.zarr"
    return {str(p.relative_to(data)): p.read_bytes() for p in data.rglob("*") if p.is_file()}


def expected() -> np.ndarray[Any, Any]:
    """All values."""
    return np.concatenate([values(i) for i in range(REGIONS)])
