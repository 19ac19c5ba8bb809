"""What licences of inputs ask of the licence of what was made from them: it follows into the output.

Licences of Creative Commons tell their conditions in their URL and name; of others it is known only whether they let
nobody share, or give up every right. Source: Creative Commons, legal codes 4.0, sections 2 and 3; rightsstatements.org.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_CONDITIONS = re.compile(r"(?:creativecommons\.org/licenses/|\bcc[- ])((?:by|nc|nd|sa)(?:[- ](?:by|nc|nd|sa))*)\b")
_CLOSED = re.compile(
    r"rightsstatements\.org/(?:vocab|page|data)/inc\b|all rights reserved|alle rechten voorbehouden|proprietary|"
    r"confidential|vertrouwelijk|(?:no|not (?:for|to be)|niet) (?:redistribut|shar|verspreid|delen)"
)
_GIVEN_UP = re.compile(r"creativecommons\.org/publicdomain/|\bcc[- ]?0\b|\bpddl\b|public domain|publiek domein")


def conditions(licence: str) -> set[str]:
    """Return the conditions of a Creative Commons licence (by, nc, nd, sa), by URL or name; none of another."""
    found = _CONDITIONS.search(licence.casefold())
    return set(re.split("[- ]", found[1])) if found else set()


def is_closed(licence: str) -> bool:
    """Say whether a licence says that nobody else may share, as "all rights reserved"."""
    return bool(_CLOSED.search(licence.casefold()))


@dataclass(frozen=True)
class Read:
    """Something read: its name and SHA-256, its licence, and why it is not open to all ("" where nothing says so)."""

    name: str
    sha256: str = ""
    licence: str = ""
    closed: str = ""


def followed(inputs: Iterable[Read], own: str, is_open: bool) -> Iterator[str]:
    """Yield what the terms of inputs forbid of a result under a licence of its own, as sentences."""
    for one in inputs:
        name, licence = one.name, one.licence
        if is_open and one.closed:
            yield (
                f"the input {name} is not open to all ({one.closed}): decide `private unless`, or tell its licence in "
                "rights.inputs, by name or SHA-256, if what is made from it may be open"
            )
        if not licence.strip():
            yield f"the licence of the input {name} is not known: tell it in rights.inputs, by name or SHA-256"
        elif is_open and is_closed(licence):
            yield f"the licence of the input {name} ({licence}) lets nobody share it: decide `private unless`"
        elif is_open and "nd" in conditions(licence):
            yield f"the licence of the input {name} allows no derivatives: decide `private unless`"
        else:
            yield from _carried(name, licence, own)


def _carried(name: str, licence: str, own: str) -> Iterator[str]:
    asked, said = conditions(licence) - {"nd"}, conditions(own)
    if "sa" in asked and said != asked:
        yield (
            f"the licence of the input {name} is {licence}: the result is to be shared alike, so rights.licence has to "
            f"say {', '.join(sorted(asked))} and nothing else"
        )
    elif lacking := sorted(asked - {"by"} - said):
        yield f"the licence of the input {name} is {licence}: the result's has to say {', '.join(lacking)} too"
    elif "by" in asked and _GIVEN_UP.search(own.casefold()):
        yield (
            f"the licence of the input {name} is {licence}: its makers are to be named, and {own} gives that up; "
            "choose one that asks it too, as CC BY"
        )
