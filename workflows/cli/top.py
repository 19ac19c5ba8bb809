"""`terp top`: all runs of terp that have jobs in a site's queue, for its operator."""

import json
import os
import select
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from terp.storage.home import Home

_POLL = 30.0  # seconds between two looks where no site says otherwise
_NODES = 6  # that are named


@click.command("top")
@click.option("--site", metavar="NAME", help="Look as often as this site wishes (its `poll`).")
@click.option("--once", is_flag=True, help="Print one table and leave, on a terminal too.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, once.")
def top_command(site: str | None, once: bool, as_json: bool) -> None:
    """Show the runs of all users that have jobs in SLURM's queue here; of your own, what they are at.

    On a terminal the table is made anew until you press q.
    """
    from terp.storage.home import Home

    poll = _POLL
    if site:
        from terp.cluster.site import load_site

        poll = load_site(site).poll
    home = Home.here()
    if as_json:
        click.echo(json.dumps(_look(home), indent=1))
    elif once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        click.echo("\n".join(_table(_look(home))))
    else:
        with suppress(KeyboardInterrupt):
            _live(home, poll)


def _look(home: "Home") -> dict[str, Any]:
    """Return all runs that are in the queue, with what is known of one's own."""
    from terp.cluster.jobs import Slurm
    from terp.workflows.running.outlook import at_work
    from terp.workflows.running.queue import groups
    from terp.workflows.running.where import job_facts

    rows = []
    for group in groups(Slurm().look(everybody=True).values()):
        facts = job_facts(home.runs / group.run)
        mine = {"at": at_work(facts), "rate": facts["rate"], "workers": facts["workers"]} if facts else {}
        rows.append({**group.to_json(), **mine})
    return {"time": time.time(), "runs": rows}


def _table(look: Mapping[str, Any]) -> list[str]:
    from terp.workflows.cli.jobs import columns

    runs: Sequence[Mapping[str, Any]] = look["runs"]
    if not runs:
        return ["no run of terp has a job in SLURM's queue here"]
    head = ("RUN", "USER", "JOBS", "CORES", "NODES", "CORE H", "AT")
    running, waiting, cores = (sum(one[what] for one in runs) for what in ("running", "waiting", "cores"))
    nodes = {node for one in runs for node in one["nodes"]}
    there = f"{_many(running, 'job')} on {_many(len(nodes), 'node')} with {_many(cores, 'core')}, {waiting} waiting"
    whose = f"{_many(len(runs), 'run')} of {_many(len({one['user'] for one in runs}), 'user')}"
    return [f"{whose}: {there}", *columns([head, *(_row(one) for one in runs)])]


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    more = f" +{one['waiting']}" if one["waiting"] else ""
    nodes = ",".join(one["nodes"][:_NODES]) + (f",... ({len(one['nodes'])})" if len(one["nodes"]) > _NODES else "")
    at = [f"{one['at']}, {one['rate']:,.1f}/s"] if one.get("at") else []
    why = [f"{count} {words}" if len(one["reasons"]) > 1 else words for words, count in one["reasons"].items()]
    return (
        one["run"],
        one["user"],
        f"{one['running']}{more}",
        str(one["cores"]),
        nodes or "-",
        f"{one['core_hours']:,.3g}",
        "; ".join([*at, *why]),
    )


def _live(home: "Home", poll: float) -> None:
    """Show the table anew until a person presses q."""
    from terp.cluster.errors import SlurmAway

    with _keys():
        while True:
            try:
                lines = _table(_look(home))
            except SlurmAway as away:
                lines = [str(away)]
            width, height = _size()
            stamp = f"terp top, {time.strftime('%H:%M:%S')}; every {poll:g} s; q ends it"
            shown = [line[:width] for line in [stamp, *lines]][:height]
            click.echo("\x1b[H\x1b[J" + "\n".join(shown))
            if _pressed("q", poll):
                return


def _size() -> tuple[int, int]:
    import shutil

    columns, rows = shutil.get_terminal_size()
    return columns, rows - 1


@contextmanager
def _keys() -> Iterator[None]:
    """Have keys come as they are pressed, and not be shown."""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _pressed(key: str, seconds: float) -> bool:
    """Wait for so many seconds; say at once when a key is pressed, or nobody is there any more."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([sys.stdin], [], [], left)
        if ready and os.read(sys.stdin.fileno(), 1).decode(errors="ignore") in (key, ""):
            return True
    return False
