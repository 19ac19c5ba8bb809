"""What a run cost at its site: taken when it ends, kept in its record, told to people and to its crate."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from terp.storage.home import Home
from terp.storage.provenance import Resource
from terp.workflows.running.record import RunRecord
from terp.workflows.running.where import job_facts

if TYPE_CHECKING:
    from terp.cluster.site import Site

_PATIENCE = 10.0  # seconds that SLURM's accounting may be late
_BEFORE_THE_WALL = 5.0  # the same, where this may be the end of the controller's own time


def so_far(home: Home, record: RunRecord) -> dict[str, Any]:
    """Return what is known of the jobs of a run's earlier starts, also of one that was killed."""
    from terp.cluster.accounting import merged

    return merged(record.cluster, job_facts(record.folder(home)))


def accounted(record: RunRecord, site: "Site | None", facts: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of a run's jobs, those of earlier starts too, with what they cost and used.

    Whatever is wrong with that must not be what a run fails of: it is noted in its place.
    """
    from terp.cluster.accounting import account, merged

    known = merged(record.cluster, facts)
    if site is None or not known:
        return known
    controller = record.job if record.submitted else ""
    patience = _BEFORE_THE_WALL if record.submitted else _PATIENCE
    try:
        costs = account(site, record.id, known, _spans(record), controller, patience)
    except Exception as fault:  # noqa: BLE001 (the run is what counts)
        costs = {"trouble": f"{type(fault).__name__}: {fault}"}
    return {**known, "accounting": costs}


def _spans(record: RunRecord) -> dict[str, list[tuple[float, float]]]:
    """Return when each stage was at work, in seconds since the epoch; one that failed, until now."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for stage in record.stages:
        ended = datetime.fromisoformat(stage.ended) if stage.ended else datetime.now().astimezone()
        began = datetime.fromisoformat(stage.started).timestamp()
        spans.setdefault(stage.name, []).append((began, ended.timestamp()))
    return spans


def resources(record: RunRecord) -> list[Resource]:
    """Return what a run used, as its crate tells it; [] where it had no jobs. Jobs are named, hosts are not."""
    costs = record.cluster.get("accounting", {})
    if "total" not in costs:
        return []
    total, memory, energy = costs["total"], costs["total"]["memory"], costs["total"]["energy"]
    ids = [*([record.job] if record.submitted else []), *(job["id"] for job in record.cluster["jobs"])]
    told = [
        Resource("jobs", "jobs", total["jobs"], "NUM", f"of SLURM at {record.site}: {', '.join(ids)}"),
        Resource("core hours", "core hours", total["core_hours"], "HR", f"by {costs['source']}"),
        Resource("SBU", "SBU", total["sbu"], "UNITLESS", "core hours, weighted as the site charges them"),
    ]
    part = "that part of the core hours which passed while it was at work"
    for name, one in costs["stages"].items():
        told.append(Resource(f"core hours of {name}", "core hours of a stage", one["core_hours"], "HR", part))
    if memory:
        told.append(Resource("memory", "memory", memory["used"], "BYTE", "the most that a job of workers used"))
        told.append(Resource("memory asked for", "memory asked for", memory["asked"], "BYTE", "by that job"))
    if total["cpu_efficiency"] is not None:
        told.append(
            Resource("CPU efficiency", "CPU efficiency", total["cpu_efficiency"], "UNITLESS", "CPU time a core second")
        )
    if energy:
        told.append(Resource("energy", "energy", energy["joules"], "J", energy["how"]))
    return told
