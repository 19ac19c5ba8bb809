"""`terp export` and `terp import`: archived objects leave, and those of others come in."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.command("export")
@click.argument("identifier")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--to", "kind", required=True, type=click.Choice(["bagit", "sip"]), help="As what.")
@click.option("--version", "version", help="Which version of the object (default: the newest).")
@click.option("--for", "recipient", default="", metavar="WHO", help="For whom, where it is not for anyone.")
@click.option("--ground", default="", help="On which ground they may have it.")
@click.option("--contact", default="", help="Whom the receiver may ask.")
@click.option("--destination", default="", help="sip: the e-depot, and the place in it, that it is for.")
@click.option("--link", is_flag=True, help="bagit: hard links to the archive's files instead of copies.")
@_json
def export_command(
    identifier: str, target: Path, kind: str, link: bool, destination: str, as_json: bool, **options: Any
) -> None:
    """Export the archived object IDENTIFIER into the new folder TARGET.

    bagit: all its files in a bag (RFC 8493), for those who keep it on. sip: all its files in an MDTO SIP with its
    pakbon, for an e-depot.
    """
    from terp.storage.home import Home
    from terp.storage.transfer import export
    from terp.workflows.errors import Usage

    whither = export.Whither(target=target, on=_today(), **options)
    if link and kind != "bagit":
        raise Usage("--link is for --to bagit: the others are not files of the archive")
    if kind == "sip":
        told = export.to_sip(Home.here(), identifier, whither, destination)
    else:
        told = export.to_bag(Home.here(), identifier, whither, linked=link)
    click.echo(json.dumps(told, indent=1) if as_json else f"{identifier} {told['version']} is in {told['to']}")


def _today() -> date:
    return datetime.now().astimezone().date()
