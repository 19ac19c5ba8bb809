"""The inventories of an OCFL object, where they are kept, each with the digest beside it (OCFL sections 3.6 to 3.8).

An inventory that does not fit its own digest is named, and not believed where another does: so one flipped bit in an
inventory does not accuse the content.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from terp.storage.validate.findings import RESTORE, Findings, shown
from terp.storage.validate.inventory import VERSION, Inventory, inventory, number
from terp.storage.validate.reading import Tree, read_text
from terp.storage.validate.strict import BadText, parse

NAME = "inventory.json"
SIDECARS = ("sha512", "sha256")


@dataclass
class Kept:
    """An inventory where it is kept: its bytes, whether they fit the checksum beside, and what they say."""

    where: str
    data: bytes = b""
    fits: bool = False
    said: Inventory | None = None


@dataclass
class Object:
    """An object while it is validated."""

    home: Path
    found: Findings
    tree: Tree
    declared: str = ""
    top: set[str] = field(default_factory=set)  # folders right below
    kept: dict[str, Kept] = field(default_factory=dict)  # inventories by version, that at the top under ""

    @property
    def believed(self) -> list[Kept]:
        """The inventories to hold the content against, the newest first; those that fit, if any does."""
        read = [one for one in self.kept.values() if one.said]
        good = [one for one in read if one.fits] or read
        return good if good and good[0].where == NAME else [*good[-1:], *good[:-1]]


def read_inventories(one: Object) -> None:
    """Read the inventory of the object, and those of its versions, each with its checksum."""
    versions = sorted(filter(VERSION.fullmatch, one.top), key=number)
    for version in ["", *versions]:
        where = f"{version}/{NAME}" if version else NAME
        if where in one.tree.files:
            one.kept[version] = Kept(where)
            _read(one, one.kept[version], version)
        elif version:
            one.found.warn("W010", where, "is missing: a version should have its inventory", RESTORE)
        else:
            one.found.error("E063", where, "is missing", RESTORE)
    _checksums(one)
    newest, top = one.kept.get(versions[-1]) if versions else None, one.kept.get("")
    if newest and top and newest.data != top.data:
        wrong, right = (newest, top) if top.fits and not newest.fits else (top, newest)
        one.found.error("E064", wrong.where, f"is not the same as {right.where}", RESTORE)


def _read(one: Object, kept: Kept, version: str) -> None:
    declared = "" if version else one.declared
    try:
        kept.data = read_text(one.home / kept.where)
        top = one.kept.get("", kept)
        if kept is not top and kept.data == top.data and top.said:  # what is wrong with it has been said
            kept.said = top.said
        else:
            kept.said = inventory(parse(kept.data), kept.where, declared, one.found)
    except BadText as bad:
        one.found.error("E033", kept.where, f"cannot be read as an inventory: it {bad}", RESTORE)
    if version and kept.said and kept.said.head and kept.said.head != version:
        what = f"has the head {shown(kept.said.head)}, and lies in {version}"
        one.found.error("E040", kept.where, what, RESTORE)


def _checksums(one: Object) -> None:
    """OCFL section 3.7: beside each inventory lies its digest."""
    accused = [kept for kept in one.kept.values() if not _fits(one, kept)]
    sound = {kept.data for kept in one.kept.values() if kept.fits}
    for kept in accused:
        sidecar = f"{kept.where}.{algorithm_of(kept)}"
        if sidecar not in one.tree.files:
            one.found.error("E058", sidecar, f"is missing: the checksum of {kept.where}", RESTORE)
            continue
        try:
            words = read_text(one.home / sidecar).decode(errors="replace").split()
        except BadText as bad:
            words = [f"it {bad}"]
        if len(words) != 2 or words[1] != NAME:
            what = f"is not a digest and the word {NAME}, so {kept.where} cannot be compared with it"
            one.found.error("E061", sidecar, what, RESTORE)
        elif kept.data in sound:  # another copy of this inventory fits its own
            one.found.error("E060", sidecar, f"is not the digest of {kept.where}", RESTORE)
        else:
            one.found.error("E060", kept.where, f"does not fit its checksum in {sidecar}", RESTORE)


def algorithm_of(kept: Kept) -> str:
    """Return the algorithm of the digest beside an inventory."""
    return kept.said.algorithm if kept.said and kept.said.algorithm else SIDECARS[0]


def _fits(one: Object, kept: Kept) -> bool:
    algorithm = algorithm_of(kept)
    try:
        words = read_text(one.home / f"{kept.where}.{algorithm}").split()
    except BadText:
        return False
    digest = hashlib.new(algorithm, kept.data).hexdigest().encode()
    kept.fits = len(words) == 2 and words[0].lower() == digest and words[1] == NAME.encode()
    return kept.fits
