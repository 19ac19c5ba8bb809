"""Dask for a run: one client, TLS only, no dashboard, no HTTP port, on whatever machines there are."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Any

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
}
_SETTINGS: dict[str, Any] = {
    **WORKER_SETTINGS,
    "distributed.scheduler.http.routes": [],
    "distributed.scheduler.preload": ["terp.cluster.closed"],
    "distributed.scheduler.allowed-failures": 0,  # the controller counts, as it knows how a worker came to its end
}


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
def scheduler(security: Any, host: str, settings: dict[str, Any]) -> Iterator[Any]:
    """Start a scheduler that listens at one address, and waits for workers."""
    import dask
    from distributed import LocalCluster

    with (
        quiet(),
        TemporaryDirectory(prefix="terp-") as scratch,
        dask.config.set({**_SETTINGS, **settings}, temporary_directory=scratch),
    ):
        try:
            cluster = LocalCluster(
                n_workers=0,
                host=host,
                protocol="tls://",
                security=security,
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # else it meets others at port 8787 as it starts
                silence_logs=logging.CRITICAL,
            )
        except (OSError, RuntimeError) as error:
            raise NoWorkers(f"no Dask scheduler could be started here: {error}") from error
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
