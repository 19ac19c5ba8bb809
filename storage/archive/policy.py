"""The decision under which something is archived: who answers for it, how long it is kept, who may see and use it.

One TOML file, written by a person; words of MDTO 1.0.1 where it has them. Nothing of it has a default that would be a
decision: what is not said is asked for by name, and without it nothing is archived.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from terp.storage.archive.asking import complaints
from terp.storage.archive.languages import language
from terp.storage.archive.licences import Read, followed
from terp.storage.errors import BadPolicy
from terp.storage.files import disk

_TERM = re.compile(r"P(?=\d)(?:(\d{1,4})Y)?(?:(\d{1,4})M)?(?:(\d{1,5})D)?")
POLICY = "policy.toml"  # the file's name, in a home and in an archived object
LONGEST = "P75Y"  # Archiefwet 1995, article 15: restrictions lapse after 75 years unless decided otherwise
FREE = "Geen beperking"  # MDTO, Begrippenlijst Beperkingen: of a restriction that opens
OPENNESS = {"open unless": "openbaar, tenzij", "private unless": "privacy, tenzij"}


def _term(value: str) -> str:
    if not _TERM.fullmatch(value):
        raise ValueError('must be a term in years, months and days, as "P10Y" (xsd:duration)')
    if not any(int(number) for number in re.findall(r"\d+", value)):
        raise ValueError('must be longer than no time at all, as "P10Y"')
    return value


def after(start: date, term: str) -> date:
    """Return the day on which a term (xsd:duration of years, months and days) that begins on `start` has run out.

    The last day that a calendar has, where it is later.
    """
    found = _TERM.fullmatch(term)
    assert found is not None
    years, months, days = (int(part or 0) for part in found.groups())
    month = start.year * 12 + start.month - 1 + 12 * years + months
    try:
        last = (date(month // 12, month % 12 + 1, 28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        return last.replace(day=min(start.day, last.day)) + timedelta(days=days)
    except (ValueError, OverflowError):
        return date.max


type Text = Annotated[str, Field(min_length=1, pattern=r"\S")]
type Term = Annotated[str, AfterValidator(_term)]
type Language = Annotated[str, AfterValidator(language)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Organisation(_Part):
    """An organisation (MDTO `archiefvormer`): `identificatie` is a number or URL, `bron` who gave it."""

    naam: Text
    identificatie: Text
    bron: Text


class Selectielijst(_Part):
    """The selection list on which the appraisal rests (Archiefwet 1995, article 5), and the category in it."""

    naam: Text
    categorie: Text
    vastgesteld: date
    geldigTot: date  # noqa: N815 (MDTO writes names so)
    verwijzing: str = ""


class Bewaartermijn(_Part):
    """For how long something is kept, and from what moment that counts (MDTO `bewaartermijn`)."""

    looptijd: Term
    trigger: Text
    start: date | None = None


class Overbrenging(_Part):
    """After how long something is to be transferred to an archival institution, and by which rule."""

    looptijd: Term
    grond: Text


class Beperking(_Part):
    """A restriction (MDTO `beperkingGebruik`): on what ground, for how long, and on which variables (none: on all)."""

    type: Text
    grond: Text
    looptijd: Term
    start: date | None = None
    toelichting: str = ""
    variables: tuple[Text, ...] = ()


class Decision(_Part):
    """Who decided, when, on which ground and for which purpose, whether it is open or private unless it is said."""

    openness: Literal["open unless", "private unless"]
    by: Text
    on: date
    ground: Text
    purpose: Text


class Copies(_Part):
    """How many copies there must and may be, the archive itself counted, and in which places."""

    at_least: Annotated[int, Field(ge=1)]
    at_most: Annotated[int, Field(ge=1)]
    places: tuple[Text, ...] = ()


class Rights(_Part):
    """Whose the rights are and the licence; `inputs` are licences of what was read, by name or SHA-256, "*" for others.

    `third_parties` are those whose rights forbid opening.
    """

    holder: Text
    licence: Text
    licence_name: Text
    inputs: dict[Text, Text] = Field(default_factory=dict)
    third_parties: tuple[Text, ...] = ()


class Funding(_Part):
    """Who paid (DataCite `fundingReference`): `identificatie` best a ROR, `award` the number or URL of the grant."""

    naam: Text
    identificatie: str = ""
    award: str = ""
    titel: str = ""


class Policy(_Part):
    """A decision to archive; raises BadPolicy when read from a file that is none."""

    version: Text
    dated: date
    archiefvormer: Organisation
    zorgdrager: Organisation | None = None
    waardering: Literal["B", "V", "N"]
    selectielijst: Selectielijst
    bewaartermijn: Bewaartermijn | None = None
    overbrenging: Overbrenging | None = None
    beperkingGebruik: tuple[Beperking, ...] = ()  # noqa: N815
    decision: Decision
    copies: Copies
    rights: Rights
    lossy: dict[Text, Text] = Field(default_factory=dict)
    taal: tuple[Language, ...] = ()
    funding: tuple[Funding, ...] = ()
    aanvullendeMetagegevens: tuple[Text, ...] = ()  # noqa: N815

    @classmethod
    def load(cls, path: Path) -> "Policy":
        """Read a policy from a TOML file; raises BadPolicy that names all that is wrong, and DiskTrouble."""
        with disk(path):
            return cls.parse(path.read_bytes(), str(path))

    @classmethod
    def parse(cls, data: bytes, name: str = "the policy") -> "Policy":
        """Read a policy from the bytes of a TOML file."""
        try:
            policy = cls.model_validate(tomllib.loads(data.decode()))
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise BadPolicy(f"{name} is no TOML: {error}; `terp policy new` prints one to fill in") from None
        except ValidationError as error:
            wrong = "\n".join(f"  {line}" for line in complaints(error, cls))
            raise BadPolicy(f"{name} does not decide all that must be decided:\n{wrong}") from None
        return policy

    def objections(self, on: date) -> list[str]:
        """Say why nothing may be archived under it on a day, as sentences; nothing when it may."""
        return list(self._objections(on))

    def _objections(self, on: date) -> Iterator[str]:
        yield from self._untimely(on)
        if self.waardering == "V" and self.bewaartermijn is None:
            yield "waardering V needs a bewaartermijn: for how long is it kept, and from when (M3)"
        if self.waardering == "B" and self.bewaartermijn is not None:
            yield "waardering B is kept for ever: take the bewaartermijn out, or choose V (M3)"
        if self.waardering == "V" and self.overbrenging is not None:
            yield "waardering V goes after its term, and is not transferred: take overbrenging out, or choose B (L2)"
        for one in self.beperkingGebruik:
            if after(on, one.looptijd) > after(on, LONGEST):
                yield f"the restriction {one.grond!r} is for {one.looptijd}: {LONGEST} is the longest (L6)"
        yield from self._unshared()

    def _untimely(self, on: date) -> Iterator[str]:
        """Say which days are yet to come, or past; a day more, as it is tomorrow already where it was written."""
        chosen, today = self.selectielijst, on + timedelta(days=1)
        if self.dated > today:
            yield f"dated is {self.dated}, which is yet to come: write the day of this policy, which holds from then on"
        if chosen.geldigTot < chosen.vastgesteld:
            yield f"the selectielijst {chosen.naam!r} is of {chosen.vastgesteld}, and ended before: {chosen.geldigTot}"
        elif chosen.geldigTot < on:
            yield f"the selectielijst {chosen.naam!r} ended on {chosen.geldigTot}: name one that is in force (L4)"
        if chosen.vastgesteld > today:
            yield f"the selectielijst {chosen.naam!r} is of {chosen.vastgesteld}, which is yet to come (L4)"
        if self.decision.on > today:
            yield f"the decision is of {self.decision.on}, which is yet to come: write the day on which it was taken"

    def _unshared(self) -> Iterator[str]:
        """Say what rights of others and the number of copies are in the way of."""
        others, copies = ", ".join(self.rights.third_parties), self.copies
        if others and self.decision.openness == "open unless":
            yield f"rights of {others} forbid opening: decide `private unless`"
        if opened := [one.grond for one in self.beperkingGebruik if others and one.type == FREE]:
            yield f"rights of {others} forbid opening, also in part: take the `{FREE}` on {opened[0]!r} out"
        if copies.at_most < copies.at_least:
            yield f"at most {copies.at_most} copies are less than the {copies.at_least} there must be"
        elif copies.places and len(set(copies.places)) + 1 < copies.at_least:
            yield (
                f"{copies.at_least} copies must be, and the archive and {', '.join(copies.places)} hold "
                f"{len(set(copies.places)) + 1} at most: name more places (copies.places), or ask for less"
            )

    def facts(self) -> dict[str, str]:
        """Return what a journal tells of it."""
        told = {"version": self.version, "dated": self.dated.isoformat(), "waardering": self.waardering}
        return told | {"openness": self.decision.openness, "by": self.decision.by, "on": self.decision.on.isoformat()}

    def licence_objections(self, inputs: Iterable[Read]) -> list[str]:
        """Say what the licences of inputs, by name, forbid of the licence of what was made from them.

        What opens a part of it opens what was made from them.
        """
        opens = self.decision.openness == "open unless" or any(one.type == FREE for one in self.beperkingGebruik)
        known = [self._known(one) for one in inputs]
        return list(followed(known, self.rights.licence, opens))

    def _known(self, one: Read) -> Read:
        """Return an input with its licence; where it is named here, that was decided by who answers for it."""
        named = {one.name, one.sha256} & self.rights.inputs.keys()
        return replace(
            one, licence=self.licence_of(one.name, one.sha256, one.licence), closed="" if named else one.closed
        )

    def licence_of(self, name: str, sha256: str, told: str = "") -> str:
        """Return the licence of an input: what is decided of it by name, what it tells of itself, or that of others."""
        known = self.rights.inputs
        return known.get(sha256) or known.get(name) or told or known.get("*", "")


def template() -> str:
    """Return a policy to fill in, as TOML."""
    return (files(__package__) / "template.toml").read_text()
