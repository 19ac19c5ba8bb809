"""The jobs of a run as text: what `terp status RUN` shows of a run at a site."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from terp.storage.meter import span


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines, each column as wide as its widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def lines_of(row: Mapping[str, Any], shown: int) -> list[str]:
    """Return the lines that tell of the jobs of a run, from what `terp status --json` has of it."""
    look = row["outlook"]
    if row["left_behind"]:
        jobs = ", ".join(row["left_behind"][:5])
        return [f"  it left jobs in the queue ({jobs}): `terp cancel {row['run']}` ends them"]
    if row["ended"] or row["state"] == "killed":
        from terp.workflows.cli.costs import cost_lines

        return cost_lines(row["cluster"])
    return [*(f"  {line}" for line in _lines(look)), *_table(look["jobs"], shown)]


def _lines(look: Mapping[str, Any]) -> Iterator[str]:
    if look["silent"]:
        yield f"its controller has not been heard of for {span(look['silent'])}: this is how it was then"
    yield _controller(look["controller"])
    yield f"so far: {_cost(look['so_far'], '')} since it was started{_cap(look)}"
    if look["to_go"]:
        yield f"to go, for the stage at work: about {_cost(look['to_go'], '_estimate')} (an estimate)"
    if look["bounds"]:
        least, most = look["bounds"]["minimum"], look["bounds"]["maximum"]
        allowed = f"{look['wanted']} wanted, {least} to {most} allowed"
        yield f"workers: {look['workers']} ({allowed}), {look['rate']:,.1f} regions/s"
    if look["avoids"]:
        yield f"drained, no job goes there: {', '.join(look['avoids'])}"
    if look["ended"]:
        yield "jobs that ended: " + ", ".join(f"{count} {how}" for how, count in look["ended"].items())


def _controller(one: Mapping[str, Any]) -> str:
    job = f"job {one['job']}" if one["job"] else "a process"
    where = f" on {one['node']}" if one["node"] and not one["words"] else ""
    what = f" {one['words']}" if one["words"] else ""
    left = f", {span(one['seconds_left'])} left" if one["seconds_left"] else ""
    again = f", started {one['starts']} times" if one["starts"] > 1 else ""
    return f"controller: {job}{where}{what}{left}{again}"


def _cost(one: Mapping[str, Any], suffix: str) -> str:
    hours, sbu = one[f"core_hours{suffix}"], one[f"sbu{suffix}"]
    return f"{span(one[f'seconds{suffix}'])}, {hours:,.3g} core hours, {sbu:,.3g} SBU"


def _cap(look: Mapping[str, Any]) -> str:
    cap = look["bounds"].get("core_hours")
    return f", of {cap:g} core hours at most" if cap else ""


def _table(jobs: Sequence[Mapping[str, Any]], shown: int) -> list[str]:
    if not jobs:
        return []
    rows = [("JOB", "STATE", "NODE", "WORKERS", "LEFT", "")]
    for one in jobs[:shown]:
        left = span(one["seconds_left"]) if one["seconds_left"] else "-"
        rows.append((one["id"], one["state"], one["node"] or "-", str(one["workers"]), left, one["why"]))
    more = [f"  and {len(jobs) - shown:,} more"] if len(jobs) > shown else []
    return [*(f"  {line}" for line in columns(rows)), *more]
