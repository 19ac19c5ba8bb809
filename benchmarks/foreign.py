"""Read boxes of what others wrote as Zarr, `python -m benchmarks.foreign`: terp, zarr-python, zarrs and tensorstore.

A float32 sensor field of 256 MiB in five layouts. Each reader is a process on one core, with the memory settings of a
worker, and reads a shard (or 2 x 4 chunks) at a time out of the page cache: what a region of an ingest reads. GB/s of
values, by the processor's time, as the readers take turns on a machine that others may use; medians.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import environments

ROWS, BOXES = 2048, 8
SHAPE, SHARD, CHUNK, ALONE = (ROWS * BOXES, 4096), (ROWS, 4096), (256, 512), (1024, 1024)
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "BLOSC_NTHREADS", "NUMBA_NUM_THREADS"), "1"),
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
}
PIPELINES = {
    "zarr-python": "zarr.core.codec_pipeline.BatchedCodecPipeline",
    "zarr-python, fused": "zarr.core.codec_pipeline.FusedCodecPipeline",
    "zarrs": "zarrs.ZarrsCodecPipeline",
}
READERS = {"terp": "", "xarray": "", "zarr-python": "", "zarr-python, fused": "", "zarrs": "zarrs"}
READERS |= {"tensorstore": "tensorstore"}
LAYOUTS = ("sharded", "sharded lz4", "sharded zstd", "v3 zstd", "v2 zstd")
Read = Callable[[slice], Any]


def make(place: Path) -> None:
    """Write the field in all layouts."""
    import numcodecs
    import zarr
    from zarr.codecs import BloscCodec

    walk = np.cumsum(np.random.default_rng(1).normal(size=SHAPE).astype("f4"), axis=0) * np.float32(0.01) + 10
    shards: dict[str, Any] = {"shards": SHARD, "chunks": CHUNK, "dimension_names": ("t", "x")}
    ways: dict[str, dict[str, Any]] = {
        "sharded": {**shards, "compressors": None},
        "sharded lz4": {**shards, "compressors": BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")},
        "sharded zstd": shards,
        "v3 zstd": {"chunks": ALONE, "dimension_names": ("t", "x")},
        "v2 zstd": {"chunks": ALONE, "compressors": numcodecs.Zstd(level=1), "zarr_format": 2},
    }
    ways["v2 zstd"]["attributes"] = {"_ARRAY_DIMENSIONS": ["t", "x"]}
    for name, way in ways.items():
        zarr.create_group(place / name, zarr_format=way.get("zarr_format", 3))
        made = zarr.create_array(place / name, name="v", shape=SHAPE, dtype="f4", fill_value=float("nan"), **way)
        made[...] = walk


def reader(name: str, folder: Path) -> Read:
    """Return what reads rows of the field."""
    if name == "tensorstore":
        return by_tensorstore(folder)
    if name == "terp":
        from terp.storage.ingest import recognise

        data = recognise(folder).read(folder)[""]
        return lambda box: data.isel(t=box).load().v.values
    import zarr

    zarr.config.set({"threading.max_workers": 1, "codec_pipeline.max_workers": 1, "async.concurrency": 1})
    if name == "xarray":
        import xarray as xr

        opened = xr.open_dataset(folder, engine="zarr", consolidated=False, cache=False, chunks=None)
        return lambda box: opened.isel(t=box).load().v.values
    if name == "zarrs":
        import zarrs  # noqa: F401
    with zarr.config.set({"codec_pipeline.path": PIPELINES[name]}):
        array: Any = zarr.open_group(folder, mode="r")["v"]
    return lambda box: array[box]


def by_tensorstore(folder: Path) -> Read:
    """Return what reads rows by tensorstore, on one thread and without a cache."""
    import tensorstore

    one = {"limit": 1}
    store = {"driver": "file", "path": f"{folder}/v/"}
    context = {"cache_pool": {"total_bytes_limit": 0}, "data_copy_concurrency": one, "file_io_concurrency": one}
    driver = "zarr" if folder.name.startswith("v2") else "zarr3"
    array = tensorstore.open({"driver": driver, "kvstore": store, "context": context}, read=True, open=True).result()
    return lambda box: array[box].read().result()


def child(name: str, place: Path) -> None:
    """Print for each layout the processor's seconds, and those of the clock, for all of it; read once before."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for layout in LAYOUTS:
        read = reader(name, place / layout)
        boxes = [slice(at * ROWS, (at + 1) * ROWS) for at in range(BOXES)]
        check = float(sum(np.asarray(read(box))[::512, ::512].sum(dtype="f8") for box in boxes))
        cpu, wall = time.process_time(), time.perf_counter()
        for box in boxes:
            read(box)
        print(time.process_time() - cpu, time.perf_counter() - wall, check)


def measure(place: Path, rounds: int) -> dict[tuple[str, str], list[float]]:
    """Return processor's seconds by reader and layout, the readers in turn."""
    took: dict[tuple[str, str], list[float]] = {}
    checks: dict[str, set[str]] = {}
    for _ in range(rounds):
        for name, peer in READERS.items():
            words = [str(environments.python(peer)), "-m", "benchmarks.foreign", "--read", name, "--place", str(place)]
            environment = {**os.environ, **ENVIRONMENT}
            done = subprocess.run(words, env=environment, cwd=environments.ROOT, stdout=subprocess.PIPE, check=True)
            for layout, line in zip(LAYOUTS, done.stdout.decode().splitlines(), strict=True):
                cpu, _, check = line.split()
                took.setdefault((name, layout), []).append(float(cpu))
                checks.setdefault(layout, set()).add(f"{float(check):.4f}")
    assert all(len(found) == 1 for found in checks.values()), f"readers differ: {checks}"
    return took


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.foreign", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.read:
        child(asked.read, asked.place)
        return
    with tempfile.TemporaryDirectory(prefix="terp-bench-", dir=os.environ.get("TERP_BENCH")) as folder:
        make(Path(folder))
        took = measure(Path(folder), asked.rounds)
    size = np.prod(SHAPE) * 4 / 1e9
    print(f"{'GB/s':20}" + "".join(f"{layout:>14}" for layout in LAYOUTS))
    for name in READERS:
        print(f"{name:20}" + "".join(f"{size / statistics.median(took[name, one]):14.2f}" for one in LAYOUTS))


if __name__ == "__main__":
    main()
