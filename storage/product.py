"""A product on disk: a Zarr v3 group in a folder with what was frozen when it was planned, its ledger and its seal.

product.json     what it is made from and how it is cut, frozen; digests of the small files
data.zarr/       the Zarr group: small arrays written at creation, a shard a region for the large ones
ledger/          what is done (see ledger.py)
attempts/        shards that are being written; never read
manifest.rows    every shard with its digests, once sealed (see manifest.py)
manifest.sums
lineage.rows     what was read for each region, once sealed (see lineage.py), and lineage.sums
seal.json        the digest of the manifest, and the roots of two trees: from here on nothing changes
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rfc8785
from blake3 import blake3

from terp.storage import small
from terp.storage.errors import BadProduct, Damaged, OtherFormat
from terp.storage.files import read_file
from terp.storage.grid import Group
from terp.storage.ledger import Ledger, Place
from terp.storage.lineage import Lineage, Origins
from terp.storage.looking import Sizes, check_file
from terp.storage.manifest import Manifest
from terp.storage.open_shard import Extent
from terp.storage.proven import Proof, ProvenFiles
from terp.storage.runs import files_in
from terp.storage.shard import Stored
from terp.storage.sharded import ShardedArray
from terp.storage.tree import Tree

if TYPE_CHECKING:
    import xarray as xr

    from terp.storage.reading import ReadOnlyStore

FORMAT = 2
_AT_ONCE = 4096  # regions whose shards are looked at together

Numbers = np.ndarray[Any, Any]  # of regions
Rows = np.ndarray[Any, Any]  # of STORED: (regions, arrays)


@dataclass(frozen=True)
class Seal:
    """What closes a product: counts, the digest of its manifest, the roots of its trees, the digest of its lineage.

    `values` is its identity: the same wherever, by whomever and with whatever codec the same values were made.
    `stored` is its fixity: all bytes as they are. docs/architecture.md tells how to make both without terp.
    """

    regions: int
    files: int
    bytes: int
    manifest: str
    values: str
    stored: str
    lineage: str = ""


@dataclass(frozen=True)
class Entry:
    """One file of a product: its Zarr key, size in bytes, digests; `crc32` and `values` only for shards."""

    key: str
    size: int
    blake3: str
    crc32: int | None = None
    values: str | None = None

    @classmethod
    def of_shard(cls, key: str, stored: Stored) -> "Entry":
        """Return the entry of a stored shard."""
        return cls(key, stored.size, stored.blake3, stored.crc32, stored.values)

    @property
    def proof(self) -> Proof:
        """What a reader proves the file by."""
        return Proof(self.size, self.blake3)


class StoredProduct:
    """A product in its folder, open or sealed.

    Raises BadProduct when the folder holds none, or one that cannot be trusted, DiskTrouble when it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data.zarr"
        try:
            envelope = json.loads(read_file(folder / "product.json"))
            body = envelope["body"]
            _demand(blake3(rfc8785.dumps(body)).hexdigest() == envelope["blake3"])
            made_as = body["format"]
        except FileNotFoundError:
            raise BadProduct(f"{folder} is no whole product: product.json is gone, run again to put it back") from None
        except (ValueError, KeyError, TypeError):
            raise BadProduct(f"{folder}/product.json is damaged: `terp rm` the product and run again") from None
        if made_as != FORMAT:
            raise OtherFormat(
                f"{folder} is a product of format {made_as}, and this terp reads format {FORMAT}: use the terp that "
                f"made it, or `terp rm {folder.name}` and run again"
            )
        self.frozen: dict[str, Any] = body
        self.digest: str = envelope["blake3"]
        self.groups = tuple(Group.from_json(plain) for plain in body["groups"])

    @property
    def name(self) -> str:
        """The name of the stage that made it."""
        return str(self.frozen["name"])

    @property
    def key(self) -> str:
        """The key of its making."""
        return str(self.frozen["key"])

    @property
    def regions(self) -> int:
        """Number of regions in all groups."""
        return sum(group.regions for group in self.groups)

    def places(self) -> Iterator[Place]:
        """Walk all regions in order."""
        return ((group.path, index) for group in self.groups for index in range(group.regions))

    def group(self, path: str) -> Group:
        """Return the group at `path`."""
        return next(group for group in self.groups if group.path == path)

    @property
    def ledger(self) -> Ledger:
        """The ledger, read anew."""
        return Ledger(self.folder / "ledger", self.groups, self.origins.type)

    @cached_property
    def origins(self) -> Origins:
        """What its regions are made of, as it was frozen."""
        return Origins.from_json(self.frozen.get("lineage", {}))

    @property
    def small_files(self) -> list[Entry]:
        """The files that were written at creation, by their keys: metadata and small arrays."""
        return [Entry(key, size, digest) for key, (size, digest) in sorted(self.frozen["small"].items())]

    def parts(self, ledger: Ledger | None = None) -> Iterator[tuple[Group, Numbers, Rows]]:
        """Walk the regions in order, some of a group at a time, with rows of the type STORED: (regions, arrays).

        Of a ledger those that are recorded, else of the manifest.
        """
        for group in self.groups:
            if ledger is None:
                yield from ((group, np.arange(at, at + len(rows)), rows) for at, rows in self.manifest.rows(group.path))
                continue
            for numbers, rows in ledger.stored(group):
                for at in range(0, len(numbers), _AT_ONCE):
                    yield group, numbers[at : at + _AT_ONCE], rows[at : at + _AT_ONCE]

    def shards(self, ledger: Ledger | None = None) -> Iterator[Entry]:
        """Walk the shards in order: of a ledger those that are recorded, else of the manifest."""
        for group, numbers, rows in self.parts(ledger):
            for key, row in zip(group.keys(numbers), rows.reshape(-1), strict=True):
                yield Entry.of_shard(key, Stored.from_row(row))

    def sizes(self, ledger: Ledger | None = None) -> dict[str, Sizes]:
        """Return the sizes of the shards in bytes by group, (regions, arrays); 0 for what is not recorded."""
        found = {group.path: np.zeros((group.regions, len(group.arrays)), np.int64) for group in self.groups}
        for group, numbers, rows in self.parts(ledger):
            found[group.path][numbers] = rows["size"]
        return found

    def entries(self) -> Iterator[Entry]:
        """Walk all files of the sealed product: the small ones, then the shards."""
        return itertools.chain(self.small_files, self.shards())

    @property
    def seal(self) -> Seal | None:
        """The seal, or None while the product is open."""
        try:
            plain = json.loads(read_file(self.folder / "seal.json"))
            _demand(plain.pop("product") == self.digest)
            return Seal(**plain)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise BadProduct(f"{self.folder}/seal.json is damaged: run again to seal the product anew") from None

    @cached_property
    def manifest(self) -> Manifest:
        """What the shards of the sealed product are; raises BadProduct when it is open or the manifest is damaged."""
        return Manifest(self.folder, self.groups, self._sealed.manifest)

    @cached_property
    def lineage(self) -> Lineage:
        """What was read for each region of the sealed product; raises BadProduct where that was not noted."""
        counts = {group.path: group.regions for group in self.groups}
        return Lineage(self.origins, counts, self._sealed.lineage, files_in(self.folder), self.key)

    def prove_lineage(self) -> None:
        """Read all of the lineage that was sealed, if any; raises BadProduct where it is not as it was."""
        if self._sealed.lineage:
            self.lineage.prove()

    @property
    def _sealed(self) -> Seal:
        seal = self.seal
        if seal is None:
            done, total = self.progress()
            raise BadProduct(f"{self.name} is not finished ({done:,} of {total:,} regions): run the same command again")
        return seal

    @property
    def tree(self) -> Tree:
        """The tree over the values of the sealed product; raises BadProduct when it is open."""
        manifest, values = self.manifest, self._sealed.values
        return Tree(values, manifest.nodes, self.small_digests, manifest.values, f"the product {self.key}")

    def small_digests(self) -> dict[str, bytes]:
        """Return what the small files say of the values (see small.py), each file proven."""
        documents = [entry.key for entry in self.small_files if entry.key.endswith(small.META)]
        return small.digests(self.small_store(), {key: self.document(key) for key in documents}, self.groups)

    def document(self, key: str) -> bytes:
        """Return one of the small files, proven."""
        files = self.proven
        return files.read(key, 0, files.proofs[key].size)

    def progress(self) -> tuple[int, int]:
        """Return how many regions are recorded, of how many."""
        return self.ledger.count, self.regions

    def array(self, group: str, name: str) -> ShardedArray:
        """Return one of the large arrays of the sealed product; every read is proven."""
        manifest, whole = self.manifest, self.group(group)
        [number] = [at for at, one in enumerate(whole.arrays) if one.name == name]
        locate = partial(_locate, self.data, manifest, whole, number)
        array, of = whole.arrays[number], (self.key, group)
        return ShardedArray(array, whole.home(array), locate, f"product {self.name}", of)

    def open(self, group: str = "") -> "xr.Dataset":
        """Open a group of the sealed product, lazily; every read is proven."""
        if group not in {g.path for g in self.groups}:
            known = ", ".join(g.path for g in self.groups if g.path) or "only its root"
            raise BadProduct(f"{self.name} has no group {group!r}; it has {known}")
        from terp.storage.opening import opened

        large = {array.name: self.array(group, array.name) for array in self.group(group).arrays}
        return opened(self.small_store(), group, large, self.document)

    @cached_property
    def proven(self) -> ProvenFiles:
        """What was written at creation."""
        proofs = {entry.key: entry.proof for entry in self.small_files}
        return ProvenFiles(self.data, proofs, f"product {self.name}")

    def small_store(self) -> "ReadOnlyStore":
        """Return the zarr store of what was written at creation."""
        from terp.storage.reading import ReadOnlyStore

        return ReadOnlyStore(self.proven)

    def frame(self, group: str) -> "xr.Dataset":
        """Load what of a group was written at creation, its coordinates and attributes; it may still be open."""
        from terp.storage.opening import small_part

        large = [array.name for array in self.group(group).arrays]  # xarray would read a value of those that are times
        return small_part(self.small_store(), group, large).load()

    def verify(self) -> Iterator[Damaged]:
        """Read every file and yield what differs from its record; changes nothing."""
        for entry in itertools.chain(self.small_files, self.shards(None if self.seal else self.ledger)):
            said = check_file(self.data / entry.key, entry.size, entry.blake3)
            if said:
                yield Damaged(f"{entry.key} of {self.name} {said}", self.key)
        try:
            if self.seal:
                self.prove_lineage()
        except BadProduct as damage:
            yield Damaged(str(damage), self.key)


def _locate(data: Path, manifest: Manifest, group: Group, number: int, place: tuple[int, ...]) -> Extent:
    """Return where the shard at a place of a group's array is; a function that can be sent to another process."""
    array = group.arrays[number]
    stored = manifest.shard(group.path, index := group.region_of(array, place), number)
    return Extent(data / group.shard_key(array, index), 0, stored.size, stored.tag)


def _demand(truth: bool) -> None:
    if not truth:
        raise ValueError
