"""The packages of a product, and the table of their members, by which they are read and compared in place.

NAME.zarr.zip               the package (see packing.py), or bands of it and what is in none (see bands.py)
NAME.zarr.zip.members.json  how it is cut, the roots of its trees, and in which package each file lies and where
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rfc8785

from terp.storage.files import replace
from terp.storage.package.bands import BAND_BYTES, Bands, Cut, Shard, cut_of
from terp.storage.package.packing import Member, Packed, pack
from terp.storage.product import Entry, StoredProduct

if TYPE_CHECKING:
    from terp.storage.package.packed import PackedProduct

FORMAT = "terp members 3"
PACKAGE, MEMBERS = ".zarr.zip", ".zarr.zip.members.json"  # behind the name of a result
FIRST = "0000"  # of the bands


@dataclass(frozen=True)
class _Part:
    """What goes into one package: its name, and what in it is a shard, by its name there."""

    name: str
    members: Sequence[Member]
    shards: Mapping[str, Entry]


def pack_product(
    product: StoredProduct, folder: Path, name: str, most: int = BAND_BYTES, before: "PackedProduct | None" = None
) -> list[Packed]:
    """Write a sealed product into packages of at most so many bytes in a folder, and the table of all beside them.

    It is one package, NAME.zarr.zip, where it fits; else one for each band, and the last for what is in none.
    A band that is in the packages of an earlier version, `before`, is not made again: its path is there.
    Raises as `pack` does.
    """
    cut = cut_of(product.groups, most)
    made, members = list[Packed](), list[dict[str, Any]]()
    for part in _parts(product, name, cut):
        same = before and cut and before.package_of(part.name, part.members)
        made.append(same or pack(part.members, folder / part.name))
        members += _rows(len(made) - 1, made[-1], part.shards)
    replace(folder / f"{name}{MEMBERS}", rfc8785.dumps(_table(product, cut, most, made, members)))
    return made


def _parts(product: StoredProduct, name: str, cut: Cut | None) -> Iterable[_Part]:
    if cut is None:
        members = [Member(e.key, product.data / e.key, e.size, e.crc32, e.blake3) for e in product.entries()]
        yield _Part(f"{name}{PACKAGE}", members, {entry.key: entry for entry in product.shards()})
        return
    bands = Bands(product, cut)
    for number in range(cut.count):
        shards: list[Shard] = list(bands.shards(number))
        members = [*bands.small(number), *(one.member for one in shards)]
        yield _Part(f"{name}.{number:04}{PACKAGE}", members, {one.member.name: one.entry for one in shards})
    yield _Part(f"{name}.whole{PACKAGE}", list(bands.whole()), {})


def _rows(package: int, packed: Packed, shards: Mapping[str, Entry]) -> Iterable[dict[str, Any]]:
    for one in packed.members:
        row = {"package": package, "name": one.name, "offset": one.offset, "size": one.size}
        row |= {"crc32": f"{one.crc32:08x}", "blake3": one.blake3 or ""}
        entry = shards.get(one.name)
        yield row | ({"key": entry.key, "values": entry.values} if entry else {})


def _table(
    product: StoredProduct, cut: Cut | None, most: int, packed: Sequence[Packed], members: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the table: `small` is the number of the package that has metadata and small arrays of the whole."""
    seal = product.seal
    assert seal is not None
    packages = [{"name": p.path.name, "size": p.size, "sha256": p.sha256, "sha512": p.sha512} for p in packed]
    return {
        "format": FORMAT,
        "bands": asdict(cut) if cut else None,
        "most": most,
        "groups": [group.to_json() for group in product.groups],
        "packages": packages,
        "small": len(packages) - 1,
        "members": members,
        "stored": seal.stored,
        "values": seal.values,
    }
