"""What came of an audit, for people and for machines."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from terp.storage.audit.damage import Damage
from terp.storage.meter import size, span


@dataclass
class Report:
    """An audit so far.

    `objects` is a line for each object in each place that was looked at whole, `away` are places that did not answer,
    `waiting` is what is still on tape; `out_of_time` says that it was stopped by its budget.
    """

    audit: str
    began: str
    objects: list[dict[str, Any]] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    away: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    out_of_time: bool = False
    ended: str = ""
    seconds: float = 0.0
    bytes: int = 0
    files: int = 0

    @property
    def whole(self) -> bool:
        """Whether all was looked at that could be."""
        return not (self.out_of_time or self.waiting)

    @property
    def exit_code(self) -> int:
        """65 where something is damaged, 74 where a place did not answer, 75 where it has to go on later, else 0."""
        return 65 if self.damage else 74 if self.away else 0 if self.whole else 75

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "audit": self.audit,
            "began": self.began,
            "ended": self.ended,
            "whole": self.whole,
            "files": self.files,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "objects": self.objects,
            "damage": [one.to_json() for one in self.damage],
            "notes": self.notes,
            "away": self.away,
            "waiting": self.waiting,
        }

    def text(self) -> str:
        """Return a table of places, then all that is wrong."""
        rows = [("place", "objects", "files", "bytes", "damaged")]
        for place in dict.fromkeys(line["place"] for line in self.objects):
            lines = [line for line in self.objects if line["place"] == place]
            counts = (len(lines), sum(line["files"] for line in lines))
            bad = sum(len(line["damage"]) for line in lines)
            rows.append(
                (place, *(f"{one:,}" for one in counts), size(sum(line["bytes"] for line in lines)), f"{bad:,}")
            )
        rows += [(place, "does not answer", "", "", "") for place in self.away]
        rate = f", {size(self.bytes / self.seconds)}/s" if self.seconds > 1 else ""
        told = [*table(rows), "", *map(str, self.damage), *(f"note: {one}" for one in self.notes)]
        told += [f"{place}: {words}" for place, words in self.away.items()]
        told += [f"still on tape: {name}" for name in self.waiting]
        read = f"read {self.files:,} files, {size(self.bytes)} in {span(self.seconds)}{rate}"
        return "\n".join([*told, f"{read}: {self._verdict()}"])

    def _verdict(self) -> str:
        if self.damage:
            return f"{len(self.damage):,} files are damaged, lost or added: mend them with `terp repair`"
        if self.away:
            return "nothing is damaged where a place answered"
        if not self.whole:
            return "nothing is damaged so far; the same command goes on"
        return "all is as it was stored"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with columns, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    sides = ["<", *[">"] * (len(rows[0]) - 1)]
    return [
        "  ".join(f"{one:{side}{width}}" for one, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]
