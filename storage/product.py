"""A product on disk: a Zarr v3 group in a folder with what was frozen when it was planned, its ledger and its seal.

product.json     what it is made from and how it is cut, frozen; digests of the small files
data.zarr/       the Zarr group: small arrays written at creation, a shard a region for the large ones
ledger/          what is done (see ledger.py)
attempts/        shards that are being written; never read
manifest.jsonl   every file of data.zarr with its digests, once sealed
seal.json        the digest of the manifest and of all values: from here on nothing changes
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import rfc8785
from blake3 import blake3

from terp.storage.errors import BadProduct, Damaged
from terp.storage.files import disk
from terp.storage.grid import Group
from terp.storage.ledger import Ledger, Place
from terp.storage.reading import Proof, ProvenStore, file_blake3
from terp.storage.shard import Stored

if TYPE_CHECKING:
    import xarray as xr

FORMAT = 1


@dataclass(frozen=True)
class Seal:
    """What closes a product: counts, the digest of its manifest (fixity) and of its values (identity)."""

    regions: int
    files: int
    bytes: int
    manifest: str
    values: str


@dataclass(frozen=True)
class Entry:
    """One file of a product: its Zarr key, size in bytes, digests; `values` and `tag` only for shards."""

    key: str
    size: int
    blake3: str
    crc32: int | None = None
    values: str | None = None
    tag: str | None = None

    @classmethod
    def of_shard(cls, key: str, stored: Stored) -> "Entry":
        """Return the entry of a stored shard."""
        return cls(key, stored.size, stored.blake3, stored.crc32, stored.values, stored.tag)

    @property
    def proof(self) -> Proof:
        """What a reader proves the file by."""
        return Proof(self.size, self.tag, self.blake3)


class StoredProduct:
    """A product in its folder, open or sealed.

    Raises BadProduct when the folder holds none, or one that cannot be trusted, DiskTrouble when it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data.zarr"
        try:
            envelope = json.loads(_read(folder / "product.json"))
            body = envelope["body"]
            _demand(blake3(rfc8785.dumps(body)).hexdigest() == envelope["blake3"] and body["format"] == FORMAT)
        except FileNotFoundError:
            raise BadProduct(f"{folder} is no whole product: product.json is gone, run again to put it back") from None
        except (ValueError, KeyError, TypeError):
            raise BadProduct(f"{folder}/product.json is damaged: `terp rm` the product and run again") from None
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
        for group in self.groups:
            for index in range(group.regions):
                yield group.path, index

    def group(self, path: str) -> Group:
        """Return the group at `path`."""
        return next(group for group in self.groups if group.path == path)

    @property
    def ledger(self) -> Ledger:
        """The ledger, read anew."""
        return Ledger(self.folder / "ledger")

    @property
    def small_files(self) -> list[Entry]:
        """The files that were written at creation: metadata and small arrays."""
        return [Entry(key, size, digest) for key, (size, digest) in self.frozen["small"].items()]

    def shards(self, ledger: Ledger) -> Iterator[tuple[Place, Entry]]:
        """Walk the recorded shards with their regions."""
        for group in self.groups:
            for index in range(group.regions):
                record = ledger.records.get((group.path, index))
                for array in group.arrays if record else ():
                    assert record is not None
                    key = group.shard_key(array, index)
                    yield (group.path, index), Entry.of_shard(key, record.stored[array.name])

    @property
    def seal(self) -> Seal | None:
        """The seal, or None while the product is open."""
        try:
            plain = json.loads(_read(self.folder / "seal.json"))
            _demand(plain.pop("product") == self.digest)
            return Seal(**plain)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise BadProduct(f"{self.folder}/seal.json is damaged: run again to seal the product anew") from None

    @cached_property
    def manifest(self) -> dict[str, Entry]:
        """All files of the sealed product by key; raises BadProduct when it is open or the manifest is damaged."""
        seal = self.seal
        if seal is None:
            done, total = self.progress()
            raise BadProduct(f"{self.name} is not finished ({done:,} of {total:,} regions): run the same command again")
        try:
            raw = _read(self.folder / "manifest.jsonl")
        except FileNotFoundError:
            raw = b""
        if blake3(raw).hexdigest() != seal.manifest:
            raise BadProduct(f"{self.folder}/manifest.jsonl is damaged: run again to seal the product anew")
        entries = (Entry(**json.loads(line)) for line in raw.splitlines())
        return {entry.key: entry for entry in entries}

    def progress(self) -> tuple[int, int]:
        """Return how many regions are recorded, of how many."""
        return len(self.ledger.records), self.regions

    def store(self) -> ProvenStore:
        """Return the zarr store of the sealed product, which proves what it reads."""
        return ProvenStore(self.data, {k: e.proof for k, e in self.manifest.items()}, f"product {self.name}")

    def open(self, group: str = "") -> "xr.Dataset":
        """Open a group of the sealed product, lazily; every read is proven."""
        if group not in {g.path for g in self.groups}:
            known = ", ".join(g.path for g in self.groups if g.path) or "only its root"
            raise BadProduct(f"{self.name} has no group {group!r}; it has {known}")
        return _opened(self.store(), group)

    def frame(self, group: str) -> "xr.Dataset":
        """Load what of a group was written at creation, its coordinates and attributes; it may still be open."""
        proofs = {entry.key: entry.proof for entry in self.small_files}
        large = [array.name for array in self.group(group).arrays]  # xarray would read a value of those that are times
        return _opened(ProvenStore(self.data, proofs, f"product {self.name}"), group, large).load()

    def verify(self) -> Iterator[Damaged]:
        """Read every file and yield what differs from its record; changes nothing."""
        entries = self.manifest.values() if self.seal else [e for _, e in self.shards(self.ledger)] + self.small_files
        for entry in entries:
            said = check_file(self.data / entry.key, entry)
            if said:
                yield Damaged(f"{entry.key} of {self.name} {said}", self.key)


def _opened(store: ProvenStore, group: str, without: Sequence[str] = ()) -> "xr.Dataset":
    import xarray as xr

    opened: xr.Dataset = xr.open_zarr(
        store, group=group or None, consolidated=False, chunks=None, zarr_format=3, drop_variables=without
    )
    return opened


def _read(path: Path) -> bytes:
    """Return the bytes of a file; raises FileNotFoundError, and DiskTrouble for all else."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError:
        with disk(path):
            raise


def _demand(truth: bool) -> None:
    if not truth:
        raise ValueError


def canonical(plain: Any) -> bytes:
    """Return canonical JSON: RFC 8785, or with sorted keys where it holds an integer that a double does not."""
    try:
        return rfc8785.dumps(plain)
    except rfc8785.IntegerDomainError:
        return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)


def check_file(path: Path, entry: Entry) -> str | None:
    """Read a file whole; return what is wrong with it, or None."""
    try:
        if path.stat().st_size != entry.size:
            return f"has {path.stat().st_size} bytes where {entry.size} were recorded"
        return None if file_blake3(path) == entry.blake3 else "has other bytes than were recorded"
    except FileNotFoundError:
        return "is gone"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def entry_json(entry: Entry) -> bytes:
    """Return the line of the manifest for one file."""
    return rfc8785.dumps({k: v for k, v in vars(replace(entry)).items() if v is not None})
