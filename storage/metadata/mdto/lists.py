"""MDTO's own lists of terms (begrippenlijsten), as far as terp uses or checks them, and short ways to name a term."""

from terp.storage.errors import BadMetadata
from terp.storage.metadata.mdto.model import Begrip, Checksum, Identificatie, Verwijzing

AGGREGATIENIVEAUS = "Begrippenlijst Aggregatieniveaus MDTO"
EVENTS = "Begrippenlijst EventTypeLijst MDTO"
WAARDERINGEN = "Begrippenlijst Waarderingen MDTO"
BEPERKINGEN = "Begrippenlijst Beperkingen MDTO"
CHECKSUMS = "Begrippenlijst ChecksumAlgoritme MDTO"

# the one closed list
LABELS = {"B": "Blijvend te bewaren", "V": "Tijdelijk te bewaren", "N": "Nader te bepalen"}
BEPERKING_LABELS = ("Geen beperking", "Nader te bepalen", "Overig")
DIGITS = {"SHA-224": 56, "SHA-256": 64, "SHA-384": 96, "SHA-512": 128}  # hexadecimal, of a digest


def begrip(label: str, lijst: str, code: str | None = None) -> Begrip:
    """Return a term of the list that is called `lijst`."""
    return Begrip(begripLabel=label, begripCode=code, begripBegrippenlijst=Verwijzing(lijst))


def verwijzing(naam: str, kenmerk: str | None = None, bron: str | None = None) -> Verwijzing:
    """Return a reference to what is called `naam`, known as `kenmerk` to `bron`, where both are given."""
    return Verwijzing(naam, Identificatie(kenmerk, bron) if kenmerk and bron else None)


def waardering(code: str) -> Begrip:
    """Return the appraisal of a code: B to be kept for ever, V for a time, N not yet known; else BadMetadata."""
    if code not in LABELS:
        raise BadMetadata(f"waardering {code!r} is none of MDTO's: B (blijvend), V (tijdelijk) or N (nader te bepalen)")
    return begrip(LABELS[code], WAARDERINGEN, code)


def checksum(algorithm: str, value: str, when: str) -> Checksum:
    """Return a digest: `algorithm` as in DIGITS, `value` in hexadecimal, `when` as `2026-11-28T20:00:00Z`."""
    return Checksum(checksumAlgoritme=begrip(algorithm, CHECKSUMS), checksumWaarde=value, checksumDatum=when)


def sha2(label: str) -> str | None:
    """Return which of SHA-2 a label means, however it is written ("SHA256", "sha-256"); None for any other."""
    plain = label.upper().replace("-", "").replace("_", "").replace(" ", "")
    return next((name for name in DIGITS if name.replace("-", "") == plain), None)
