"""Bands: a large product as several packages, cut along the dimension along which it grows.

NAME.0000.zarr.zip, NAME.0001.zarr.zip, ...  each a complete Zarr group with its part of that dimension
NAME.whole.zarr.zip                          coordinates and metadata of the whole; its large arrays are in the bands

The limits of bands are limits of shards, so no shard is encoded again: it only gets the name that it has in its band.
How many rows a band has follows from how the product is cut and from nothing that is measured of it. So a product that
has grown has the same bands as before, byte for byte, but for the last, which may not have been full.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from terp.storage.canonical import canonical
from terp.storage.grid import Array, Group
from terp.storage.package.packing import Member
from terp.storage.product import Entry, StoredProduct
from terp.storage.shard import TAG_BYTES, Stored
from terp.storage.small import META

BAND_BYTES = 200 * 10**9  # of a package at most: what a tape archive takes well, and one transfer can move
_OF_A_CHUNK = 16 + 4 + 16  # bytes at most beside its values: Blosc's header, CRC32C, its place in the index
_OF_A_SHARD = TAG_BYTES + 4 + 4096 + 1024  # tag, CRC32C of the index, padding of the member, its headers

Picks = tuple[slice, ...]


@dataclass(frozen=True)
class Cut:
    """How a product is cut into bands: along `axis`, each of `rows`.

    `sizes` is the length of the axis in each group that is cut, by its path; other groups are in the first band, whole.
    """

    axis: str
    rows: int
    sizes: Mapping[str, int]

    @property
    def count(self) -> int:
        """Number of bands."""
        return -(-max(self.sizes.values()) // self.rows)

    def part(self, path: str, band: int) -> slice | None:
        """Return which rows of a cut group are in a band, None where it has ended before."""
        start, size = band * self.rows, self.sizes[path]
        return slice(start, min(start + self.rows, size)) if start < size else None

    def member(self, group: Group, array: Array, index: int) -> tuple[int, str]:
        """Return the band of the shard of an array in a region of the whole group, and the name that it has there."""
        if group.path not in self.sizes:
            return 0, group.shard_key(array, index)
        band = group.box(index)[self.axis].start // self.rows
        behind = math.prod(group.grid[list(group.cut).index(self.axis) + 1 :])  # regions at one place along the axis
        return band, group.shard_key(array, index - band * self.rows // group.cut[self.axis][1] * behind)


def cut_of(groups: Sequence[Group], most: int) -> Cut | None:
    """Return how a product is cut into bands of at most so many bytes, None where it fits into one package.

    The axis is the first dimension along which the first group that is cut at all has several blocks. All groups that
    have several along it are cut, at the same rows: multiples of the blocks of each. What a band weighs is reckoned
    from its decoded values, as if nothing could be compressed. A band has one row of shards at least.
    """
    axis = next((dim for group in groups for dim in _growing(group)), None)
    if axis is None:
        return None
    along = [group for group in groups if axis in _growing(group)]
    step = math.lcm(*(group.cut[axis][1] for group in along))
    weight = sum(_row_of_shards(group, axis) * (step // group.cut[axis][1]) for group in along)
    cut = Cut(axis, step * max(most // weight, 1), {group.path: group.cut[axis][0] for group in along})
    return cut if cut.count > 1 else None


def _growing(group: Group) -> list[str]:
    return [dim for dim, count in zip(group.cut, group.grid, strict=True) if count > 1 and group.arrays]


def _row_of_shards(group: Group, axis: str) -> int:
    """Return the bytes that the shards at one place along an axis have at most."""
    places = math.prod(count for dim, count in zip(group.cut, group.grid, strict=True) if dim != axis)
    return places * sum(map(_most_bytes, group.arrays))


def _most_bytes(array: Array) -> int:
    chunks = math.prod(s // c for s, c in zip(array.shard, array.chunk, strict=True))
    return math.prod(array.shard) * np.dtype(array.dtype).itemsize + chunks * _OF_A_CHUNK + _OF_A_SHARD


@dataclass(frozen=True)
class Shard:
    """A shard in a package: its member there, and what it is in the whole product."""

    member: Member
    entry: Entry


class Bands:
    """A sealed product as its bands: for each the files that make a complete Zarr group of it."""

    def __init__(self, product: StoredProduct, cut: Cut) -> None:
        self.product, self.cut = product, cut
        self._documents = {
            one.key: json.loads(product.document(one.key)) for one in product.small_files if _is_meta(one.key)
        }
        self._large = {group.home(array): array for group in product.groups for array in group.arrays}
        rows: dict[str, list[Any]] = {}
        for group, _, some in product.parts():
            rows.setdefault(group.path, []).append(some)
        self._rows = {path: np.concatenate(some) for path, some in rows.items()}

    def small(self, band: int) -> Iterator[Member]:
        """Yield metadata and small arrays of a band."""
        inside = self._inside(band)
        for key, said in self._documents.items():
            path = PurePosixPath(key).parent
            if said["node_type"] == "group":
                if any(path in (one, *one.parents) for one in map(PurePosixPath, inside)):
                    yield self._kept(key)
            elif _name(path.parent) in inside:
                yield from self._array(_name(path), said, inside[_name(path.parent)])

    def shards(self, band: int) -> Iterator[Shard]:
        """Yield the shards of a band under the names that they have in it."""
        for group in self.product.groups:
            if group.path not in self._inside(band) or not group.arrays:
                continue
            part = self._inside(band)[group.path]
            own, numbers = (group, np.arange(group.regions)) if part is None else within(group, self.cut.axis, part)
            names, keys = own.keys(np.arange(own.regions)), group.keys(numbers)
            for name, key, row in zip(names, keys, self._rows[group.path][numbers].reshape(-1), strict=True):
                entry = Entry.of_shard(key, Stored.from_row(row))
                path = self.product.data / key
                yield Shard(Member(name, path, entry.size, entry.crc32, entry.blake3), entry)

    def whole(self) -> Iterator[Member]:
        """Yield what was written at creation but for the metadata of the large arrays: none of them is in it."""
        large = {f"{home}/{META}" for home in self._large}
        return (self._kept(one.key) for one in self.product.small_files if one.key not in large)

    def _inside(self, band: int) -> dict[str, slice | None]:
        """Return the groups of a band by their paths, with the rows that it has of those that are cut."""
        cut = {path: self.cut.part(path, band) for path in self.cut.sizes}
        inside: dict[str, slice | None] = {path: part for path, part in cut.items() if part}
        others = (group.path for group in self.product.groups if group.path not in cut)
        return inside if band else inside | dict.fromkeys(others)

    def _kept(self, key: str) -> Member:
        return Member.of_bytes(key, self.product.document(key))

    def _array(self, home: str, said: dict[str, Any], part: slice | None) -> Iterator[Member]:
        """Yield the metadata of an array, and the values of a small one, as they are in a band."""
        dims = said.get("dimension_names") or [None] * len(said["shape"])
        sizes = zip(dims, said["shape"], strict=True)
        picks = tuple(part if part and dim == self.cut.axis else slice(0, size) for dim, size in sizes)
        if part is None or self.cut.axis not in dims:
            yield from (self._kept(one.key) for one in self.product.small_files if _belongs(one.key, home))
        elif home in self._large:
            shape = [pick.stop - pick.start for pick in picks]
            yield Member.of_bytes(f"{home}/{META}", canonical({**said, "shape": shape}))
        else:
            made = _cut_small(self.product, home, said, picks)
            yield from (Member.of_bytes(key, data) for key, data in made.items())


def _is_meta(key: str) -> bool:
    return PurePosixPath(key).name == META


def _name(path: PurePosixPath) -> str:
    return "" if path == PurePosixPath() else str(path)


def _belongs(key: str, home: str) -> bool:
    return key == f"{home}/{META}" or key == f"{home}/c" or key.startswith(f"{home}/c/")


def within(group: Group, axis: str, part: slice) -> "tuple[Group, np.ndarray[Any, Any]]":
    """Return a group as it is in a band, and which regions of the whole group its regions are."""
    size, block = part.stop - part.start, group.cut[axis][1]
    arrays = tuple(
        replace(a, shape=tuple(size if dim == axis else n for dim, n in zip(a.dims, a.shape, strict=True)))
        for a in group.arrays
    )
    own = Group(group.path, {**group.cut, axis: (size, block)}, arrays)
    places = list(np.unravel_index(np.arange(own.regions), own.grid))
    places[list(group.cut).index(axis)] += part.start // block
    return own, np.ravel_multi_index(places, group.grid)


def _cut_small(product: StoredProduct, home: str, said: dict[str, Any], picks: Picks) -> dict[str, bytes]:
    """Return a part of a small array as Zarr files: with the codecs of the whole, in one chunk."""
    import zarr

    values = np.asarray(zarr.open_array(product.small_store(), path=home, mode="r", zarr_format=3)[picks])
    grid = {"name": "regular", "configuration": {"chunk_shape": [max(n, 1) for n in values.shape]}}
    document = canonical({**said, "shape": list(values.shape), "chunk_grid": grid})
    made = {f"{home}/{META}": zarr.core.buffer.default_buffer_prototype().buffer.from_bytes(document)}
    with zarr.config.set({"array.write_empty_chunks": True}):
        zarr.open_array(zarr.storage.MemoryStore(made), path=home, mode="r+", zarr_format=3)[...] = values
    return {key: value.to_bytes() for key, value in made.items()} | {f"{home}/{META}": document}
