"""What a run's jobs cost and used: by SLURM's accounting, and where there is none, by terp's own count.

SLURM measures jobs, not stages. A stage's core hours are those that passed while it was at work; its memory and CPU
time are those of the jobs that were there meanwhile.
"""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from typing import Any

from terp.cluster.errors import SlurmAway, SlurmRefused
from terp.cluster.jobs import LEAVING, THERE, WAITING, Slurm
from terp.cluster.quantities import print_bytes
from terp.cluster.site import Site

BY_SLURM, BY_TERP, BY_BOTH = "SLURM's accounting", "terp's own count", "SLURM's accounting and terp's own count"
START = "(start)"  # until the first stage is at work
BETWEEN = "(between)"  # stages, and after the last
CONTROLLER = "(controller)"

_FIELDS = (
    *("JobID", "JobName", "State", "Start", "End", "ElapsedRaw", "AllocCPUS", "TotalCPU", "MaxRSS"),
    *("TRESUsageInTot", "TRESUsageInMax", "ConsumedEnergyRaw"),
)
_PAUSE = 0.25  # seconds before the second look at the accounting; each pause is longer than the one before
_AT_ONCE = 500  # jobs asked for in one call
_LATE = 30.0  # seconds after its end in which what a job used may still be on its way to the accounting
_BRIEF = 3.0  # seconds that a job may take without its memory being looked at by SLURM
_SPARE = 1.2  # what is asked for, as a multiple of what was used
_STEP = 64 << 20  # bytes that memory for a core is rounded up to
_COVERED = 0.99  # share of core hours whose energy SLURM must know for its figure to stand
_NO_ENERGY = 1e15  # joules: SLURM's numbers for "not known" are above, as unsigned ones
_LOST = ("NODE_FAIL", "BOOT_FAIL")  # nobody was there to tell how much memory was used


type Spans = Sequence[tuple[float, float]]  # of time: from, to, in seconds since the epoch


@dataclass(frozen=True)
class Start:
    """One start of a job: when (seconds since the epoch), core seconds, and what it used; None where not known.

    `asked` is the memory it asked for in bytes, `rss` the most that it used, `cpu` its seconds of CPU time.
    """

    job: str
    state: str
    begin: float
    end: float
    cores: int
    core_seconds: float
    asked: int = 0
    cpu: float | None = None
    rss: int | None = None
    joules: float = 0.0

    def is_final(self, now: float) -> bool:
        """Whether the accounting will tell no more of it."""
        if self.state in WAITING - {"REQUEUED"} or self.state in THERE | LEAVING or not self.end:
            return False
        told = self.rss is not None or self.state in _LOST or self.end - self.begin < _BRIEF
        return told or now - self.end > _LATE


def account(
    site: Site,
    run: str,
    facts: Mapping[str, Any],
    spans: Mapping[str, Spans],
    controller: str = "",
    patience: float = 10.0,
) -> dict[str, Any]:
    """Return what the jobs of a run cost and used, in total and for each stage, as plain values.

    `facts` is what the supervisor knows of the jobs (`Supervisor.jobs`); `spans` when each stage was at work;
    `controller` the job of the controller, where terp submitted that. As slurmdbd is late, it is waited for up to
    `patience` seconds.
    """
    jobs = {job["id"]: job for job in facts.get("jobs", [])}
    asked = {one: int(job["memory"]) for one, job in jobs.items()}
    if controller:
        asked[controller] = site.controller.memory
    ran = {one for one, job in jobs.items() if job["core_hours"]}
    told = _told(list(asked), ran, f"terp-{run}", patience)
    starts = [replace(one, asked=asked.get(one.job, 0)) for one in told if one.core_seconds]
    unseen = [_own(jobs[one]) for one in sorted(ran - {start.job for start in told})]
    workers = [one for one in starts if one.job != controller] + unseen
    head = [one for one in starts if one.job == controller]
    watts, how = _power([*workers, *head], site)
    rows = _by_stage(workers, spans)
    rows |= {CONTROLLER: (head, sum(one.core_seconds for one in head))} if head else {}
    rates = {name: _rate(site, name == CONTROLLER) for name in rows}
    stages = {name: _figures(*row, row[1] * rates[name], watts, how) for name, row in rows.items()}
    charged = sum(seconds * rates[name] for name, (_, seconds) in rows.items())
    spent = sum(seconds for _, seconds in rows.values())
    total = _figures([*workers, *head], spent, charged, watts, how)
    source = BY_SLURM if not unseen else BY_BOTH if starts else BY_TERP
    return {"source": source, "total": {**total, "memory": _memory(workers)}, "stages": stages}


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two supervisors of a run, one after the other, knew of its jobs."""
    if not old or not new or new["time"] <= old["time"]:
        return dict(new if new and not old else old)
    jobs = {job["id"]: job for facts in (old, new) for job in facts["jobs"]}
    added = {name: _sum(old.get(name, {}), new.get(name, {})) for name in ("core_hours_by_stage", "calls")}
    hours = sum(job["core_hours"] for job in jobs.values())
    rate = max((facts["sbu"] / facts["core_hours"] for facts in (old, new) if facts["core_hours"]), default=0.0)
    again = {"jobs": list(jobs.values()), "core_hours": round(hours, 4), "sbu": round(hours * rate, 4)}
    return {**new, **again, **added}


def _sum(old: Mapping[str, float], new: Mapping[str, float]) -> dict[str, float]:
    return {name: old.get(name, 0) + new.get(name, 0) for name in {**old, **new}}


# what was told


def _told(ids: list[str], awaited: set[str], name: str, patience: float) -> list[Start]:
    """Return what the accounting tells of jobs, as soon as it is all there, or when that has taken too long."""
    slurm = Slurm(time_limit=max(patience, 1.0))
    deadline, pause = time.monotonic() + patience, _PAUSE
    while ids:
        starts: list[Start] = []
        try:
            for first in range(0, len(ids), _AT_ONCE):
                starts += read(slurm.usage(ids[first : first + _AT_ONCE], _FIELDS), name)
        except SlurmRefused:  # there is no accounting
            return []
        except SlurmAway:
            starts = []
        mine = [one for one in starts if one.job in awaited]
        whole = awaited <= {one.job for one in mine} and all(one.is_final(time.time()) for one in mine)
        left = deadline - time.monotonic()
        if whole or left <= 0:
            return starts
        time.sleep(min(pause, left))
        pause *= 1.5
    return []


def read(rows: Iterable[Mapping[str, str]], name: str) -> list[Start]:
    """Return the starts of the jobs of a run from rows of `sacct`: each job's, followed by those of its steps.

    Numbers of jobs come again after years, so what bears another name is left out.
    """
    groups: list[list[Mapping[str, str]]] = []
    for row in rows:
        if "." not in row["JobID"]:
            groups.append([row])
        elif groups:
            groups[-1].append(row)
    return [_start(job, steps) for job, *steps in groups if job["JobName"] in (name, f"{name}-controller")]


def _start(job: Mapping[str, str], steps: Sequence[Mapping[str, str]]) -> Start:
    cores = int(job["AllocCPUS"] or 0)
    # a step that was ended has its CPU time only as it was looked at last (in Max, as each has one task), no total
    sampled = [_seconds(_part(step[field], "cpu")) for step in steps for field in ("TRESUsageInTot", "TRESUsageInMax")]
    used = [count for step in steps if (count := _bytes(step["MaxRSS"])) is not None]
    energy = [_joules(job["ConsumedEnergyRaw"]), sum(_joules(step["ConsumedEnergyRaw"]) for step in steps)]
    return Start(
        job["JobID"],
        job["State"].split(" ")[0],
        float(job["Start"]) if job["Start"].isdigit() else 0.0,
        float(job["End"]) if job["End"].isdigit() else 0.0,
        cores,
        float(job["ElapsedRaw"] or 0) * cores,
        cpu=max([_seconds(job["TotalCPU"]), *sampled]) or None,
        rss=max(used, default=None),
        joules=max(energy),
    )


def _own(job: Mapping[str, Any]) -> Start:
    """Return what the supervisor itself counted of a job."""
    begin, end = float(job.get("start") or 0), float(job.get("end") or 0)
    return Start(job["id"], job["state"], begin, end, job["cores"], job["core_hours"] * 3600, int(job["memory"] or 0))


def _part(text: str, name: str) -> str:
    return next((part.partition("=")[2] for part in text.split(",") if part.startswith(f"{name}=")), "")


def _seconds(text: str) -> float:
    """Return seconds from SLURM's [DAYS-][HOURS:]MINUTES:SECONDS; 0 where it tells none."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)", text)
    if not found:
        return 0.0
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _bytes(text: str) -> int | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)", text)
    return round(float(found[1]) * 1024.0 ** (" KMGTP".index(found[2] or " "))) if found else None


def _joules(text: str) -> float:
    count = float(text) if text.replace(".", "", 1).isdigit() else 0.0
    return count if count < _NO_ENERGY else 0.0


# what comes of it


def _rate(site: Site, controller: bool) -> float:
    partition = site.controller.partition if controller else site.partition
    return site.partitions[partition].sbu if partition in site.partitions else 0.0


def _by_stage(workers: list[Start], spans: Mapping[str, Spans]) -> dict[str, tuple[list[Start], float]]:
    """Return for each stage the job starts that were there, and the core seconds that passed meanwhile."""
    pieces = _pieces(spans)
    rows: dict[str, tuple[list[Start], float]] = {name: ([], 0.0) for name in (START, *spans, BETWEEN)}
    for one in workers:
        for name, seconds in _parts(one, pieces).items():
            there, before = rows[name]
            rows[name] = ([*there, one], before + seconds)
    return {name: row for name, row in rows.items() if row[0]}


def _pieces(spans: Mapping[str, Spans]) -> list[tuple[float, float, str]]:
    """Return pieces of time that do not overlap, each with its stage: of those at work the one that began last."""
    known = [(begin, -end, name) for name, those in spans.items() for begin, end in those]
    edges = sorted({edge for begin, minus, _ in known for edge in (begin, -minus)})
    pieces = []
    for left, right in pairwise(edges):
        at_work = [one for one in known if one[0] <= left and -one[1] >= right]
        if at_work:
            pieces.append((left, right, max(at_work)[2]))
    return pieces


def _parts(start: Start, pieces: list[tuple[float, float, str]]) -> dict[str, float]:
    """Return the core seconds of a start by stage."""
    length = start.core_seconds / max(start.cores, 1)
    end = start.begin + length
    parts: dict[str, float] = {}
    for left, right, name in pieces:
        overlap = min(right, end) - max(left, start.begin)
        if overlap > 0:
            parts[name] = parts.get(name, 0.0) + overlap
    before = min(max(pieces[0][0] - start.begin, 0.0), length) if pieces else length
    parts |= {START: before, BETWEEN: length - before - sum(parts.values())}
    return {name: part * start.cores for name, part in parts.items() if part > 1e-6}


def _power(starts: list[Start], site: Site) -> tuple[float, str]:
    """Return watts for a core, and whether SLURM measured that or it is an estimate; 0 and "" where none is known."""
    measured = [one for one in starts if one.joules > 0]
    covered = sum(one.core_seconds for one in measured)
    if measured and covered >= _COVERED * sum(one.core_seconds for one in starts):
        return sum(one.joules for one in measured) / covered, "measured by SLURM"
    if site.watts_per_core:
        return site.watts_per_core, f"an estimate from {site.watts_per_core:g} W for a core"
    return 0.0, ""


def _figures(starts: list[Start], core_seconds: float, charged: float, watts: float, how: str) -> dict[str, Any]:
    timed = [one for one in starts if one.cpu is not None]
    there = sum(one.core_seconds for one in timed)
    return {
        "jobs": len({one.job for one in starts}),
        "starts": len(starts),
        "core_hours": round(core_seconds / 3600, 6),
        "sbu": round(charged / 3600, 6),
        "memory": _memory(starts),
        "cpu_efficiency": round(sum(one.cpu or 0 for one in timed) / there, 4) if there else None,
        "energy": {"joules": round(watts * core_seconds, 3), "how": how} if how else None,
    }


def _memory(starts: list[Start]) -> dict[str, Any] | None:
    """Return the most memory that a job used, beside what it asked for and what would have been enough.

    None would have been, that one knows of, where jobs with the most memory ran out of it.
    """
    fullest = max((one for one in starts if one.rss is not None), key=lambda one: one.rss or 0, default=None)
    if fullest is None or fullest.rss is None or not fullest.cores:
        return None
    short = any(one.state == "OUT_OF_MEMORY" and one.asked >= fullest.asked for one in starts)
    by_core = ceil(fullest.rss * _SPARE / fullest.cores / _STEP) * _STEP
    enough = {} if short else {"enough": by_core * fullest.cores, "memory_per_core": print_bytes(by_core)}
    return {"used": fullest.rss, "asked": fullest.asked, **enough}
