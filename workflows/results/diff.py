"""Tell in what two results differ, wherever each of them rests."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from terp.storage.compare import Comparable, Differences, Element, Region, compare
from terp.storage.home import Home
from terp.storage.product import StoredProduct
from terp.workflows.errors import Usage
from terp.workflows.results.show import find, packed_results

_SHOWN = 20  # regions that are told; --json has all


def diff(home: Home, a: str, b: str) -> dict[str, Differences]:
    """Compare what two references name, result by result; raises Usage where these cannot be paired.

    A reference is a run, a product or an archived object, as `find` takes it, or one of its results: `last/NAME`.
    """
    ours, theirs = results_of(home, a), results_of(home, b)
    if len(ours) == len(theirs) == 1:
        [(name, one)], [two] = ours.items(), theirs.values()
        return {name: compare(one, two)}
    if ours.keys() != theirs.keys():
        raise Usage(
            f"{a} has {', '.join(ours)} and {b} has {', '.join(theirs)}: name one of each, as in {a}/{next(iter(ours))}"
        )
    return {name: compare(one, theirs[name]) for name, one in ours.items()}


def results_of(home: Home, reference: str) -> dict[str, Comparable]:
    """Return the results that a reference names, opened: out of the archive where they are there."""
    whole, _, name = reference.partition("/")
    results = _all_results(home, whole)
    if not results:
        raise Usage(f"{whole} has no results: only what is finished can be compared")
    if name and name not in results:
        raise Usage(f"{whole} has no result {name!r}; it has {', '.join(results)}")
    return {name: results[name]} if name else results


def _all_results(home: Home, reference: str) -> dict[str, Comparable]:
    found = find(home, reference)
    if found.product:
        return {found.product.key: found.product}
    rests = {"identifier": found.identifier} if found.identifier else found.run.archived if found.run else {}
    if rests:
        return dict(packed_results(home, rests["identifier"], rests.get("version")))
    assert found.run is not None
    return {name: StoredProduct(home.product(key)) for name, key in found.run.results.items()}


def plain(differences: Differences) -> dict[str, Any]:
    """Return differences as values for JSON; numbers that JSON does not have are words."""
    made = {"equal": not differences, **asdict(differences)}
    if differences.element:
        made["element"]["values"] = [_plain(one) for one in differences.element.values]
        made["element"]["largest"] = _plain(differences.element.largest)
    return made


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | None) or _finite(value) else str(value)


def _finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def told(name: str, found: Differences) -> Iterator[str]:
    """Yield lines that tell of the differences of one result."""
    if not found:
        yield f"equal: {name}, values {found.roots[0]}"
        return
    yield f"different: {name}, values {found.roots[0]} and {found.roots[1]}"
    if found.unlike:
        yield f"{found.unlike}: so there are no regions to compare"
    yield from (f"{key} differs, or only one has it" for key in found.small)
    if found.regions:
        yield f"{len(found.regions):,} regions differ:"
    yield from map(_region, found.regions[:_SHOWN])
    if len(found.regions) > _SHOWN:
        yield f"  and {len(found.regions) - _SHOWN:,} more, which --json lists"
    if found.element:
        yield _element(found.regions[0], found.element)


def _region(region: Region) -> str:
    box = ", ".join(
        f"{dim} {first}:{last}" + (f" ({' to '.join(region.coordinates[dim])})" if dim in region.coordinates else "")
        for dim, (first, last) in region.box.items()
    )
    where = f" of {region.group}" if region.group else ""
    return f"  region {region.index}{where}: {box or 'all'}; in {', '.join(region.arrays)}"


def _element(region: Region, element: Element) -> str:
    place = ", ".join(f"{dim} {at}" for dim, at in element.place.items())
    most = "" if element.largest is None else f", by {element.largest} at most"
    return (
        f"first: {element.array} at {place or 'its only place'} is {element.values[0]} and {element.values[1]}; "
        f"of region {region.index} {element.count:,} differ{most}"
    )
