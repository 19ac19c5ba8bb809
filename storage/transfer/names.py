"""Names in a SIP, as the Nationaal Archief's specification allows them: up to 255 characters, none of some, unique."""

import re
from collections.abc import Iterable

FORBIDDEN = '<>:"/\\|?*#& '
LONGEST = 255
_SIDECAR = ".bestand.MDTO.xml"  # the longest that is put after a name
_FORBIDDEN = re.compile(rf"[{re.escape(FORBIDDEN)}\x00-\x1f\x7f]+")


def objections(name: str) -> list[str]:
    """Say what is wrong with a name in a SIP."""
    found = sorted(set(_FORBIDDEN.findall(name)))
    said = [f"{name!r} has {one!r}" for one in found]
    too_long = len(name.encode()) > LONGEST
    return [*said, *([f"{name!r} has more than {LONGEST} characters"] if too_long else [])]


def folder_name(text: str) -> str:
    """Return a text as the name of an aggregation's folder: without dots, which the specification may mean too."""
    return _cut(_FORBIDDEN.sub("-", text).replace(".", "-").strip("-"), LONGEST - len(_SIDECAR) - 8)


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each path the name of its file in the SIP, which no other has, whatever the case of its letters."""
    taken, given = set[str](), dict[str, str]()
    for name in sorted(names):
        plain = _FORBIDDEN.sub("-", name)
        stem, dot, ending = plain.partition(".")
        room = LONGEST - len(_SIDECAR) - 8 - len((dot + ending).encode())
        stem = _cut(stem, max(room, 1))
        fresh, number = f"{stem}{dot}{ending}", 1
        while _taken(fresh) & taken:
            number += 1
            fresh = f"{stem}-{number}{dot}{ending}"
        taken |= _taken(fresh)
        given[name] = fresh
    return given


def _taken(name: str) -> set[str]:
    """Return a file's name and that of its sidecar, in which the case of letters says nothing."""
    return {name.casefold(), f"{name}{_SIDECAR}".casefold()}


def _cut(text: str, most: int) -> str:
    """Return the beginning of a text that has at most so many bytes."""
    return text.encode()[:most].decode(errors="ignore")
