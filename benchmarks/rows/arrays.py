"""What the rows share: how their arrays are stored, and how dask and its clusters are set up."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.job import WORKERS, Job, Values

FUSED = "zarr.core.codec_pipeline.FusedCodecPipeline"
ZARRS = "zarrs.ZarrsCodecPipeline"
WORKER_BYTES = 2 << 30


@dataclass(frozen=True)
class Layout:
    """How an array of Zarr v3 is cut and stored; `fast`: LZ4 with byte shuffle, else as it is. Always a CRC32C."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    dtype: str
    fast: bool = True

    @property
    def codecs(self) -> list[Any]:
        from zarr.codecs import BloscCodec, Crc32cCodec

        blosc = [BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")] if self.fast else []
        return [*blosc, Crc32cCodec()]

    def create(self, group: Path) -> Path:
        """Create the array, without values, in a group; return its folder."""
        import zarr

        zarr.open_group(group, mode="a").create_array(
            self.name,
            shape=self.shape,
            chunks=self.chunks,
            shards=self.shards,
            dtype=self.dtype,
            compressors=self.codecs,
            dimension_names=self.dims,
            fill_value=0,
        )
        return group / self.name

    def encoding(self) -> dict[str, dict[str, Any]]:
        """What xarray's `to_zarr` wants to know to write the same."""
        return {self.name: {"chunks": self.chunks, "shards": self.shards, "compressors": self.codecs}}

    def by_shards(self) -> dict[str, int]:
        """Chunks for dask that are shards."""
        sizes = zip(self.shards, self.shape, strict=True)
        return dict(zip(self.dims, (min(shard, whole) for shard, whole in sizes), strict=True))

    def write(self, group: Path, data: Any) -> None:
        """Write what an xarray or dask computation gives as this array, of a new group."""
        import xarray as xr

        array = data if isinstance(data, xr.DataArray) else xr.DataArray(data, dims=self.dims)
        array = array.drop_vars(list(array.coords)).chunk(self.by_shards())
        array.encoding = {}
        array.to_dataset(name=self.name).to_zarr(
            group, mode="w", encoding=self.encoding(), zarr_format=3, consolidated=False
        )


def in_threads[Item](function: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Call a function on each item, in as many threads as there are workers."""
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(function, items))


def use_pipeline(pipeline: str, threads: int = WORKERS) -> None:
    """Have zarr encode and decode with another of its pipelines."""
    import zarr

    if pipeline:
        zarr.config.set({"codec_pipeline.path": pipeline, "threading.max_workers": threads})


def warm(folder: Path) -> None:
    """Write and read a little, so that what is imported late is there when the work begins."""
    import dask.array
    import xarray as xr

    little = folder / f"warm-{os.getpid()}"
    layout = Layout("v", ("x", "y"), (4, 4), (2, 2), (4, 4), "f4")
    with dask.config.set(scheduler="synchronous"):
        layout.write(little, dask.array.zeros(layout.shape, chunks=layout.shards, dtype="f4"))
        xr.open_zarr(little, chunks={}, consolidated=False)["v"].mean().compute()


@contextmanager
def dask_threads(job: Job, pipeline: str = "", prepare: Callable[[], object] = bool) -> Iterator[None]:
    """dask in threads of this process; `prepare` is called before the work begins."""
    import dask

    prepare_worker(job.folder, pipeline, prepare)
    with dask.config.set(scheduler="threads", num_workers=WORKERS):
        yield


@contextmanager
def dask_cluster(job: Job, pipeline: str = "", prepare: Callable[[], object] = bool) -> Iterator[None]:
    """dask's own cluster: two workers of one thread and 2 GiB; `prepare` is called on each before the work begins."""
    import dask
    from distributed import Client, LocalCluster

    prepare_worker(job.folder, pipeline, prepare)
    local = str(job.folder / "dask")
    options = {"n_workers": WORKERS, "threads_per_worker": 1, "memory_limit": WORKER_BYTES, "dashboard_address": None}
    with (
        dask.config.set({"temporary-directory": local}),
        LocalCluster(**options, local_directory=local) as cluster,
        Client(cluster) as client,
    ):
        client.run(prepare_worker, job.folder, pipeline, prepare)
        yield


def prepare_worker(folder: Path, pipeline: str, prepare: Callable[[], object]) -> None:
    use_pipeline(pipeline, 1)
    prepare()
    warm(folder)


def with_terp(row: str) -> Callable[[Job], None]:
    """terp's own candidate of a row, which only terp's environment can import."""

    def run(job: Job) -> None:
        from benchmarks.flows import measure

        measure(job, row)

    return run


def sample(path: Path, index: Any) -> Values:
    """Read a part of an array with zarr-python, which no candidate's result can fool."""
    import numpy as np
    import zarr

    return np.asarray(zarr.open_array(path, mode="r").get_orthogonal_selection(index))
