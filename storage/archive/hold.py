"""Holds: what stays, whatever its term, because somebody needs it; each is an event, and so is its release."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from terp.storage.archive.custody import Events
from terp.storage.errors import BadPackage, Destroyed

HOLD, RELEASE = "hold", "release"
DESTROYING, WITHDRAWN = "destroying", "destruction withdrawn"


@dataclass(frozen=True)
class Hold:
    """A hold that was not released: its number among the object's events, when it was laid, by whom and why."""

    number: int
    since: str
    by: str
    reason: str

    def __str__(self) -> str:
        return f"held since {self.since[:10]} by {self.by}: {self.reason} (hold {self.number})"


def holds(events: Sequence[Mapping[str, Any]]) -> list[Hold]:
    """Return the holds that are on an object, by its events."""
    found: dict[int, Hold] = {}
    for one in events:
        facts = one["facts"]
        if one["event"] == HOLD:
            found[one["number"]] = Hold(one["number"], one["time"], facts["by"], facts["reason"])
        elif one["event"] == RELEASE:
            found.pop(facts["hold"], None)
    return list(found.values())


def begun(events: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the event by which the destruction of an object has begun, unless it was withdrawn."""
    last = next((one for one in reversed(events) if one["event"] in (DESTROYING, WITHDRAWN)), None)
    return last if last and last["event"] == DESTROYING else None


def lay(events: Events, identifier: str, reason: str, by: str) -> Hold:
    """Hold an object; raises Destroyed where its destruction has begun.

    Events have one order for all: a destruction sees each hold before it, and this sees each destruction before it.
    """
    entry = events.append(identifier, HOLD, {"reason": reason, "by": by})
    before = begun(events.of(identifier)[: entry["number"] - 1])
    if before:
        raise Destroyed(f"{identifier} is being destroyed since {before['time']}: it is too late to hold it")
    return Hold(entry["number"], entry["time"], by, reason)


def release(events: Events, identifier: str, reason: str, by: str, number: int = 0) -> Hold:
    """Release a hold, by its number where there are several; raises BadPackage where there is none or no such one."""
    there = {one.number: one for one in holds(events.of(identifier))}
    if not there:
        raise BadPackage(f"{identifier} is not held: there is nothing to release")
    if number not in there and (number or len(there) > 1):
        raise BadPackage(f"{identifier}: name one of its holds with --hold: {'; '.join(map(str, there.values()))}")
    one = there[number] if number else next(iter(there.values()))
    events.append(identifier, RELEASE, {"hold": one.number, "reason": reason, "by": by})
    return one
