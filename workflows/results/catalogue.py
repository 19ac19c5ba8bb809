"""What is archived, by the catalog: listed, searched, and found by its names.

It imports little: `terp ls` and `terp show` are asked often.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from terp.storage.archive import tombstone
from terp.storage.archive.catalog import DAMAGED, DESTROYED, FEW, Card, Catalog, Query
from terp.storage.home import Home
from terp.workflows.errors import Usage


def _silent(_: str) -> None:
    pass


def catalog(home: Home, told: Callable[[str], None] = _silent) -> Catalog:
    """Return the catalog of a home's archive; `told` is given sentences about what takes long."""
    return Catalog(home.archive, home.cache, home.custody, told)


def listed(
    home: Home, where: str = "", limit: int | None = None, fresh: bool = False, told: Callable[[str], None] = _silent
) -> Iterator[dict[str, Any]]:
    """Yield a line for each archived object, or for each that a query finds (terp.storage.archive.catalog.query).

    Without a limit all are, one after the other, however many; with one, it is told how many there are. What was
    destroyed is listed only where it is found. A large archive is walked over only if asked (`fresh`); how old what is
    said about it is, is told. Raises BadQuery, DiskTrouble.
    """
    query = Query.of(where or "-is:destroyed")
    index = catalog(home, told)
    if fresh:
        index.refresh()
    if limit is None:
        yield from map(row, index.each(query))
    else:
        cards, total = index.search(query, limit)
        yield from map(row, cards)
        if total > limit:
            told(f"{total:,} objects are found; these are the first {limit:,}: --all lists all")
    if not fresh and len(index) > FEW and (made := index.made()):
        told(f"as the catalog of {made:%Y-%m-%d %H:%M} UTC has it: --fresh looks at all {len(index):,} objects")


def row(card: Card) -> dict[str, Any]:
    """Return what a list says of an object."""
    return {
        "identifier": card.identifier,
        "title": card.title,
        "run": card.run,
        "results": [one.name for one in card.results],
        "bytes": card.size,
        "damage": card.why if card.state == DAMAGED else "",
        "destroyed": card.why if card.state == DESTROYED else "",
    }


def shown(home: Home, reference: str) -> dict[str, Any]:
    """Return all that is known of one object, which may have been destroyed; raises Usage where there is none."""
    card = catalog(home).find(reference) or catalog(home).find(_whole(home, reference))
    if card is None:
        raise Usage(_unknown(home, reference))
    plain = asdict(card)
    for name in ("size", "path", "results", "state", "why"):
        del plain[name]
    folder = {"folder": str(home.archive / card.path)} if card.state != DESTROYED else {}
    packages = [
        {"result": one.name, "package": package, "sha512": sha512}
        for one in card.results
        for package, sha512 in zip(one.packages, one.sha512, strict=True)
    ]
    values = {f"values of {one.name}": one.values for one in card.results}
    lists = {name: list(value) for name, value in plain.items() if isinstance(value, tuple)}
    return row(card) | {"state": card.state} | plain | lists | folder | {"packages": packages} | values


def is_name(reference: str) -> bool:
    """Say whether a reference is a name of an object: runs and products have no colon in theirs."""
    return ":" in reference or reference.startswith("10.")


def identifier_of(home: Home, reference: str) -> str:
    """Return the identifier of the object that is there under a name, which may be the beginning of one.

    Raises Usage where there is none or several, Destroyed where it was destroyed.
    """
    card = catalog(home).find(reference) or catalog(home).find(_whole(home, reference))
    if card is None:
        raise Usage(_unknown(home, reference))
    tombstone.demand_none(home.custody, card.identifier)
    return card.identifier


def _whole(home: Home, start: str) -> str:
    """Return the one name that begins so; the beginning itself where there is none."""
    found = catalog(home).beginning(start)
    if len(found) > 1:
        raise Usage(f"{start} could be {', '.join(found)}{' or others' if len(found) >= 10 else ''}: write more of it")
    return found[0] if found else start


def _unknown(home: Home, reference: str) -> str:
    return f"there is no {reference} in the archive {home.archive}: `terp ls` lists what is there"
