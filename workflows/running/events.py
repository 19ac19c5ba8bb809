"""What the journal of a run tells of its plan, its workers and its end: facts, without hosts, places or logins."""

from typing import TYPE_CHECKING

from terp.storage.home import Home
from terp.storage.scrub import Named
from terp.workflows.running.record import RunRecord

if TYPE_CHECKING:
    from terp.workflows.planning.plan import Plan


def noted_plan(home: Home, run: RunRecord, plan: "Plan") -> None:
    """Note all that is to be done, from which sources, and why."""
    stages = [
        {"stage": one.step.name, "key": one.step.key, "regions": one.step.regions, "left": one.missing, "why": one.why}
        for one in plan.steps
    ]
    sources = [{"reader": source.reader, "sha256": Named(source.content)} for source in plan.sources]
    doubts = sorted({doubt for one in plan.steps for doubt in one.step.doubts})
    run.note(home, "planned", stages=stages, sources=sources, doubts=doubts, ends=plan.ends)


def noted_workers(home: Home, run: RunRecord) -> None:
    """Note the workers that there were at most and, at a site, their jobs and what these cost."""
    jobs = [str(job["id"]) for job in run.cluster.get("jobs", ())]
    total = run.cluster.get("accounting", {}).get("total", {})
    cost = {name: total[name] for name in ("core_hours", "sbu") if name in total}
    run.note(home, "workers ended", workers=run.workers, site=run.site, jobs=jobs, **cost)


def named(error: BaseException) -> str:
    """Return the kind of an error and what that means: its own words may name hosts and places."""
    means = (type(error).__doc__ or "").strip().partition("\n")[0]
    return f"{type(error).__name__}: {means}" if type(error).__module__.startswith("terp.") else type(error).__name__
