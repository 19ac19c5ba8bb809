"""e: write shards of 256 MiB, read them, and read them from the disk; terp proves what it reads, and makes digests.

The ways to do it are those of `benchmarks.shard_peers`; `benchmarks.shards` tells the cost of the digests apart.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.job import Candidate, Job, Row, Values
from benchmarks.rows.arrays import in_threads, sample

if TYPE_CHECKING:
    from benchmarks.shard_peers import Peer

EVERY = 2048  # rows, of which one is looked at
ENVIRONMENTS = {
    "HAND": "",
    "terp": "",
    "zarr-python": "",
    "zarr-python, fused": "",
    "zarrs": "zarrs",
    "tensorstore": "tensorstore",
    "h5py, direct chunks": "h5py",
}


def make(_: Job) -> None:
    """Candidates write what they read: what terp proves is in its own shards."""


def expected(job: Job) -> Values:
    from benchmarks.shard_peers import field

    return field(job.steps)[::EVERY]


def found_written(job: Job) -> Values:
    told = job.result / "written.npy"
    return np.asarray(np.load(told) if told.exists() else sample(job.result / "v", slice(None, None, EVERY)))


def found_read(job: Job) -> Values:
    return np.asarray(np.load(job.result / "read.npy"))


def peer(name: str, job: Job) -> "Peer":
    if name == "terp":
        from benchmarks.shards import Terp

        return Terp(job.result, job.steps)
    from benchmarks.shard_peers import PEERS

    return PEERS[name](job.result, job.steps)


def write(name: str) -> Callable[[Job], None]:
    def run(job: Job) -> None:
        from benchmarks.shard_peers import field, rows

        data, way = field(job.steps), peer(name, job)
        with job.measured():
            in_threads(lambda one: way.write(one, data[rows(one)]), range(job.steps))
        told = way.sample(EVERY)
        if told is not None:
            np.save(job.result / "written.npy", told)

    return run


def read(name: str, cold: bool) -> Callable[[Job], None]:
    """Into memory that is there."""

    def run(job: Job) -> None:
        from benchmarks.shard_peers import field, forget, rows

        values, way = field(job.steps), peer(name, job)
        in_threads(lambda one: way.write(one, values[rows(one)]), range(job.steps))
        values[:] = 0
        if cold:
            forget(job.result)
        with job.measured():
            in_threads(lambda one: way.read(one, values[rows(one)]), range(job.steps))
        np.save(job.result / "read.npy", values[::EVERY])

    return run


def candidates(work: Callable[[str], Callable[[Job], None]]) -> dict[str, Candidate]:
    return {name: Candidate(work(name), environment) for name, environment in ENVIRONMENTS.items()}


WRITERS = candidates(write)
READERS = candidates(lambda name: read(name, cold=False))
COLD = candidates(lambda name: read(name, cold=True))
WRITE = Row("write shards of 256 MiB", make, expected, found_written, WRITERS)
READ = Row("read shards from the page cache", make, expected, found_read, READERS)
READ_COLD = Row("read shards from the disk", make, expected, found_read, COLD)
