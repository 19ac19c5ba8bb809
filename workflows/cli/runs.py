"""`terp status` and `terp logs`."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from terp.storage.home import Home
    from terp.workflows.running.queue import Queue
    from terp.workflows.running.record import RunRecord

_SHOWN = 20  # runs, and jobs of a run, that are shown


@click.command("status")
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def status_command(run: str | None, as_json: bool) -> None:
    """Show runs and how far they are; RUN is an id, a beginning of one, or `last`.

    With RUN also its stages and, at a site, its jobs, what it has cost so far, and an estimate of what is to come.
    """
    from terp.storage.home import Home
    from terp.workflows.running.queue import Queue
    from terp.workflows.running.record import all_runs, damaged_runs, load_run

    home, queue = Home.here(), Queue()
    runs = [load_run(home, run)] if run else all_runs(home)[-_SHOWN:]
    rows = [_row(home, one, queue, closely=bool(run)) for one in runs]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif rows:
        click.echo("\n".join(_text(row) for row in rows))
    elif not damaged_runs(home):
        click.echo(f"no runs yet in {home.root}: try `terp run climatology`")
    for damage in [] if run else damaged_runs(home):
        click.echo(f"note: {damage}", err=True)
    _warn_of_purge(home)


def _warn_of_purge(home: "Home") -> None:
    """Name what the site will soon remove."""
    from terp.workflows.results.guard import at_risk

    now = datetime.now(UTC)
    for one in at_risk(home, now):
        click.echo(f"note: {one.said(now)}", err=True)


def _row(home: "Home", run: "RunRecord", queue: "Queue", closely: bool) -> dict[str, Any]:
    from terp.workflows.running.standing import standing

    stands = standing(run, queue, closely)
    facts = _facts(home, run) if run.site and (closely or not stands.over) else {}
    row: dict[str, Any] = {
        "run": run.id,
        "state": stands.state,
        "why": stands.why,
        "site": run.site,
        "started": run.started,
        "ended": run.ended,
        "now": "" if stands.over else _now(home, run, facts),
        "error": run.error,
    }
    if not closely:
        return row
    row["stages"] = [{**asdict(one), "recorded": _progress(home, one.key)[0]} for one in run.stages]
    if run.site:
        from terp.workflows.running.outlook import outlook

        known = {one["id"] for one in facts.get("jobs", ())}
        there = {job.id for job in queue.of(run.id)} if stands.queued else known
        row["outlook"] = outlook(run, stands, facts, there)
        row |= {"attempts": run.attempts, "cluster": run.cluster or facts}
        row["left_behind"] = [job.id for job in queue.of(run.id)] if stands.state == "killed" else []
    return row


def _facts(home: "Home", run: "RunRecord") -> dict[str, Any]:
    from terp.workflows.running.where import job_facts

    return job_facts(run.folder(home))


def _now(home: "Home", run: "RunRecord", facts: Mapping[str, Any]) -> str:
    """Return what a living run is at: by its ledger, or where its record is behind, by its controller's last word."""
    at = next((one for one in run.stages if not one.ended), None)
    if facts and (at is None or at.name != facts.get("stage")):
        from terp.workflows.running.outlook import at_work

        return "; ".join(one for one in (at_work(facts), str(facts.get("waiting", ""))) if one)
    at = at or (run.stages[-1] if run.stages else None)
    if at is None:
        return ""
    done, total = _progress(home, at.key)
    return f"{at.name} {done:,}/{total or at.regions:,} regions"


def _progress(home: "Home", key: str) -> tuple[int, int]:
    from terp.storage.errors import BadProduct
    from terp.storage.product import StoredProduct

    try:
        return StoredProduct(home.product(key)).progress()
    except BadProduct:
        return 0, 0


def _text(row: Mapping[str, Any]) -> str:
    at = f" at {row['site']}" if row["site"] else ""
    lines = [f"{row['run']}  {row['state']}{at}  {row['now'] or row['why'] or row['error'] or row['started']}"]
    if row["now"] and row["why"]:
        lines.append(f"  {row['why']}")
    for one in row.get("stages", []):
        how = "found" if one["reused"] else f"{one['made']:,} made"
        lines.append(f"  {one['name']}: {one['recorded']:,}/{one['regions']:,} regions, {how} ({one['key']})")
    if "outlook" in row:
        from terp.workflows.cli.jobs import lines_of

        lines += lines_of(row, _SHOWN)
    return "\n".join(lines)


@click.command("logs")
@click.argument("run", default="last")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def logs_command(run: str, as_json: bool) -> None:
    """Show what a run told, and the traceback that ended it, if any."""
    from terp.storage.home import Home
    from terp.workflows.running.record import load_run

    home = Home.here()
    folder = load_run(home, run).folder(home)
    texts = {p.name: p.read_text() for p in sorted(folder.glob("*.txt"))}
    texts = {"log.txt": texts.pop("log.txt", ""), **texts}
    texts |= {p.name: p.read_text(errors="replace") for p in sorted(folder.glob("jobs/*-controller-*.log"))}
    click.echo(json.dumps(texts, indent=1) if as_json else "\n".join(texts.values()).rstrip())
