"""Export: an archived object leaves, whole or in part, to a folder that is there whole or not at all.

What left, where to, for whom and on which ground is written into its custody before the folder can be seen: there may
be a record without a copy, after a crash, but no copy without a record.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from terp.storage.archive import Archive
from terp.storage.archive.custody import Events
from terp.storage.archive.tombstone import demand_none
from terp.storage.errors import BadPackage, BadPolicy
from terp.storage.home import Home
from terp.storage.transfer.bag import write_bag
from terp.storage.transfer.building import built
from terp.storage.transfer.dip import Dissemination, Request
from terp.storage.transfer.outgoing import EXPORTED, Outgoing
from terp.storage.transfer.sip import write_sip


@dataclass(frozen=True)
class Whither:
    """To what folder something leaves, on which day, for whom and on which ground, and what of it is of use to tell."""

    target: Path
    on: date
    recipient: str = ""
    ground: str = ""
    contact: str = ""
    version: str | None = None


def to_bag(home: Home, identifier: str, whither: Whither, *, linked: bool = False) -> dict[str, Any]:
    """Export a version of an object as a bag (RFC 8493); return what was recorded of it."""
    aip = _whole(home, identifier, whither)
    return exported(
        home,
        aip,
        whither,
        {"as": "bag"},
        lambda folder: {
            "sha512": write_bag(aip, folder, whither.on, linked=linked, contact=whither.contact),
            "of": "tagmanifest-sha512.txt",
        },
    )


def to_sip(home: Home, identifier: str, whither: Whither, destination: str) -> dict[str, Any]:
    """Export a version of an object as an MDTO SIP for `destination`, with its pakbon; return what was recorded.

    Raises BadPolicy where nobody is named whom the e-depot may ask.
    """
    if not (destination.strip() and whither.contact.strip()):
        raise BadPolicy("a pakbon names the e-depot it is for and whom it may ask: give --destination and --contact")
    aip = _whole(home, identifier, whither)
    when = datetime.now(UTC).replace(microsecond=0)

    def fill(folder: Path) -> dict[str, str]:
        return {"sha512": write_sip(aip, folder, destination, whither.contact, when), "of": "SIP-*.sha512"}

    return exported(home, aip, whither, {"as": "sip", "destination": destination}, fill)


def to_dip(home: Home, identifier: str, whither: Whither, request: Request) -> dict[str, Any]:
    """Export a part of an object as a request has it; return what was recorded.

    Raises BadPolicy where nothing may leave, BadInput where nothing is within the ranges, CannotMigrate where NetCDF-4
    is asked for and cannot hold it.
    """
    aip = _found(home, identifier, whither)
    copy = Dissemination(aip, request)
    return exported(home, aip, whither, {"as": "dip"}, copy.write)


def _whole(home: Home, identifier: str, whither: Whither) -> Outgoing:
    aip = _found(home, identifier, whither)
    aip.demand_recipient(whither.on, whither.recipient, whither.ground)
    return aip


def _found(home: Home, identifier: str, whither: Whither) -> Outgoing:
    demand_none(home.custody, identifier)
    archive, events = Archive(home.archive), Events(home.custody).of(identifier)
    return Outgoing.of(archive, identifier, whither.version, events)


def exported(
    home: Home,
    aip: Outgoing,
    whither: Whither,
    facts: Mapping[str, Any],
    fill: Callable[[Path], Mapping[str, Any]],
) -> dict[str, Any]:
    """Let `fill` make the folder, record what it returns with `facts`, then show it; return what was recorded."""
    target = Path(whither.target).expanduser().absolute()
    for own in (home.archive, home.custody, home.products, home.runs, home.cache, home.keys):
        if target.resolve().is_relative_to(own.resolve()):
            raise BadPackage(f"{target} is within {own}, where terp keeps its own: choose another place")
    with built(target) as folder:
        told = {"version": aip.version, "to": str(target), "on": whither.on.isoformat(), **facts, **fill(folder)}
        told |= {"for": whither.recipient, "ground": whither.ground} if whither.recipient else {}
        Events(home.custody).append(aip.identifier, EXPORTED, told)
    return told
