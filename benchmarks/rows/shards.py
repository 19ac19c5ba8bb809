"""e: write shards of 256 MiB, read them, and read them from the disk; terp proves what it reads, and makes digests.

The ways to do it are those of `benchmarks.shards`, which tells the cost of the digests apart.
"""

from collections.abc import Callable

import numpy as np

from benchmarks.job import Candidate, Job, Row, Values
from benchmarks.rows.arrays import in_threads, sample

EVERY = 2048  # rows, of which one is looked at
NAMES = {"HAND": "by hand", "terp": "terp", "zarr-python": "zarr-python", "zarr-python, fused": "zarr-python, fused"}


def make(_: Job) -> None:
    """Candidates write what they read: what terp proves is in its own shards."""


def expected(job: Job) -> Values:
    from benchmarks.shards import field

    return field(job.steps)[::EVERY]


def found_written(job: Job) -> Values:
    return sample(job.result, slice(None, None, EVERY))


def found_read(job: Job) -> Values:
    return np.asarray(np.load(job.result / "read.npy"))


def write(name: str) -> Callable[[Job], None]:
    def run(job: Job) -> None:
        from benchmarks.shards import PEERS, ROWS, field

        data, peer = field(job.steps), PEERS[name](job.result, job.steps)
        with job.measured():
            in_threads(lambda one: peer.write(one, data[one * ROWS : (one + 1) * ROWS]), range(job.steps))

    return run


def read(name: str, cold: bool) -> Callable[[Job], None]:
    """Into memory that is there."""

    def run(job: Job) -> None:
        from benchmarks.shards import PEERS, ROWS, field, forget

        values, peer = field(job.steps), PEERS[name](job.result, job.steps)
        in_threads(lambda one: peer.write(one, values[one * ROWS : (one + 1) * ROWS]), range(job.steps))
        values[:] = 0
        if cold:
            forget(job.result)
        with job.measured():
            in_threads(lambda one: peer.read(one, values[one * ROWS : (one + 1) * ROWS]), range(job.steps))
        np.save(job.result / "read.npy", values[::EVERY])

    return run


WRITERS = {shown: Candidate(write(name)) for shown, name in NAMES.items()}
READERS = {shown: Candidate(read(name, cold=False)) for shown, name in NAMES.items()}
COLD = {shown: Candidate(read(name, cold=True)) for shown, name in NAMES.items()}
WRITE = Row("write shards of 256 MiB", make, expected, found_written, WRITERS)
READ = Row("read shards from the page cache", make, expected, found_read, READERS)
READ_COLD = Row("read shards from the disk", make, expected, found_read, COLD)
