"""What a region is made of: blocks of the products that a stage reads, each read proven."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import xarray as xr

from terp.storage.errors import BadProduct, Damaged
from terp.storage.files import GLANCE, patiently
from terp.storage.grid import Box, Group
from terp.storage.lineage import Hull, Of, note, noted
from terp.storage.product import StoredProduct


@dataclass(frozen=True)
class Input:
    """A group of a sealed product that a stage reads; `values` is the digest of its seal."""

    folder: str
    group: str
    values: str


class Opened:
    """A product as a worker sees it, opened once a process, as soon as it can be seen from here."""

    def __init__(self, folder: str, values: str) -> None:
        self.product = patiently(lambda: _product(folder, values), BadProduct)
        self._groups: dict[str, xr.Dataset] = {}

    def group(self, path: str) -> Group:
        """Return how a group of it is cut."""
        return self.product.group(path)

    def dataset(self, path: str) -> xr.Dataset:
        """Return a group of it, sealed, whose values are read when they are asked for."""
        if path not in self._groups:
            with noted():  # xarray looks at the first and last of times to know their type: that is of no region
                self._groups[path] = self.product.open(path)
        return self._groups[path]

    def schema_of(self, path: str) -> xr.Dataset:
        """Return the coordinates that were written at creation."""
        if path not in self._groups:
            self._groups[path] = patiently(lambda: self.product.frame(path), Damaged)
        return self._groups[path]


@lru_cache(maxsize=64)
def opened(folder: str, values: str = "") -> Opened:
    """Return a product, which is opened once a process; where `values` are given, sealed with just these."""
    return Opened(folder, values)


def _product(folder: str, values: str) -> StoredProduct:
    """Return a product; where `values` are given, sealed with just these."""
    product = StoredProduct(Path(folder))
    if values and (product.manifest is None or product.seal is None or product.seal.values != values):
        raise BadProduct(f"{product.name} is sealed with other values than this run made of it: run again")
    return product


_SHARED: dict[Input, tuple[Mapping[str, slice], xr.Dataset, Hull]] = {}  # a worker is one thread


@contextmanager
def shared(inputs: Sequence[Input], box: Mapping[str, slice]) -> Iterator[None]:
    """Read a box of some inputs once, for all blocks within it that are wanted meanwhile."""
    try:
        for one in dict.fromkeys(inputs):
            with noted() as reads:
                values = block_of(one, box)
            _SHARED[one] = box, values, reads.hulls.get(_of(one), {})
        yield
    finally:
        _SHARED.clear()


def block_of(one: Input, box: Mapping[str, slice]) -> xr.Dataset:
    """Read a box of an input; raises Damaged where that is not what was recorded."""
    if one in _SHARED:
        whole, values, read = _SHARED[one]
        inside = {dim: slice(part.start - whole[dim].start, part.stop - whole[dim].start) for dim, part in box.items()}
        taken = {dim: (box[dim].start, box[dim].stop) for dim in box if dim in read}
        note(_of(one), {**read, **taken})  # of what was read for several, what this one has of it
        return values.isel({dim: part for dim, part in inside.items() if dim in values.dims})
    return patiently(lambda: _loaded(opened(one.folder, one.values), one.group, box), Damaged, GLANCE)


def _of(one: Input) -> Of:
    return opened(one.folder, one.values).product.key, one.group


def _loaded(source: Opened, group: str, box: Mapping[str, slice]) -> xr.Dataset:
    try:
        data = source.dataset(group)
        return data.isel({dim: part for dim, part in box.items() if dim in data.dims}).load()
    except Damaged as damage:
        raise Damaged(str(damage), source.product.key) from damage
    except (ValueError, RuntimeError, OSError) as error:  # what codecs say of bytes that they cannot take
        raise Damaged(f"a shard of {source.product.name} cannot be read: {error}", source.product.key) from error


def hull(group: Group, places: Sequence[tuple[str, int]]) -> Box:
    """Return the box around several regions."""
    boxes = [group.box(index) for _, index in places]
    return {dim: slice(min(b[dim].start for b in boxes), max(b[dim].stop for b in boxes)) for dim in group.cut}
