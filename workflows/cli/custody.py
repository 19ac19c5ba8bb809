"""`terp retain`, `hold`, `release`, `people` and `destroy`: how long what is archived stays, and how it goes."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from terp.storage.archive.proposal import Survey
    from terp.storage.archive.proposing import Proposal
    from terp.storage.home import Home

_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
_by = click.option("--by", default="", help="Who says so (default: as runs name you).")
_reason = click.option("--reason", required=True, help="Why, in a sentence.")


def _home() -> "Home":
    from terp.storage.home import Home

    return Home.here()


def _today() -> date:
    return datetime.now(UTC).date()


def _who(by: str) -> str:
    from terp.workflows.running.who import who

    return by or who().name


def _known(home: "Home", identifier: str) -> str:
    """Return the identifier of an archived object; raises Usage where there is none, Destroyed where it is gone."""
    from terp.workflows.errors import Usage
    from terp.workflows.results.show import find

    if not identifier.startswith("urn:") or find(home, identifier).identifier != identifier:
        raise Usage(f"{identifier} is no whole identifier of an archived object, which begins with urn:")
    return identifier


def _tell_places(home: "Home", identifier: str) -> None:
    """Let the places of copies know at once: a hold that only one disk knows of is lost with it."""
    from terp.workflows.results.copies import told

    for words in told(home, identifier):
        click.echo(f"note: {words}", err=True)


@click.command("retain")
@click.option("--on", type=click.DateTime(["%Y-%m-%d"]), help="As on this day (default: today).")
@_json
def retain_command(on: datetime | None, as_json: bool) -> None:
    """List what is archived, and what may or must become of each on a day: kept, transferred, destroyed; and why."""
    from terp.storage.archive.retention import standings

    home = _home()
    day = on.date() if on else _today()
    rows = list(standings(home, day))
    if as_json:
        click.echo(json.dumps({"on": day.isoformat(), "objects": [row.to_json() for row in rows]}, indent=1))
    elif not rows:
        click.echo(f"nothing is archived yet in {home.root}")
    for row in [] if as_json else rows:
        click.echo("\n".join([f"{row.identifier}  {row.state}", *(f"  {why}" for why in row.why)]))


@click.command("hold")
@click.argument("urn")
@_reason
@_by
def hold_command(urn: str, reason: str, by: str) -> None:
    """Hold an archived object: it is not destroyed, whatever its term, until the hold is released."""
    from terp.storage.archive.custody import Events
    from terp.storage.archive.hold import lay

    home = _home()
    click.echo(str(lay(Events(home.custody), _known(home, urn), reason, _who(by))))
    _tell_places(home, urn)


@click.command("release")
@click.argument("urn")
@_reason
@_by
@click.option("--hold", "number", default=0, help="The number of the hold, where there are several.")
def release_command(urn: str, reason: str, by: str, number: int) -> None:
    """Release a hold of an archived object."""
    from terp.storage.archive.custody import Events
    from terp.storage.archive.hold import release

    home = _home()
    click.echo(f"released: {release(Events(home.custody), _known(home, urn), reason, _who(by), number)}")
    _tell_places(home, urn)


@click.group("people")
def people_command() -> None:
    """Keep the register of those who may sign, each with an Ed25519 key of their own."""


@people_command.command("add")
@click.argument("name")
@click.option("--key", required=True, type=click.Path(exists=True, dir_okay=False), help="The public key, FILE.pub.")
@click.option("--role", "roles", multiple=True, help="What the person is here; may be given several times.")
@_by
def people_add(name: str, key: str, roles: Sequence[str], by: str) -> None:
    """Register a person NAME with a public key."""
    from terp.storage.archive.people import REGISTER, People
    from terp.storage.errors import BadKey

    if "PRIVATE KEY" in (line := Path(key).read_text(errors="replace")):
        raise BadKey(f"{key} is a private key: give the public one, {key}.pub")
    home = _home()
    person = People(home.custody).add(name, line, roles, _who(by))
    click.echo(f"{person.name}  {person.fingerprint}")
    _tell_places(home, REGISTER)


@people_command.command("list")
@_json
def people_list(as_json: bool) -> None:
    """List all who were ever registered."""
    from terp.storage.archive.people import People

    found = People(_home().custody).all()
    if as_json:
        rows = [{**one.model_dump(mode="json"), "fingerprint": one.fingerprint} for one in found]
        click.echo(json.dumps(rows, indent=1))
        return
    for one in found:
        until = f"  revoked on {one.revoked[:10]}: {one.reason}" if one.revoked else ""
        click.echo(f"{one.name}  {one.fingerprint}  {', '.join(one.roles)}  since {one.added[:10]}{until}")


@people_command.command("revoke")
@click.argument("name")
@_reason
@_by
def people_revoke(name: str, reason: str, by: str) -> None:
    """Revoke the key of NAME: from now on it signs nothing; who it was stays in the register."""
    from terp.storage.archive.people import REGISTER, People

    home = _home()
    person = People(home.custody).revoke(name, reason, _who(by))
    click.echo(f"{person.name}  {person.fingerprint}  revoked on {person.revoked[:10]}")
    _tell_places(home, REGISTER)


@click.command("destroy")
@click.argument("urn")
@click.option("--propose", is_flag=True, help="Look at all that would go, and write that down as a proposal.")
@click.option("--sign", "key", type=click.Path(), help="Sign the proposal: a private key, or a signature of OpenSSH's.")
@click.option("--execute", is_flag=True, help="Destroy it, as was proposed and signed by two people.")
@_by
@_json
def destroy_command(urn: str, propose: bool, key: str | None, execute: bool, by: str, as_json: bool) -> None:
    """Destroy an archived object, in steps: --propose, --sign by two people, --execute.

    It removes every byte in the archive, in all copies, products and scratch, and leaves a statement. For good.
    """
    from terp.storage.archive import proposing
    from terp.storage.archive.destroying import execute as destroy
    from terp.workflows.errors import Usage
    from terp.workflows.results.catalogue import catalog
    from terp.workflows.results.destroy import scope

    if [propose, bool(key), execute].count(True) != 1:
        raise Usage("say one of --propose, --sign KEYFILE and --execute")
    home = _home()
    if propose:
        known = scope(home, _known(home, urn))
        _proposed(urn, *proposing.propose(home, urn, known, _who(by), _today()), as_json)
    elif key:
        signed = proposing.sign(home, urn, scope(home, urn), Path(key), _today())
        names = [one.person.name for one in signed]
        click.echo(json.dumps({"signed": names}) if as_json else f"signed by {' and '.join(names)}")
    else:
        stone = destroy(home, urn, scope(home, urn), _who(by), _today())
        catalog(home).destroyed(urn)
        click.echo(
            json.dumps(stone.plain, indent=1)
            if as_json
            else f"{urn}: {stone}\nlooked at, and nothing is left: {json.dumps(stone.plain['proof'])}"
        )


def _proposed(urn: str, found: "Survey", wrong: Sequence[str], proposal: "Proposal | None", as_json: bool) -> None:
    from terp.storage.errors import MustStay

    if as_json:
        click.echo(json.dumps(_plain(found, wrong, proposal), indent=1))
    else:
        for part in found.parts:
            click.echo(f"{part.where}: {len(part.files):,} files, {part.size:,} bytes")
            click.echo("\n".join(f"  {size:>14,}  {name}" for name, size in part.files))
        for what in proposal.plain["derived"] if proposal else ():
            click.echo(f"made of it, and stays: {what}")
        for other in found.also_held:
            click.echo(f"the same files are in {other}, which stays")
    if proposal is None:
        raise MustStay("\n".join([f"{urn} may not be destroyed:", *(f"  {one}" for one in wrong)]))
    if not as_json:
        click.echo(f"proposed in {proposal.path}; two people sign it: terp destroy {urn} --sign KEYFILE")


def _plain(found: "Survey", wrong: Sequence[str], proposal: "Proposal | None") -> dict[str, Any]:
    parts = [{**part.to_json(), "names": [list(one) for one in part.files]} for part in found.parts]
    return {
        "parts": parts,
        "unmet": list(wrong),
        "also_held": list(found.also_held),
        "proposal": str(proposal.path) if proposal else "",
        "sha512": proposal.digest if proposal else "",
        "derived": list(proposal.plain["derived"]) if proposal else [],
    }
