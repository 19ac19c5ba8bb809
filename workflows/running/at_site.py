"""A plan held against a site: what it will ask SLURM for, what it may cost, and what does not fit."""

import math
import os
from dataclasses import dataclass, field
from typing import Any

from terp.cluster.quantities import print_bytes, print_duration
from terp.cluster.script import memory_of
from terp.cluster.site import FileSystem, Site
from terp.storage.home import Home
from terp.workflows.planning.plan import Plan
from terp.workflows.running.fits import demand_files, demand_sizes, hardly_fitting
from terp.workflows.running.where import shown


@dataclass(frozen=True)
class AtSite:
    """Jobs, their batch script, an estimate of core hours and SBU, and notes on what hardly fits."""

    site: Site
    workers: int
    jobs: int
    core_hours: float
    calls_an_hour: int
    script: str
    notes: tuple[str, ...] = field(default=())

    @property
    def sbu(self) -> float:
        """What the core hours are charged as."""
        return self.core_hours * self.site.partitions[self.site.partition].sbu

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.site.name,
            "workers": self.workers,
            "jobs": self.jobs,
            "core_hours_estimate": round(self.core_hours, 3),
            "sbu_estimate": round(self.sbu, 3),
            "calls_an_hour": self.calls_an_hour,
            "notes": list(self.notes),
            "script": self.script,
        }

    def text(self) -> str:
        """Return all of it for people."""
        site = self.site
        limit = print_duration(site.walltime)
        lines = [
            f"at {site.name}, partition {site.partition}: up to {self.workers} workers in {self.jobs} jobs",
            f"each job: {site.cores} cores, {print_bytes(memory_of(site))}, {limit}",
            f"about {self.core_hours:.2g} core hours, {self.sbu:.2g} SBU (an estimate)",
            f"SLURM is asked about {self.calls_an_hour} times an hour",
            *(f"note: {note}" for note in self.notes),
            "the batch script of the workers (address and keys are those of the run):",
            "",
            *(f"    {line}".rstrip() for line in self.script.splitlines()),
        ]
        return "\n".join(lines)


def at_site(plan: Plan, site: Site) -> AtSite:
    """Hold a plan against a site. Raises Usage where it cannot fit."""
    most = max((one.missing for one in plan.steps), default=0)
    workers = min(max(most, site.min_workers), site.max_workers)
    jobs = math.ceil(workers / site.cores)
    notes = fitting(plan, site)
    seconds = sum(one.seconds for one in plan.steps)
    return AtSite(
        site,
        workers,
        jobs,
        seconds / 3600,
        math.ceil(3600 / site.poll),
        shown(site, Home.here()),
        (*notes, *_notes(plan, site)),
    )


def fitting(plan: Plan, site: Site) -> list[str]:
    """Return notes on what may need more memory than workers have at a site. Raises Usage where it cannot fit.

    A site does not choose blocks, so that it makes the same products as any other; it refuses what it has no room for.
    """
    for name, system in site.file_systems.items():
        if system.files and _holds_home(system):
            demand_files(plan, system.files, f"{name} of {site.name}")
        if system.smallest and _holds_home(system):
            demand_sizes(plan, system.smallest, f"{name} of {site.name}")
    return hardly_fitting(plan, site.memory_per_core, f"at {site.name}", "set the site's `memory_per_core`")


def _notes(plan: Plan, site: Site) -> list[str]:
    notes = []
    files = sum(one.step.shards for one in plan.steps)
    stored = sum(one.to_json()["stored_bytes_estimate"] for one in plan.steps)
    for name, system in site.file_systems.items():
        if system.files and files > system.files:
            notes.append(f"{files:,} files are more than {name} allows ({system.files:,}): make larger blocks")
        if system.quota and stored > system.quota:
            notes.append(f"about {print_bytes(stored)} is more than {name} allows ({print_bytes(system.quota)})")
        if system.purge_days and _holds_home(system):
            notes.append(f"TERP_HOME is on {name}, which removes files after {system.purge_days} days: archive in time")
    return notes


def _holds_home(system: FileSystem) -> bool:
    return Home.here().root.is_relative_to(os.path.expandvars(system.path))
