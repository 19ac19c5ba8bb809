"""Dask for a run: one client, TLS only, no dashboard, no HTTP port, on whatever machines there are."""

import logging
import multiprocessing.synchronize  # noqa: F401 (before threads: of two that import it at once one may find it gone)
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Any

from terp.cluster import processor as processors
from terp.cluster.crew import Crew
from terp.cluster.errors import NoWorkers

# What workers find in their environment. One thread a numerical library: results must not depend on how many cores a
# machine has, and workers are many. And what a region frees of memory stays for the next one (glibc, mallopt(3)): the
# system would have to zero each page anew, which took half of the time of stages that only move values.
PINNED = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "BLOSC_NTHREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
}
_PATIENCE = 120  # seconds until the first worker must have come

WORKER_SETTINGS: dict[str, Any] = {
    "distributed.worker.http.routes": [],
    "distributed.worker.preload": ["terp.cluster.closed"],
    "distributed.worker.profile.enabled": False,  # it looks at what runs a hundred times a second, for pages we close
    "distributed.worker.memory.target": False,  # no result stays in a worker: there is nothing to spill,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,  # and who waited for memory that is kept would wait for ever
    "distributed.worker.memory.monitor-interval": "500ms",  # by default servers that idle take 8 % of a core with
    "distributed.admin.system-monitor.interval": "10s",  # what they look at ten and fifty times a second
    "distributed.admin.tick.interval": "1s",
    "distributed.comm.require-encryption": True,
    "logging.distributed": "critical",
}
_SETTINGS: dict[str, Any] = {
    **WORKER_SETTINGS,
    "distributed.scheduler.http.routes": [],
    "distributed.scheduler.preload": ["terp.cluster.closed"],
    "distributed.scheduler.allowed-failures": 0,  # the controller counts, as it knows how a worker came to its end
    "distributed.deploy.lost-worker-timeout": "1h",  # a nanny restarts what died: never give a worker up for lost
}


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_of_memory(workers: int) -> int:
    """Return the bytes that each of so many workers may hold here."""
    from distributed.system import MEMORY_LIMIT

    return int(MEMORY_LIMIT / workers)


@contextmanager
def launch(
    workers: int | None = None, memory: int | None = None, preload: Sequence[str] = (), processor: str = ""
) -> Iterator[Crew]:
    """Start Dask workers on this machine, processes of one thread each; yield them behind a `distributed.Client`.

    `workers` defaults to the cores that may be used; `memory` bytes a worker may hold (default: its share of
    the machine); `preload` names modules that workers import as they start; `processor` is the level that they compute
    at. Raises NoWorkers when none comes.
    """
    from distributed.security import Security

    security = Security.temporary()
    level = processor or processors.usual()
    processors.demand(level)
    pinned = PINNED | processors.settings(level)
    settings = {
        "distributed.worker.preload": ["terp.cluster.closed", *preload],
        "distributed.nanny.pre-spawn-environ": pinned,
    }
    local = {"n_workers": workers or cores(), "memory_limit": memory or share_of_memory(workers or cores())}
    with (
        _own_environment(pinned),
        scheduler(security, "127.0.0.1", settings, **local) as cluster,
        connected(cluster, security) as client,
    ):
        yield Crew(client)


@contextmanager
def _own_environment(names: Iterable[str]) -> Iterator[None]:
    """Give this process back its variables of these names: Dask's nannies set those of workers here, for good."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def attach(address: str) -> Iterator[Crew]:
    """Use the workers of a scheduler that is there already; Dask's configuration names its keys.

    Raises NoWorkers when it cannot be reached, or would speak in the clear.
    """
    from distributed.security import Security

    if not address.startswith("tls://"):
        raise NoWorkers(f"{address} does not speak TLS: terp talks to schedulers at tls://HOST:PORT only")
    try:
        security = Security(require_encryption=True)
    except RuntimeError as error:
        raise NoWorkers(f"the keys for {address} cannot be used: {error}") from error
    if not security.get_tls_config_for_role("client").get("cert"):
        raise NoWorkers(
            f"no keys for {address} are known: name them in DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY"
        )
    with quiet(), connected(address, security) as client:
        known = client.scheduler_info(n_workers=-1)["workers"].values()
        yield Crew(client, renews=bool(known) and all(one["nanny"] for one in known))


@contextmanager
def scheduler(security: Any, host: str, settings: dict[str, Any], **workers: Any) -> Iterator[Any]:
    """Start a scheduler that listens at one address, with workers of this machine if they are asked for."""
    import dask
    from distributed import LocalCluster

    with (
        quiet(),
        TemporaryDirectory(prefix="terp-") as scratch,
        dask.config.set({**_SETTINGS, **settings}, temporary_directory=scratch),
    ):
        try:
            cluster = LocalCluster(
                threads_per_worker=1,
                processes=True,
                host=host,
                protocol="tls://",
                security=security,
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # else it meets others at port 8787 as it starts
                local_directory=scratch,
                silence_logs=logging.CRITICAL,
                **workers,
            )
        except (OSError, RuntimeError) as error:
            hint = "a script that runs flows needs `if __name__ == '__main__':` around what it does"
            raise NoWorkers(f"no Dask worker could be started here ({error}): {hint}") from error
        try:
            yield cluster
        finally:
            cluster.close()


@contextmanager
def connected(where: Any, security: Any) -> Iterator[Any]:
    """Connect a client to a cluster or an address; raises NoWorkers when nobody answers there."""
    from distributed import Client

    try:
        client = Client(where, security=security, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise NoWorkers(f"no scheduler answers at {where}: {error}") from error
    try:
        yield client
    finally:
        client.close()


def address_towards(host: str) -> str:
    """Return the address of this machine by which it reaches another; that of its own name where that fails."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # nothing is sent: only a route is chosen
        return str(probe.getsockname()[0])
    return socket.gethostbyname(socket.gethostname())


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Dask's own log lines off the user's terminal; what matters is told by terp."""
    import distributed  # noqa: F401 (sets the levels of its loggers)

    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
