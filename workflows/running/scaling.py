"""More or fewer workers for a run at a site, and nodes that it shall keep off: what may be asked, and what it means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terp.cluster.jobs import Slurm
from terp.workflows.errors import Usage
from terp.workflows.running import wishes
from terp.workflows.running.record import RunRecord
from terp.workflows.running.standing import Standing
from terp.workflows.running.where import job_facts

_SHOWN = 8  # names of nodes that are listed


@dataclass(frozen=True)
class Terms:
    """What a run's site gives: workers at most, cores of a job, the partition, seconds between two looks at SLURM."""

    most: int
    cores: int
    partition: str
    poll: float

    @classmethod
    def of(cls, record: RunRecord, folder: Path) -> "Terms":
        """Return the terms as the controller holds to them, or before it has begun, as the site is described."""
        facts = job_facts(folder)
        if facts:
            return cls(facts["most"], facts["cores"], facts["partition"], facts["poll"])
        from terp.cluster.site import load_site

        site = load_site(record.site)
        return cls(site.max_workers, site.cores, site.partition, site.poll)


def scale(
    record: RunRecord, stands: Standing, folder: Path, workers: int | None, drain: Sequence[str], undrain: Sequence[str]
) -> list[str]:
    """Ask for at most so many workers from now on, and for nodes to be left or used again; return what will happen.

    Raises Usage for what cannot be.
    """
    _refuse(record, stands, workers, [*drain, *undrain])
    terms = Terms.of(record, folder)
    kept = set(wishes.read(folder).get("drain", ()))
    asked: dict[str, Any] = {}
    if workers is not None:
        if workers > terms.most:
            raise Usage(f"{record.site} gives a run {terms.most} workers at most (`max_workers` of the site)")
        asked["workers"] = workers
    if strange := sorted(set(undrain) - kept):
        raise Usage(f"{', '.join(strange)}: not drained for {record.id}; {_list(kept) or 'no node is'}")
    if drain or undrain:
        _check_nodes(drain, kept | set(drain), terms.partition)
        asked["drain"] = sorted((kept | set(drain)) - set(undrain))
    wishes.ask(folder, **asked)
    return [*_told(asked, terms, drain, undrain), _when(stands, terms)]


def _refuse(record: RunRecord, stands: Standing, workers: int | None, nodes: Sequence[str]) -> None:
    if workers is None and not nodes:
        raise Usage("say how many workers, or which nodes to --drain or --undrain")
    if workers is not None and workers < 1:
        raise Usage(f"a run has one worker at least; to stop it: terp cancel {record.id}")
    if stands.over:
        raise Usage(f"{record.id} is over ({stands.state}); to go on with more workers: terp run ... --workers N")
    if not record.site:
        raise Usage(f"{record.id} has its workers on one machine, not in jobs: only a run with --site can be scaled")


def _check_nodes(drain: Sequence[str], all_of_them: set[str], partition: str) -> None:
    """Raise Usage for nodes that there are not: SLURM would refuse all further jobs."""
    if not drain:
        return
    slurm = Slurm()
    known = set(slurm.ask("sinfo", "-h", "-N", "-o", "%N").split())
    if strange := sorted(set(drain) - known):
        raise Usage(f"{', '.join(strange)}: no such node; {_list(known)}")
    if set(slurm.ask("sinfo", "-h", "-N", "-p", partition, "-o", "%N").split()) <= all_of_them:
        raise Usage(f"without {', '.join(sorted(all_of_them))} partition {partition} has no node left for the run")


def _list(names: set[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    return f"there are {', '.join(shown)}{', ...' if len(names) > _SHOWN else ''}" if names else ""


def _told(asked: Mapping[str, Any], terms: Terms, drain: Sequence[str], undrain: Sequence[str]) -> list[str]:
    told = []
    if "workers" in asked:
        jobs = max(asked["workers"] // terms.cores, 1)
        size = f"{jobs} {'job' if jobs == 1 else 'jobs'} of {terms.cores}"
        told.append(f"at most {asked['workers']} workers from now on ({size}): more come while there is work for them,")
        told.append("those that are too many end their regions and leave")
    if drain:
        told.append(f"{', '.join(drain)}: jobs there end their regions and leave, others come elsewhere")
    if undrain:
        told.append(f"{', '.join(undrain)}: may be used again")
    return told


def _when(stands: Standing, terms: Terms) -> str:
    if stands.queued:
        return "this holds as soon as the controller, which waits in SLURM's queue, has started"
    return f"the controller sees to it within {terms.poll:g} s"
