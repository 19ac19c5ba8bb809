"""Make a product's folder: its description, its metadata and small arrays; or put back what was lost of them."""

import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rfc8785
from blake3 import blake3

from terp.storage import files
from terp.storage.errors import BadProduct
from terp.storage.grid import Group
from terp.storage.product import FORMAT, StoredProduct, canonical, check_file
from terp.storage.reading import file_blake3
from terp.storage.shard import array_metadata

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Layout:
    """What a product will look like: its groups, and for each group path its coordinates and attributes."""

    groups: tuple[Group, ...]
    schemas: Mapping[str, "xr.Dataset"]


def create(folder: Path, name: str, key: str, ingredients: Mapping[str, Any], layout: Layout) -> StoredProduct:
    """Create the product in `folder`, or open the one that is there; its grid and codec stay as they were frozen.

    A small file that was lost or altered since is put back.
    """
    with files.disk(folder):
        files.make_folders(folder.parent)
        fresh = folder.parent / f".new-{secrets.token_hex(6)}"
        try:
            _build(fresh, name, key, ingredients, layout)
            try:
                fresh.rename(folder)
                files.sync_folder(folder.parent)
            except OSError:
                if not folder.is_dir():
                    raise
                _restore(folder, fresh)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return StoredProduct(folder)


def _build(fresh: Path, name: str, key: str, ingredients: Mapping[str, Any], layout: Layout) -> None:
    data = fresh / "data.zarr"
    for part in (data, fresh / "ledger", fresh / "attempts"):
        files.make_folders(part)
    for group in layout.groups:
        _write_schema(data, group, layout.schemas[group.path])
    _join_groups(data, [group.path for group in layout.groups])
    small = {str(p.relative_to(data)): p for p in sorted(data.rglob("*")) if p.is_file()}
    body: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "key": key,
        "ingredients": ingredients,
        "groups": [group.to_json() for group in layout.groups],
        "small": {k: [p.stat().st_size, file_blake3(p)] for k, p in small.items()},
    }
    text = rfc8785.dumps(body)
    files.write_new(fresh / "product.json", rfc8785.dumps({"body": body, "blake3": blake3(text).hexdigest()}) + b"\n")
    for part in [data, *(p for p in data.rglob("*") if p.is_dir()), fresh]:
        files.sync_folder(part)


def _write_schema(data: Path, group: Group, schema: "xr.Dataset") -> None:
    """Write coordinates, attributes and the metadata of the large arrays of one group."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    encoding = {str(n): {"compressors": (ZstdCodec(level=3), Crc32cCodec())} for n in schema.coords}
    with zarr.config.set({"array.write_empty_chunks": True}):
        schema.to_zarr(data, group=group.path or None, mode="a", zarr_format=3, consolidated=False, encoding=encoding)
    for array in group.arrays:
        folder = data / group.path / array.name
        files.make_folders(folder)
        (folder / "zarr.json").write_bytes(canonical(array_metadata(array)))
    for path in (data / group.path).rglob("zarr.json"):
        path.write_bytes(canonical(json.loads(path.read_bytes())))
    for path in (data / group.path).rglob("*"):
        if path.is_file():
            files.sync_file(path)


def _join_groups(data: Path, paths: Sequence[str]) -> None:
    """Make every folder on the way to a group a Zarr group too."""
    plain = rfc8785.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}})
    for path in paths:
        for parent in [*Path(path).parents, Path(path)]:
            with suppress(FileExistsError):
                files.write_new(data / parent / "zarr.json", plain)


def _restore(folder: Path, fresh: Path) -> None:
    """Put back what was lost or altered of the description and the small files of a product that is there."""
    try:
        product = StoredProduct(folder)
    except BadProduct:
        files.replace(folder / "product.json", (fresh / "product.json").read_bytes())
        product = StoredProduct(folder)
    for part in ("ledger", "attempts"):
        files.make_folders(folder / part)
    for entry in product.small_files:
        if check_file(product.data / entry.key, entry) is None:
            continue
        source = fresh / "data.zarr" / entry.key
        if check_file(source, entry) is not None:
            raise BadProduct(f"{entry.key} of {product.name} is damaged: `terp rm {product.key}` and run again")
        files.make_folders((product.data / entry.key).parent)
        files.replace(product.data / entry.key, source.read_bytes())
