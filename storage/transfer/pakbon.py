"""The delivery note (pakbon) of a SIP: what is transferred, counted again in the folder that was written."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lxml import etree

from terp.storage.errors import BadPackage
from terp.storage.metadata import mdto
from terp.storage.transfer.records import stamp

SCHEMA = Path(__file__).with_name("pakbon.xsd")
NAMESPACE = "urn:terp:pakbon:1"
SIDECAR = ".mdto.xml"


@dataclass(frozen=True)
class Delivery:
    """What a person says of a delivery: its title, the e-depot it is for, who delivers, whom to ask."""

    identifier: str
    title: str
    destination: str
    organisation: str
    contact: str


@dataclass(frozen=True)
class Counted:
    """What lies in a folder: objects by their sidecars, files, and of those that are no sidecars number and bytes."""

    objects: int
    files: int
    plain: int
    bytes: int
    formats: Mapping[str, int]


def counted(folder: Path) -> Counted:
    """Count what lies in the folder of a SIP, reading its sidecars; raises BadMetadata where one cannot be read."""
    paths = [Path(above, name) for above, _, names in os.walk(folder) for name in names]
    sidecars = [path for path in paths if path.name.lower().endswith(SIDECAR)]
    told = [mdto.read(path.read_bytes(), str(path)) for path in sidecars]
    plain = set(paths) - set(sidecars)
    formats: dict[str, int] = {}
    for one in told:
        if isinstance(one, mdto.Bestand):
            kind = one.bestandsformaat
            known = (kind.begripCode, kind.begripBegrippenlijst.verwijzingNaam)
            label = f"{kind.begripLabel} ({', '.join(filter(None, known))})"
            formats[label] = formats.get(label, 0) + 1
    objects = sum(isinstance(one, mdto.Informatieobject) for one in told)
    size = sum(path.stat().st_size for path in plain)
    return Counted(objects, len(paths), len(plain), size, dict(sorted(formats.items())))


def sums(sip: Path, digests: Mapping[str, str]) -> bytes:
    """Return what `sha512sum -c` reads of a SIP, from beside it; raises BadPackage where other files lie there."""
    there = {path.relative_to(sip).as_posix() for path in sip.rglob("*") if not path.is_dir()}
    if there != digests.keys():
        raise BadPackage(f"{min(there ^ digests.keys())} was put into {sip} or taken away meanwhile: export again")
    return "".join(f"{digest}  {sip.name}/{name}\n" for name, digest in sorted(digests.items())).encode()


def note(delivery: Delivery, sip: Path, listed: bytes, when: datetime) -> bytes:
    """Return the pakbon of a SIP whose files are `listed`, in the schema beside this module."""
    found = counted(sip)
    root = etree.Element(f"{{{NAMESPACE}}}pakbon", nsmap={None: NAMESPACE})
    told = [
        ("identificatie", delivery.identifier),
        ("titel", delivery.title),
        ("doel", delivery.destination),
        ("sip", sip.name),
        ("hash", hashlib.sha512(listed).hexdigest()),
        ("tijdstip", stamp(when)),
        ("organisatie", delivery.organisation),
        ("contact", delivery.contact),
        ("aantalInformatieobjecten", str(found.objects)),
        ("aantalBestanden", str(found.files)),
        ("aantalBestandenZonderMdto", str(found.plain)),
        ("aantalBytesZonderMdto", str(found.bytes)),
        *(("opmerking", remark) for remark in _remarks(found)),
    ]
    for name, text in told:
        one = etree.SubElement(root, f"{{{NAMESPACE}}}{name}")
        one.text = " ".join(text.split())
        if name == "hash":
            one.set("algoritme", "SHA-512")
            one.set("bestand", f"{sip.name}.sha512")
    etree.indent(root, "  ")
    made: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
    if not etree.XMLSchema(etree.parse(SCHEMA)).validate(etree.fromstring(made)):
        raise BadPackage("the pakbon lacks what it must tell: give --destination and --contact words that can be read")
    return made + b"\n"


def _remarks(found: Counted) -> list[str]:
    said = [f"{number} bestand(en) in het formaat {name}" for name, number in found.formats.items()]
    if any("Zarr" in name for name in found.formats):
        said.append(
            "Zarr v3 in ZIP: te lezen met unzip en elk programma dat Zarr versie 3 kent; hoe het zonder zulke "
            "programma's te lezen is, staat in README.md of FORMATS.md. PRONOM kent Zarr niet."
        )
    return said
