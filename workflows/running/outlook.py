"""What a run at a site has done and cost until now, and an estimate of what is to come."""

import time
from collections import Counter
from collections.abc import Container, Mapping
from datetime import datetime
from typing import Any

from terp.cluster.words import ending, reason
from terp.workflows.running.record import RunRecord
from terp.workflows.running.standing import Standing

_LATE = 30.0  # seconds that SLURM's commands may take, before what was heard is old


def outlook(record: RunRecord, stands: Standing, facts: Mapping[str, Any], there: Container[str]) -> dict[str, Any]:
    """Return plain values: `so_far`, `to_go` (an estimate for the stage at work), `jobs` and the `controller`.

    `facts` is what the controller wrote last; of its jobs those count that are `there`, by their ids.
    """
    living = [one for one in facts.get("jobs", ()) if not one["over"] and one["id"] in there]
    ended = Counter(ending(one["state"]) for one in facts.get("jobs", ()) if one["over"] and not one["ours"])
    ended["ended as it was not needed"] += sum(one["over"] and bool(one["ours"]) for one in facts.get("jobs", ()))
    return {
        "heard": facts.get("time"),
        "silent": 0.0 if stands.queued else _silent(facts),
        "workers": sum(one["workers"] for one in living),
        "wanted": facts.get("wanted", 0),
        "bounds": facts.get("bounds", {}),
        "avoids": facts.get("avoids", []),
        "waiting": "" if stands.queued else facts.get("waiting", ""),
        "rate": 0.0 if stands.queued else facts.get("rate", 0.0),
        "so_far": _so_far(record, facts),
        "to_go": {} if stands.queued else _to_go(facts, living),
        "controller": _controller(record, stands),
        "jobs": [_job(one) for one in living],
        "ended": dict(+ended),
    }


def at_work(facts: Mapping[str, Any]) -> str:
    """Return the stage at work and how far it is, in words; "" where nothing is known."""
    if not facts.get("stage"):
        return ""
    done, left = facts["regions"]["done"], facts["regions"]["left"]
    return f"{facts['stage']} {done:,}/{done + left:,} regions"


def _silent(facts: Mapping[str, Any]) -> float:
    """Return the seconds for which nothing has been heard, where that is longer than it should be; else 0."""
    age = time.time() - facts["time"] if facts else 0.0
    return age if age > 3 * facts.get("poll", 0.0) + _LATE else 0.0


def _so_far(record: RunRecord, facts: Mapping[str, Any]) -> dict[str, float]:
    ended = datetime.fromisoformat(record.ended).timestamp() if record.ended else time.time()
    return {
        "seconds": round(ended - datetime.fromisoformat(record.started).timestamp(), 1),
        "core_hours": facts.get("core_hours", 0.0),
        "sbu": facts.get("sbu", 0.0),
    }


def _to_go(facts: Mapping[str, Any], living: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the regions left of this stage may take, at the rate of the last minutes, with the jobs that run."""
    seconds = facts.get("seconds_left_estimate")
    if not seconds:
        return {}
    hours = sum(one["cores"] for one in living if one["state"] == "RUNNING" and not one["ours"]) * seconds / 3600
    return {
        "stage": facts["stage"],
        "regions": facts["regions"]["left"],
        "seconds_estimate": round(seconds, 1),
        "core_hours_estimate": round(hours, 4),
        "sbu_estimate": round(hours * facts["sbu_per_core_hour"], 4),
    }


def _controller(record: RunRecord, stands: Standing) -> dict[str, Any]:
    job = stands.job
    return {
        "job": job.id if job else record.job,
        "state": job.state if job else "",
        "words": reason(job.reason) if job and job.waits else "",
        "node": job.nodes if job and job.runs else record.holder.get("host", ""),
        "seconds_left": round(job.end - time.time()) if job and job.runs and job.end else None,
        "starts": len(record.attempts),
    }


def _job(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job of workers as people want to see it."""
    waits = bool(one["reason"])
    state = "waits" if waits else "leaves" if one["ours"] else "runs" if one["state"] == "RUNNING" else one["state"]
    why = reason(one["reason"]) if waits else one["ours"]
    left = max(round(one["end"] - time.time()), 0) if one["end"] and not waits else None
    return {
        "id": one["id"],
        "state": state,
        "slurm": one["state"],
        "node": one["nodes"],
        "cores": one["cores"],
        "workers": one["workers"],
        "seconds_left": left,
        "restarts": one["restarts"],
        "why": why,
    }
