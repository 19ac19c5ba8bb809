"""What must be asked for before anything is archived, so that no metadata are incomplete."""

from datetime import UTC, datetime

from terp.storage.archive.policy import Policy
from terp.storage.metadata import datacite, mdto, premis
from terp.storage.metadata.filling.citation import datacite_of
from terp.storage.metadata.filling.information import bestand, informatieobject
from terp.storage.metadata.filling.kept import Kept
from terp.storage.metadata.filling.preservation import premis_of
from terp.storage.provenance import Record

_UNNAMED = "urn:terp:unnamed"  # stands for the name that the archive will give


def missing(policy: Policy | None, record: Record, archived: datetime | None = None) -> list[str]:
    """Return a sentence for each thing that nobody has said, or that is not as a standard wants it; none: all is there.

    The standards' own words follow what people have to say: their organisation, themselves, what they made.
    """
    if policy is None:
        return ["there is no policy: who answers for it, how long it is kept, who may see it (`terp policy new`)"]
    asked = [
        f"{what} is not known: {where}"
        for what, where, known in (
            ("who made it", "set TERP_AGENT to your name", record.agent.name),
            ("what it is", "give the flow's function a docstring, whose first line is the title", record.title),
        )
        if not known.strip()
    ]
    return asked or _complaints(Kept(_UNNAMED, record, policy, archived or datetime.now(UTC)))


def _complaints(kept: Kept) -> list[str]:
    told = mdto.complaints(informatieobject(kept))
    told += [one for output in kept.payload for one in mdto.complaints(bestand(kept, output))]
    return [*told, *premis.complaints(premis_of(kept)), *datacite.complaints(datacite_of(kept))]
