"""Make a product's folder: its description, its metadata and small arrays; or put back what was lost of them."""

import json
import secrets
import shutil
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import rfc8785
from blake3 import blake3

from terp.storage import files
from terp.storage.canonical import canonical
from terp.storage.codec import suited
from terp.storage.errors import BadProduct, OtherFormat
from terp.storage.grid import Group
from terp.storage.lineage import Origins
from terp.storage.looking import check_file
from terp.storage.product import FORMAT, StoredProduct
from terp.storage.scrub import scrub
from terp.storage.shard import array_metadata
from terp.storage.small import META

if TYPE_CHECKING:
    import xarray as xr

_PLAIN_GROUP = b'{"attributes":{},"node_type":"group","zarr_format":3}'
_PARTS = ("data.zarr", "ledger", "attempts")
_LONG = 86400  # seconds after which nobody is still creating a product


@dataclass(frozen=True)
class Layout:
    """What a product will look like: its groups, and for each group path its coordinates and attributes.

    `origins` are what its regions are made of.
    """

    groups: tuple[Group, ...]
    schemas: Mapping[str, "xr.Dataset"]
    origins: Origins = field(default_factory=Origins)

    def stored(self, kept: bool, codec: str = "") -> "Layout":
        """Return it with the codecs that suit its values, or with the one that somebody wants.

        `kept`: the product is made to be archived.
        """
        return replace(self, groups=tuple(_stored(group, kept, codec) for group in self.groups))


def _stored(group: Group, kept: bool, codec: str) -> Group:
    arrays = [replace(a, codec=codec or str(suited(np.dtype(a.dtype), kept))) for a in group.arrays]
    return replace(group, arrays=tuple(arrays))


def create(folder: Path, name: str, key: str, ingredients: Mapping[str, Any], layout: Layout) -> StoredProduct:
    """Create the product in `folder`, or open the one that is there; its grid and codec stay as they were frozen.

    A small file that was lost or altered since is put back.
    """
    small = _small_files(layout)
    description = _described(name, key, ingredients, layout, small)
    with files.disk(folder):
        files.make_folders(folder.parent)
        if not folder.is_dir():
            _build(folder, small, description)
        _restore(folder, small, description)
        files.sync_folder(folder.parent)
    return StoredProduct(folder)


def _small_files(layout: Layout) -> dict[str, bytes]:
    """Return metadata, coordinates and attributes of all groups as files, by their Zarr keys."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    made: dict[str, Any] = {}
    store = zarr.storage.MemoryStore(made)
    for group in layout.groups:
        schema = layout.schemas[group.path]
        encoding = {str(n): {"compressors": (ZstdCodec(level=3), Crc32cCodec())} for n in schema.coords}
        with zarr.config.set({"array.write_empty_chunks": True}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* has a space in its name")  # we know it by its being small
            schema.to_zarr(
                store, group=group.path or None, mode="a", zarr_format=3, consolidated=False, encoding=encoding
            )
    small: dict[str, bytes] = {path: value.to_bytes() for path, value in made.items()}
    for group in layout.groups:
        place = PurePosixPath(group.path)
        for array in group.arrays:
            small[str(place / array.name / META)] = canonical(array_metadata(array))
        for parent in (place, *place.parents):  # every folder on the way to a group is a group too
            small.setdefault(str(parent / META), _PLAIN_GROUP)
    return {path: _metadata(data) if path.endswith(META) else data for path, data in small.items()}


def _metadata(data: bytes) -> bytes:
    """Return metadata in canonical form; attributes, which go into the archive, without homes, logins and secrets."""
    told: dict[str, Any] = json.loads(data)
    if "attributes" in told:
        told["attributes"] = scrub(told["attributes"])
    return canonical(told)


def _described(
    name: str, key: str, ingredients: Mapping[str, Any], layout: Layout, small: Mapping[str, bytes]
) -> bytes:
    """Return what is frozen of a product, with its digest."""
    body: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "key": key,
        "ingredients": ingredients,
        "groups": [group.to_json() for group in layout.groups],
        "lineage": layout.origins.to_json(),
        "small": {path: [len(data), blake3(data).hexdigest()] for path, data in small.items()},
    }
    return rfc8785.dumps({"body": body, "blake3": blake3(rfc8785.dumps(body)).hexdigest()}) + b"\n"


def _build(folder: Path, small: Mapping[str, bytes], description: bytes) -> None:
    """Make the folder whole under another name, then rename it; somebody else may have made it meanwhile."""
    _sweep(folder.parent)
    fresh = folder.parent / f".new-{secrets.token_hex(6)}"
    try:
        for part in _PARTS:
            (fresh / part).mkdir(parents=True)
        for path, data in small.items():
            (fresh / "data.zarr" / path).parent.mkdir(parents=True, exist_ok=True)
            files.write_new(fresh / "data.zarr" / path, data)
        files.write_new(fresh / "product.json", description)
        for made in (fresh, *(p for p in fresh.rglob("*") if p.is_dir())):
            files.sync_folder(made)
        try:
            files.rename(fresh, folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _sweep(products: Path) -> None:
    """Remove what was begun long ago and never became a product."""
    for begun in products.glob(".new-*"):
        with suppress(OSError):
            if time.time() - begun.stat().st_mtime > _LONG:
                shutil.rmtree(begun, ignore_errors=True)


def _restore(folder: Path, small: Mapping[str, bytes], description: bytes) -> None:
    """Put back what was lost or altered of the description and the small files of a product that is there."""
    try:
        product = StoredProduct(folder)
    except OtherFormat:
        raise
    except BadProduct:
        files.replace(folder / "product.json", description)
        product = StoredProduct(folder)
    for part in _PARTS:
        files.make_folders(folder / part)
    for entry in product.small_files:
        if check_file(product.data / entry.key, entry.size, entry.blake3) is None:
            continue
        data = small.get(entry.key, b"")
        if blake3(data).hexdigest() != entry.blake3:
            raise BadProduct(f"{entry.key} of {product.name} is damaged: `terp rm {product.key}` and run again")
        files.make_folders((product.data / entry.key).parent)
        files.replace(product.data / entry.key, data)
