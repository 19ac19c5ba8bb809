"""Whether an object is whole somewhere else, before a copy of it goes: read through and proven, not believed."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from terp.storage.audit.checking import Task, check
from terp.storage.audit.looking import Looked, look
from terp.storage.errors import PlaceTrouble
from terp.storage.places import Place


def sound_elsewhere(
    places: Sequence[Place], custody: Path, folder: str, but: str, count: Callable[[int], object] = int
) -> tuple[str, list[str]]:
    """Return the first place but one that has all of an object as it was stored; else "", and why each has not.

    `count` hears of the bytes that are read. Raises DiskTrouble.
    """
    looked = look(places, custody, folder)
    if looked.truth.doubts or not looked.truth.head:
        return "", [*looked.truth.doubts] or ["no inventory of it can be read in any place"]
    why = list[str]()
    for place in places:
        if place.name != but:
            said = _unsound(place, looked, count)
            if not said:
                return place.name, []
            why.append(said)
    return "", why


def _unsound(place: Place, looked: Looked, count: Callable[[int], object]) -> str:
    """Read an object in a place; return what is wrong with it, "" where nothing is."""
    there = looked.there.get(place.name)
    if place.name in looked.away:
        return f"{place.name}: {looked.away[place.name]}"
    if there is None or not there.sizes:
        return f"{place.name} has nothing of it"
    if there.behind:
        return f"{place.name} is at {there.behind}"
    tasks = [Task(place, looked, path, digest) for path, digest in there.wanted.items()]
    try:
        if place.stage([task.name for task in tasks]):
            return f"{place.name} has it on tape: it was asked for, do the same again when it has come"
        with ThreadPoolExecutor(1) as aside:
            found = next((damage for task in tasks if (damage := check(task, [], aside, count))), None)
    except PlaceTrouble as trouble:
        return f"{place.name}: {trouble}"
    return str(found).partition("\n")[0] if found else ""
