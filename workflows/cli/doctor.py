"""`terp doctor`: is all here that terp needs, and if not, what to do."""

import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.util import find_spec
from itertools import chain

import click

from terp.cluster.finding import Finding


@click.command("doctor")
@click.option("--site", metavar="NAME", help="Look at this site too, from here and from one of its nodes.")
@click.option("--site-set", multiple=True, metavar="KEY=VALUE", help="A key of the site, for once.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def doctor_command(site: str | None, site_set: tuple[str, ...], as_json: bool) -> None:
    """Check this machine, the home and what terp stands on; each fault is named with its cure."""
    findings = []
    for one in chain(examine(), _at_site(site, site_set)):
        findings.append(one)
        if not as_json:
            click.echo(_line(one))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in findings], indent=1))
    if not all(one.well for one in findings):
        raise click.exceptions.Exit(69)


def _line(one: Finding) -> str:
    mark = click.style("ok   ", fg="green") if one.well else click.style("fault", fg="red")
    if not one.tried:
        mark = click.style("-    ", fg="yellow")
    return f"{mark} {one.what}: {one.found}" + (f" -> {one.cure}" if not one.well else "")


def _at_site(name: str | None, given: tuple[str, ...]) -> Iterator[Finding]:
    """Look at a site, should one be named."""
    from terp.workflows.errors import Usage

    if not name:
        if given:
            raise Usage("--site-set changes a site: name it with --site")
        return
    from terp.cluster.checks import check_site
    from terp.cluster.site import load_site
    from terp.cluster.site_layers import overrides_of
    from terp.storage.home import Home
    from terp.workflows.running.where import PRELOAD, place

    home = Home.here().open()
    yield from check_site(load_site(name, overrides_of(given)), place(home, "RUN"), home.root, PRELOAD)


def examine() -> Iterator[Finding]:
    """Look at everything, one after the other."""
    checks: list[Callable[[], Finding]] = [_python, _fastapi, _home, _sync, _links, _space, _inodes, _radio, _prefect]
    for check in checks:
        try:
            yield check()
        except Exception as error:  # noqa: BLE001 (a check that fails is a finding)
            yield Finding(check.__name__.strip("_"), False, f"{type(error).__name__}: {error}", "see the words before")


def _python() -> Finding:
    known = sys.version.split()[0]
    return Finding("python", sys.version_info >= (3, 12), known, "install Python 3.12 or newer")


def _fastapi() -> Finding:
    from importlib.metadata import version

    found = version("fastapi")
    fits = tuple(map(int, found.split(".")[:2])) < (0, 150)
    return Finding("fastapi for prefect", fits, found, "install fastapi older than 0.150: Prefect's server needs it")


def _home() -> Finding:
    from terp.storage.home import Home

    home = Home.here().open()
    return Finding("TERP_HOME", True, f"{home.root} can be written")


def _sync() -> Finding:
    """Time a small synced write: on a slow or lying disk regions are slow to record."""
    from terp.storage import files
    from terp.storage.home import Home

    probe = Home.here().cache / f"doctor-{secrets.token_hex(4)}"
    started = time.monotonic()
    files.write_new(probe, b"x" * 4096)
    files.sync_folder(probe.parent)
    took = time.monotonic() - started
    probe.unlink()
    return Finding("synced write", took < 1, f"{took * 1000:.1f} ms", "the disk is slow: use another for TERP_HOME")


def _links() -> Finding:
    from terp.storage.home import Home

    probe = Home.here().cache / f"doctor-{secrets.token_hex(4)}"
    probe.write_bytes(b"x")
    other = probe.with_suffix(".link")
    try:
        os.link(probe, other)
        other.unlink()
        return Finding("hard links", True, "work")
    except OSError:
        return Finding("hard links", True, "do not work here: files are renamed and copied instead")
    finally:
        probe.unlink()


def _space() -> Finding:
    from terp.storage.home import Home

    free = shutil.disk_usage(Home.here().root).free
    return Finding("free space", free > 1 << 30, f"{free / 2**30:,.1f} GiB", "free space, or choose another TERP_HOME")


def _inodes() -> Finding:
    from terp.storage.home import Home

    found = os.statvfs(Home.here().root)
    well = found.f_files == 0 or found.f_favail > 10_000
    return Finding("free files (inodes)", well, f"{found.f_favail:,}", "remove files: each shard is one")


def _radio() -> Finding:
    lacking = [name for name in ("ducc0", "pyuvdata", "astropy", "numba") if find_spec(name) is None]
    words = f"not there ({', '.join(lacking)}): `imaging` needs terp[radio]" if lacking else "is there"
    return Finding("extra radio", True, words)


def _prefect() -> Finding:
    from terp.storage.home import Home
    from terp.workflows.prefect import server as prefect_server

    given = os.environ.get("PREFECT_API_URL")
    if given:
        return Finding("Prefect server", True, f"{given} (PREFECT_API_URL)")
    own = prefect_server.status(Home.here().root)
    return Finding("Prefect server", True, f"own, at {own.api_url}" if own else "none; a run starts one of its own")
