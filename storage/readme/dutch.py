"""LEESMIJ: wat een lezer over tientallen jaren moet weten die nooit van terp gehoord heeft, in gewone woorden."""

from terp.storage.crate import CHECKSUMS, DIFF, DRAWING, INPUTS, METADATA, SIGNATURE, SOURCE, contents
from terp.storage.crate.prov import PROV_JSON, PROV_TURTLE
from terp.storage.environment import LOCK, is_lock
from terp.storage.provenance import Record
from terp.storage.scrub import scrub

_MONTHS = [
    "januari",
    "februari",
    "maart",
    "april",
    "mei",
    "juni",
    "juli",
    "augustus",
    "september",
    "oktober",
    "november",
    "december",
]

_FIXED = {
    METADATA: "wie wat waarvan maakte, wanneer en hoe, als JSON-LD (RO-Crate)",
    SOURCE: "het programma zoals het gedraaid heeft (Python)",
    LOCK: "alle gebruikte programmabibliotheken met hun versie",
    DIFF: "hoe het programma verschilde van wat was vastgelegd",
    INPUTS: "de SHA-256 van elk bestand dat gelezen is",
    PROV_JSON: "de herkomst volgens W3C PROV, als PROV-JSON",
    PROV_TURTLE: "de herkomst volgens W3C PROV, als PROV-O in Turtle",
    DRAWING: "een tekening van de berekening: bronnen, stappen, resultaten",
    CHECKSUMS: "de SHA-512 van elk ander bestand, voor sha512sum -c",
    SIGNATURE: "de handtekening onder die controlegetallen, voor ssh-keygen -Y verify",
    "LEESMIJ.md": "dit bestand: wat dit is, hoe het gemaakt is, hoe het te controleren en te lezen is",
    "README.md": "hetzelfde als dit bestand, in het Engels",
    "FORMATS.md": "elk bestandsformaat, tot op de byte beschreven (Engels)",
    "policy.toml": "het besluit: wie verantwoordelijk is, hoe lang het bewaard blijft, wie het mag zien en gebruiken",
    "mdto.xml": "metagegevens volgens MDTO 1.0.1",
    "premis.xml": "de bestanden en wat ermee gebeurd is, volgens PREMIS 3.0",
    "datacite.xml": "hoe ernaar te verwijzen, volgens DataCite 4",
    "lineage.zip": "waaruit elk deel van de resultaten gemaakt is, tot aan de bronnen",
    "picture.png": "de resultaten als plaatje",
    "values.json": "kerngetallen van de resultaten, en van elk een controlegetal over alle waarden",
    "source.zip": "het programma met alle eigen onderdelen",
    "terp.zip": "terp zelf, zoals het de resultaten berekende",
    "replay.json": "wat nodig is om de resultaten opnieuw te berekenen",
    "journal.jsonl": "wat er tijdens de berekening gebeurde, op volgorde",
}


def leesmij(record: Record, identifier: str = "", signed: bool = False) -> str:
    """Return the LEESMIJ.md of a crate, in Dutch; `identifier` is the name under which it can be cited and found."""
    record = scrub(record, record.hosts)
    parts = [
        _what(record, identifier),
        _made(record),
        _files(record, signed),
        _CHECK,
        _READ,
        _terms(record, identifier),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _day(record: Record) -> str:
    return f"{record.ended.day} {_MONTHS[record.ended.month - 1]} {record.ended.year}"


def _what(record: Record, identifier: str) -> str:
    known = f" De map is bekend als `{identifier}`." if identifier else ""
    return f"""
# {record.title}

{record.flow.description}

Deze map bevat de resultaten van één berekening, gemaakt op {_day(record)}, met alles wat nodig is om ze te controleren,
te lezen en te begrijpen. Er hoeft niets geïnstalleerd te worden dat eigen is aan het programma dat ze maakte.{known}
"""


def _made(record: Record) -> str:
    where = f" ({record.agent.affiliation})" if record.agent.affiliation else ""
    lines = [f"- Gemaakt door {record.agent.name}{where} met de berekening `{record.flow.name}`."]
    lines += [f"- Gelezen: {one.name}, {one.identifier} (SHA-256 `{one.sha256}`)." for one in record.inputs]
    lines += [f"- Instelling `{name}` = `{value}`." for name, value in sorted(record.parameters.items())]
    lines += [f"- Stap `{one.name}`: {one.regions} delen, product `{one.key}`." for one in record.stages]
    lines += [f"- Berekend op: {place}." for place in record.places]
    lines += [f"- Let op: {warning}" for warning in record.warnings]
    return "## Hoe het gemaakt is\n\n" + "\n".join(lines)


def _files(record: Record, signed: bool) -> str:
    names = [one.file for one in record.outputs] + list(contents(record, signed))
    rows = [f"| `{name}` | {_about(name)} |" for name in dict.fromkeys(names)]
    return "## Wat elk bestand is\n\n| bestand | wat het is |\n|---|---|\n" + "\n".join(rows)


def _about(name: str) -> str:
    if name.endswith(".members.json"):
        return "waar elk onderdeel in het pakket begint, met controlegetallen"
    if name.endswith(".mdto.xml"):
        return "metagegevens van dat bestand volgens MDTO 1.0.1"
    if name.endswith(".whole.zarr.zip"):
        return "coördinaten en beschrijving van het hele resultaat, waarvan de waarden in de banden staan"
    if name.endswith(".zarr.zip") and name.removesuffix(".zarr.zip").rpartition(".")[2].isdigit():
        return "een band van een resultaat: een deel ervan, als Zarr-groep (versie 3) in een ZIP zonder compressie"
    if name.endswith(".zarr.zip"):
        return "een resultaat: een Zarr-groep (versie 3) in een ZIP zonder compressie"
    if is_lock(name) and name != LOCK:
        return "hetzelfde van een andere omgeving: wie die had, staat in README.md"
    if name.endswith(".nc"):
        return "hetzelfde resultaat als NetCDF-4"
    if name.endswith(".nc.proof.json"):
        return "het bewijs dat de NetCDF-4 hetzelfde is: controlegetallen van alle waarden, uit beide gelezen"
    return _FIXED.get(name, "zie README.md")


_CHECK = f"""
## Hoe te controleren dat niets beschadigd is

    sha512sum -c {CHECKSUMS}
    unzip -t NAAM.zarr.zip

Het eerste vergelijkt elk bestand met zijn SHA-512, het tweede elk onderdeel van een pakket met zijn CRC-32. Beide
programma's bestaan op elke Unix. Is een onderdeel beschadigd en is er een andere kopie, dan kan dat onderdeel alleen
hersteld worden.
"""

_READ = """
## Hoe het te lezen

Een bestand `NAAM.zarr.zip` is een ZIP-archief (met ZIP64, om zijn grootte) waarin ZIP niets comprimeert:
`unzip NAAM.zarr.zip` geeft een map die elk programma kan lezen dat Zarr versie 3 kent. Veel programma's lezen het
archief zoals het is. In Python bijvoorbeeld:

    import xarray                                   # uitgepakt: xarray.open_zarr("NAAM.zarr", consolidated=False)
    from zarr.storage import ZipStore
    data = xarray.open_zarr(ZipStore("NAAM.zarr.zip", read_only=True), consolidated=False)

Een groot resultaat staat in meer van zulke bestanden, de banden `NAAM.0000.zarr.zip`, `NAAM.0001.zarr.zip`, ...: elk is
een deel ervan langs één dimensie (`axis` in de tabel `NAAM.zarr.zip.members.json`) en op zichzelf volledig. Het geheel
is wat zij achter elkaar bevatten: `xarray.concat([eerste, tweede, ...], dim=axis)`. `NAAM.whole.zarr.zip` heeft geen
waarden, maar wel de coördinaten van het geheel.

Is er geen enkel zulk programma meer, dan beschrijft `FORMATS.md` elk formaat tot op de byte.
"""


def _terms(record: Record, identifier: str) -> str:
    licence = record.licence
    where = f" ({licence.url})" if "://" in licence.url else ""
    inputs = [f"- {one.name}: {one.licence}" for one in record.inputs if one.licence]
    read = "\nWat gelezen is had eigen voorwaarden:\n\n" + "\n".join(inputs) + "\n" if inputs else ""
    name = f" {identifier}." if identifier else f" Run {record.run}."
    return f"""
## Licentie, en hoe ernaar te verwijzen

{licence.name}{where}. {licence.description}
{read}
Verwijs als: {record.agent.name} ({record.ended:%Y}). {record.title}. Dataset.{name}
"""
