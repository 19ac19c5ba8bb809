"""`terp audit` and `terp repair`: what is kept is read again, and mended."""

import json
from typing import TYPE_CHECKING

import click

from terp.workflows.cli.terminal import Duration

if TYPE_CHECKING:
    from terp.storage.home import Home
    from terp.storage.meter import Tell

_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


def _home() -> "Home":
    from terp.storage.home import Home

    return Home.here()


def _teller(quiet: bool) -> "Tell":
    return lambda words: None if quiet else click.echo(words, err=True)


@click.command("audit")
@click.argument("identifiers", nargs=-1, metavar="[URN]...")
@click.option("--place", "places", multiple=True, metavar="NAME", help="Only there (`archive` is the archive itself).")
@click.option("--due", is_flag=True, help="Only what was not read for as long as its place says.")
@click.option("--budget", type=Duration(), metavar="TIME", help='Stop after it, as in "30m"; the same goes on later.')
@click.option("--history", is_flag=True, help="Read nothing: show when each object was read last, and is due again.")
@click.option("--site", metavar="NAME", help="In a job of this site, which goes on in others until it is done.")
@_json
def audit_command(
    identifiers: tuple[str, ...],
    places: tuple[str, ...],
    due: bool,
    budget: float | None,
    history: bool,
    site: str | None,
    as_json: bool,
) -> int | None:
    """Read all of archived objects again, in the archive and in every copy, and say what is not as it was stored.

    All objects, unless some are named. Stopped at any moment, the same command goes on. The exit code is 65 where
    something is damaged, 74 where a place does not answer (the others are read), 75 where it has to go on later.
    """
    from terp.workflows.results import audit

    if history:
        from terp.storage.audit.history import text

        lasts = audit.audits(_home())
        click.echo(json.dumps([one.to_json() for one in lasts.values()], indent=1) if as_json else text(lasts))
        return None
    if site is not None:
        from terp.workflows.results.audit_job import submit

        folder, job = submit(site, [*identifiers, *(f"--place={name}" for name in places), *(["--due"] if due else [])])
        click.echo(f"job {job} reads at {site}; it tells how far it is in {folder}/jobs")
        return None
    report = audit.audited(_home(), identifiers, places, due, budget, _teller(as_json))
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else report.text())
    return report.exit_code


@click.command("repair")
@click.argument("identifiers", nargs=-1, metavar="[URN]...")
@click.option("--place", "places", multiple=True, metavar="NAME", help="Mend only there.")
@click.option("--from", "sources", multiple=True, metavar="NAME|FOLDER", help="Take sound bytes from there only.")
@_json
def repair_command(
    identifiers: tuple[str, ...], places: tuple[str, ...], sources: tuple[str, ...], as_json: bool
) -> int:
    """Mend what is damaged in the archive and its copies, each from what is sound in the others.

    What the last audits found damaged, unless objects are named. It is read again first; nothing is replaced but by
    bytes that are what was stored, what was added is moved to custody/quarantine, and all is noted with the object.
    A folder (--from) may hold files of the objects under any names, as `terp replay --keep` makes them: those that
    are what was stored are put back, the others are named.
    """
    from terp.workflows.results.audit import mended

    outcome = mended(_home(), identifiers, places, sources, _teller(as_json))
    click.echo(json.dumps(outcome.to_json(), indent=1) if as_json else outcome.text())
    return outcome.exit_code
