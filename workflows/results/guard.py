"""What a site will soon remove: results and archived objects on file systems that are purged, days before.

Sites remove files by their age, each by itself. terp counts from when the oldest file of a thing was last written
(mtime): some sites also spare what was read of late (atime), which is not relied on, and touching files to keep them
is against the rules of most. So a product goes when its first file does, which is `product.json`.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from terp.cluster.errors import BadSite
from terp.cluster.site import load_site, sites
from terp.storage.archive import Archive
from terp.storage.archive.copies import copies_of
from terp.storage.errors import BadPackage
from terp.storage.home import Home
from terp.workflows.running.record import all_runs

_LEAST = 2  # days before, at least, that something is told


@dataclass(frozen=True)
class Purged:
    """A file system that a site purges, and after how many days."""

    name: str
    path: Path
    days: int


@dataclass(frozen=True)
class AtRisk:
    """A run whose results, or an archived object that, a site will remove: on which day, and what keeps it."""

    what: str
    archived: bool
    system: str
    goes: datetime
    cure: str

    def said(self, now: datetime) -> str:
        """Return it as a sentence."""
        left = (self.goes - now).days
        when = f"in {left} {'day' if left == 1 else 'days'}" if left > 0 else "any moment now"
        return f"{self.what} is on {self.system}, which removes it {when} ({self.goes:%Y-%m-%d}): {self.cure}"


def purged(home: Home) -> Purged | None:
    """Return the file system that a home is on, if a site that terp knows purges it; of several the soonest."""
    root, found = home.root.resolve(), list[Purged]()
    for name in sites():
        with suppress(BadSite):
            for system, about in load_site(name).file_systems.items():
                path = Path(os.path.expandvars(about.path))
                if about.purge_days and path.is_absolute() and root.is_relative_to(path.resolve()):
                    found.append(Purged(f"{system} of {name}", path, about.purge_days))
    return min(found, key=lambda one: one.days, default=None)


def at_risk(home: Home, now: datetime) -> list[AtRisk]:
    """Return what goes within half of the days that a site leaves it, the soonest first; nothing on other systems."""
    system = purged(home)
    if system is None:
        return []
    until = now + timedelta(days=max(_LEAST, system.days // 2))
    found = [*_runs(home, system), *_objects(home, system)]
    return sorted((one for one in found if one.goes <= until), key=lambda one: (one.goes, one.what))


def _runs(home: Home, system: Purged) -> Iterator[AtRisk]:
    for run in all_runs(home):
        keys = dict.fromkeys([*run.results.values(), *(stage.key for stage in run.stages)])
        times = [_written(home.product(key) / "product.json") for key in keys]
        first = min(filter(None, times), default=None)
        if run.archived or first is None:
            continue
        done = run.state == "finished"
        cure = f"terp archive {run.id}" if done else f"let {run.id} end and be archived, or move TERP_HOME"
        yield AtRisk(f"the run {run.id}", False, system.name, first + timedelta(days=system.days), cure)


def _objects(home: Home, system: Purged) -> Iterator[AtRisk]:
    archive = Archive(home.archive)
    for identifier in archive.list():
        if any(state == "whole" for _, state in copies_of(home, identifier)):
            continue
        with suppress(BadPackage):  # damage is told of elsewhere
            first = min(filter(None, map(_written, archive.files(identifier).values())), default=None)
            if first is not None:
                cure = f"terp copy {identifier} --to PLACE"
                yield AtRisk(identifier, True, system.name, first + timedelta(days=system.days), cure)


def _written(path: Path) -> datetime | None:
    with suppress(OSError):
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return None
