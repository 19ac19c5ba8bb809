"""Descent: from regions back to the files of its sources, level by level, by what was read (see lineage.py).

Of products that are here, or of what an archived object keeps of them: a ZIP that only stores, with what was frozen of
each product and the rows of its lineage, without host names, clocks or values.
"""

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np

from terp.storage.canonical import canonical
from terp.storage.errors import BadPackage
from terp.storage.files import disk
from terp.storage.grid import Group
from terp.storage.lineage import NAME, Boxes, Lineage, Origin, Origins, covered, hull
from terp.storage.package.smallzip import write_zip
from terp.storage.product import StoredProduct
from terp.storage.runs import names
from terp.storage.scrub import Named, cleaned_code, scrub

ARCHIVED = "lineage.zip"
_DESCRIPTION, _RESULTS = "product.json", "results.json"
_SHOWN = 3  # shards or files that are told by name


@dataclass(frozen=True)
class Made:
    """What is known of a product's making: what was frozen of it, and its lineage."""

    frozen: Mapping[str, Any]
    lineage: Callable[[], Lineage]

    @property
    def origins(self) -> Origins:
        """What its regions are made of."""
        return Origins.from_json(self.frozen.get("lineage", {}))

    def group(self, path: str) -> Group:
        """Return how one of its groups is cut."""
        return next(Group.from_json(one) for one in self.frozen["groups"] if one["path"] == path)


Find = Callable[[str], Made | None]


@dataclass(frozen=True)
class Step:
    """One input on the way: what of it was read for regions of `by` that are on the way too.

    `box` is the hull of that; `count` of `total` shards (or files of a source) hold it, `first` of them by name;
    `lost` where the product is not here any more, so that the way ends.
    """

    by: str
    key: str
    group: str
    box: dict[str, tuple[int, int]]
    count: int
    total: int
    first: tuple[str, ...]
    lost: bool = False


def of_product(product: StoredProduct) -> Made:
    """Return what is known of a product that is here."""
    return Made(product.frozen, lambda: product.lineage)


def descent(find: Find, key: str, group: str, regions: Sequence[int] | Boxes) -> Iterator[Step]:
    """Walk back from some regions of a product: each product after all that were made of it, its sources last."""
    known = above([key], find, lambda made: made.frozen)
    wanted: dict[tuple[str, str], Boxes] = {(key, group): np.asarray(regions)}
    graph = {one: keys_of(made.frozen) for one, made in known.items()}
    for one in reversed(list(TopologicalSorter(graph).static_order())):
        for path in [path for name, path in wanted if name == one and one in known]:
            yield from _inputs(known, one, path, wanted)


def above[T](
    keys: Iterable[str], find: Callable[[str], T | None], frozen_of: Callable[[T], Mapping[str, Any]]
) -> dict[str, T]:
    """Return products by their keys, and all that they were made of, as far as `find` finds it: each once."""
    found = dict[str, T]()
    left = dict.fromkeys(keys)
    while left:
        known = {key: one for key in left if (one := find(key)) is not None}
        found |= known
        left = dict.fromkeys(key for one in known.values() for key in keys_of(frozen_of(one)) if key not in found)
    return found


def keys_of(frozen: Mapping[str, Any]) -> list[str]:
    """Return the keys of the products that a product was made of, in order, by what was frozen of it."""
    known = [one["key"] for some in frozen.get("lineage", {}).values() for one in some if one["key"]]
    return known or [key for key, _ in frozen["ingredients"].get("inputs", ())]


def _inputs(known: Mapping[str, Made], key: str, group: str, wanted: dict[tuple[str, str], Boxes]) -> Iterator[Step]:
    """Walk the inputs of some regions, and want those regions of them that were read."""
    made = known[key]
    rows = made.lineage().of(group, wanted[key, group])
    for origin, boxes in made.origins.boxes(group, rows):
        box = dict(zip(origin.dims, hull(boxes), strict=True))
        if not origin.key:
            yield Step(key, "", origin.group, box, *_files(made, origin, boxes))
        elif origin.key in known:
            below = known[origin.key].group(origin.group)
            reached = _reached(origin, boxes, list(below.cut), list(below.cut.values()))
            place = origin.key, origin.group
            wanted[place] = np.union1d(wanted[place], reached) if place in wanted else reached
            yield Step(key, origin.key, origin.group, box, *_shards(below, reached))
        else:
            yield Step(key, origin.key, origin.group, box, 0, 0, (), lost=True)


def _reached(origin: Origin, boxes: Boxes, dims: Iterable[str], grid: list[tuple[int, int]]) -> Boxes:
    """Return the numbers of the blocks of a grid that the boxes reach into."""
    spans = [boxes[:, origin.dims.index(dim)] for dim in dims]
    if not spans:  # it is not cut
        return np.arange(int(boxes[..., 1].any()))
    return np.flatnonzero(covered(spans, grid))


def _shards(group: Group, regions: Boxes) -> tuple[int, int, tuple[str, ...]]:
    arrays = len(group.arrays)
    first = [group.shard_key(array, int(index)) for index in regions[:_SHOWN] for array in group.arrays]
    return len(regions) * arrays, group.regions * arrays, tuple(first[:_SHOWN])


def _files(made: Made, origin: Origin, boxes: Boxes) -> tuple[int, int, tuple[str, ...]]:
    """Return how many files of a source hold what was read, of how many, and the first of them: all where it is one."""
    everything = list(made.frozen["ingredients"]["source"])
    if not origin.pieces:
        return len(everything), len(everything), tuple(everything[:_SHOWN])
    count, first = 0, list[str]()
    for one in origin.pieces:
        sizes = [origin.shape[origin.dims.index(dim)] for dim in one.dims]
        grid = one.grid(sizes)
        own = one.on_grid(boxes[:, [origin.dims.index(dim) for dim in one.dims]])
        reached = np.flatnonzero(covered(list(own.swapaxes(0, 1)), grid))
        counts = [-(-size // length) for size, length in grid]
        count += len(reached)
        first += [one.name(int(number), counts) for number in reached[:_SHOWN]]
    return count, len(everything), tuple(first[:_SHOWN])


def pack(results: Mapping[str, str], products: Iterable[StoredProduct], path: Path) -> None:
    """Write what an archive keeps of the making of products, of which some are results, by name; raises DiskTrouble."""
    with disk(path), path.open("wb") as file:
        write_zip(file, _members(results, products))


def _members(results: Mapping[str, str], products: Iterable[StoredProduct]) -> Iterator[tuple[str, bytes]]:
    yield _RESULTS, canonical(dict(results))
    for product in sorted(products, key=lambda one: one.key):
        seal = product.seal
        kept = {**product.frozen, "lineage_digest": seal.lineage if seal else ""}
        kept.pop("small")
        yield f"{product.key}/{_DESCRIPTION}", canonical(_scrubbed(kept))
        for name in names(NAME) if seal and seal.lineage else ():
            yield f"{product.key}/{name}", (product.folder / name).read_bytes()


def _scrubbed(frozen: Mapping[str, Any]) -> dict[str, Any]:
    made_of = dict(frozen["ingredients"])
    code = made_of.pop("code", None)
    if "source" in made_of:
        made_of["source"] = Named(made_of["source"])
    told: dict[str, Any] = scrub({**frozen, "ingredients": made_of})
    if code is not None:
        told["ingredients"]["code"] = cleaned_code(code, scrub)
    return told


def results(path: Path) -> dict[str, str]:
    """Return the keys of an archived object's results by name; raises BadPackage where the file is not that."""
    found: dict[str, str] = _read(path, _RESULTS)
    return found


def _read(path: Path, name: str) -> Any:
    with _opened(path) as source:
        return json.loads(source.read(name))


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with disk(path), zipfile.ZipFile(path) as source:
            yield source
    except (zipfile.BadZipFile, ValueError):
        raise BadPackage(f"{path} is damaged: restore it from a copy") from None


def frozen_in(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return what was frozen of all products that an archived object tells of, by key; raises as `results` does."""
    with _opened(path) as source:
        names = [name for name in source.namelist() if name.endswith(f"/{_DESCRIPTION}")]
        return {name.partition("/")[0]: json.loads(source.read(name)) for name in names}


def unpacked(path: Path) -> Find:
    """Return how to find what `pack` wrote; raises BadPackage where the file is not that."""

    def find(key: str) -> Made | None:
        try:
            frozen = _read(path, f"{key}/{_DESCRIPTION}")
        except KeyError:
            return None
        return Made(frozen, partial(_lineage, path, frozen))

    return find


def _lineage(path: Path, frozen: Mapping[str, Any]) -> Lineage:
    def read(name: str, start: int, length: int) -> bytes:
        with disk(path), zipfile.ZipFile(path) as source, source.open(f"{frozen['key']}/{name}") as member:
            member.seek(start)
            return member.read(length)

    counts = {one.path: one.regions for one in map(Group.from_json, frozen["groups"])}
    return Lineage(
        Origins.from_json(frozen["lineage"]), counts, frozen["lineage_digest"], read, f"{frozen['key']} in {path}"
    )


def found_in(products: Path) -> Find:
    """Return how to find what is known of a folder's products."""
    stored = stored_in(products)

    def find(key: str) -> Made | None:
        product = stored(key)
        return of_product(product) if product else None

    return find


def stored_in(products: Path) -> Callable[[str], StoredProduct | None]:
    """Return how to find a product in a folder of products."""
    return lambda key: StoredProduct(products / key) if (products / key).is_dir() else None
