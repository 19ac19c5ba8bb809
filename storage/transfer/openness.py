"""What of an object is closed, on which ground and until when, as its policy decides; for whom that holds.

Each restriction ends by itself when its term has run out, and 75 years after its start at the latest (Archiefwet 1995,
article 15): from that day on the part is open. `private unless` closes all that no restriction names, until 75 years
after it was made; what may leave then is said by a restriction of the type `Geen beperking` that names variables.
`terp.storage.archive.terms` tells from when a term counts.
"""

from dataclasses import dataclass
from datetime import date
from functools import cached_property

from terp.storage.archive.policy import FREE, Beperking
from terp.storage.archive.terms import Terms

PROFILES = {
    "public": "for anyone: without all that is closed",
    "restricted": "for one who is named: without what a restriction closes, but with what is only not opened",
    "full": "for one who is named: all of it",
}


@dataclass(frozen=True)
class Closed:
    """A restriction in force: its ground, the day from which the part is open, and its variables (none: all)."""

    ground: str
    until: date
    variables: tuple[str, ...] = ()
    unless: bool = False  # closed by `private unless` alone

    def __str__(self) -> str:
        return f"{self.ground}, until {self.until}"

    def names(self, variable: str) -> bool:
        """Say whether it closes a variable, told by its path."""
        return not self.variables or bool({variable, variable.rpartition("/")[2]} & set(self.variables))


@dataclass(frozen=True)
class Openness:
    """What a decision says of the parts of an object on a day."""

    terms: Terms
    on: date

    @cached_property
    def closed(self) -> list[Closed]:
        """The restrictions in force; that of `private unless` is the last."""
        said = [self._closed(one) for one in self.terms.policy.beperkingGebruik if one.type != FREE]
        in_force = [one for one in said if self.on < one.until]
        until = self.terms.private_until
        if until and self.on < until:
            in_force.append(Closed(self.terms.policy.decision.ground, until, unless=True))
        return in_force

    def _closed(self, one: Beperking) -> Closed:
        return Closed(one.grond, self.terms.closed_until(one), one.variables)

    def why(self, variable: str, profile: str) -> Closed | None:
        """Return what closes a variable for those of a profile, or None where it may leave."""
        if profile == "full":
            return None
        for one in self.closed:
            if one.unless:
                if profile == "public" and not self._is_opened(variable):
                    return one
            elif one.names(variable):
                return one
        return None

    def _is_opened(self, variable: str) -> bool:
        """Say whether a restriction that names a variable opens it, or closed it and has ended.

        The end of one that names none (an embargo on all) does not undo the decision that all is private.
        """
        said = [self._closed(one) for one in self.terms.policy.beperkingGebruik if one.variables]
        return any(one.names(variable) for one in said)
