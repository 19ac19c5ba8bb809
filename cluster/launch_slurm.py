"""Dask for a run at a site: the scheduler here, the workers in SLURM jobs, supervised."""

import secrets
import shlex
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from terp.cluster.crew import Crew
from terp.cluster.jobs import Slurm
from terp.cluster.keys import Keys
from terp.cluster.launch import address_towards, connected, scheduler
from terp.cluster.script import Order, memory_of, worker_script
from terp.cluster.site import Site
from terp.cluster.staff import Bounds
from terp.cluster.supervise import Supervisor

PLACEHOLDER = "tls://ADDRESS:PORT"  # in a script that is only shown


@dataclass(frozen=True)
class Place:
    """Where a run keeps what its jobs need: its own folder, one for keys, and one for packed environments.

    All on a file system that the nodes share.
    """

    run: str
    folder: Path
    keys: Path
    cache: Path


def python_of(site: Site, cache: Path, pack: bool) -> tuple[str, list[str]]:
    """Return how jobs of a site call Python, and the lines of shell that make it be there.

    `pack` makes the packed environment where the site wants one; else it is only named.
    """
    if site.image:
        return f"apptainer exec {shlex.quote(site.image)} {site.python or 'python3'}", []
    if site.environment == "packed":
        from terp.cluster import environment

        packed = environment.pack(cache) if pack else cache / "environment-DIGEST.tar"
        return '"$TERP_PYTHON"', environment.prologue(packed, site.local)
    return shlex.quote(site.python or sys.executable), []


def order(site: Site, place: Place, scheduler_at: str, keys: Path, preload: Sequence[str], pack: bool) -> Order:
    """Return what jobs of workers are asked for with; `pack` makes the packed environment where the site wants one."""
    python, prologue = python_of(site, place.cache, pack)
    return Order(site, place.run, place.folder, keys, scheduler_at, memory_of(site), python, prologue, preload)


def shown_script(site: Site, place: Place, preload: Sequence[str]) -> str:
    """Return the batch script that a run would submit, but for what is only known then: address and keys."""
    return worker_script(order(site, place, PLACEHOLDER, place.keys / "KEYS", preload, pack=False))


@contextmanager
def launch_slurm(
    site: Site, place: Place, bounds: Bounds, preload: Sequence[str], tell: Callable[[str], None]
) -> Iterator[Crew]:
    """Start a scheduler here and workers in SLURM jobs; yield them. In the end no job and no key is left.

    `tell` is given what people should know. Raises SlurmRefused where this SLURM does not take our jobs.
    """
    slurm = Slurm()
    host = slurm.patiently(lambda: own_address(site, slurm), tell)
    keys = Keys.make(place.keys / secrets.token_hex(4))
    try:
        security = keys.security()
        settings = {"distributed.scheduler.worker-ttl": f"{site.patience:.0f}s"}
        with scheduler(security, host, settings) as cluster, connected(cluster, security) as client:
            wanted = order(site, place, cluster.scheduler_address, keys.folder, preload, pack=True)
            crew = Supervisor(client, wanted, bounds, tell)
            crew.start()
            try:
                yield crew
            finally:
                keys.remove()  # a job that starts only now sees that the run is over
                crew.close()
    finally:
        keys.remove()


def own_address(site: Site, slurm: Slurm) -> str:
    """Return the address of this machine at which nodes reach it."""
    if site.interface:
        from distributed.utils import get_ip_interface

        try:
            return str(get_ip_interface(site.interface))
        except ValueError:
            pass  # the login node may have another than the nodes
    named = slurm.config().get("SlurmctldHost[0]", "")
    host = named.partition("(")[2].rstrip(")") or named
    return address_towards(host or socket.gethostname())
