"""MDTO 1.0.1, the metadata that Dutch government keeps of what it archives: written, read, and held against its rules.

Source: Nationaal Archief, MDTO (Metagegevens voor duurzaam toegankelijke overheidsinformatie), XML schema 1.0.1. Names
of classes and fields are MDTO's own. An `Informatieobject` is what is archived, a `Bestand` one file that represents
it.
"""

from terp.storage.metadata.mdto.lists import begrip, checksum, verwijzing, waardering
from terp.storage.metadata.mdto.model import (
    Begrip,
    BeperkingGebruik,
    Bestand,
    Betrokkene,
    Checksum,
    DekkingInTijd,
    Event,
    GerelateerdInformatieobject,
    Identificatie,
    Informatieobject,
    Raadpleeglocatie,
    Termijn,
    Verwijzing,
    read,
    write,
)
from terp.storage.metadata.mdto.rules import cautions, complaints

__all__ = [
    "Begrip",
    "BeperkingGebruik",
    "Bestand",
    "Betrokkene",
    "Checksum",
    "DekkingInTijd",
    "Event",
    "GerelateerdInformatieobject",
    "Identificatie",
    "Informatieobject",
    "Raadpleeglocatie",
    "Termijn",
    "Verwijzing",
    "begrip",
    "cautions",
    "checksum",
    "complaints",
    "read",
    "verwijzing",
    "waardering",
    "write",
]
