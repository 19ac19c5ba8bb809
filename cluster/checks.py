"""Is a site as it is described: its commands, its SLURM, our account and jobs there, and what a node of it sees.

Each fault is named with its cure. All of it takes less than half a minute, and leaves nothing behind.
"""

import os
import pwd
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from terp.cluster.checks_node import check_node
from terp.cluster.errors import ClusterError, SlurmAway, SlurmRefused
from terp.cluster.finding import Finding, gigabytes, untried
from terp.cluster.jobs import Slurm
from terp.cluster.launch_slurm import Place, shown_script
from terp.cluster.quantities import parse_duration, print_duration
from terp.cluster.script import controller_script
from terp.cluster.site import FileSystem, Site

_WORKERS = "jobs of workers"
COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "scancel")
_SECONDS = 25.0  # for all of it
_BUSY = 0.1  # share of its time in which SLURM may be at work for our looks
_FREE, _FILES = 1 << 30, 10_000  # bytes and files that a file system shall have left
_WAIT = "wait and try again, or ask the operators of the site; what runs goes on meanwhile"

type Check = Callable[[], Finding]


def check_site(site: Site, place: Place, home: Path, preload: Sequence[str]) -> Iterator[Finding]:
    """Look at a site, from here and from one of its nodes; `home` is TERP_HOME, `preload` what workers import first."""
    deadline, slurm = time.monotonic() + _SECONDS, Slurm(time_limit=5.0)
    lacking = [name for name in COMMANDS if shutil.which(name) is None]
    words = f"there is no {', '.join(lacking)}" if lacking else ", ".join(COMMANDS)
    yield Finding("SLURM's commands", not lacking, words, "run terp where they are: on a login node of the site")
    for name, system in site.file_systems.items():
        yield _guarded(f"file system {name}", partial(_file_system, site, name, system, home))
    try:
        config = {} if set(lacking) - {"sacct"} else slurm.config()
    except ClusterError as error:
        yield Finding("slurmctld", False, str(error), _WAIT)
        config = {}
    if not config:
        yield untried("all else at the site", "it needs SLURM")
        return
    yield Finding("slurmctld", True, f"answers, version {config.get('SLURM_VERSION', 'not known')}")
    for what, check in _checks(site, place, preload, slurm, config).items():
        found = _guarded(what, check) if time.monotonic() < deadline else untried(what, "SLURM answers too slowly")
        yield found
        if what == _WORKERS and not found.well:
            yield untried("what a node sees", "SLURM would take no job there")
            return
    yield from check_node(site, place, home / "cache", config, deadline)


def _checks(
    site: Site, place: Place, preload: Sequence[str], slurm: Slurm, config: Mapping[str, str]
) -> dict[str, Check]:
    """Return what is asked of SLURM from here."""
    longest = {site.controller.partition: site.controller.walltime}
    longest[site.partition] = max(site.walltime, longest.get(site.partition, 0))
    controller = controller_script(site, place.run, place.folder, [sys.executable, "..."], {})
    return {
        "looks at the queue": lambda: _looks(site, slurm),
        "account": lambda: _account(site, slurm, config.get("ClusterName", "")),
        **{f"partition {one}": partial(_partition, slurm, one, t) for one, t in longest.items()},
        "accounting": lambda: _accounting(slurm),
        "job of the controller": lambda: _taken(site, slurm, "job of the controller", controller),
        _WORKERS: lambda: _taken(site, slurm, _WORKERS, shown_script(site, place, preload)),
    }


def _guarded(what: str, check: Check) -> Finding:
    try:
        return check()
    except SlurmAway as away:
        return Finding(what, False, str(away), _WAIT)
    except (ClusterError, OSError) as error:
        return Finding(what, False, str(error), "see the words before")


def _looks(site: Site, slurm: Slurm) -> Finding:
    """Hold how often terp looks at the queue against how long that takes, which is how busy slurmctld is."""
    began = time.monotonic()
    slurm.look(["terp-doctor"])
    took = time.monotonic() - began
    often = f"one each {site.poll:g} s, {3600 / site.poll:,.0f} an hour for a run; it takes {took * 1000:.0f} ms"
    if took > _BUSY * site.poll:
        return Finding("looks at the queue", False, often, f"be gentle: set the site's `poll` to {took / _BUSY:.0f} s")
    if 4 * site.poll > site.walltime:
        cure = f"set `poll` to less than {site.walltime // 4} s, or jobs of workers end between two looks"
        return Finding("looks at the queue", False, often, cure)
    return Finding("looks at the queue", True, often)


def _account(site: Site, slurm: Slurm, cluster: str) -> Finding:
    login = pwd.getpwuid(os.geteuid()).pw_name
    wanted = site.account or "your default one"
    try:
        told = slurm.ask(
            "sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={login}", "format=cluster,account"
        )
    except (SlurmRefused, SlurmAway) as error:
        return untried("account", f"{wanted}; the accounting tells of none ({error})")
    rows = [line.split("|") for line in told.splitlines()]
    there = sorted({row[1] for row in rows if len(row) > 1 and cluster.lower() in ("", row[0].lower())})
    if not there:
        return Finding("account", False, f"{login} has none here", "ask the site for one, or for being added to one")
    if site.account and site.account.lower() not in [one.lower() for one in there]:
        return Finding("account", False, f"{login} may not use {wanted}", f"set `account` to one of {', '.join(there)}")
    return Finding("account", True, f"{wanted}, of {', '.join(there)}")


def _partition(slurm: Slurm, name: str, walltime: int) -> Finding:
    what = f"partition {name}"
    try:
        shown = slurm.ask("scontrol", "show", "partition", "--oneliner", name)
    except SlurmRefused:
        names = slurm.ask("sinfo", "--noheader", "--format=%R").split()
        return Finding(what, False, "does not exist here", f"set `partition` to one of {', '.join(sorted(set(names)))}")
    facts = dict(word.partition("=")[::2] for word in shown.split())
    state, longest = facts.get("State", ""), facts.get("MaxTime", "UNLIMITED")
    used, idle, _, nodes = slurm.ask("sinfo", "--noheader", f"--partition={name}", "--format=%F").strip().split("/")
    found = f"{state}, jobs of up to {longest}, {idle} of {nodes} nodes are free"
    if state != "UP" or used == idle == "0":
        found += "" if state != "UP" else " and none is in use: they are down or drained (`sinfo -R`)"
        return Finding(what, False, found, "use another, or ask the operators of the site when it is to be up")
    if longest != "UNLIMITED" and walltime > parse_duration(longest):
        cure = f"set `walltime` to {longest} or less, there are {print_duration(walltime)} asked for"
        return Finding(what, False, found, cure)
    return Finding(what, True, found)


def _taken(site: Site, slurm: Slurm, what: str, script: str) -> Finding:
    """Ask SLURM whether it would take the very script that a run submits."""
    with tempfile.TemporaryDirectory(prefix="terp-") as folder:
        path = Path(folder) / "script.sh"
        path.write_text(script)
        wrong = slurm.would_accept(path)
    cure = f"`terp site show {site.name}` tells which key of the site says that, and where"
    return Finding(what, not wrong, wrong or "sbatch would take it (--test-only)", cure)


def _accounting(slurm: Slurm) -> Finding:
    try:
        slurm.ask("sacct", "--noheader", "--allocations", "--name=terp-doctor", "--starttime=now-1minutes")
    except (SlurmRefused, SlurmAway) as error:
        return untried("accounting", f"what jobs cost will be terp's own count ({error})")
    return Finding("accounting", True, "answers: a run ends with what its jobs cost and used")


def _file_system(site: Site, name: str, system: FileSystem, home: Path) -> Finding:
    what, path = f"file system {name}", Path(os.path.expandvars(system.path))
    if not path.is_dir():
        return untried(what, f"{path} is not here")
    found = os.statvfs(path)
    free, files = found.f_bavail * found.f_frsize, found.f_favail
    words = f"{path}: {gigabytes(free)} and {files:,} files free"
    words += f", {gigabytes(system.quota)} a user" if system.quota else ""
    words += f", {system.files:,} files a user" if system.files else ""
    here = home.resolve().is_relative_to(path.resolve())
    if here and not system.shared:
        others = [key for key, one in site.file_systems.items() if one.shared]
        return Finding(what, False, f"{words}; nodes do not share it", f"put TERP_HOME on {' or '.join(others)}")
    if here and system.purge_days:
        words += f"; files go after {system.purge_days} days, so archive elsewhere in time"
    well = free >= _FREE and (found.f_files == 0 or files >= _FILES)
    return Finding(what, well, words, "remove what is not needed, or ask for more")
