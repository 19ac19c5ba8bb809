"""MDTO of what leaves or comes in, from the decision over it: an object, the files that represent it, what is closed.

For all that an object of terp tells of itself, its own mdto.xml is taken instead, and only what changes is said here.
"""

from collections.abc import Sequence
from datetime import datetime

from terp.storage.archive.policy import Organisation
from terp.storage.archive.terms import Terms
from terp.storage.metadata.filling.decided import bewaartermijn, category, restrictions
from terp.storage.metadata.filling.kept import SOURCE
from terp.storage.metadata.formats import format_of
from terp.storage.metadata.mdto import (
    Begrip,
    Bestand,
    Event,
    Identificatie,
    Informatieobject,
    Verwijzing,
    begrip,
    checksum,
    verwijzing,
    waardering,
)
from terp.storage.metadata.mdto.lists import AGGREGATIENIVEAUS, EVENTS
from terp.storage.transfer.copying import Copied

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


def object_of(terms: Terms, marks: Sequence[Identificatie], naam: str, level: str) -> Informatieobject:
    """Return what the decision alone tells of an object."""
    policy = terms.policy
    return Informatieobject(
        identificatie=tuple(marks),
        naam=naam,
        aggregatieniveau=begrip(level, AGGREGATIENIVEAUS),
        waardering=waardering(policy.waardering),
        bewaartermijn=bewaartermijn(terms),
        informatiecategorie=category(policy),
        archiefvormer=(organisation(policy.archiefvormer),),
        beperkingGebruik=restrictions(terms),
    )


def event(kind: str, when: datetime, who: Verwijzing | None, result: str) -> Event:
    """Return an event of MDTO's list."""
    return Event(
        eventType=begrip(kind, EVENTS), eventTijd=stamp(when), eventVerantwoordelijkeActor=who, eventResultaat=result
    )
