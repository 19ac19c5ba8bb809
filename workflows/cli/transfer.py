"""`terp export` and `terp import`: archived objects leave, and those of others come in."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
_OF_ONE = {"bagit": ("link",), "sip": ("destination",), "dip": ("variables", "where", "profile", "netcdf")}


@click.command("export")
@click.argument("identifier")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--to", "kind", required=True, type=click.Choice(list(_OF_ONE)), help="As what.")
@click.option("--version", help="Which version of the object (default: the newest).")
@click.option("--for", "recipient", default="", metavar="WHO", help="For whom, where it is not for anyone.")
@click.option("--ground", default="", help="On which ground they may have it.")
@click.option("--contact", default="", help="Whom the receiver may ask.")
@click.option("--link", is_flag=True, help="bagit: hard links to the archive's files instead of copies.")
@click.option("--destination", default="", help="sip: the e-depot, and the place in it, that it is for.")
@click.option("--variables", default="", metavar="A,B", help="dip: which variables (default: all that are open).")
@click.option("--where", default="", metavar="DIM=FROM..TO,...", help="dip: which part, as time=1990..2000.")
@click.option("--profile", default="", help="dip: for whom it is: public (default), restricted or full.")
@click.option("--netcdf", is_flag=True, help="dip: in NetCDF-4 too.")
@_json
def export_command(identifier: str, target: Path, kind: str, as_json: bool, **options: Any) -> None:
    """Export the archived object IDENTIFIER into the new folder TARGET.

    bagit: all its files in a bag (RFC 8493), for those who keep it on. sip: all its files in an MDTO SIP with its
    pakbon, for an e-depot. dip: a part of it for a reader, without what is closed to them.
    """
    from terp.storage.home import Home
    from terp.storage.transfer import export
    from terp.storage.transfer.dip import Request
    from terp.storage.transfer.selecting import parsed

    _demand_fitting(kind, options)
    common = {name: options[name] for name in ("version", "recipient", "ground", "contact")}
    whither, home = export.Whither(target=target, on=_today(), **common), Home.here()
    if kind == "bagit":
        told = export.to_bag(home, identifier, whither, linked=options["link"])
    elif kind == "sip":
        told = export.to_sip(home, identifier, whither, options["destination"])
    else:
        asked = [name.strip() for name in options["variables"].split(",") if name.strip()]
        where = parsed([options["where"]] if options["where"] else [])
        profile, who, why = options["profile"] or "public", options["recipient"], options["ground"]
        request = Request(asked, where, profile, whither.on, who, why, options["netcdf"])
        told = export.to_dip(home, identifier, whither, request)
    click.echo(json.dumps(told, indent=1) if as_json else _text(identifier, told))


def _demand_fitting(kind: str, options: dict[str, Any]) -> None:
    from terp.workflows.errors import Usage

    for other, names in _OF_ONE.items():
        if strange := [name for name in names if options[name] and other != kind]:
            raise Usage(f"--{strange[0]} is for --to {other}, and this is --to {kind}")


def _text(identifier: str, told: dict[str, Any]) -> str:
    lines = [f"{identifier} {told['version']} is in {told['to']}"]
    for one in told.get("withheld", ()):
        lines.append(f"left out: {one['variables']} of its variables, {one['ground']}, until {one['until']}")
    return "\n".join([*lines, f"SHA-512 of {told['of']}: {told['sha512']}"])


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--policy", "policy", type=click.Path(path_type=Path), help="The decision under which it is archived.")
@click.option("--identifier", default="", metavar="URN", help="What it shall be known as (default: as it says itself).")
@click.option("--most-files", type=click.IntRange(min=1), help="How many files it may have (default: 100,000).")
@click.option("--most-bytes", type=click.IntRange(min=1), help="How many bytes it may have in all (default: 16 TiB).")
@_json
def import_command(
    path: Path,
    policy: Path | None,
    identifier: str,
    most_files: int | None,
    most_bytes: int | None,
    as_json: bool,
) -> None:
    """Take what somebody else made at PATH into the archive, whole and as it is, after it was validated.

    PATH is a bag, an OCFL object, an MDTO SIP, a package or an exported copy of terp: a folder, or a ZIP that only
    stores.
    """
    from terp.storage.errors import BadPolicy
    from terp.storage.home import Home
    from terp.storage.transfer.arriving import BYTES, FILES, Limits
    from terp.storage.transfer.importing import Incoming, bring
    from terp.workflows.cli.terminal import Terminal
    from terp.workflows.errors import Usage
    from terp.workflows.results.catalogue import catalog
    from terp.workflows.running.decided import decide
    from terp.workflows.running.who import who

    if identifier and not identifier.startswith("urn:"):
        raise Usage(f"an identifier begins with urn:, and {identifier!r} does not")
    home = Home.here().open()
    decision = decide(home, policy)
    if not decision:
        raise BadPolicy(
            f"nobody has decided what may be done with {path}: write a policy (`terp policy new`), --policy"
        )
    limits = Limits(most_files or FILES, most_bytes or BYTES)
    told = bring(home, Incoming(path, decision, who().name, _today(), identifier, limits), Terminal(as_json).say)
    catalog(home).noted(told["identifier"])
    state = "is imported as" if told["created"] else "was imported before as"
    text = f"{told['name']} {state} {told['identifier']} {told['version']}"
    click.echo(json.dumps(told, indent=1) if as_json else text)


def _today() -> date:
    return datetime.now().astimezone().date()
