"""A SIP as the Nationaal Archief specifies it for MDTO: a folder for each aggregation, an MDTO file beside everything.

SIP/DOSSIER/DOSSIER.MDTO.xml                        the object, as its own mdto.xml tells it
SIP/DOSSIER/DOSSIER-v1/DOSSIER-v1.MDTO.xml          the version that is transferred, which is part of it
SIP/DOSSIER/DOSSIER-v1/FILE                         its files, byte for byte
SIP/DOSSIER/DOSSIER-v1/FILE.bestand.MDTO.xml        what each of them is
SIP/DOSSIER/DOSSIER-v1/premis-custody.xml           its PREMIS with what happened to it since it was archived
SIP.sha512, pakbon.xml, pakbon.xsd                  beside the SIP: its digests, the delivery note, and its schema

MDTO files of the object itself become these sidecars and are not there a second time.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from terp.storage import files
from terp.storage.errors import BadMetadata
from terp.storage.metadata import mdto
from terp.storage.metadata.mdto.lists import AGGREGATIENIVEAUS
from terp.storage.transfer.copying import Copied, copy
from terp.storage.transfer.names import file_names, folder_name
from terp.storage.transfer.outgoing import HISTORY, Outgoing
from terp.storage.transfer.pakbon import SCHEMA, SIDECAR, Delivery, note, sums
from terp.storage.transfer.records import BRON, event, file_of, object_of, organisation

OWN = "mdto.xml"
_BESIDES = ("premis.xml", HISTORY, "datacite.xml", "ro-crate-metadata.json", "prov.json", "prov.ttl")  # other metadata


def write_sip(aip: Outgoing, folder: Path, destination: str, contact: str, when: datetime) -> str:
    """Fill an empty folder with the SIP of an object and what lies beside it; return the SHA-512 that the pakbon tells.

    Raises BadMetadata where the object's MDTO lacks what must be there, naming all of it.
    """
    dossier = folder_name(aip.identifier)
    sip = folder / f"SIP-{dossier}-{aip.version}"
    sip.mkdir()
    writing = _Writing(aip, sip, dossier, destination, when, {})
    writing.write()
    keeper = aip.policy.zorgdrager or aip.policy.archiefvormer
    title = f"{writing.whole.naam} ({aip.identifier} {aip.version})"
    delivery = Delivery(f"{aip.identifier} {aip.version}", title, destination, keeper.naam, contact)
    listed = sums(sip, writing.digests)
    files.write_new(folder / f"{sip.name}.sha512", listed)
    files.write_new(folder / "pakbon.xsd", SCHEMA.read_bytes())
    files.write_new(folder / "pakbon.xml", note(delivery, sip, listed, when))
    return hashlib.sha512(listed).hexdigest()


@dataclass
class _Writing:
    """A SIP on its way: its digests by path as they come."""

    aip: Outgoing
    sip: Path
    dossier: str
    destination: str
    when: datetime
    digests: dict[str, str]

    def __post_init__(self) -> None:
        self.whole = _own(self.aip)

    def write(self) -> None:
        """Write the files first, then what tells of them."""
        stuk = f"{self.dossier}-{self.aip.version}"
        inside = f"{self.dossier}/{stuk}"
        (self.sip / inside).mkdir(parents=True)
        mark = mdto.Identificatie(f"{self.aip.identifier}/{self.aip.version}", BRON)
        part = mdto.Verwijzing(f"{self.whole.naam}, {self.aip.version}", mark)
        written = dict(self._files(inside, part))
        above = mdto.Verwijzing(self.whole.naam, self.whole.identificatie[0])
        self._tell(f"{inside}/{stuk}.MDTO.xml", self._version(part, above, written))
        self._tell(f"{self.dossier}/{self.dossier}.MDTO.xml", self._object(part))

    def _files(self, inside: str, part: mdto.Verwijzing) -> Iterator[tuple[str, mdto.Bestand]]:
        """Copy all files, each with its sidecar; yield these by the names in the object."""
        sent = [name for name in self.aip.files if name != OWN and not name.lower().endswith(SIDECAR)]
        for name, called in file_names(sent).items():
            copied = copy(self.aip.files[name], self.sip / inside / called, sha512=self.aip.sha512[name])
            self.digests[f"{inside}/{called}"] = copied.sha512
            own = self._described(name)
            known = [mdto.Identificatie(f"{self.aip.identifier}#{name}", BRON)] if name != called else []
            known += [one for one in own.identificatie if one not in known] if own else []
            kind = own.bestandsformaat if own else None
            told = file_of(called, copied, part, self.when, known=known, kind=kind)
            self._tell(f"{inside}/{called}.bestand.MDTO.xml", told)
            yield name, told
        if history := self.aip.history():
            files.write_new(self.sip / inside / HISTORY, history)
            digests = {name: hashlib.new(name, history).hexdigest() for name in ("sha256", "sha512")}
            self.digests[f"{inside}/{HISTORY}"] = digests["sha512"]
            told = file_of(HISTORY, Copied(len(history), digests), part, self.when)
            self._tell(f"{inside}/{HISTORY}.bestand.MDTO.xml", told)
            yield HISTORY, told

    def _described(self, name: str) -> mdto.Bestand | None:
        """Return what the object itself tells of one of its files."""
        path = self.aip.files.get(f"{name}{SIDECAR}")
        told = mdto.read(path.read_bytes(), f"{name}{SIDECAR} of {self.aip.identifier}") if path else None
        return told if isinstance(told, mdto.Bestand) else None

    def _version(
        self, part: mdto.Verwijzing, above: mdto.Verwijzing, written: Mapping[str, mdto.Bestand]
    ) -> mdto.Informatieobject:
        refer = {name: mdto.Verwijzing(one.naam, one.identificatie[0]) for name, one in written.items()}
        assert part.verwijzingIdentificatie is not None
        return replace(
            self.whole,
            identificatie=(part.verwijzingIdentificatie,),
            naam=part.verwijzingNaam,
            aggregatieniveau=mdto.begrip("Archiefstuk", AGGREGATIENIVEAUS),
            isOnderdeelVan=(above,),
            bevatOnderdeel=(),
            heeftRepresentatie=tuple(refer.values()),
            aanvullendeMetagegevens=tuple(refer[name] for name in _BESIDES if name in refer),
        )

    def _object(self, part: mdto.Verwijzing) -> mdto.Informatieobject:
        keeper = self.aip.policy.zorgdrager or self.aip.policy.archiefvormer
        left = event("Export", self.when, organisation(keeper), f"SIP voor {self.destination}")
        return replace(
            self.whole,
            aggregatieniveau=mdto.begrip("Dossier", AGGREGATIENIVEAUS),
            event=(*self.whole.event, left),
            bevatOnderdeel=(part,),
            heeftRepresentatie=(),
        )

    def _tell(self, path: str, thing: mdto.Informatieobject | mdto.Bestand) -> None:
        _demand_whole(thing, f"{path} of the SIP of {self.aip.identifier}")
        data = mdto.write(thing)
        files.write_new(self.sip / path, data)
        self.digests[path] = hashlib.sha512(data).hexdigest()


def _own(aip: Outgoing) -> mdto.Informatieobject:
    """Return what the object tells of itself; what its decision tells, where it has no MDTO of its own."""
    if OWN in aip.files:
        told = mdto.read(aip.files[OWN].read_bytes(), f"{OWN} of {aip.identifier}")
        _demand_whole(told, f"{OWN} of {aip.identifier}")
        if isinstance(told, mdto.Informatieobject):
            return told
    mark = mdto.Identificatie(aip.identifier, BRON)
    return object_of(aip.terms, [mark], aip.identifier, "Dossier")


def _demand_whole(thing: mdto.Informatieobject | mdto.Bestand, name: str) -> None:
    if wrong := mdto.complaints(thing):
        raise BadMetadata(f"{name} lacks what must be in it:" + "".join(f"\n  {one}" for one in wrong))
