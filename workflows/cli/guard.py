"""`terp guard`: what a site will soon remove, and how it is kept."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from terp.storage.home import Home
    from terp.workflows.cli.terminal import Terminal
    from terp.workflows.results.guard import AtRisk


@click.command("guard")
@click.option("--archive", is_flag=True, help="Archive the runs among them that are finished.")
@click.option("--copy", "place", default="", metavar="PLACE", help="Copy what is archived among them to a place.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def guard_command(archive: bool, place: str, as_json: bool) -> None:
    """Name what a site will soon remove from its scratch: results that are not archived, objects without a copy.

    With --archive and --copy it is kept: first archived, then copied, with what was archived just now.
    """
    from terp.storage.home import Home
    from terp.workflows.cli.terminal import Terminal
    from terp.workflows.results.guard import at_risk

    home, told, now = Home.here(), Terminal(as_json), datetime.now(UTC)
    found = at_risk(home, now)
    made = [_archived(home, one, told) for one in found if archive and not one.archived and "terp archive" in one.cure]
    copied = [*(one.what for one in found if one.archived), *made] if place else []
    _copied(home, place, copied, told)
    if as_json:
        rows = [
            {"what": one.what, "system": one.system, "goes": one.goes.isoformat(), "cure": one.cure} for one in found
        ]
        click.echo(json.dumps({"at_risk": rows, "archived": made, "copied": copied}, indent=1))
    elif found:
        click.echo("\n".join(one.said(now) for one in found))
    else:
        click.echo(f"nothing in {home.root} is near the day on which a site removes it")


def _archived(home: "Home", one: "AtRisk", told: "Terminal") -> str:
    from terp.workflows.planning.load import load_flow
    from terp.workflows.prefect import server as prefect_server
    from terp.workflows.results.deposit import redeposit
    from terp.workflows.running.record import load_run

    record = load_run(home, one.what.rpartition(" ")[2])
    prefect_server.prepare(home.root)
    record.archived = redeposit(home, record, load_flow(record.target), told)
    record.save(home)
    return str(record.archived["identifier"])


def _copied(home: "Home", place: str, identifiers: list[str], told: "Terminal") -> None:
    from terp.storage.archive.copies import copy_to

    if identifiers:
        _, refused = copy_to(home, place, identifiers, told.say)
        for error in refused:
            told.warn(str(error))
        if refused:
            raise refused[0]
