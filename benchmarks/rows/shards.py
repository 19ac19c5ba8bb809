"""e: write shards of 256 MiB, read them, and read them from the disk; terp proves what it reads, and makes digests.

The ways to do it are those of `benchmarks.shard_peers`; all check a CRC32C of each chunk. What terp's digests cost, of
fixity and of identity, is measured once more, alone, and told apart: terp's own time has it.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.job import MEASURED, Candidate, Column, Job, Moves, Row, Values
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


def make(job: Job) -> None:
    """The values of a shard; candidates write what they read: what terp proves is in its own shards."""
    from benchmarks.shard_peers import field

    np.save(job.source / "field.npy", field())


def field_of(job: Job) -> Values:
    """The values of all shards, which differ by a number."""
    one = np.load(job.source / "field.npy")
    return np.concatenate([one + np.float32(number) for number in range(job.steps)])


def expected(job: Job) -> Values:
    return field_of(job)[::EVERY]


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
        from benchmarks.shard_peers import rows

        data, way = field_of(job), peer(name, job)
        with job.measured():
            in_threads(lambda one: way.write(one, data[rows(one)]), range(job.steps))
        told = way.sample(EVERY)
        if told is not None:
            np.save(job.result / "written.npy", told)
        if name == "terp":
            began = time.perf_counter()
            in_threads(lambda one: way.digest(one, data[rows(one)]), range(job.steps))
            job.told["digests"] = time.perf_counter() - began

    return run


def read(name: str, cold: bool) -> Callable[[Job], None]:
    """Into memory that is there."""

    def run(job: Job) -> None:
        from benchmarks.shard_peers import forget, rows

        values, way = field_of(job), peer(name, job)
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
WRITE = Row(
    "write shards of 256 MiB",
    make,
    expected,
    found_written,
    WRITERS,
    moves=lambda _, stored: Moves(written=stored),
    columns=(*MEASURED, Column("digests", "digests s", some=True)),
)
READ = Row(
    "read shards from the page cache",
    make,
    expected,
    found_read,
    READERS,
    moves=lambda job, stored: Moves(cached=stored, memory=job.nbytes),
)
READ_COLD = Row(
    "read shards from the disk",
    make,
    expected,
    found_read,
    COLD,
    moves=lambda job, stored: Moves(disk=stored, memory=job.nbytes),
)
