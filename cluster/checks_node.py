"""What a node of a site sees, in findings: a probe is sent there, and what it tells is held against what must be so."""

import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from terp.cluster.errors import ClusterError
from terp.cluster.finding import Finding, gigabytes, untried
from terp.cluster.jobs import Slurm
from terp.cluster.launch_slurm import Place, own_address, python_of
from terp.cluster.probe import UNREACHED, Told, ask_node
from terp.cluster.site import Site
from terp.cluster.words import ending, reason

_SKEW = 5.0  # seconds that two clocks may differ
_LATE = 1.0  # seconds in which a new file should be seen
_LOCAL = 1 << 30  # bytes that a node's own disk shall have free
_WAYS = (
    "set the site's `interface` to one by which nodes reach this machine (`ip -brief address`), or run with --submit: "
    "then the controller is on a node too"
)


def check_node(site: Site, place: Place, cache: Path, config: Mapping[str, str], deadline: float) -> Iterator[Finding]:
    """Send a probe to a node and tell what it found by `deadline` (monotonic clock); `cache` is in TERP_HOME."""
    if time.monotonic() > deadline - 5:
        yield untried("a node", "SLURM answers too slowly for it")
        return
    try:
        address = own_address(site, Slurm())
        told = ask_node(site, address, cache, _python(site, place), deadline)
    except (ClusterError, OSError) as error:
        yield Finding("a node", False, str(error), "mend that first: no job of workers would come either")
        return
    if told.requeue is not None:
        yield _requeue(told, config)
    if not told.connected:
        lost = _lost(told)
        yield lost
        if not lost.well:
            yield untried("what a node sees", "it could not be asked")
        return
    rtt = f"{told.node} connects to {address}, and answers in {told.unsure * 2000:.1f} ms"
    yield Finding("a node reaches this machine", True, rtt)
    yield _clock(told)
    yield from _shared(told, cache.parent)
    yield _local(told)
    yield _same_python(told)


def _python(site: Site, place: Place) -> str:
    """Return how jobs call the Python that has to be on the node; "" where they bring all of it with them."""
    if site.environment == "packed" and not site.image:
        return shlex.quote(str(Path(sys.executable).resolve())) if sys.base_prefix.startswith("/usr") else ""
    return python_of(site, place.cache, pack=False)[0]


def _requeue(told: Told, config: Mapping[str, str]) -> Finding:
    usual = "as all jobs are here" if config.get("JobRequeue") == "1" else "as they ask for it"
    if told.requeue:
        return Finding("requeue", True, f"jobs are put back into the queue when they lose their node, {usual}")
    cure = "workers are replaced all the same; a controller (--submit) has to end within its walltime, so make it long"
    return Finding("requeue", False, "jobs are not put back into the queue here", cure)


def _lost(told: Told) -> Finding:
    """Say why the probe was not heard of."""
    what, job = "a node reaches this machine", f"job {told.job}"
    if told.state in ("", "PENDING", "CONFIGURING"):
        return untried("what a node sees", f"{job} {reason(told.reason or 'None')}")
    where = f"{job} on {told.node}" if told.node else job
    code = told.exit_code.partition(":")[0]
    if told.state == "RUNNING":
        found = f"{where} runs, but nothing of it has come to {told.address}"
        cure = f"if {told.node} is well (`scontrol show node {told.node}`), a firewall may be between: {_WAYS}"
        return Finding(what, False, found, cure)
    if code == str(UNREACHED):
        return Finding(what, False, f"{where} cannot connect to {told.address}", f"a firewall may be between: {_WAYS}")
    found = f"{where} {ending(told.state)} before it had connected (exit code {told.exit_code or 'not known'})"
    return Finding(what, False, found, "see whether the site's `modules` and `prologue` work in a job")


def _clock(told: Told) -> Finding:
    if told.skew is None:
        return untried("clocks", "the node did not tell its time")
    ahead = "ahead" if told.skew > 0 else "behind"
    found = f"{told.node} is {abs(told.skew):.3f} s {ahead}, give or take {told.unsure:.3f} s"
    cure = "tell the operators of the site: its clocks are not kept (NTP)"
    return Finding("clocks", abs(told.skew) - told.unsure < _SKEW, found, cure)


def _shared(told: Told, home: Path) -> Iterator[Finding]:
    """Say whether TERP_HOME is the same folder here and there, and how late a new file is seen."""
    what = "TERP_HOME is shared"
    if told.shared is None:
        yield untried(what, f"{told.node} was not done with looking in time")
        return
    if not told.shared:
        cure = "choose one on a file system that all nodes share (`terp site show` lists them)"
        yield Finding(what, False, f"{told.node} does not see what is written to {home} here", cure)
        return
    yield Finding(what, True, f"{told.node} sees {home}")
    yield _seen("a new file is seen there", told.seen_there)
    yield _seen("a new file is seen here", told.seen_here)


def _seen(what: str, seconds: float | None) -> Finding:
    if seconds is None:
        cure = "use another file system for TERP_HOME, or ask the operators about this one: runs would be slow or stop"
        return Finding(what, False, "not in the time that there was", cure)
    late = "; terp waits for that, at each region" if seconds > _LATE else ""
    return Finding(what, True, f"after {seconds:.2f} s{late}")


def _local(told: Told) -> Finding:
    what, cure = "the node's own folder", "set the site's `local` to a folder on the node's own disk"
    if "local" not in told.words:
        why = told.words.get("nolocal")
        return Finding(what, False, why, cure) if why else untried(what, f"{told.node} did not tell")
    kilobytes, _, path = told.words["local"].partition(" ")
    free = int(kilobytes) << 10 if kilobytes.isdigit() else 0
    return Finding(what, free >= _LOCAL, f"{path}, {gigabytes(free)} free", cure)


def _same_python(told: Told) -> Finding:
    here, there = sys.version.split()[0], told.words.get("python")
    if there == "":
        return Finding("Python there", True, f"{here}: jobs bring it with them")
    if there is None:
        return untried("Python there", f"{told.node} did not tell")
    same = there.split(".")[:2] == here.split(".")[:2]
    cure = f"jobs need Python {here}: set the site's `python`, `modules` or `prologue` so, or `environment` to packed"
    return Finding("Python there", same, there, cure)
