"""The inventories of an OCFL object, where they are kept, each with the digest beside it (OCFL sections 3.6 to 3.8).

An inventory that does not fit its own digest is named, and not believed where another does: so one flipped bit in an
inventory does not accuse the content.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from terp.storage.validate.findings import RESTORE, Findings, shown
from terp.storage.validate.inventory import VERSION, Inventory, inventory, number
from terp.storage.validate.reading import Tree, digest_of, read_text
from terp.storage.validate.strict import BadText, parse

NAME = "inventory.json"
SIDECARS = ("sha512", "sha256")
_SIDECAR = re.compile(rb"([0-9a-fA-F]+)[ \t]+inventory\.json\n?")
_FEW = 8  # letters of 64 or 128, of which by chance one in sixteen is the same


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
    said = {version: _said(one, kept) for version, kept in one.kept.items()}
    for version, kept in one.kept.items():
        digest = digest_of(algorithm_of(kept), kept.data)
        kept.fits = (said[version] or "").lower() == digest
    sound = {kept.data for kept in one.kept.values() if kept.fits}
    for version, kept in one.kept.items():
        _accuse(one, kept, said[version], kept.data in sound)


def _said(one: Object, kept: Kept) -> str | None:
    """Return the digest beside an inventory, "" where there is none, None for no such file."""
    name = f"{kept.where}.{algorithm_of(kept)}"
    if name not in one.tree.files:
        return None
    try:
        match = _SIDECAR.fullmatch(read_text(one.home / name))
    except BadText:
        return ""
    return match[1].decode() if match else ""


def _accuse(one: Object, kept: Kept, said: str | None, known: bool) -> None:
    """Name what is damaged: the inventory or its digest; `known`: the same inventory fits a digest elsewhere."""
    sidecar = f"{kept.where}.{algorithm_of(kept)}"
    digest = digest_of(algorithm_of(kept), kept.data)
    if said is None:
        one.found.error("E058", sidecar, f"is missing: the digest of {kept.where}", RESTORE)
    elif not said:
        what = f"is not a digest and the word {NAME}, so {kept.where} cannot be compared with it"
        one.found.error("E061", sidecar, what, RESTORE)
    elif kept.fits and said not in (digest, digest.upper()):
        what = "has its digest in letters of both cases, as no tool writes it: a bit of it may have flipped"
        one.found.warn("E061", sidecar, what, RESTORE)
    elif not kept.fits and (known or _nearly(said.lower(), digest)):
        one.found.error("E060", sidecar, f"is not the digest of {kept.where}, and that is sound", RESTORE)
    elif not kept.fits:
        one.found.error("E060", kept.where, f"does not fit its digest in {sidecar}", RESTORE)


def _nearly(one: str, other: str) -> bool:
    """Say whether digests differ in a few letters only: then a digest was damaged, and not what it is of."""
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) <= _FEW


def algorithm_of(kept: Kept) -> str:
    """Return the algorithm of the digest beside an inventory."""
    return kept.said.algorithm if kept.said and kept.said.algorithm else SIDECARS[0]
