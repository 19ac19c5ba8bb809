"""The model of MDTO 1.0.1, element by element, and its XML.

A field is there or None; a repeatable one is a tuple, empty where absent. Fields must be named when an object is made.
Dates are texts as XML Schema writes them (`2026`, `2026-11`, `2026-11-28`, where a time may stand also
`2026-11-28T20:00:00Z`), and terms are durations (`P10Y`): what was read is written again as it was.
`rules.complaints` tells what of an object is missing or wrong.
"""

from dataclasses import dataclass

from terp.storage.errors import BadMetadata
from terp.storage.metadata import binding

NAMESPACE = "https://www.nationaalarchief.nl/mdto"
SCHEMA = "https://www.nationaalarchief.nl/mdto/MDTO-XML1.0.1.xsd"


@dataclass(frozen=True)
class Identificatie:
    """A mark by which something is known, and whose mark it is."""

    identificatieKenmerk: str
    identificatieBron: str


@dataclass(frozen=True)
class Verwijzing:
    """A reference: the name of something, and by what it is known."""

    verwijzingNaam: str
    verwijzingIdentificatie: Identificatie | None = None


@dataclass(frozen=True, kw_only=True)
class Begrip:
    """A term: its label and code, and the list that explains it."""

    begripLabel: str
    begripCode: str | None = None
    begripBegrippenlijst: Verwijzing


@dataclass(frozen=True, kw_only=True)
class Termijn:
    """A term of time: what starts it and when, how long it runs, when it ends."""

    termijnTriggerStartLooptijd: Begrip | None = None
    termijnStartdatumLooptijd: str | None = None
    termijnLooptijd: str | None = None
    termijnEinddatum: str | None = None


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """A digest of a file, in hexadecimal, and when it was made."""

    checksumAlgoritme: Begrip
    checksumWaarde: str
    checksumDatum: str


@dataclass(frozen=True, kw_only=True)
class DekkingInTijd:
    """The time that the content is about."""

    dekkingInTijdType: Begrip
    dekkingInTijdBegindatum: str
    dekkingInTijdEinddatum: str | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to the object: what, when, under whose responsibility, with what result."""

    eventType: Begrip
    eventTijd: str | None = None
    eventVerantwoordelijkeActor: Verwijzing | None = None
    eventResultaat: str | None = None


@dataclass(frozen=True, kw_only=True)
class Raadpleeglocatie:
    """Where the object can be consulted."""

    raadpleeglocatieFysiek: tuple[Verwijzing, ...] = ()
    raadpleeglocatieOnline: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GerelateerdInformatieobject:
    """Another object that matters for this one, and how."""

    gerelateerdInformatieobjectVerwijzing: Verwijzing
    gerelateerdInformatieobjectTypeRelatie: Begrip


@dataclass(frozen=True, kw_only=True)
class Betrokkene:
    """Someone who has to do with the object, and how."""

    betrokkeneTypeRelatie: Begrip
    betrokkeneActor: Verwijzing


@dataclass(frozen=True, kw_only=True)
class BeperkingGebruik:
    """A restriction on use: of what type, described where, until when."""

    beperkingGebruikType: Begrip
    beperkingGebruikNadereBeschrijving: str | None = None
    beperkingGebruikDocumentatie: tuple[Verwijzing, ...] = ()
    beperkingGebruikTermijn: Termijn | None = None


@dataclass(frozen=True, kw_only=True)
class Informatieobject:
    """What is archived as one whole with an identity of its own."""

    identificatie: tuple[Identificatie, ...]
    naam: str
    aggregatieniveau: Begrip | None = None
    classificatie: tuple[Begrip, ...] = ()
    trefwoord: tuple[str, ...] = ()
    omschrijving: tuple[str, ...] = ()
    raadpleeglocatie: tuple[Raadpleeglocatie, ...] = ()
    dekkingInTijd: tuple[DekkingInTijd, ...] = ()
    dekkingInRuimte: tuple[Verwijzing, ...] = ()
    taal: tuple[str, ...] = ()
    event: tuple[Event, ...] = ()
    waardering: Begrip
    bewaartermijn: Termijn | None = None
    informatiecategorie: Begrip | None = None
    isOnderdeelVan: tuple[Verwijzing, ...] = ()
    bevatOnderdeel: tuple[Verwijzing, ...] = ()
    heeftRepresentatie: tuple[Verwijzing, ...] = ()
    aanvullendeMetagegevens: tuple[Verwijzing, ...] = ()
    gerelateerdInformatieobject: tuple[GerelateerdInformatieobject, ...] = ()
    archiefvormer: tuple[Verwijzing, ...]
    betrokkene: tuple[Betrokkene, ...] = ()
    activiteit: Verwijzing | None = None
    beperkingGebruik: tuple[BeperkingGebruik, ...]


@dataclass(frozen=True, kw_only=True)
class Bestand:
    """A file: its size in bytes, its format, its digests, and the object that it represents."""

    identificatie: tuple[Identificatie, ...]
    naam: str
    omvang: int
    bestandsformaat: Begrip
    checksum: tuple[Checksum, ...]
    URLBestand: str | None = None
    isRepresentatieVan: Verwijzing


@dataclass(frozen=True)
class _Document:
    """The root element `MDTO`, which holds the one or the other."""

    informatieobject: Informatieobject | None = None
    bestand: Bestand | None = None


def write(thing: Informatieobject | Bestand) -> bytes:
    """Return the MDTO file of an object or a file; BadMetadata where a text has a character that XML cannot hold.

    What is incomplete is written as it is: ask `complaints` first.
    """
    document = _Document(informatieobject=thing) if isinstance(thing, Informatieobject) else _Document(bestand=thing)
    return binding.to_bytes(binding.build(document, "MDTO", NAMESPACE, SCHEMA))


def read(data: bytes, where: str = "the MDTO file") -> Informatieobject | Bestand:
    """Return what an MDTO file tells; BadMetadata, in words that begin with `where`, when it is not MDTO 1.0.1.

    An element that is not of MDTO, stands in the wrong place or is lacking where one thing must be is refused;
    nothing is left out but comments.
    """
    root = binding.parse(data, where)
    if root.tag != f"{{{NAMESPACE}}}MDTO":
        raise BadMetadata(f"{where} is no MDTO: it begins with {root.tag}, not with MDTO of {NAMESPACE}")
    document = binding.read(_Document, root, where)
    found = [one for one in (document.informatieobject, document.bestand) if one is not None]
    if len(found) != 1:
        raise BadMetadata(f"{where} has {len(found)} objects; MDTO has one informatieobject or one bestand")
    thing: Informatieobject | Bestand = found[0]
    return thing
