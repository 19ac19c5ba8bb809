"""What has arrived is held against what it says of itself: as a bag, an OCFL object, an MDTO SIP, or terp's own.

All of it is validated by code that shares nothing with what writes such things; an error of any kind refuses it.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lxml import etree

from terp.storage.errors import BadInput, BadMetadata, BadPackage
from terp.storage.metadata import mdto
from terp.storage.metadata.mdto.lists import sha2
from terp.storage.package.table import MEMBERS, PACKAGE
from terp.storage.transfer.arriving import Arrived
from terp.storage.transfer.pakbon import NAMESPACE, SIDECAR
from terp.storage.validate import validate
from terp.storage.validate.strict import LARGEST

BAG, OBJECT, SIP, TERP = "bag", "OCFL object", "MDTO SIP", "terp package"
_SUMS = "SHA512SUMS"
_OF_FILE = re.compile(r"(\.bestand)?\.mdto\.xml$", re.IGNORECASE)
_SHOWN = 20  # complaints that are told


@dataclass(frozen=True)
class Proven:
    """What something was found to be: its kind, the identifier that it gives itself, where its files are by name.

    `told` is the MDTO of the object as a whole, where there is one.
    """

    kind: str
    identifier: str
    files: Mapping[str, str]
    told: mdto.Informatieobject | None = None


def prove(arrived: Arrived, name: str) -> Proven:
    """Return what has arrived; raises BadPackage that names all that is wrong with it, BadMetadata."""
    kind = _kind(arrived, name)
    wrong = list(_CHECKS[kind](arrived))
    if wrong:
        more = [f"  and {len(wrong) - _SHOWN:,} more"] if len(wrong) > _SHOWN else []
        lines = "\n".join([*(f"  {one}" for one in wrong[:_SHOWN]), *more])
        raise BadPackage(f"{name} is no sound {kind}, and nothing of it was imported:\n{lines}")
    named = _named(arrived, kind)
    told = _object_in(arrived, kind, named)
    return Proven(kind, _identifier(arrived, kind, told), named, told)


def _kind(arrived: Arrived, name: str) -> str:
    top = {path for path in arrived.files if "/" not in path}
    if "bagit.txt" in top:
        return BAG
    if any(path.startswith("0=ocfl_object_") for path in top):
        return OBJECT
    if any(path.startswith("0=ocfl_") for path in top):
        raise BadPackage(f"{name} is a whole OCFL storage root: import its objects one by one")
    if "pakbon.xml" in top or any(_is_of_folder(path) for path in arrived.files):
        return SIP
    if _SUMS in top or any(path.endswith(PACKAGE) for path in top):
        return TERP
    raise BadPackage(
        f"{name} is no bag, no OCFL object, no MDTO SIP and no package of terp: put it into a bag first, so that it "
        "can be told later whether it is still what it was"
    )


def _is_of_folder(path: str) -> bool:
    """Say whether a path is the sidecar of the folder that it is in."""
    parts = PurePosixPath(path)
    return parts.name.lower() == f"{parts.parent.name}{SIDECAR}".lower() and bool(parts.parent.name)


# kind by kind


def _validated(arrived: Arrived) -> Iterator[str]:
    yield from (str(one) for one in validate(arrived.folder).errors)


def _terp(arrived: Arrived) -> Iterator[str]:
    """The checksums of terp's own, and its packages."""
    listed = dict(_listed(arrived.folder / _SUMS)) if _SUMS in arrived.files else {}
    for path, digest in listed.items():
        found = arrived.files.get(path)
        if found is None:
            yield f"{path} is missing: {_SUMS} lists it"
        elif found.sha512 != digest:
            yield f"{path} is not what it was: its SHA-512 is another than in {_SUMS}"
    if listed:
        beside = {_SUMS, f"{_SUMS}.sig"}
        yield from (f"{path} is not in {_SUMS}" for path in sorted(arrived.files.keys() - listed.keys() - beside))
    for path in sorted(arrived.files):
        if path.endswith(PACKAGE) and "/" not in path:
            with suppress(BadInput):
                yield from (str(one) for one in validate(arrived.folder / path).errors)


def _listed(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_bytes().decode(errors="surrogateescape").splitlines():
        digest, _, name = line.partition("  ")
        yield name, digest.lower()


def _sip(arrived: Arrived) -> Iterator[str]:
    sidecars = {path: _read(arrived, path) for path in sorted(arrived.files) if path.lower().endswith(SIDECAR)}
    wrong = [str(one) for one in sidecars.values() if isinstance(one, BadMetadata)]
    yield from wrong
    told = {path: one for path, one in sidecars.items() if not isinstance(one, BadMetadata)}
    marks = Counter(mark for one in told.values() for mark in set(one.identificatie))
    for mark, count in marks.items():
        if count > 1:
            yield f"{count} objects in it have the identificatie {mark.identificatieKenmerk!r}: each may be there once"
    spoken_for = set[str]()
    for path, one in told.items():
        if isinstance(one, mdto.Bestand):
            spoken_for.add(_OF_FILE.sub("", path))
            yield from _described(arrived, path, one)
    tops = {"pakbon.xml", *(path for path in arrived.files if "/" not in path and path.endswith((".xsd", ".sha512")))}
    silent = arrived.files.keys() - told.keys() - spoken_for - tops
    yield from (f"{path} has no sidecar, where every file of a SIP has one" for path in sorted(silent))
    if "pakbon.xml" in arrived.files:
        yield from _pakbon(arrived, told)


def _read(arrived: Arrived, path: str) -> mdto.Informatieobject | mdto.Bestand | BadMetadata:
    try:
        return mdto.read(_whole(arrived, path), path)
    except BadMetadata as wrong:
        return wrong


def _whole(arrived: Arrived, path: str) -> bytes:
    """Return the bytes of a text; raises BadPackage for one that is too large to be meant."""
    if arrived.files[path].size > LARGEST:
        raise BadPackage(f"{path} is larger than {LARGEST >> 20} MiB, and is not read: no such text is meant")
    return (arrived.folder / path).read_bytes()


def _described(arrived: Arrived, path: str, told: mdto.Bestand) -> Iterator[str]:
    """Hold a file against its sidecar."""
    of = _OF_FILE.sub("", path)
    found = arrived.files.get(of)
    if found is None:
        yield f"{path} is there, and the file that it tells of is not"
        return
    if told.omvang != found.size:
        yield f"{of} has {found.size:,} bytes where its MDTO says {told.omvang:,}"
    for one in told.checksum:
        name = sha2(one.checksumAlgoritme.begripLabel)
        if name and _digest(arrived, of, name) != one.checksumWaarde.strip().lower():
            yield f"{of} is not what it was: its {name} is another than its MDTO says"


def _digest(arrived: Arrived, path: str, name: str) -> str:
    plain = name.replace("-", "").lower()
    if plain in arrived.files[path].digests:
        return arrived.files[path].digests[plain]
    with (arrived.folder / path).open("rb") as file:
        return hashlib.file_digest(file, plain).hexdigest()


def _pakbon(arrived: Arrived, told: Mapping[str, Any]) -> Iterator[str]:
    """Count again what a pakbon of terp tells; those of others are kept, and have no form that is known here."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        root = etree.fromstring(_whole(arrived, "pakbon.xml"), parser)
    except etree.XMLSyntaxError as error:
        yield f"pakbon.xml is not well-formed: {error}"
        return
    if root.tag != f"{{{NAMESPACE}}}pakbon":
        return
    said = {etree.QName(one).localname: one.text or "" for one in root}
    inside = [path for path in arrived.files if path.startswith(f"{said.get('sip', '')}/")]
    plain = [path for path in inside if not path.lower().endswith(SIDECAR)]
    counted = {
        "aantalInformatieobjecten": sum(isinstance(one, mdto.Informatieobject) for one in told.values()),
        "aantalBestanden": len(inside),
        "aantalBestandenZonderMdto": len(plain),
        "aantalBytesZonderMdto": sum(arrived.files[path].size for path in plain),
    }
    for name, number in counted.items():
        if said.get(name) != str(number):
            yield f"pakbon.xml says {name} {said.get(name)}, and there are {number}"
    listed = arrived.files.get(f"{said.get('sip', '')}.sha512")
    if listed is None or listed.sha512 != said.get("hash"):
        yield "the hash in pakbon.xml is not that of the list of checksums beside it"


_CHECKS = {BAG: _validated, OBJECT: _validated, SIP: _sip, TERP: _terp}


# by what it is known


def _named(arrived: Arrived, kind: str) -> dict[str, str]:
    """Return where the files of what has arrived are, by the names that they have in it."""
    if kind == OBJECT:
        inventory = json.loads((arrived.folder / "inventory.json").read_bytes())
        stored = {digest.lower(): paths[0] for digest, paths in inventory["manifest"].items()}
        state = inventory["versions"][inventory["head"]]["state"]
        return {name: stored[digest.lower()] for digest, names in state.items() for name in names}
    if kind == BAG:
        return {path.removeprefix("data/"): path for path in arrived.files if path.startswith("data/")}
    return {path: path for path in arrived.files}


def _object_in(arrived: Arrived, kind: str, named: Mapping[str, str]) -> mdto.Informatieobject | None:
    """Return the MDTO of the whole: the one object of a SIP that is part of no other, or the mdto.xml of terp."""
    if kind == SIP:
        objects = [_read(arrived, path) for path in sorted(arrived.files) if path.lower().endswith(SIDECAR)]
        found = [one for one in objects if isinstance(one, mdto.Informatieobject)]
        known = {mark for one in found for mark in one.identificatie}
        tops = [one for one in found if not {of.verwijzingIdentificatie for of in one.isOnderdeelVan} & known]
    else:
        one = _read(arrived, named["mdto.xml"]) if "mdto.xml" in named else None
        tops = [one] if isinstance(one, mdto.Informatieobject) else []
    return tops[0] if len(tops) == 1 else None


def _identifier(arrived: Arrived, kind: str, told: mdto.Informatieobject | None) -> str:
    if kind == BAG and "bag-info.txt" in arrived.files:
        text = _whole(arrived, "bag-info.txt").decode(errors="replace")
        if found := re.search(r"(?mi)^External-Identifier[ \t]*:[ \t]*(\S.*?)[ \t]*$", text):
            return found[1]
    if kind == OBJECT:
        return str(json.loads((arrived.folder / "inventory.json").read_bytes())["id"])
    if "dip.json" in arrived.files:
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            return str(json.loads(_whole(arrived, "dip.json"))["identifier"])
    return told.identificatie[0].identificatieKenmerk if told else ""


def packages_in(arrived: Arrived, proven: Proven) -> dict[str, str]:
    """Return packages with their tables, by the names that they get in the object: so that it can be opened there."""
    found = dict[str, str]()
    for table in sorted(name for name in proven.files if name.endswith(MEMBERS)):
        above, names = os.path.dirname(table), _packages_of(arrived, proven.files[table])
        inside = {name: f"{above}/{name}" if above else name for name in names}
        whole = {os.path.basename(table): table, **inside}
        if names and not whole.keys() & found.keys() and set(inside.values()) <= proven.files.keys():
            found |= {name: proven.files[path] for name, path in whole.items()}
    return found


def _packages_of(arrived: Arrived, table: str) -> list[str]:
    """Return the packages that a table tells of; none where it is none: then it is kept as any other file."""
    with suppress(ValueError, KeyError, TypeError, RecursionError, BadPackage):
        names = [str(one["name"]) for one in json.loads(_whole(arrived, table))["packages"]]
        return [name for name in names if "/" not in name and name.endswith(PACKAGE)]
    return []
