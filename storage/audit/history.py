"""When each object was last audited whole in each place, what was damaged then, and when it is due again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from terp.storage.archive.policy import after
from terp.storage.audit.looking import destroyed
from terp.storage.audit.record import looked_at
from terp.storage.audit.report import table


@dataclass(frozen=True)
class Last:
    """The last whole audit of an object in a place: when, how many files were damaged, and the day it is due again."""

    place: str
    object: str
    folder: str
    at: str
    damage: int
    due: str

    def is_due(self, today: date) -> bool:
        """Say whether it is to be audited again."""
        return self.due <= today.isoformat()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def history(custody: Path, every: Mapping[str, str]) -> dict[tuple[str, str], Last]:
    """Return the last audits by folder and place; `every` tells the term (xsd:duration) of each place."""
    found = {}
    for line in looked_at(custody / "audits"):
        place, folder = line["place"], line["folder"]
        day = datetime.fromisoformat(line["at"]).date()
        due = after(day, every[place]).isoformat() if place in every else ""
        found[folder, place] = Last(place, line["object"], folder, line["at"], len(line["damage"]), due)
    return {key: last for key, last in found.items() if not destroyed(custody, last.object)}


def text(lasts: Mapping[tuple[str, str], Last]) -> str:
    """Return them as a table for people."""
    rows = [("object", "place", "last audit", "due", "damaged")]
    rows += [(one.object, one.place, one.at, one.due, str(one.damage)) for one in lasts.values()]
    return "\n".join(table(rows))
