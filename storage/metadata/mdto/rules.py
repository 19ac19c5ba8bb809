"""What is missing or wrong in an MDTO object, told without its schema: `complaints` for what may not be.

The rules are those of the schemas 1.0.1 and of the drafts after it (no blank texts, no negative size), of the closed
list of appraisals, and of MDTO's text: a SHA-2 digest for each file, an end that is not before its beginning.
`cautions` tells what is allowed, but better otherwise.
"""

import re
from collections.abc import Iterator
from typing import Any

from terp.storage.metadata import binding
from terp.storage.metadata.datatypes import DAYS, is_one_of, wanted
from terp.storage.metadata.mdto.lists import BEPERKING_LABELS, BEPERKINGEN, DIGITS, LABELS, WAARDERINGEN, sha2
from terp.storage.metadata.mdto.model import (
    Begrip,
    BeperkingGebruik,
    Bestand,
    Checksum,
    DekkingInTijd,
    Informatieobject,
    Raadpleeglocatie,
    Termijn,
)

_TYPES: dict[str, tuple[str, ...]] = {
    "taal": ("language",),
    "raadpleeglocatieOnline": ("anyURI",),
    "URLBestand": ("anyURI",),
    "dekkingInTijdBegindatum": DAYS,
    "dekkingInTijdEinddatum": DAYS,
    "eventTijd": ("dateTime", *DAYS),
    "termijnStartdatumLooptijd": ("date",),
    "termijnLooptijd": ("duration",),
    "termijnEinddatum": DAYS,
    "checksumDatum": ("dateTime",),
}
_NEEDED = {
    "identificatie": "by what it is known (identificatieKenmerk) and to whom (identificatieBron)",
    "archiefvormer": "the organisation that made or received it",
    "beperkingGebruik": 'the restrictions on its use; where there are none, "Geen beperking"',
    "checksum": "a SHA-2 digest",
}
_DAY = re.compile(r"\s*(-?\d{4,})(?:-(\d\d)(?:-(\d\d))?)?(?:Z|[+-]\d\d:\d\d)?\s*")


def complaints(thing: Informatieobject | Bestand) -> list[str]:
    """Return a sentence for each thing that is missing or wrong, with the path of its element; none: it is valid."""
    name = "informatieobject" if isinstance(thing, Informatieobject) else "bestand"
    return [told for found in binding.walk(thing, name, name) for told in _one(*found)]


def cautions(thing: Informatieobject | Bestand) -> list[str]:
    """Return a sentence for each thing that is allowed, but that another version or reader may not take."""
    return list(_cautions(thing)) if isinstance(thing, Informatieobject) else []


def _cautions(thing: Informatieobject) -> Iterator[str]:
    code = thing.waardering.begripCode or ""
    if code == "V" and thing.bewaartermijn is None:
        yield "informatieobject/bewaartermijn is missing: what is kept for a time (V) should say how long"
    if code == "B" and thing.bewaartermijn is not None:
        yield "informatieobject/bewaartermijn is there, though it is kept for ever (B)"
    if len(thing.archiefvormer) > 1:
        yield "informatieobject has more than one archiefvormer, which MDTO 1.0 does not allow"
    places = [len(one.raadpleeglocatieFysiek) + len(one.raadpleeglocatieOnline) for one in thing.raadpleeglocatie]
    if len(places) > 1 or any(number != 1 for number in places):
        yield "informatieobject has raadpleeglocatie other than one place, which the drafts after 1.0.1 do not allow"


def _one(name: str, value: Any, where: str) -> Iterator[str]:
    """Return what is wrong with one element, apart from those in it."""
    if isinstance(value, Informatieobject | Bestand):
        for needed in (one for one in _NEEDED if not getattr(value, one, True)):
            yield f"{where}/{needed} is missing: MDTO asks for at least one, {_NEEDED[needed]}"
    if isinstance(value, str):
        yield from binding.faults(value, where) or _type(name, value, where)
    else:
        yield from _special(value, where)


def _type(name: str, value: str, where: str) -> Iterator[str]:
    if (types := _TYPES.get(name)) and not is_one_of(types, value):
        yield f"{where} is {value[:40]!r}; MDTO wants {wanted(types)}"


def _special(thing: Any, where: str) -> Iterator[str]:
    """Return what is wrong with an element as a whole."""
    match thing:
        case Informatieobject():
            yield from _appraisal(thing.waardering, f"{where}/waardering")
        case Bestand():
            yield from _file(thing, where)
        case Checksum():
            yield from _digest(thing, where)
        case DekkingInTijd():
            yield from _order(where, thing, "dekkingInTijdBegindatum", "dekkingInTijdEinddatum")
        case Termijn():
            yield from _term(thing, where)
        case BeperkingGebruik():
            yield from _restriction(thing.beperkingGebruikType, f"{where}/beperkingGebruikType")
        case Raadpleeglocatie(raadpleeglocatieFysiek=(), raadpleeglocatieOnline=()):
            yield f"{where} is empty: name a place or a URL, or leave it out"


def _appraisal(term: Begrip, where: str) -> Iterator[str]:
    codes = [code for code, label in LABELS.items() if label == term.begripLabel]
    if not codes or term.begripCode not in (codes[0], None):
        known = ", ".join(f"{code} {label}" for code, label in LABELS.items())
        yield f"{where} is {term.begripCode or ''} {term.begripLabel!r}; {WAARDERINGEN} is closed: {known}"


def _file(thing: Bestand, where: str) -> Iterator[str]:
    if thing.omvang < 0:
        yield f"{where}/omvang is {thing.omvang}; a file has no fewer than 0 bytes"
    if thing.checksum and not any(sha2(one.checksumAlgoritme.begripLabel) for one in thing.checksum):
        found = ", ".join(one.checksumAlgoritme.begripLabel for one in thing.checksum)
        yield f"{where}/checksum is {found}; MDTO asks for SHA-2 ({', '.join(DIGITS)}), others only beside it"


def _digest(thing: Checksum, where: str) -> Iterator[str]:
    name = sha2(thing.checksumAlgoritme.begripLabel)
    if name and not re.fullmatch(f"[0-9A-Fa-f]{{{DIGITS[name]}}}", thing.checksumWaarde.strip()):
        yield f"{where}/checksumWaarde is no {name}: that is {DIGITS[name]} hexadecimal digits"


def _term(thing: Termijn, where: str) -> Iterator[str]:
    if thing == Termijn():
        yield f"{where} is empty: say how long it runs or when it ends, or leave it out"
    if (thing.termijnLooptijd or "").strip().startswith("-"):
        yield f"{where}/termijnLooptijd is {thing.termijnLooptijd!r}; a term does not run backwards"
    yield from _order(where, thing, "termijnStartdatumLooptijd", "termijnEinddatum")


def _restriction(term: Begrip, where: str) -> Iterator[str]:
    if term.begripBegrippenlijst.verwijzingNaam == BEPERKINGEN and term.begripLabel not in BEPERKING_LABELS:
        known = ", ".join(BEPERKING_LABELS)
        yield f"{where} is {term.begripLabel!r}, which is not in {BEPERKINGEN} ({known}); name the list that has it"


def _order(where: str, thing: Any, first: str, last: str) -> Iterator[str]:
    """Return a sentence where the day in `last` is certainly before the one in `first`."""
    begin, end = (_DAY.fullmatch(getattr(thing, name) or "") for name in (first, last))
    if begin and end and _day(begin, 0) > _day(end, 99):
        yield f"{where}/{last} is {getattr(thing, last)}, before {first} {getattr(thing, first)}"


def _day(found: re.Match[str], missing: int) -> tuple[int, ...]:
    """Return year, month and day; `missing` for what is not told."""
    return tuple(missing if part is None else int(part) for part in found.groups())
