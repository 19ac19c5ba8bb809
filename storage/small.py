"""What the small files of a product say of its values: digests that do not change with how they are stored."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from blake3 import blake3

from terp.storage.canonical import canonical
from terp.storage.grid import Group
from terp.storage.shard import values_digest

if TYPE_CHECKING:
    from zarr.abc.store import Store

META = "zarr.json"
_SAID = ("attributes", "data_type", "dimension_names", "fill_value", "node_type", "shape")


def digests(store: "Store", documents: Mapping[str, bytes], groups: Iterable[Group]) -> dict[str, bytes]:
    """Return a digest for each metadata document of a store, by its key, and for each small array, by its path.

    `groups` tell which arrays are large: their values are in shards.
    """
    import zarr

    large = {group.home(array) for group in groups for array in group.arrays}
    found = dict[str, bytes]()
    for key, document in documents.items():
        said, path = json.loads(document), key.removesuffix(META).rstrip("/")
        found[key] = document_digest(said)
        if said["node_type"] == "array" and path not in large:
            found[path] = array_digest(np.asarray(zarr.open_array(store, path=path, mode="r", zarr_format=3)[...]))
    return found


def document_digest(said: dict[str, Any]) -> bytes:
    """Return the BLAKE3 of what a `zarr.json` says of values: not of their codecs, chunks and shards."""
    return blake3(canonical({name: said[name] for name in _SAID if name in said})).digest()


def array_digest(values: "np.ndarray[Any, Any]") -> bytes:
    """Return the BLAKE3 of type, shape and values; of texts of any length each with its length before it."""
    if values.dtype.kind not in "OT":
        return bytes.fromhex(values_digest(values))
    texts = [str(text).encode() for text in values.reshape(-1)]
    digest = blake3(f"string{values.shape}".encode())
    for text in texts:
        digest.update(len(text).to_bytes(8, "little") + text)
    return digest.digest()
