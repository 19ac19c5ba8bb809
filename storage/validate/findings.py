"""What a validator finds: which rule is broken, where, and what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass

ERROR, WARNING = "error", "warning"

RESTORE = "restore it from a copy"
ASK_MAKER = "have it made again by a tool that follows the standard"
ADVICE = "nothing is lost by it: tell its maker, whose next version can do better"
LET_IN = "let it be read by you, or restore it from a copy"
TAKE_OUT = "look whose it is, then take it out of there"


@dataclass(frozen=True)
class Finding:
    """A rule that is broken: its number in its standard, how grave, where, what is wrong, and the cure in a sentence.

    `path` is relative to what was validated; `member` is a file within a package, where there is one.
    """

    rule: str
    level: str
    path: str
    message: str
    cure: str
    member: str = ""

    @property
    def place(self) -> str:
        """Path and member, in letters that can be shown."""
        return shown(f"{self.path} > {self.member}" if self.member else self.path)

    def __str__(self) -> str:
        return f"{self.place} {self.message}; {self.cure} ({self.rule})"


def shown(name: str) -> str:
    """Return a name that somebody else has chosen so that it can be printed: nothing in it moves a cursor."""
    if name.isprintable():
        return name
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name)


class Findings:
    """A list that fills while something is validated; `below` gives another view of it, for what lies in a folder."""

    def __init__(self, standard: str, base: str = "", into: "list[Finding] | None" = None) -> None:
        self.standard, self._base = standard, base
        self._all: list[Finding] = [] if into is None else into

    def below(self, folder: str, standard: str = "") -> "Findings":
        """Return findings for a folder or a file within this one, by the same standard or another."""
        return Findings(standard or self.standard, self._join(folder), self._all)

    def error(self, rule: str, path: str, message: str, cure: str = RESTORE, member: str = "") -> None:
        """Note that what must be is not."""
        self._all.append(Finding(f"{self.standard} {rule}", ERROR, self._join(path), message, cure, member))

    def warn(self, rule: str, path: str, message: str, cure: str = ADVICE, member: str = "") -> None:
        """Note that what should be is not."""
        self._all.append(Finding(f"{self.standard} {rule}", WARNING, self._join(path), message, cure, member))

    def _join(self, path: str) -> str:
        return "/".join(part for part in (self._base, path) if part)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Finding]:
        return iter(dict.fromkeys(self._all))
