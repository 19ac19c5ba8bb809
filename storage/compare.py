"""Compare two products by their trees, without reading what is equal of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from terp.storage.codec import Values
from terp.storage.errors import Damaged
from terp.storage.grid import Array, Group
from terp.storage.sharded import ShardedArray
from terp.storage.tree import Tree

if TYPE_CHECKING:
    import xarray as xr


class Comparable(Protocol):
    """A sealed product in its folder (StoredProduct) or in a package (PackedProduct)."""

    groups: tuple[Group, ...]

    @property
    def tree(self) -> Tree:
        """The tree over its values."""

    def group(self, path: str) -> Group:
        """Return the group at `path`."""

    def array(self, group: str, name: str) -> ShardedArray:
        """Return one of the large arrays."""

    def frame(self, group: str) -> "xr.Dataset":
        """Load the coordinates and attributes of a group."""

    def document(self, key: str) -> bytes:
        """Return one of the small files."""


@dataclass(frozen=True)
class Region:
    """A region that differs: where it is, and in which arrays.

    `box` is [first, last) along each cut dimension, `coordinates` the first and the last that it has there, as text.
    """

    group: str
    index: int
    box: dict[str, tuple[int, int]]
    coordinates: dict[str, tuple[str, str]]
    arrays: tuple[str, ...]


@dataclass(frozen=True)
class Element:
    """The first element that differs of an array's shard, in C order: where, and what it is in both.

    `count` elements of the shard differ in some bit; `largest` is the largest absolute difference between them, None
    where it is not a number.
    """

    array: str
    place: dict[str, int]
    values: tuple[Any, Any]
    count: int
    largest: float | int | None


@dataclass(frozen=True)
class Differences:
    """In what two products differ; false where they are equal.

    `roots` of their values; `unlike` a sentence where they cannot be compared further; `small` the keys of metadata
    and small arrays that differ or that only one has; `regions` all that differ, in order; `element` of the first.
    """

    roots: tuple[str, str]
    unlike: str = ""
    small: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    element: Element | None = None

    def __bool__(self) -> bool:
        return self.roots[0] != self.roots[1]


def compare(a: Comparable, b: Comparable) -> Differences:
    """Say in what two sealed products differ: of their values, not of how these are stored.

    Reads the digests above what differs, and of the first region that differs one shard of each.
    Raises BadProduct or BadPackage where one is open, damaged or of another format.
    """
    one, two = a.tree, b.tree
    roots = one.root, two.root
    unlike = "" if one.root == two.root else _unlike(a.groups, b.groups)
    if one.root == two.root or unlike:
        return Differences(roots, unlike)
    ours, theirs = one.prove(), two.prove()
    small = tuple(key for key in sorted(ours.keys() | theirs.keys()) if ours.get(key) != theirs.get(key))
    regions = tuple(_regions(a, one.unlike(two)))
    return Differences(roots, "", small, regions, _first(a, b, regions[0]) if regions else None)


def _unlike(one: tuple[Group, ...], two: tuple[Group, ...]) -> str:
    """Say why regions of the one are not those of the other, if so."""
    ours, theirs = ({group.path: group for group in groups} for groups in (one, two))
    if list(ours) != list(theirs):
        return f"their groups differ: {_named(ours)}, and {_named(theirs)}"
    for path, group in ours.items():
        where, other = f"in {_group(path)}", theirs[path]
        if list(group.cut.items()) != list(other.cut.items()):
            return f"{where} they are cut differently: {_cut(group)}, and {_cut(other)}"
        if _arrays(group) != _arrays(other):
            return f"{where} their arrays differ: {', '.join(_arrays(group))}, and {', '.join(_arrays(other))}"
    return ""


def _named(groups: dict[str, Group]) -> str:
    return ", ".join(map(_group, groups)) or "none"


def _group(path: str) -> str:
    return f"the group {path}" if path else "the root group"


def _cut(group: Group) -> str:
    blocks = [f"{dim} of {size:,} in blocks of {block:,}" for dim, (size, block) in group.cut.items()]
    return ", ".join(blocks) or "not at all"


def _arrays(group: Group) -> list[str]:
    """Describe arrays by all that tells how many shards there are, and of what."""
    return [
        f"{a.name} {a.dtype} ({', '.join(f'{d} {n:,}' for d, n in zip(a.dims, a.shape, strict=True))})"
        for a in group.arrays
    ]


def _regions(product: Comparable, shards: Iterator[int]) -> Iterator[Region]:
    """Gather the numbers of shards, ascending, by their regions."""
    found: dict[tuple[int, int], list[str]] = {}
    ends = np.cumsum([group.regions * len(group.arrays) for group in product.groups])
    for shard in shards:
        number = int(np.searchsorted(ends, shard, side="right"))
        arrays = product.groups[number].arrays
        index, column = divmod(shard - int(ends[number - 1] if number else 0), len(arrays))
        found.setdefault((number, index), []).append(arrays[column].name)
    frames = {number: product.frame(product.groups[number].path) for number in {number for number, _ in found}}
    for (number, index), names in found.items():
        group, frame = product.groups[number], frames[number]
        box = {dim: (part.start, part.stop) for dim, part in group.box(index).items()}
        named = {d: frame[d].values[[a, b - 1]].astype(str) for d, (a, b) in box.items() if d in frame.coords}
        yield Region(group.path, index, box, {d: (str(a), str(b)) for d, (a, b) in named.items()}, tuple(names))


def _first(a: Comparable, b: Comparable, region: Region) -> Element:
    """Read the first shard of a region that differs from both products, and say what differs."""
    group = a.group(region.group)
    array = group.array(region.arrays[0])
    starts, one, two = both(a, b, region, array)
    places = np.flatnonzero(differing(one, two))
    if not places.size:
        raise Damaged(f"{group.shard_key(array, region.index)} is the same in both, against their digests: verify both")
    at = np.unravel_index(places[0], one.shape)
    place = {dim: start + int(p) for dim, start, p in zip(array.dims, starts, at, strict=True)}
    values = one[at].item(), two[at].item()
    return Element(array.name, place, values, places.size, _largest(one.reshape(-1)[places], two.reshape(-1)[places]))


def both(a: Comparable, b: Comparable, region: Region, array: Array) -> tuple[list[int], Values, Values]:
    """Read a region's part of an array from both products; return where along each dimension it starts, and the two."""
    box = [slice(*region.box.get(dim, (0, size))) for dim, size in zip(array.dims, array.shape, strict=True)]
    one, two = (product.array(region.group, array.name).read(box) for product in (a, b))
    return [part.start for part in box], one, two


def differing(one: Values, two: Values) -> Values:
    """Say where values are not the same to the last bit: not a number is itself, and 0.0 is not -0.0."""
    if one.shape != two.shape or one.dtype != two.dtype or one.dtype.kind not in "biufcmM":
        return np.asarray(one != two)
    ours, theirs = (np.ascontiguousarray(values).reshape(-1).view(f"V{values.dtype.itemsize}") for values in (one, two))
    return np.asarray(ours != theirs).reshape(one.shape)


def _largest(one: Values, two: Values) -> float | int | None:
    """Return the largest absolute difference, exact for integers; None where there is none that is a number."""
    if one.dtype.kind == "b":
        return 1
    if one.dtype.kind in "iu":  # what wraps around is right again without its sign
        return int((np.maximum(one, two) - np.minimum(one, two)).view(f"u{one.dtype.itemsize}").max())
    with np.errstate(all="ignore"):
        apart = np.abs(one.astype("c16" if one.dtype.kind == "c" else "f8") - two)
    apart = apart[~np.isnan(apart)]
    return float(apart.max()) if apart.size else None
