"""When the terms of a decision begin and end: one rule, for MDTO, for what is open and for what may go.

MDTO (`termijnStartdatumLooptijd`) has a term begin on the day on which its trigger happened. A term that names its
`start` begins then. Any other counts from the object itself: a restriction, the 75 years after which restrictions
lapse (Archiefwet 1995, article 15: of records of that age) and the term for transfer from the day on which it was
made, a bewaartermijn from the event that its trigger names. Neither a new version nor a new decision moves such a day:
both are of the first version.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from terp.storage.archive.ocfl import content, newest, place
from terp.storage.archive.policy import FREE, LONGEST, Beperking, Policy, after
from terp.storage.errors import BadMetadata, BadPackage
from terp.storage.files import disk
from terp.storage.metadata import mdto

MADE, TAKEN = "Creatie", "Opname"  # events of MDTO's list that begin a term by themselves
_MDTO = "mdto.xml"
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(?!\d)")


@dataclass(frozen=True)
class First:
    """The days, in UTC, on which an object was made and on which its first version was archived."""

    made: date
    taken: date


@dataclass(frozen=True)
class Terms:
    """The terms of a decision over an object, as days; the end of a term is the day on which it has run out."""

    policy: Policy
    first: First

    @property
    def kept_from(self) -> date | None:
        """When the bewaartermijn begins; None where there is none, or its trigger has no day yet."""
        term = self.policy.bewaartermijn
        own = {MADE: self.first.made, TAKEN: self.first.taken}
        return (term.start or own.get(term.trigger.strip().capitalize())) if term else None

    @property
    def kept_until(self) -> date | None:
        """When the bewaartermijn has run out."""
        start, term = self.kept_from, self.policy.bewaartermijn
        return after(start, term.looptijd) if start and term else None

    @property
    def transfer(self) -> date | None:
        """When it is due for transfer; what goes after a term is not transferred."""
        term = self.policy.overbrenging
        return after(self.first.made, term.looptijd) if term and self.policy.waardering != "V" else None

    @property
    def private_until(self) -> date | None:
        """When `private unless` closes nothing any more; None where it is open unless."""
        private = self.policy.decision.openness == "private unless"
        return after(self.first.made, LONGEST) if private else None

    def closed_from(self, one: Beperking) -> date:
        """When a restriction begins."""
        return one.start or self.first.made

    def closed_until(self, one: Beperking) -> date:
        """When a restriction is over: by its own term, or after the longest that there can be (L6)."""
        start = self.closed_from(one)
        return min(after(start, one.looptijd), after(start, LONGEST))

    def over(self, on: date) -> list[str]:
        """Say which restrictions would close nothing on a day, as nobody decides that who knows it."""
        return list(self._over(on))

    def _over(self, on: date) -> Iterator[str]:
        for one in self.policy.beperkingGebruik:
            if one.type != FREE and self.closed_until(one) <= on:
                since = f"its {one.looptijd} began on {self.closed_from(one)}"
                why = "as it says itself" if one.start else "when the object was made"
                yield (
                    f"the restriction {one.grond!r} is over since {self.closed_until(one)} ({since}, {why}): give it "
                    "the start (beperkingGebruik.start) and term that are meant, or take it out"
                )
        if (until := self.private_until) and until <= on:
            yield (
                f"`private unless` closes nothing since {until}: the object was made on {self.first.made}, and after "
                f"{LONGEST} all is open (L6); decide `open unless`, with a restriction for what is to stay closed"
            )


def known_since(archive: Path, identifier: str) -> First | None:
    """Return since when an object is there; None where there is none yet."""
    with disk(archive):
        there = (archive / place(identifier)).is_dir()
    return first_version(archive, identifier) if there else None


def first_version(archive: Path, identifier: str) -> First:
    """Return since when an object is there; it was made when the MDTO of its first version says, else archived then.

    Raises BadPackage where there is no such object, or that file is not what was stored.
    """
    folder = archive / place(identifier)
    with disk(folder):
        inventory = newest(folder)[0]
    number = min(inventory["versions"], key=lambda name: int(name[1:]))
    version = inventory["versions"][number]
    taken = utc_day(datetime.fromisoformat(version["created"]))
    digest = next((sha for sha, names in version["state"].items() if _MDTO in names), "")
    made = _told(folder / inventory["manifest"][digest][0], digest) if digest else None
    return First(min(made or taken, taken), taken)


def _told(path: Path, digest: str) -> date | None:
    data = content(path, digest)
    if data is None:
        raise BadPackage(f"{path} is not what was stored, so no term begins by it: `terp repair` mends it")
    with suppress(BadMetadata):
        return made_by(mdto.read(data))
    return None


def utc_day(moment: datetime) -> date:
    """Return the day of a moment in UTC; one without a zone is taken to be in UTC."""
    return (moment if moment.tzinfo is None else moment.astimezone(UTC)).date()


def made_by(told: mdto.Informatieobject | mdto.Bestand) -> date | None:
    """Return the day on which an object was made, as its MDTO tells (the last event Creatie); None where it does not.

    Of a year or a month it is the last day, so that nothing is opened or goes too early.
    """
    if not isinstance(told, mdto.Informatieobject):
        return None
    days = [_last_day(one.eventTijd or "") for one in told.event if one.eventType.begripLabel == MADE]
    return max(filter(None, days), default=None)


def _last_day(said: str) -> date | None:
    """Return the last day that a text of XML Schema means: a year, a month, a date or a moment."""
    with suppress(ValueError, OverflowError):
        if "T" in said:
            return utc_day(datetime.fromisoformat(said.strip()))
        if found := _DATE.match(said.strip()):
            year, month, day = (int(part) if part else None for part in found.groups())
            if day and month:
                return date(year or 0, month, day)
            first = date(year or 0, month or 12, 1)
            return (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return None
