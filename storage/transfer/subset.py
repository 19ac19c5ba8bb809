"""A part of a packed product as a product of its own: chosen, cut, written anew, region by region.

Nothing of the package is copied: what leaves is read, proven, decoded and encoded again, so that no byte of a chunk
holds more than the values that were chosen.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from terp.storage.errors import BadInput
from terp.storage.filling import Filling
from terp.storage.grid import Array, Group, shape_array
from terp.storage.making import Layout, create
from terp.storage.package.packed import PackedProduct
from terp.storage.package.zipstore import PackageStore
from terp.storage.product import StoredProduct
from terp.storage.sharded import Pick, reading_threads
from terp.storage.transfer import masking
from terp.storage.transfer.selecting import positions
from terp.storage.writing import Written, write_region

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Chosen:
    """What is to leave: paths of variables, ranges by dimension, what is closed, and whether only what is safe is said.

    `closed` are names, of any variable of the object.
    """

    variables: Collection[str]
    where: Mapping[str, str] = field(default_factory=dict)
    closed: Collection[str] = ()
    masked: bool = False


class Source:
    """A product in its packages that parts are taken from."""

    def __init__(self, packed: PackedProduct) -> None:
        self.packed = packed
        self.store = PackageStore(packed.packages[packed.told["small"]])

    @cached_property
    def variables(self) -> dict[str, tuple[str, ...]]:
        """The dimensions of all variables by their paths, the small ones too."""
        found = dict[str, tuple[str, ...]]()
        for group in self.packed.groups:
            found |= {path_of(group.path, a.name): a.dims for a in group.arrays}
            small = self.raw(group).variables
            found |= {path_of(group.path, str(n)): tuple(map(str, v.dims)) for n, v in small.items()}
        return found

    @property
    def large(self) -> set[str]:
        """The paths of the large arrays."""
        return {path_of(group.path, array.name) for group in self.packed.groups for array in group.arrays}

    def raw(self, group: Group) -> "xr.Dataset":
        """Return the small arrays and attributes of a group as they are stored, not decoded."""
        import xarray as xr

        large = [array.name for array in group.arrays]
        found: xr.Dataset = xr.open_zarr(
            self.store, group=group.path or None, consolidated=False, chunks=None, zarr_format=3, decode_cf=False,
            drop_variables=large,
        )  # fmt: skip
        return found.load()

    def attributes(self, group: Group, array: Array) -> dict[str, Any]:
        """Return the attributes of a large array."""
        said: dict[str, Any] = json.loads(self.packed.document(f"{group.home(array)}/zarr.json"))["attributes"]
        return said


@dataclass(frozen=True)
class Part:
    """A group as it will leave: its layout, and where its values are in the source, by dimension."""

    source: Group
    group: Group
    small: "xr.Dataset"
    picks: Mapping[str, Pick]


def parts(source: Source, chosen: Chosen) -> list[Part]:
    """Return the groups that are left of a package, each with its part of the data; [] where nothing is within."""
    found = []
    for group in source.packed.groups:
        arrays = [a for a in group.arrays if path_of(group.path, a.name) in chosen.variables]
        if not arrays:
            continue
        sizes = dict(item for a in arrays for item in zip(a.dims, a.shape, strict=True))
        frame = source.packed.frame(group.path)
        picks = {
            dim: positions(frame, dim, size, chosen.where[dim]) if dim in chosen.where else slice(0, size)
            for dim, size in sizes.items()
        }
        if all(_length(pick) for pick in picks.values()):
            found.append(_part(source, group, arrays, picks, chosen))
    return found


def _part(source: Source, group: Group, arrays: list[Array], picks: Mapping[str, Pick], chosen: Chosen) -> Part:
    raw, dims = source.raw(group), {dim for array in arrays for dim in array.dims}
    said = {array.name: source.attributes(group, array) for array in arrays}
    names = {
        str(name)
        for name, one in raw.variables.items()
        if path_of(group.path, str(name)) in chosen.variables and set(map(str, one.dims)) <= dims
    }
    kept = {*names, *said}
    small = raw.drop_vars([name for name in raw.variables if name not in names])  # a choice would bring its indexes
    small = small.isel({dim: pick for dim, pick in picks.items() if dim in small.dims}).set_coords(sorted(names))
    assert set(small.variables) == names
    for one in small.variables.values():
        one.attrs, one.encoding = _said(dict(one.attrs), masking.VARIABLE, kept, chosen), {}
    small.attrs = _said({n: v for n, v in raw.attrs.items() if n != "coordinates"}, masking.GLOBAL, kept, chosen)
    cut = {dim: (_length(picks[dim]), min(block, _length(picks[dim]))) for dim, (_, block) in group.cut.items()}
    shaped = []
    for array in arrays:
        shape = tuple(_length(picks[dim]) for dim in array.dims)
        fresh = shape_array(array.name, array.dims, shape, array.dtype, cut)
        about = _said(said[array.name], masking.VARIABLE, kept, chosen)
        shaped.append(Array(**{**fresh.__dict__, "attrs": about, "codec": array.codec}))
    return Part(group, Group(group.path, cut, tuple(shaped)), small, picks)


def _said(attributes: dict[str, Any], safe: Collection[str], kept: set[str], chosen: Chosen) -> dict[str, Any]:
    return masking.attributes(attributes, safe, kept, chosen.closed) if chosen.masked else attributes


def times(part: Part) -> Iterator[tuple[str, str]]:
    """Yield the first and the last day of each coordinate of times of a part that leaves."""
    import xarray as xr

    for one in xr.decode_cf(part.small).variables.values():
        if one.dtype.kind == "M" and one.size:
            yield str(one.min().to_numpy())[:10], str(one.max().to_numpy())[:10]


def write(source: Source, found: Sequence[Part], folder: Path, name: str) -> StoredProduct:
    """Write the parts of a package as a sealed product in a new folder."""
    layout = Layout(tuple(one.group for one in found), {one.group.path: one.small for one in found})
    product = create(folder, name, name, {"stage": name}, layout)
    with Filling(product) as filling:
        for one in found:
            for index in range(one.group.regions):
                blocks = dict(_blocks(source, one, index))
                done = write_region(filling.attempts, one.group, index, blocks)
                filling.commit([Written(one.group.path, index, done, 0.0, "export")])
        filling.seal()
    return product


def _blocks(source: Source, part: Part, index: int) -> Iterator[tuple[str, "np.ndarray[Any, Any]"]]:
    box = part.group.box(index)
    for array in part.group.arrays:
        picks = [_within(part.picks[dim], box.get(dim)) for dim in array.dims]
        values = source.packed.array(part.source.path, array.name).read(picks, threads=reading_threads())
        yield array.name, np.ascontiguousarray(values)


def _within(pick: Pick, box: slice | None) -> Pick:
    """Return the positions in the source of a slice of what is picked."""
    if box is None:
        return pick
    return slice(pick.start + box.start, pick.start + box.stop) if isinstance(pick, slice) else pick[box]


def _length(pick: Pick) -> int:
    return pick.stop - pick.start if isinstance(pick, slice) else len(pick)


def path_of(group: str, name: str) -> str:
    """Return the path of a variable in its product."""
    return f"{group}/{name}" if group else name


def demand_dimensions(sources: Sequence[Source], where: Mapping[str, str]) -> None:
    """Raise BadInput where a range is of a dimension that there is not."""
    known = {dim for source in sources for dims in source.variables.values() for dim in dims}
    if strange := sorted(where.keys() - known):
        raise BadInput(f"there is no dimension {strange[0]!r}; --where takes {', '.join(sorted(known))}")
