"""Compare a package with a product that was made again: to the last bit, or as far as a tolerance allows."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from terp.storage.compare import Comparable, Differences, Region, both, compare, differing
from terp.storage.package.packed import PackedProduct
from terp.storage.product import StoredProduct
from terp.storage.small import META

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Difference:
    """The first value that is another: where, which it was and which it is now; `region` -1 where it is in none."""

    where: str
    region: int
    recorded: str
    replayed: str


@dataclass(frozen=True)
class Comparison:
    """What came of comparing one result: of how many regions how many have other values, and the first of these.

    `most` is the largest difference that the tolerance (relative, absolute) allowed, relative to what was recorded;
    `values` the digest of all values as they are now.
    """

    name: str
    regions: int
    values: str
    other: int = 0
    tolerance: tuple[float, ...] = ()
    most: float = 0.0
    first: Difference | None = None

    @property
    def verdict(self) -> str:
        """`identical`, `within` its tolerance, or `differs`."""
        return "differs" if self.first else "within" if self.other else "identical"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"verdict": self.verdict, **asdict(self)}


def compared(name: str, before: PackedProduct, product: StoredProduct, tolerance: Sequence[float] = ()) -> Comparison:
    """Compare a packed product with a sealed one; the packed one is what it should be.

    Values of floating-point numbers may be within the tolerance; all else must be the same to the last bit.
    """
    allowed, values = tuple(tolerance), product.seal.values if product.seal else ""
    found = compare(before, product)
    first = _of_the_whole(before, product, found)
    if first:
        return Comparison(name, product.regions, values, len(found.regions), allowed, first=first)
    most = 0.0
    for region in found.regions:
        away, beyond = _of_a_region(before, product, region, allowed)
        most, first = max(most, away), first or beyond
    return Comparison(name, product.regions, values, len(found.regions), allowed, most, first)


def _of_the_whole(before: Comparable, now: Comparable, found: Differences) -> Difference | None:
    """Return the first difference in what is cut how, in metadata or in coordinates."""
    if found.unlike:
        return Difference(found.unlike, -1, found.roots[0], found.roots[1])
    differences = (
        _of_a_small_file(before, now, key) for key in sorted(found.small, key=lambda k: not k.endswith(META))
    )
    return next(filter(None, differences), None)


def _of_a_small_file(before: Comparable, now: Comparable, key: str) -> Difference | None:
    if key.rpartition("/")[2] == META:
        return next(_unlike(json.loads(before.document(key)), json.loads(now.document(key)), key), None)
    group, _, name = key.partition("/c")[0].rpartition("/")
    one, two = before.frame(group)[name], now.frame(group)[name]
    return _first(differing(one.values, two.values), one.values, two.values, name, -1, one.dims, [0] * one.ndim)


def _unlike(before: Any, now: Any, where: str) -> Iterator[Difference]:
    """Walk two JSON values for what differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _unlike(before.get(key), now.get(key), f"{where} {key}")
    elif before != now:
        yield Difference(where, -1, repr(before), repr(now))


def _of_a_region(
    before: Comparable, now: Comparable, region: Region, tolerance: Sequence[float]
) -> tuple[float, Difference | None]:
    """Return the largest relative difference that is allowed, and the first value that is beyond."""
    group = before.group(region.group)
    most, first = 0.0, None
    for array in map(group.array, region.arrays):
        starts, one, two = both(before, now, region, array)
        away, near = _away(one, two, tolerance)
        beyond = _first(differing(one, two) & ~near, one, two, group.home(array), region.index, array.dims, starts)
        most, first = max(most, away), first or beyond
    return most, first


def _away(before: Values, now: Values, tolerance: Sequence[float]) -> tuple[float, Values]:
    """Return the largest relative difference, and which values are near enough: |a - b| <= absolute + relative |a|."""
    if not tolerance or before.dtype.kind not in "fc":
        return 0.0, np.zeros(before.shape, bool)
    relative, absolute = tolerance
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        apart, size = np.abs(now - before), np.abs(before)
        near = (apart <= absolute + relative * size) & np.isfinite(apart)
        near |= (np.isnan(before) & np.isnan(now)) | (before == now)
        share = np.where(near & (apart > 0) & (size > 0), apart / size, 0.0)
    return float(share.max(initial=0.0)), near


def _first(
    other: Values, before: Values, now: Values, name: str, region: int, dims: Sequence[Any], starts: Sequence[int]
) -> Difference | None:
    """Return the first place, in C order, that is another, by its place in the whole array."""
    if not other.any():
        return None
    at = np.unravel_index(int(other.argmax()), other.shape) if other.shape else ()
    numbers = [int(place) + start for place, start in zip(at, starts, strict=True)]
    place = ", ".join(f"{dim} {number}" for dim, number in zip(dims, numbers, strict=True))
    return Difference(f"{name}[{place}]" if place else name, region, str(before[at]), str(now[at]))
