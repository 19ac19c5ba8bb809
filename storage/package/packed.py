"""A packed product: read and compared in place by the table of its members, in one package or in many bands."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from terp.storage import small, tree
from terp.storage.canonical import canonical
from terp.storage.codec import Values
from terp.storage.errors import BadPackage, Damaged
from terp.storage.files import read_file
from terp.storage.grid import Array, Group
from terp.storage.open_shard import Extent
from terp.storage.package.packing import Member, Packed
from terp.storage.package.smallfiles import SmallFiles
from terp.storage.package.table import FORMAT, MEMBERS, PACKAGE
from terp.storage.package.zip64 import Entry
from terp.storage.shard import TAG_BYTES
from terp.storage.sharded import Pick, ShardedArray

if TYPE_CHECKING:
    import xarray as xr


def tables(files: Mapping[str, Path]) -> dict[str, Path]:
    """Return where the tables are among some files, by the names of the results that they tell of.

    What is below a folder came from elsewhere (storage/transfer), and is no result of the object.
    """
    own = {name: path for name, path in files.items() if name.endswith(MEMBERS) and "/" not in name}
    return {name.removesuffix(MEMBERS): path for name, path in own.items()}


def table_of(path: Path) -> Path:
    """Return the table that tells of a package, NAME.zarr.zip; a table itself."""
    return path if path.name.endswith(MEMBERS) else path.with_name(f"{path.name}.members.json")


class PackedProduct:
    """A product in its packages, opened by their table; `path` is that of the table, or NAME.zarr.zip.

    `files` tells where the packages are, by name; without, they are beside the table. Raises BadPackage where one of
    them is not there, or the table is not, or is of another format, and DiskTrouble.
    """

    def __init__(self, path: Path, files: Mapping[str, Path] | None = None) -> None:
        table = table_of(path)
        self.path = table.with_name(table.name.removesuffix(MEMBERS) + PACKAGE)
        try:
            told = orjson.loads(read_file(table))
            demand_format(told, table)
            self.groups = tuple(Group.from_json(plain) for plain in told["groups"])
            self.told: dict[str, Any] = told
            self._root: str = told["values"]
            demand_rows(told["members"], len(told["packages"]))
            self._shards = {one["key"]: one for one in told["members"] if "key" in one}
            self.packages = packages_of(told, table, files or {})
            self.packages[told["small"]]  # raises where it is not there
        except (FileNotFoundError, ValueError, KeyError, TypeError, IndexError):
            raise bad(table) from None

    def package_of(self, name: str, members: Sequence[Member]) -> Packed | None:
        """Return the package of a name if it holds just these members: the same members make the same bytes."""
        packages = self.told["packages"]
        number = next((at for at, one in enumerate(packages) if one["name"] == self.packages[at].name == name), None)
        if number is None:
            return None
        rows = [row for row in self.told["members"] if row["package"] == number]
        wanted = {one.name: (one.size, one.crc32, one.blake3) for one in members}
        if wanted != {row["name"]: (row["size"], int(row["crc32"], 16), row["blake3"]) for row in rows}:
            return None
        entries = [Entry(r["name"], r["offset"], r["size"], int(r["crc32"], 16), r["blake3"]) for r in rows]
        about = packages[number]
        return Packed(self.packages[number], about["size"], about["sha256"], about["sha512"], tuple(entries))

    @property
    def _name(self) -> str:
        return f"the package {self.path.name}"

    @cached_property
    def _small_files(self) -> SmallFiles:
        """The small files of the whole."""
        return self._small_of(self.told["small"])

    def _small_of(self, number: int) -> SmallFiles:
        """Return the small files of one of the packages."""
        rows = {one["name"]: one for one in self.told["members"] if one["package"] == number and "key" not in one}
        return SmallFiles(self.packages[number], rows)

    @cached_property
    def _values(self) -> list[bytes]:
        """The digests of the values of all shards, in order."""
        return [bytes.fromhex(self._shards[key]["values"]) for key in self._keys()]

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
        from terp.storage.reading import ReadOnlyStore

        here = [name for name in self._small_files.names() if name.rpartition("/")[2] == small.META]
        documents = dict.fromkeys([*here, *(f"{home}/{small.META}" for home in self._large)])
        return small.digests(
            ReadOnlyStore(self._small_files), {key: self.document(key) for key in documents}, self.groups
        )

    @cached_property
    def _large(self) -> dict[str, Array]:
        return {group.home(array): array for group in self.groups for array in group.arrays}

    def document(self, key: str) -> bytes:
        """Return one of the small files, as it is in the whole product."""
        path = key.removesuffix(small.META).rstrip("/")
        found = self._small_files.document(path)
        if found is not None:
            return found
        of_band = self._small_of(0).document(path)  # it has another length of the axis, and all else
        assert of_band is not None
        return canonical({**json.loads(of_band), "shape": list(self._large[path].shape)})

    def array(self, group: str, name: str) -> "_PackedArray":
        """Return one of the large arrays; every read is proven."""
        whole = self.group(group)
        array = whole.array(name)
        return _PackedArray(array, whole.home(array), partial(self._locate, whole, array), self._name)

    def group(self, path: str) -> Group:
        """Return the group at `path`."""
        return next(group for group in self.groups if group.path == path)

    def _locate(self, group: Group, array: Array, place: tuple[int, ...]) -> Extent:
        member = self._shards[group.shard_key(array, group.region_of(array, place))]
        package = self.packages[member["package"]]
        return Extent(package, member["offset"], member["size"], member["values"][: 2 * TAG_BYTES])

    def frame(self, group: str) -> "xr.Dataset":
        """Load the coordinates and attributes of a group."""
        from terp.storage.opening import small_part
        from terp.storage.reading import ReadOnlyStore

        return small_part(
            ReadOnlyStore(self._small_files), group, [array.name for array in self.group(group).arrays]
        ).load()

    def open(self, group: str = "") -> "xr.Dataset":
        """Open a group as one Dataset over all bands, lazily; what is read of its large arrays is proven.

        Raises BadPackage where there is no such group.
        """
        from terp.storage.opening import opened
        from terp.storage.reading import ReadOnlyStore

        group = group.strip("/")
        self._small_files.demand_group(group)
        arrays = [array for one in self.groups if one.path == group for array in one.arrays]
        large = {array.name: self.array(group, array.name) for array in arrays}
        return opened(ReadOnlyStore(self._small_files), group, large, self.document)


class _PackedArray(ShardedArray):
    """A large array in packages: what is damaged there cannot be made anew."""

    def read(self, picks: Sequence[Pick], out: Values | None = None, threads: int = 1) -> Values:
        """Return the values at `picks`; raises Damaged or Missing with the way out."""
        try:
            return super().read(picks, out, threads)
        except Damaged as damage:
            raise type(damage)(f"{damage}; restore the package from a copy") from damage


def demand_format(told: Mapping[str, Any], table: Path) -> None:
    """Raise BadPackage where a table is of another format."""
    if told["format"] != FORMAT:
        raise BadPackage(
            f"{table} is of the format {told['format']!r}, and this terp reads {FORMAT!r}: use the terp that made it"
        )


def packages_of(told: Mapping[str, Any], table: Path, files: Mapping[str, Path]) -> list[Path]:
    """Return where the packages of a table are; raises BadPackage where one is not there, whole."""
    found = []
    for one in told["packages"]:
        package = files.get(one["name"], table.with_name(one["name"]))  # with_name refuses one that leads elsewhere
        if not package.is_file() or package.stat().st_size != one["size"]:
            raise bad(table, package)
        found.append(package)
    return found


def demand_rows(members: Sequence[Mapping[str, Any]], packages: int) -> None:
    """Raise ValueError where a row of a table is none: it may be of anyone's making."""
    for one in members:
        numbers = one["package"], one["offset"], one["size"]
        words = one["name"], one["blake3"], one["values"] if "key" in one else ""
        sound = all(isinstance(value, int) and value >= 0 for value in numbers) and one["package"] < packages
        if not sound or not all(isinstance(word, str) for word in words):
            raise ValueError(one)


def bad(table: Path, package: Path | None = None) -> BadPackage:
    """Return the error that a table, or a package of it, is not there or not whole."""
    of = package or table.with_name(table.name.removesuffix(MEMBERS) + PACKAGE)
    return BadPackage(f"{of} is not there with its table {table.name}: restore both from a copy")
