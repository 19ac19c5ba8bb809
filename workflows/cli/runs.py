"""`terp status`, `terp logs` and `terp cancel`."""

import json
import os
import signal
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from terp.storage.home import Home
    from terp.workflows.running.record import RunRecord

_PATIENCE = 30.0  # seconds a run may take to stop


@click.command("status")
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def status_command(run: str | None, as_json: bool) -> None:
    """Show runs and how far they are; RUN is an id, a beginning of one, or `last`."""
    from terp.storage.home import Home
    from terp.workflows.running.record import all_runs, damaged_runs, load_run

    home = Home.here()
    runs = [load_run(home, run)] if run else all_runs(home)[-20:]
    rows = [{**_row(home, one), **({"stages": _stages(home, one)} if run else {})} for one in runs]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif rows:
        click.echo("\n".join(_text(row) for row in rows))
    elif not damaged_runs(home):
        click.echo(f"no runs yet in {home.root}: try `terp run climatology`")
    for damage in [] if run else damaged_runs(home):
        click.echo(f"note: {damage}", err=True)


def _row(home: "Home", run: "RunRecord") -> dict[str, Any]:
    return {
        "run": run.id,
        "state": run.shown_state,
        "started": run.started,
        "ended": run.ended,
        "now": _now(home, run),
        "error": run.error,
    }


def _now(home: "Home", run: "RunRecord") -> str:
    """Return what a living run is at."""
    if not run.alive or not run.stages:
        return ""
    at = run.stages[-1]
    done, total = _progress(home, at.key)
    return f"{at.name} {done:,}/{total or at.regions:,} regions"


def _progress(home: "Home", key: str) -> tuple[int, int]:
    from terp.storage.errors import BadProduct
    from terp.storage.product import StoredProduct

    try:
        return StoredProduct(home.product(key)).progress()
    except BadProduct:
        return 0, 0


def _stages(home: "Home", run: "RunRecord") -> list[dict[str, Any]]:
    return [{**asdict(one), "recorded": _progress(home, one.key)[0]} for one in run.stages]


def _text(row: dict[str, Any]) -> str:
    lines = [f"{row['run']}  {row['state']}  {row['now'] or row['error'] or row['started']}"]
    for one in row.get("stages", []):
        how = "found" if one["reused"] else f"{one['made']:,} made"
        lines.append(f"  {one['name']}: {one['recorded']:,}/{one['regions']:,} regions, {how} ({one['key']})")
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
    click.echo(json.dumps(texts, indent=1) if as_json else "\n".join(texts.values()).rstrip())


@click.command("cancel")
@click.argument("run", default="last")
def cancel_command(run: str) -> None:
    """Stop a run; what is recorded stays, and the same command goes on."""
    from terp.storage.holder import Holder
    from terp.storage.home import Home
    from terp.workflows.errors import Usage
    from terp.workflows.running.record import load_run

    record = load_run(Home.here(), run)
    if not record.alive:
        click.echo(f"{record.id} is not running ({record.shown_state})")
        return
    holder = Holder.from_json(record.holder)
    if not holder.is_here():
        raise Usage(f"{record.id} is {holder}: cancel it there")
    os.kill(holder.pid, signal.SIGINT)
    deadline = time.monotonic() + _PATIENCE
    while not holder.is_gone() and time.monotonic() < deadline:
        time.sleep(0.1)
    if not holder.is_gone():
        raise Usage(
            f"{record.id} has not stopped in {_PATIENCE:.0f} s; if it must: kill -9 {holder.pid} (nothing is lost)"
        )
    click.echo(f"{record.id} is stopped; the same command goes on where it was")
