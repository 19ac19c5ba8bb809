"""A packed product: a package and, beside it, the table of its members, by which it is read and compared in place.

NAME.zarr.zip               the package (see package.py)
NAME.zarr.zip.members.json  how it is cut, the roots of its trees, and where each file lies, with its digests
"""

import json
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rfc8785

from terp.storage import small, tree
from terp.storage.errors import BadPackage
from terp.storage.files import read_file, replace
from terp.storage.grid import Array, Group
from terp.storage.package.packing import Packed
from terp.storage.package.zipstore import PackageStore
from terp.storage.product import StoredProduct
from terp.storage.shard import TAG_BYTES
from terp.storage.sharded import Extent, ShardedArray

if TYPE_CHECKING:
    import xarray as xr

_FORMAT = "terp members 2"


def write_index(packed: Packed, product: StoredProduct) -> Path:
    """Write the table of members beside the package of a sealed product, as canonical JSON (RFC 8785); return its path.

    `values` are there for shards only.
    """
    seal, path = product.seal, _index_of(packed.path)
    assert seal is not None
    values = {entry.key: {"values": entry.values} for entry in product.shards()}
    members: list[Any] = [
        {"name": e.name, "offset": e.offset, "size": e.size, "crc32": f"{e.crc32:08x}", "blake3": e.blake3 or ""}
        | values.get(e.name, {})
        for e in packed.members
    ]
    whole = {"name": packed.path.name, "size": packed.size, "sha256": packed.sha256, "sha512": packed.sha512}
    groups = [group.to_json() for group in product.groups]
    table: dict[str, Any] = {"format": _FORMAT, "groups": groups, "members": members, "package": dict[str, Any](whole)}
    replace(path, rfc8785.dumps({**table, "stored": seal.stored, "values": seal.values}))
    return path


def _index_of(package: Path) -> Path:
    return package.with_name(f"{package.name}.members.json")


class PackedProduct:
    """A product in its package, opened by the table beside it.

    Raises BadPackage where there is no such table, or one of another package or format, DiskTrouble.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            table = json.loads(read_file(_index_of(path)))
            if table["format"] != _FORMAT:
                raise BadPackage(
                    f"{_index_of(path)} is of the format {table['format']!r}, and this terp reads {_FORMAT!r}: "
                    "use the terp that made it"
                )
            self.groups = tuple(Group.from_json(plain) for plain in table["groups"])
            self._members = {member["name"]: member for member in table["members"]}
            self._root: str = table["values"]
            whole = path.stat().st_size == table["package"]["size"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise BadPackage(f"{path} is not there with its table {_index_of(path).name}: restore both from a copy")

    @property
    def _name(self) -> str:
        return f"the package {self.path.name}"

    @cached_property
    def _store(self) -> PackageStore:
        return PackageStore(self.path)

    @cached_property
    def _values(self) -> list[bytes]:
        """The digests of the values of all shards, in order."""
        return [bytes.fromhex(self._members[key]["values"]) for key in self._keys()]

    def _keys(self) -> list[str]:
        return [key for group in self.groups for key in group.keys(np.arange(group.regions))]

    @cached_property
    def tree(self) -> tree.Tree:
        """The tree over the values, made of the table."""
        [leaves] = tree.leaves(self._keys(), self._values)
        return tree.Tree(self._root, tree.nodes(leaves), self._small, self._run, self._name)

    def _run(self, number: int) -> list[bytes]:
        return self._values[number * tree.FAN : (number + 1) * tree.FAN]

    def _small(self) -> dict[str, bytes]:
        documents = [name for name in self._members if name.rpartition("/")[2] == small.META]
        return small.digests(self._store, {key: self.document(key) for key in documents}, self.groups)

    def document(self, key: str) -> bytes:
        """Return one of the small files."""
        found = self._store.get_sync(key)
        assert found is not None
        return found.to_bytes()

    def array(self, group: str, name: str) -> ShardedArray:
        """Return one of the large arrays; every read is proven."""
        whole = self.group(group)
        array = whole.array(name)
        return ShardedArray(array, whole.home(array), partial(self._locate, whole, array), self._name)

    def group(self, path: str) -> Group:
        """Return the group at `path`."""
        return next(group for group in self.groups if group.path == path)

    def _locate(self, group: Group, array: Array, place: tuple[int, ...]) -> Extent:
        member = self._members[group.shard_key(array, group.region_of(array, place))]
        return Extent(self.path, member["offset"], member["size"], member["values"][: 2 * TAG_BYTES])

    def frame(self, group: str) -> "xr.Dataset":
        """Load the coordinates and attributes of a group."""
        from terp.storage.opening import small_part

        return small_part(self._store, group, [array.name for array in self.group(group).arrays]).load()
