"""`terp prefect` (the home's persistent server) and `terp deploy`."""

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from terp.workflows.cli.terminal import Duration

if TYPE_CHECKING:
    from terp.cluster.site import Site
    from terp.workflows.prefect.persistent import Persistent


@click.group("prefect")
def prefect_command() -> None:
    """One Prefect server for all nodes: start, stop, look at, use.

    Runs with the same TERP_HOME find it by themselves. Without one each node has a server of its own.
    """


@prefect_command.command("start")
@click.option("--host", default="", help="The address that nodes reach (default: that of this machine's name).")
@click.option("--site", help="Listen on the network interface that this site names.")
@click.option("--database", default="", help="postgresql+asyncpg://USER@HOST/NAME, without a password.")
def start_command(host: str, site: str | None, database: str) -> None:
    """Start the server; it goes on until `terp prefect stop`.

    Its database is SQLite on a disk of this node, or PostgreSQL by --database or TERP_PREFECT_DATABASE; a password
    is taken from ~/.pgpass, PGPASSWORD or TERP_PREFECT_DATABASE.
    """
    import ipaddress

    from terp.storage.home import Home
    from terp.workflows.prefect import choices, persistent

    home = Home.here().open().root
    url = choices.database(database)
    interface = _site(site).interface if site else ""
    with choices.bound(host, interface, persistent.port(home)) as listening:
        found, started = persistent.start(home, listening, url)
    click.echo("started" if started else "runs already; to change it, stop it first")
    click.echo(_text(_facts(found)))
    if ipaddress.ip_address(found.host).is_loopback:
        click.echo("note: no other machine reaches this address; name another with --host or --site", err=True)


def _site(name: str) -> "Site":
    from terp.cluster.site import load_site

    return load_site(name)


@prefect_command.command("stop")
def stop_command() -> None:
    """End the server, wherever it runs; runs that use it go on without it."""
    from terp.storage.home import Home
    from terp.workflows.prefect import persistent

    click.echo("stopped" if persistent.stop(Home.here().root) else "none ran")


@prefect_command.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def status_command(as_json: bool) -> None:
    """Show where the server is and whether it answers; the exit code is 69 where it does not."""
    from terp.storage.home import Home
    from terp.workflows.prefect import persistent

    found = persistent.find(Home.here().root)
    facts = _facts(found) if found else {"state": "there is none: `terp prefect start`"}
    click.echo(json.dumps(facts, indent=1) if as_json else _text(facts))
    if found is None or facts["state"] != "answers":
        raise click.exceptions.Exit(69)


def _facts(found: "Persistent") -> dict[str, Any]:
    from terp.storage.holder import Holder

    away = "does not answer: `terp prefect start` starts it again, `terp prefect stop` forgets it"
    facts = {
        "state": "answers" if found.answers() else away,
        "url": found.sign.url,
        "process": str(Holder.from_json(found.sign.holder)),
        "database": found.sign.database,
        "log": found.sign.log,
        "certificate": str(found.certificate),
    }
    given = os.environ.get("PREFECT_API_URL", found.sign.url)
    return facts if given == found.sign.url else facts | {"instead": f"runs use {given} (PREFECT_API_URL)"}


def _text(facts: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


@prefect_command.command("call", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, required=True)
def call_command(words: tuple[str, ...]) -> None:
    """Call Prefect's own command for this server, as in `terp prefect call worker start --pool nightly`."""
    from terp.storage.home import Home
    from terp.workflows.prefect import persistent

    environment = persistent.needed(Home.here().root).environment
    os.execve(sys.executable, [sys.executable, "-m", "prefect", *words], environment)  # noqa: S606 - no shell is wanted


@click.command("deploy")
@click.argument("flow")
@click.argument("inputs", nargs=-1)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter (JSON or text).")
@click.option("--pool", required=True, help="Prefect's work pool; one for processes is made if there is none.")
@click.option("--name", default="", help="What to call it (default: as its inputs).")
@click.option("--cron", default="", help='When to run, as in "30 6 * * *" (default: when it is asked for).')
@click.option("--every", type=Duration(), default="0s", help='How often to run, as in "7d" (instead of --cron).')
@click.option("--timezone", default="UTC", show_default=True, help="Of --cron, as in Europe/Amsterdam.")
@click.option("--site", help="Where its workers run.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def deploy_command(
    flow: str,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    pool: str,
    name: str,
    cron: str,
    every: float,
    timezone: str,
    site: str | None,
    as_json: bool,
) -> None:
    """Have Prefect run a flow, on a schedule or when it is asked to: each run does what `terp run` does.

    FLOW and INPUTS are as there. It runs in this folder, by a worker of the pool. The flow `audit` does what
    `terp audit --due` does; its inputs are names of places.
    """
    from terp.storage.home import Home
    from terp.workflows.planning.load import setting
    from terp.workflows.prefect.deploy import Work, deploy

    if site is not None:
        _site(site)  # refused now, not when it is scheduled
    values = dict(setting(text) for text in settings)
    done = deploy(Home.here().open().root, Work(flow, inputs, values, pool, site, name, cron, timezone, every))
    if as_json:
        click.echo(json.dumps(vars(done), indent=1))
        return
    click.echo(f"{done.name} is {'replaced' if done.replaced else 'registered'} at {done.server}")
    click.echo(f"a worker runs it:  {done.command} worker start --pool {shlex.quote(pool)}")
    click.echo(f"run it now:        {done.command} deployment run {shlex.quote(done.name)}")
