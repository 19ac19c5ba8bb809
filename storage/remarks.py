"""Remarks: what was noticed while regions were made, kept with the ledger, as long as the product is.

A line of the ledger gives a remark its number, and each row has a bit for each number: so a remark costs a line once,
and a region nothing, whoever makes the rest.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from terp.storage.files import disk
from terp.storage.rows import Rows
from terp.storage.segments import Line, limits, lines, segments

MOST = 15  # that are told apart in a product: they may hold numbers, and be as many as the regions
OTHERS = "other remarks, of more kinds than are kept"


class Remarks:
    """Those of a ledger, by number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def learn(self, line: Line) -> None:
        """Take in a line of the ledger, if it tells of a remark."""
        if "remark" in line:
            self.numbers[line["remark"]] = line["number"]

    def new(self, said: Iterable[str]) -> list[Line]:
        """Return lines that give a number to those that have none, as long as there are numbers."""
        unknown = [one for one in dict.fromkeys(said) if one not in self.numbers]
        return [{"remark": one, "number": number} for number, one in enumerate(unknown, len(self.numbers))][: self.left]

    @property
    def left(self) -> int:
        """How many more are told apart."""
        return MOST - len(self.numbers)

    def bits(self, said: Iterable[str]) -> int:
        """Return the remarks on a region as its row has them."""
        return sum(1 << number for number in {self.numbers.get(one, MOST) for one in said})

    def counted(self, several: Iterable[Rows]) -> dict[str, int]:
        """Return on how many regions each was made."""
        names, found = {number: one for one, number in self.numbers.items()}, Counter[str]()
        for bits in (rows["remarks"] for rows in several if self.numbers):
            for number in range(MOST + 1):
                found[names.get(number, OTHERS)] += int(np.count_nonzero(bits & (1 << number)))
        return dict(+found)


def remarked(ledger: Path) -> bool:
    """Say whether there are remarks in a ledger, by its lines alone."""
    with disk(ledger):
        known = limits(found := segments(ledger))
        return any("remark" in line for _, path in found for line in lines(path, known.get(path.name))[0])
