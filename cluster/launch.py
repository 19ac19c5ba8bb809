"""Dask for a run: one client, TLS only, no dashboard, no HTTP port, on whatever machine there is."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from terp.cluster.errors import NoWorkers

# One thread a numerical library: results must not depend on how many cores a machine has, and workers are many.
PINNED = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "BLOSC_NTHREADS": "1",
}
_PATIENCE = 120  # seconds until the first worker must have come


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def launch(workers: int | None = None, memory: int | None = None, preload: Sequence[str] = ()) -> Iterator[Any]:
    """Start Dask workers on this machine, processes of one thread each; yield a `distributed.Client`.

    `workers` defaults to the cores that may be used; `memory` bytes a worker may hold (default: its share of
    the machine); `preload` names modules that workers import as they start. Raises NoWorkers when none comes.
    """
    import dask
    from distributed import Client, LocalCluster
    from distributed.security import Security

    count = workers or cores()
    settings = {
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        "distributed.worker.preload": ["terp.cluster.closed", *preload],
        "distributed.scheduler.preload": ["terp.cluster.closed"],
        "distributed.scheduler.allowed-failures": 1,  # the controller counts too, and tries again
        "distributed.deploy.lost-worker-timeout": "1h",  # a nanny restarts what died: never give a worker up for lost
        "distributed.nanny.pre-spawn-environ": {**PINNED, "MALLOC_TRIM_THRESHOLD_": "65536"},
        "distributed.comm.require-encryption": True,
        "logging.distributed": "critical",
    }
    with (
        _quiet(),
        TemporaryDirectory(prefix="terp-") as scratch,
        dask.config.set(settings, temporary_directory=scratch),
    ):
        security = Security.temporary()
        try:
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                protocol="tls://",
                security=security,
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # else it meets others at port 8787 as it starts
                memory_limit=memory or "auto",
                local_directory=scratch,
                silence_logs=logging.CRITICAL,
            )
        except (OSError, RuntimeError) as error:
            hint = "a script that runs flows needs `if __name__ == '__main__':` around what it does"
            raise NoWorkers(f"no Dask worker could be started here ({error}): {hint}") from error
        try:
            client = Client(cluster, security=security, timeout=_PATIENCE, set_as_default=False)
            try:
                yield client
            finally:
                client.close()
        finally:
            cluster.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own log lines off the user's terminal; what matters is told by terp."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
