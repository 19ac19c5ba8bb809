"""Where a run's workers are: on this machine, in SLURM jobs of a site, or behind a scheduler that is there already."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terp.cluster import metrics
from terp.cluster.crew import Crew
from terp.cluster.errors import ClusterError
from terp.cluster.jobs import Job, Slurm, own_job
from terp.cluster.launch import attach
from terp.cluster.launch_here import cores, launch_here, share_of_memory
from terp.storage.holder import Holder
from terp.storage.home import Home
from terp.workflows.errors import BadRecord, Usage
from terp.workflows.running.record import RunRecord, load_run

if TYPE_CHECKING:
    from terp.cluster.launch_slurm import Place
    from terp.cluster.site import Site
    from terp.workflows.planning.plan import Plan
    from terp.workflows.running.report import Reporter

_YOUNG = 300.0  # seconds in which what another machine wrote of a run may not be seen here yet
# xarray imports dask.array with its first array: in the first region, if it is not there before
PRELOAD: tuple[str, ...] = (
    "terp.workflows.running.task",
    "terp.storage.opening",
    "dask.array",
    "terp.workflows.running.ground",
    "terp.workflows.running.ahead",
)


@dataclass(frozen=True)
class Where:
    """What was said of the workers: the site or the scheduler, how many at most and at least, what they may cost."""

    site: "Site | None" = None
    scheduler: str = ""
    most: int | None = None
    least: int | None = None
    core_hours: float | None = None
    processor: str = ""  # the level to compute at; "": the site's, or the usual one

    def __post_init__(self) -> None:
        """Raise Usage for what contradicts itself."""
        if self.scheduler and self.processor:
            raise Usage("--processor is for workers that terp starts: those of a scheduler have begun")
        if self.site and self.scheduler:
            raise Usage("--site starts workers, --scheduler names some that are there: give one of them")
        if not self.site and (self.least is not None or self.core_hours is not None):
            raise Usage("--min-workers and --core-hours are for workers in jobs: give --site too")

    @property
    def workers(self) -> int:
        """How many there will be at most, where that is known."""
        if self.site:
            return min(self.most or self.site.max_workers, self.site.max_workers)
        return 0 if self.scheduler else self.most or cores()

    @property
    def memory(self) -> int:
        """What a worker has of it, in bytes; 0 where that is not known."""
        if self.site:
            return self.site.memory_per_core
        return 0 if self.scheduler else share_of_memory(self.workers)

    def fitting(self, plan: "Plan") -> list[str]:
        """Return notes on what may need more memory than a worker has. Raises Usage where it cannot fit."""
        from terp.workflows.running.at_site import fitting
        from terp.workflows.running.fits import hardly_fitting

        if self.site:
            return fitting(plan, self.site)
        if self.scheduler or not plan.tasks:
            return []
        return hardly_fitting(plan, self.memory, "here", "take fewer workers (--workers)")

    def launch(self, home: Home, record: RunRecord, reporter: "Reporter") -> AbstractContextManager[Crew]:
        """Return what starts the workers of a run."""
        if self.scheduler:
            return attach(self.scheduler)
        if self.site:
            own = {"processor": self.processor} if self.processor else {}
            return self._jobs(self.site.model_copy(update=own), home, record, reporter)
        return launch_here(self.most, preload=PRELOAD, processor=self.processor)

    @contextmanager
    def _jobs(self, site: "Site", home: Home, record: RunRecord, reporter: "Reporter") -> Iterator[Crew]:
        from terp.cluster.launch_slurm import launch_slurm
        from terp.cluster.staff import Bounds

        sweep(home, record, reporter.warn)
        bounds = Bounds(self.least or site.min_workers, self.workers, self.core_hours, record.submitted)
        with launch_slurm(site, place(home, record.id), bounds, PRELOAD, reporter.warn) as crew:
            yield crew


def place(home: Home, run: str) -> "Place":
    """Return where the jobs of a run find things."""
    from terp.cluster.launch_slurm import Place

    return Place(run, home.runs / run, home.keys / run, home.cache)


def sweep(home: Home, mine: RunRecord, tell: Callable[[str], None]) -> None:
    """Remove keys and metrics, and cancel the jobs, of runs whose controllers are gone: what a kill left behind."""
    if not home.keys.is_dir():
        return
    slurm = Slurm()
    seen = slurm.patiently(slurm.look, tell)
    for folder in home.keys.iterdir():
        if folder.name == mine.id or _is_dead(home, folder.name, seen, slurm):
            collected = job_facts(home.runs / folder.name).get("metrics")
            if collected:
                metrics.remove(Path(collected), folder.name)
            shutil.rmtree(folder, ignore_errors=True)
            slurm.cancel(job.id for job in seen.values() if job.name == f"terp-{folder.name}" and not job.over)


def _is_dead(home: Home, run: str, seen: dict[str, Job], slurm: Slurm) -> bool:
    """Say whether a run with keys is known to be dead; one that may only just have begun elsewhere is not."""
    try:
        young = time.time() - (home.keys / run).stat().st_mtime < _YOUNG
    except FileNotFoundError:  # it has just ended by itself
        return False
    try:
        record = load_run(home, run)
    except Usage:
        return not young
    except BadRecord:
        return False
    if record.state == "running":
        return is_gone(Holder.from_json(record.holder), seen, slurm)
    return record.state in ("finished", "failed", "cancelled") and not young


def is_gone(holder: Holder, seen: dict[str, Job] | None = None, slurm: Slurm | None = None) -> bool:
    """Say whether a controller is known to be gone: by its process, or by the job that it was in."""
    if holder.is_gone():
        return True
    number = holder.job.partition(".")[0]
    if not number or holder.is_here():
        return False
    slurm = slurm or Slurm()
    with suppress(ClusterError):
        jobs = {job.raw: job for job in (seen if seen is not None else slurm.look()).values()}
        found = jobs.get(number) or {job.raw: job for job in slurm.past([number]).values()}.get(number)
        return found is not None and (found.over or found.waits)
    return False


def requeue_this(tell: Callable[[str], None]) -> str:
    """Put the job that we are in back into SLURM's queue; return what is wrong, where that cannot be done."""
    slurm = Slurm()
    try:
        slurm.patiently(lambda: slurm.requeue(own_job()), tell)
    except ClusterError as error:
        return str(error)
    return ""


def shown(site: "Site", home: Home) -> str:
    """Return the batch script of the workers that a run would submit."""
    from terp.cluster.launch_slurm import shown_script

    return shown_script(site, place(home, "RUN"), PRELOAD)


def job_facts(folder: Path) -> dict[str, Any]:
    """Return what the controller wrote of its jobs last; {} where there is nothing."""
    import json

    with suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads((folder / "cluster.json").read_bytes())
        return found
    return {}
