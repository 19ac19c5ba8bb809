"""MDTO of what leaves or comes in, from the decision over it: an object, the files that represent it, what is closed.

For all that an object of terp tells of itself, its own mdto.xml is taken instead, and only what changes is said here.
"""

from collections.abc import Sequence
from datetime import date, datetime

from terp.storage.archive.policy import LONGEST, Beperking, Organisation, Policy, after
from terp.storage.metadata.filling.kept import SOURCE
from terp.storage.metadata.formats import format_of
from terp.storage.metadata.mdto import (
    Begrip,
    BeperkingGebruik,
    Bestand,
    Event,
    Identificatie,
    Informatieobject,
    Termijn,
    Verwijzing,
    begrip,
    checksum,
    verwijzing,
    waardering,
)
from terp.storage.metadata.mdto.lists import AGGREGATIENIVEAUS, BEPERKINGEN, EVENTS
from terp.storage.transfer.copying import Copied
from terp.storage.transfer.openness import NONE

BRON = SOURCE


def kind_of(name: str) -> Begrip:
    """Return the format of a file as its name tells it; unknown is said, not guessed."""
    known = format_of(name)
    return begrip(known.label, known.register, known.key)


def stamp(moment: datetime) -> str:
    """Return a moment as MDTO has it."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def organisation(one: Organisation) -> Verwijzing:
    """Return a reference to an organisation."""
    return verwijzing(one.naam, one.identificatie, one.bron)


def file_of(
    name: str,
    copied: Copied,
    of: Verwijzing,
    when: datetime,
    *,
    known: Sequence[Identificatie] = (),
    kind: Begrip | None = None,
) -> Bestand:
    """Return the MDTO of a file that was just copied; `known` is by what else it is known."""
    owner = of.verwijzingIdentificatie
    mark = f"{owner.identificatieKenmerk}/{name}" if owner else name
    return Bestand(
        identificatie=(Identificatie(mark, BRON), *known),
        naam=name,
        omvang=copied.size,
        bestandsformaat=kind or kind_of(name),
        checksum=(
            checksum("SHA-512", copied.sha512, stamp(when)),
            checksum("SHA-256", copied.sha256, stamp(when)),
        ),
        isRepresentatieVan=of,
    )


def object_of(policy: Policy, marks: Sequence[Identificatie], naam: str, level: str) -> Informatieobject:
    """Return what the decision alone tells of an object."""
    return Informatieobject(
        identificatie=tuple(marks),
        naam=naam,
        aggregatieniveau=begrip(level, AGGREGATIENIVEAUS),
        waardering=waardering(policy.waardering),
        bewaartermijn=_kept(policy),
        informatiecategorie=begrip(
            policy.selectielijst.categorie, policy.selectielijst.naam, policy.selectielijst.categorie
        ),
        archiefvormer=(organisation(policy.archiefvormer),),
        beperkingGebruik=restrictions(policy),
    )


def event(kind: str, when: datetime, who: Verwijzing | None, result: str) -> Event:
    """Return an event of MDTO's list."""
    return Event(
        eventType=begrip(kind, EVENTS), eventTijd=stamp(when), eventVerantwoordelijkeActor=who, eventResultaat=result
    )


def _kept(policy: Policy) -> Termijn | None:
    term = policy.bewaartermijn
    if term is None:
        return None
    start = term.start.isoformat() if term.start else None
    end = after(term.start, term.looptijd).isoformat() if term.start else None
    trigger = begrip(term.trigger, EVENTS)
    return Termijn(
        termijnTriggerStartLooptijd=trigger,
        termijnStartdatumLooptijd=start,
        termijnLooptijd=term.looptijd,
        termijnEinddatum=end,
    )


def restrictions(policy: Policy) -> tuple[BeperkingGebruik, ...]:
    """Return the restrictions that a policy decides, and the licence; of what is open that there is none."""
    found = [_restriction(one, policy.decision.on) for one in policy.beperkingGebruik]
    licence = policy.rights
    found.append(
        BeperkingGebruik(
            beperkingGebruikType=begrip("Overig" if found else NONE, BEPERKINGEN),
            beperkingGebruikNadereBeschrijving=f"{licence.licence_name}; rechten: {licence.holder}",
            beperkingGebruikDocumentatie=(verwijzing(licence.licence_name, licence.licence, licence.holder),),
        )
    )
    return tuple(found)


def _restriction(one: Beperking, decided: date) -> BeperkingGebruik:
    start = one.start or decided
    end = min(after(start, one.looptijd), after(start, LONGEST))
    which = f" ({', '.join(one.variables)})" if one.variables else ""
    return BeperkingGebruik(
        beperkingGebruikType=begrip(one.type, BEPERKINGEN),
        beperkingGebruikNadereBeschrijving=f"{one.grond}{which}. {one.toelichting}".strip().rstrip("."),
        beperkingGebruikTermijn=Termijn(
            termijnStartdatumLooptijd=start.isoformat(),
            termijnLooptijd=one.looptijd,
            termijnEinddatum=end.isoformat(),
        ),
    )
