"""Compare a package with a product that should be the same: region by region, reading only what differs.

What has the same BLAKE3 of its bytes is equal. Other bytes are decoded, as another version of a codec may have stored
the same values otherwise.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from terp.storage.grid import Array, Group
from terp.storage.package import read_directory
from terp.storage.product import Entry, StoredProduct
from terp.storage.zipstore import PackageStore

_META = "zarr.json"
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

    `most` is the largest difference that the tolerance (relative, absolute) allowed, relative to what was recorded.
    """

    name: str
    regions: int
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


def compared(
    name: str, package: Path, table: Path, product: StoredProduct, tolerance: Sequence[float] = ()
) -> Comparison:
    """Compare a package, whose members a table tells, with a sealed product; the package is what it should be.

    Values of floating-point numbers may be within the tolerance; all else must be the same to the last bit.
    """
    digests = {one["name"]: one["blake3"] for one in json.loads(table.read_bytes())["members"]}
    held = {entry.name: digests.get(entry.name, "") for entry in read_directory(package)}
    allowed = tuple(tolerance)
    first = _of_small_files(package, held, product)
    if first:
        return Comparison(name, product.regions, tolerance=allowed, first=first)
    other, most = set(), 0.0
    for (path, index), entry in product.shards():
        if held[entry.key] == entry.blake3:
            continue
        one = _Shard(package, product, product.group(path), index, entry)
        away, beyond = one.compare(allowed)
        if away is not None:
            other.add((path, index))
            most = max(most, away)
            first = first or beyond
    return Comparison(name, product.regions, len(other), allowed, most, first)


def _of_small_files(package: Path, held: Mapping[str, str], product: StoredProduct) -> Difference | None:
    """Return the first difference in names, metadata or coordinates."""
    there = {entry.key: entry.blake3 for entry in product.entries()}
    for key in sorted(held.keys() ^ there.keys()):
        here = {True: "there", False: "not there"}
        return Difference(key, -1, here[key in held], here[key in there])
    store = PackageStore(package)
    for entry in sorted(product.small_files, key=lambda one: not one.key.endswith(_META)):
        if held[entry.key] == entry.blake3:
            continue
        if entry.key.endswith(_META):
            before, now = (json.loads(data) for data in (_bytes(store, entry.key), _now(product, entry.key)))
            found = next(_unlike(before, now, entry.key), None)
        else:
            found = _coordinate(package, product, re.sub(r"/c(/\d+)*$", "", entry.key))
        if found:
            return found
    return None


def _bytes(store: PackageStore, key: str) -> bytes:
    found = store.get_sync(key)
    return found.to_bytes() if found else b""


def _now(product: StoredProduct, key: str) -> bytes:
    return (product.data / key).read_bytes()


def _unlike(before: Any, now: Any, where: str) -> Iterator[Difference]:
    """Walk two JSON values for what differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _unlike(before.get(key), now.get(key), f"{where} {key}")
    elif before != now:
        yield Difference(where, -1, repr(before), repr(now))


def _coordinate(package: Path, product: StoredProduct, name: str) -> Difference | None:
    before, now = _array(PackageStore(package), name)[...], _array(str(product.data), name)[...]
    return _first(_other(before, now), before, now, name, -1, [], [0] * now.ndim)


def _array(store: Any, name: str) -> Any:
    return zarr.open_array(store, path=name, mode="r", zarr_format=3)


@dataclass(frozen=True)
class _Shard:
    """A region of one array whose bytes are not those of the package."""

    package: Path
    product: StoredProduct
    group: Group
    index: int
    entry: Entry

    def compare(self, tolerance: Sequence[float]) -> tuple[float | None, Difference | None]:
        """Return the largest relative difference (None: the values are the same), and the first beyond tolerance."""
        array = self._array
        box = self.group.box(self.index)
        picks = tuple(box.get(d, slice(0, n)) for d, n in zip(array.dims, array.shape, strict=True))
        name = "/".join(filter(None, (self.group.path, array.name)))
        before = np.asarray(_array(PackageStore(self.package), name)[picks])
        now = self.product.array(self.group.path, array.name).read(picks)
        other = _other(before, now)
        if not other.any():
            return None, None
        away, allowed = _away(before, now, tolerance)
        starts = [pick.start for pick in picks]
        return away, _first(other & ~allowed, before, now, name, self.index, array.dims, starts)

    @property
    def _array(self) -> Array:
        found = self.group.find(self.entry.key)
        assert found is not None
        return self.group.arrays[found[1]]


def _other(before: Values, now: Values) -> Values:
    """Return where values are not the same to the last bit: NaN is NaN, and 0.0 is not -0.0."""
    if before.dtype != now.dtype or before.dtype.kind not in "biufcmM":
        return np.asarray(before != now)
    bits = [np.ascontiguousarray(one).view(np.uint8).reshape(*one.shape, one.dtype.itemsize) for one in (before, now)]
    return np.asarray((bits[0] != bits[1]).any(axis=-1))


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
    other: Values, before: Values, now: Values, name: str, region: int, dims: Sequence[str], starts: Sequence[int]
) -> Difference | None:
    """Return the first place, in C order, that is another, by its place in the whole array."""
    if not other.any():
        return None
    at = np.unravel_index(int(other.argmax()), other.shape) if other.shape else ()
    numbers = [int(place) + start for place, start in zip(at, starts, strict=True)]
    place = ", ".join(f"{dim} {number}".strip() for dim, number in zip(dims or [""] * len(at), numbers, strict=True))
    return Difference(f"{name}[{place}]" if place else name, region, str(before[at]), str(now[at]))
