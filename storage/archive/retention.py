"""Retention: how long each archived object is kept, by its own policy, and what may or must become of it on a day.

Every term comes from the policy that lies in the object; none is known here. What is due is a proposal to people:
destruction wants two of them, and transfer an institution that takes it over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from terp.storage.archive.custody import Events
from terp.storage.archive.hold import Hold, holds
from terp.storage.archive.objects import Archive
from terp.storage.archive.ocfl import content
from terp.storage.archive.policy import FREE, Bewaartermijn, Policy
from terp.storage.archive.terms import Terms, first_version
from terp.storage.archive.tombstone import DESTROYED, tombstones
from terp.storage.errors import BadPackage, BadPolicy
from terp.storage.home import Home

POLICY = "policy.toml"


class State(StrEnum):
    """What may or must become of an archived object."""

    KEEP = "keep"
    TRANSFER = "due for transfer"
    MAY_GO = "may be destroyed"
    MUST_GO = "must be destroyed"
    HELD = "held"
    UNDECIDED = "undecided"
    GOING = "being destroyed"


@dataclass(frozen=True)
class Standing:
    """How an object stands on a day, and why; days are None where the policy sets none.

    `created` is the day on which it was made, `start` and `end` are those of its bewaartermijn, `transfer` the day on
    which it is due for transfer.
    """

    identifier: str
    state: State
    why: tuple[str, ...]
    policy: Policy | None = None
    created: date | None = None
    start: date | None = None
    end: date | None = None
    transfer: date | None = None
    holds: tuple[Hold, ...] = ()
    lapsed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        policy, term = self.policy, self.policy and self.policy.bewaartermijn
        plain = {
            "identifier": self.identifier,
            "state": str(self.state),
            "why": list(self.why),
            "waardering": policy.waardering if policy else "",
            "selectielijst": policy.selectielijst.naam if policy else "",
            "categorie": policy.selectielijst.categorie if policy else "",
            "geldigTot": policy.selectielijst.geldigTot.isoformat() if policy else "",
            "policy": f"version {policy.version} of {policy.dated}" if policy else "",
            "looptijd": term.looptijd if term else "",
            "trigger": term.trigger if term else "",
        }
        days = {"created": self.created, "start": self.start, "end": self.end, "transfer": self.transfer}
        plain |= {name: day.isoformat() if day else "" for name, day in days.items()}
        return {**plain, "holds": [str(one) for one in self.holds], "lapsed": list(self.lapsed)}


def standings(home: Home, on: date) -> Iterator[Standing]:
    """Yield how each object of an archive stands on a day, those that are being destroyed too."""
    going = {one.identifier: one for one in tombstones(home.custody) if one.state != DESTROYED}
    for one in going.values():
        yield Standing(one.identifier, State.GOING, (f"{one}; `terp destroy {one.identifier} --execute` finishes it",))
    for identifier in Archive(home.archive).list() if home.archive.is_dir() else []:
        if identifier not in going:
            yield standing(home, identifier, on)


def standing(home: Home, identifier: str, on: date) -> Standing:
    """Return how an object stands on a day; one without a policy that can be read is undecided."""
    try:
        held = tuple(holds(Events(home.custody).of(identifier)))
        policy, first = policy_of(home, identifier), first_version(home.archive, identifier)
    except (BadPackage, BadPolicy) as bad:
        return Standing(identifier, State.UNDECIDED, (f"it has no policy that can be read: {bad}",))
    terms = Terms(policy, first)
    days = (first.made, terms.kept_from, terms.kept_until, terms.transfer)
    about = Standing(identifier, State.KEEP, (), policy, *days, held)
    state, why = _state(about, policy, on)
    lapsed = tuple(_lapsed(terms, on))
    why = (*(str(one) for one in held), *why, *_ended(policy, on), *lapsed)
    return Standing(identifier, state, why, policy, *days, held, lapsed)


def policy_of(home: Home, identifier: str) -> Policy:
    """Return the policy of the newest version of an object; raises BadPolicy where it has none."""
    archive = Archive(home.archive)
    found = archive.files(identifier).get(POLICY)
    if found is None:
        raise BadPolicy(f"{identifier} holds no {POLICY}: archive it again with --policy, which makes a new version")
    return stored_policy(found, archive.digests(identifier)[POLICY])


def stored_policy(path: Path, sha512: str) -> Policy:
    """Read a policy in the archive; raises BadPolicy where it is not what was stored: nobody decided that."""
    data = content(path, sha512)
    if data is None:
        raise BadPolicy(f"{path} is not the decision that was stored: `terp audit` finds it, `terp repair` mends it")
    return Policy.parse(data, str(path))


def _state(about: Standing, policy: Policy, on: date) -> tuple[State, tuple[str, ...]]:
    """Return what may or must become of it. What is held stays, and what it would be otherwise is told with it."""
    state, why = _by_appraisal(about, policy, on)
    going = state in (State.MAY_GO, State.MUST_GO, State.TRANSFER)
    return (
        (State.HELD, (f"without that: {state}, {why}",))
        if about.holds and going
        else ((State.HELD if about.holds else state), (why,))
    )


def _by_appraisal(about: Standing, policy: Policy, on: date) -> tuple[State, str]:
    if policy.waardering == "N":
        return State.UNDECIDED, "waardering N: whether it is kept is yet to be decided"
    if policy.waardering == "B":
        return _permanent(about, policy, on)
    if policy.bewaartermijn is None:
        return State.UNDECIDED, "waardering V without a bewaartermijn: how long it is kept is not decided"
    if about.end is None:
        return State.KEEP, f"waardering V: its term has not begun, {unbegun(policy.bewaartermijn)}"
    if on < about.end:
        return State.KEEP, f"waardering V: its term runs until {about.end}"
    ground = f"waardering V, {policy.selectielijst.naam} {policy.selectielijst.categorie}"
    ran_out = f"{ground}: its term ran out on {about.end}"
    if policy.decision.openness == "private unless":
        return State.MUST_GO, f"{ran_out}, and personal data are not kept for longer (AVG, article 5, 1e)"
    if about.end.year < on.year:
        return State.MUST_GO, f"{ran_out}, in a year that is over"
    return State.MAY_GO, ran_out


def _permanent(about: Standing, policy: Policy, on: date) -> tuple[State, str]:
    if about.transfer is None or policy.overbrenging is None:
        return State.KEEP, "waardering B: kept for ever; its policy sets no term for transfer (overbrenging)"
    term = f"{policy.overbrenging.looptijd} after {about.created}, {policy.overbrenging.grond}"
    if on < about.transfer:
        return State.KEEP, f"waardering B: kept for ever, to be transferred by {about.transfer} ({term})"
    return State.TRANSFER, f"waardering B: transfer was due on {about.transfer} ({term})"


def unbegun(term: Bewaartermijn) -> str:
    """Say why a term has not begun, and what makes it begin."""
    return (
        f"as its policy does not tell when {term.trigger!r} was: once it is known, archive it again with --policy and "
        "that day as bewaartermijn.start"
    )


def _ended(policy: Policy, on: date) -> tuple[str, ...]:
    """Say that the selection list is past its end: what rests on it has to be decided anew (L4)."""
    one = policy.selectielijst
    if on <= one.geldigTot:
        return ()
    return (f"the selectielijst {one.naam!r} ended on {one.geldigTot}: decide by one in force, and archive again (L4)",)


def _lapsed(terms: Terms, on: date) -> Iterator[str]:
    """Say which restrictions are over, by their own term or after the longest that there can be (L6)."""
    for one in terms.policy.beperkingGebruik:
        if one.type != FREE and (end := terms.closed_until(one)) <= on:
            yield f"the restriction {one.type!r} ({one.grond}) lapsed on {end}"
    if (until := terms.private_until) and until <= on:
        yield f"`private unless` lapsed on {until}"
