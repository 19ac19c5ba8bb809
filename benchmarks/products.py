"""`python -m benchmarks.products`: write and read a product beside zarr-python and the disk; ratios are what counts.

A float32 field of smooth noise in shards of 64 MiB with inner chunks of 1 MiB, zstd with bitshuffle and CRC32C.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from benchmarks.rates import Seconds, run
from terp.storage.filling import Filling
from terp.storage.grid import Group, shape_array
from terp.storage.making import Layout, create
from terp.storage.product import StoredProduct
from terp.storage.writing import Written, write_region

ROWS, COLUMNS = 4096, 4096  # one shard: 64 MiB of float32


def field(shards: int) -> np.ndarray[Any, Any]:
    """Return smooth noise: what sensors give, quantised to a thousandth."""
    random = np.random.default_rng(1)
    walk = np.cumsum(random.normal(size=(shards * ROWS, COLUMNS)).astype("f4"), axis=1)
    return np.round(walk, 3)


def layout(shards: int) -> Layout:
    """Return the product's layout: one array, a shard a block of rows."""
    import xarray as xr

    cut = {"y": (shards * ROWS, ROWS)}
    array = shape_array("v", ("y", "x"), (shards * ROWS, COLUMNS), "float32", cut)
    return Layout((Group("", cut, (array,)),), {"": xr.Dataset()})


def write_terp(folder: Path, data: np.ndarray[Any, Any], shards: int) -> None:
    """Write as a worker and a controller do: encode, digest, sync, publish, record."""
    product = create(folder, "bench", "bench-0", {"code": {}}, layout(shards))
    with Filling(product) as filling:
        group = product.groups[0]
        for index in range(shards):
            block = data[index * ROWS : (index + 1) * ROWS]
            done = write_region(filling.attempts, group, index, {"v": block})
            filling.commit([Written("", index, done, 0.0, "bench")])
        filling.seal()


def write_zarr(folder: Path, data: np.ndarray[Any, Any], _: int) -> None:
    """Write with zarr-python and the same codecs; no digests, no sync, no ledger."""
    from zarr.codecs import BloscCodec, Crc32cCodec

    array = zarr.create_array(
        folder,
        shape=data.shape,
        shards=(ROWS, COLUMNS),
        chunks=(512, 512),
        dtype="f4",
        compressors=(BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"), Crc32cCodec()),
    )
    for start in range(0, data.shape[0], ROWS):
        array[start : start + ROWS] = data[start : start + ROWS]


def write_plain(folder: Path, data: np.ndarray[Any, Any], _: int) -> None:
    """Write the plain numbers to one file and sync it: what the disk takes."""
    folder.mkdir()
    with (folder / "plain").open("wb") as file:
        file.write(memoryview(data).cast("B"))
        os.fsync(file.fileno())


def read_terp(folder: Path) -> np.ndarray[Any, Any]:
    """Read with every shard proven."""
    return np.asarray(StoredProduct(folder).open()["v"].to_numpy())


def read_zarr(folder: Path) -> np.ndarray[Any, Any]:
    """Read with zarr-python alone."""
    return np.asarray(zarr.open_array(folder, mode="r")[:])


def read_plain(folder: Path) -> np.ndarray[Any, Any]:
    """Read the plain numbers."""
    return np.fromfile(folder / "plain", "f4").reshape(-1, COLUMNS)


Write = Callable[[Path, np.ndarray[Any, Any], int], None]
Read = Callable[[Path], np.ndarray[Any, Any]]
PEERS: dict[str, tuple[Write, Read]] = {
    "terp": (write_terp, read_terp),
    "zarr-python": (write_zarr, read_zarr),
    "plain file": (write_plain, read_plain),
}


def measure(shards: int, rounds: int, place: Path) -> Seconds:
    """Return seconds of each peer's writing and reading, interleaved round by round."""
    data = field(shards)
    found: Seconds = {name: {"write": [], "read": []} for name in PEERS}
    for number in range(rounds):
        for name, (write, read) in PEERS.items():
            folder = place / f"{name.replace(' ', '-')}-{number}"
            started = time.perf_counter()
            write(folder, data, shards)
            written = time.perf_counter()
            result = read(folder)
            found[name]["read"].append(time.perf_counter() - written)
            found[name]["write"].append(written - started)
            assert np.array_equal(result, data), f"{name} gave back other numbers"
            shutil.rmtree(folder)
    return found


if __name__ == "__main__":
    run(__doc__, ROWS * COLUMNS * 4, "zarr-python", measure)
