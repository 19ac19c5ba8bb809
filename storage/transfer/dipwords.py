"""What a dissemination copy tells of itself: in Dutch, in English, in MDTO and for programs, from the same facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from terp.storage.archive.policy import FREE, OPENNESS, Policy
from terp.storage.archive.terms import Terms
from terp.storage.metadata import formats, mdto
from terp.storage.metadata.mdto.lists import BEPERKINGEN
from terp.storage.transfer.copying import Copied
from terp.storage.transfer.openness import PROFILES, Closed
from terp.storage.transfer.records import BRON, event, file_of, object_of, organisation

_COVERAGE = formats.OWN
_RELATION = "Begrippenlijst Relatietypen (informatieobject) MDTO"
_KINDS = {
    "public": "voor iedereen: zonder alles wat niet openbaar is",
    "restricted": "voor wie hieronder staat: zonder wat door een beperking is gesloten",
    "full": "voor wie hieronder staat: alles",
}


@dataclass(frozen=True)
class Told:
    """The facts of a copy. `withheld` counts variables by what closes them; their names are not told."""

    identifier: str
    aip: str
    version: str
    on: date
    profile: str
    variables: tuple[str, ...]
    where: Mapping[str, str]
    withheld: Mapping[Closed, int]
    terms: Terms
    recipient: str
    ground: str
    masked: bool
    coverage: tuple[str, str] | None = None

    @property
    def policy(self) -> Policy:
        """The decision over the object."""
        return self.terms.policy

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        rights = self.policy.rights
        return {
            "format": "terp dip 1",
            "identifier": self.identifier,
            "aip": {"identifier": self.aip, "version": self.version},
            "made": self.on.isoformat(),
            "profile": self.profile,
            "variables": list(self.variables),
            "where": dict(self.where),
            "withheld": [
                {"variables": count, "ground": one.ground, "until": one.until.isoformat()}
                for one, count in self.withheld.items()
            ],
            "licence": {"name": rights.licence_name, "url": rights.licence, "holder": rights.holder},
            **({"for": self.recipient, "ground": self.ground} if self.recipient else {}),
        }

    @property
    def ranges(self) -> str:
        """The ranges in words."""
        return ", ".join(f"{dim} {wanted.replace('..', ' .. ')}" for dim, wanted in self.where.items())


def readme(told: Told) -> str:
    """Return README.md."""
    out = [
        f"- {count} variable{'s are' if count > 1 else ' is'} left out on the ground of {one.ground}; open from "
        f"{one.until} on."
        for one, count in told.withheld.items()
    ]
    left = "\n".join(out) or "Nothing of the variables named above is left out because it is closed."
    origin = "What the object tells of itself is in `origin/`.\n" if not told.masked else ""
    who = f"\nMade for {told.recipient}, on the ground of {told.ground}. Do not pass it on.\n" if told.recipient else ""
    return f"""# A part of {told.aip}, version {told.version}

This is a copy for use, made on {told.on:%Y-%m-%d}. It is not the archived object: that is `{told.aip}`, version
{told.version}, kept by {_keeper(told).naam}. The copy itself is known as `{told.identifier}`.
{who}
## What was done to it

Variables that are here: {", ".join(told.variables)}.
Part: {told.ranges or "all of each of them"}.
Profile: {told.profile} ({PROFILES[told.profile]}).

The values are those of the object; they were cut and stored anew. Nothing was computed from them.

## What is left out, and why

The archive holds this object as `{told.policy.decision.openness}`.

{left}

Whoever needs what is left out can ask {_keeper(told).naam}, naming `{told.aip}`.
{origin}
## How to check and to read it

    sha512sum -c SHA512SUMS
    unzip -t NAME.zarr.zip

`NAME.zarr.zip` is a ZIP without compression; unzipped it is a folder that any program for Zarr version 3 reads. In
Python: `xarray.open_zarr("NAME.zarr", consolidated=False)` of the unzipped folder.

What may be done with it: see `LICENCE.md`. The facts above for programs: `dip.json`, `mdto.xml`.
"""


def leesmij(told: Told) -> str:
    """Return LEESMIJ.md."""
    out = [
        f"- {count} variabele{'n zijn' if count > 1 else ' is'} weggelaten op grond van {one.ground}; openbaar vanaf "
        f"{one.until}."
        for one, count in told.withheld.items()
    ]
    left = "\n".join(out) or "Van de variabelen hierboven is niets weggelaten omdat het gesloten is."
    origin = "Wat het object over zichzelf vertelt staat in `origin/`.\n" if not told.masked else ""
    who = (
        f"\nGemaakt voor {told.recipient}, op grond van {told.ground}. Geef het niet door.\n" if told.recipient else ""
    )
    return f"""# Een deel van {told.aip}, versie {told.version}

Dit is een kopie voor gebruik, gemaakt op {told.on:%Y-%m-%d}. Het is niet het gearchiveerde object: dat is
`{told.aip}`, versie {told.version}, beheerd door {_keeper(told).naam}. De kopie zelf heet `{told.identifier}`.
{who}
## Wat ermee is gedaan

Variabelen die hier zijn: {", ".join(told.variables)}.
Deel: {told.ranges or "alles ervan"}.
Profiel: {told.profile} ({_KINDS[told.profile]}).

De waarden zijn die van het object; ze zijn gesneden en opnieuw opgeslagen. Er is niets uit berekend.

## Wat is weggelaten, en waarom

Het archief bewaart dit object als `{OPENNESS[told.policy.decision.openness]}`.

{left}

Wie nodig heeft wat is weggelaten kan {_keeper(told).naam} erom vragen, onder vermelding van `{told.aip}`.
{origin}
## Controleren en lezen

    sha512sum -c SHA512SUMS
    unzip -t NAAM.zarr.zip

`NAAM.zarr.zip` is een ZIP zonder compressie; uitgepakt is het een map die elk programma voor Zarr versie 3 leest. In
Python: `xarray.open_zarr("NAAM.zarr", consolidated=False)` van de uitgepakte map.

Wat ermee mag: zie `LICENCE.md`. De feiten hierboven voor programma's: `dip.json`, `mdto.xml`.
"""


def licence(told: Told) -> str:
    """Return LICENCE.md, in both languages."""
    rights = told.policy.rights
    return f"""# {rights.licence_name}

Rights: {rights.holder}. This copy may be used under {rights.licence_name}, {rights.licence}, as decided on
{told.policy.decision.on}.

Rechten: {rights.holder}. Deze kopie mag worden gebruikt onder {rights.licence_name}, {rights.licence}, als besloten op
{told.policy.decision.on}.
"""


def about(told: Told, packages: Sequence[str]) -> bytes:
    """Return the MDTO of the copy."""
    made = datetime.combine(told.on, time(), UTC)
    base = object_of(told.terms, [mdto.Identificatie(told.identifier, BRON)], _name(told), "Archiefstuk")
    of = mdto.verwijzing(f"{told.aip} {told.version}", told.aip, BRON)
    relation = mdto.GerelateerdInformatieobject(
        gerelateerdInformatieobjectVerwijzing=of,
        gerelateerdInformatieobjectTypeRelatie=mdto.begrip("Is een versie van", _RELATION),
    )
    what = f"Kopie voor gebruik: {', '.join(told.variables)}; {told.ranges or 'alles ervan'}; profiel {told.profile}"
    fields = {**base.__dict__, "omschrijving": (what,), "gerelateerdInformatieobject": (relation,)}
    fields |= {"event": (event("Export", made, organisation(_keeper(told)), what),)}
    if told.coverage:
        kind = mdto.begrip("Periode waar de gegevens over gaan", _COVERAGE)
        first, last = told.coverage
        inside = mdto.DekkingInTijd(dekkingInTijdType=kind, dekkingInTijdBegindatum=first, dekkingInTijdEinddatum=last)
        fields |= {"dekkingInTijd": (inside,)}
    fields |= {"beperkingGebruik": tuple(_restrictions(told)), "heeftRepresentatie": _refer(told, packages)}
    return mdto.write(mdto.Informatieobject(**fields))


def of_package(told: Told, name: str, copied: Copied) -> bytes:
    """Return the MDTO of a package of the copy."""
    of = mdto.verwijzing(_name(told), told.identifier, BRON)
    return mdto.write(file_of(name, copied, of, datetime.combine(told.on, time(), UTC)))


def _refer(told: Told, packages: Sequence[str]) -> tuple[mdto.Verwijzing, ...]:
    return tuple(mdto.verwijzing(name, f"{told.identifier}/{name}", BRON) for name in packages)


def _restrictions(told: Told) -> list[mdto.BeperkingGebruik]:
    """Return the licence, and for each ground that something is left out: never which."""
    rights = told.policy.rights
    found = [
        mdto.BeperkingGebruik(
            beperkingGebruikType=mdto.begrip("Overig", BEPERKINGEN),
            beperkingGebruikNadereBeschrijving=f"{count} variabele(n) weggelaten: {one.ground}",
            beperkingGebruikTermijn=mdto.Termijn(termijnEinddatum=one.until.isoformat()),
        )
        for one, count in told.withheld.items()
    ]
    terms = mdto.BeperkingGebruik(
        beperkingGebruikType=mdto.begrip("Overig" if found else FREE, BEPERKINGEN),
        beperkingGebruikNadereBeschrijving=f"{rights.licence_name}; rechten: {rights.holder}",
        beperkingGebruikDocumentatie=(mdto.verwijzing(rights.licence_name, rights.licence, rights.holder),),
    )
    return [*found, terms]


def _name(told: Told) -> str:
    return f"Een deel van {told.aip}, versie {told.version}"


def _keeper(told: Told) -> Any:
    return told.policy.zorgdrager or told.policy.archiefvormer
