"""A band of a packed product as something to be written in another form: its groups, arrays and regions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from terp.storage.codec import Values
from terp.storage.grid import Array, Group
from terp.storage.package.bands import Cut, within
from terp.storage.package.packed import PackedProduct
from terp.storage.package.table import PACKAGE
from terp.storage.package.zipstore import PackageStore
from terp.storage.small import META


@dataclass(frozen=True)
class Part:
    """A region's part of an array: its number in the whole product, where it is in the band, and its values."""

    region: int
    box: tuple[slice, ...]
    values: Values


@dataclass(frozen=True)
class Band:
    """One package of a product: number `number` of those that hold values."""

    packed: PackedProduct
    number: int

    @property
    def package(self) -> Path:
        """The package."""
        return self.packed.packages[self.number]

    @property
    def name(self) -> str:
        """What the package is called, without what says that it is one."""
        return str(self.packed.told["packages"][self.number]["name"]).removesuffix(PACKAGE)

    @cached_property
    def documents(self) -> dict[str, dict[str, Any]]:
        """What each `zarr.json` says, by the path of its group or array."""
        keys = [name for name in self._store.names() if name.rpartition("/")[2] == META]
        return {key.removesuffix(META).rstrip("/"): json.loads(self._bytes(key)) for key in keys}

    @cached_property
    def large(self) -> dict[str, tuple[Group, Array]]:
        """The large arrays, by their paths, as they are in the whole product."""
        every = {group.home(array): (group, array) for group in self.packed.groups for array in group.arrays}
        return {path: found for path, found in every.items() if path in self.documents}

    def small(self, path: str) -> Values:
        """Return the values of a small array."""
        import zarr

        return np.asarray(zarr.open_array(self._store, path=path, mode="r", zarr_format=3)[...])

    def parts(self, path: str) -> Iterator[Part]:
        """Walk the regions of a large array that are in the band, one in memory at a time; each is proven."""
        group, array = self.large[path]
        own, numbers = group, np.arange(group.regions)
        part = self._cut.part(group.path, self.number) if self._cut and group.path in self._cut.sizes else None
        if self._cut and part:
            own, numbers = within(group, self._cut.axis, part)
        source, inner = self.packed.array(group.path, array.name), own.array(array.name)
        for number, region in enumerate(numbers.tolist()):
            values = source.read(_picks(array, group.box(region)))
            yield Part(region, _picks(inner, own.box(number)), values)

    @cached_property
    def _cut(self) -> Cut | None:
        told = self.packed.told["bands"]
        return Cut(**told) if told else None

    @cached_property
    def _store(self) -> PackageStore:
        return PackageStore(self.package)

    def _bytes(self, key: str) -> bytes:
        found = self._store.get_sync(key)
        assert found is not None
        return found.to_bytes()


def bands_of(packed: PackedProduct) -> list[Band]:
    """Return the packages of a product that hold values, in order."""
    return [Band(packed, number) for number in range(len(packed.packages) - (packed.told["bands"] is not None))]


def _picks(array: Array, box: dict[str, slice]) -> tuple[slice, ...]:
    return tuple(box.get(dim, slice(0, size)) for dim, size in zip(array.dims, array.shape, strict=True))
