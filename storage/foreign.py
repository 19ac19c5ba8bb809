"""Read boxes of arrays that somebody else wrote as Zarr, v2 or v3, sharded or not; and say which files they are in.

Shards whose chunks are stored as they are or by Blosc, as most of the large ones are, go through our own reader; all
else through zarr-python (why, and what was measured: docs/decisions/017). A chunk that is not there stands for the
fill value in Zarr. It is read so where that means that nothing was measured, and only there: a number that nobody
wrote is no measurement. Source: Zarr v2 and v3 core specifications; sharding codec 1.0.
"""

import json
import os
from collections.abc import Callable, Container, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from terp.storage.codec import Codec, Values
from terp.storage.errors import BadInput, Missing
from terp.storage.grid import Array
from terp.storage.lineage import Pieces
from terp.storage.open_shard import Extent
from terp.storage.sharded import Pick, ShardedArray

if TYPE_CHECKING:
    import zarr

_MARK = 10**9  # numbers that stand for those of a chunk, to learn how a store names its chunks
_PIPELINE = {"codec_pipeline.path": "zarr.core.codec_pipeline.FusedCodecPipeline"}
_INDEX = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]


class ForeignArray:
    """One array of a foreign Zarr group: `folder` is its place below the group's `root`.

    `is_missing` says of the fill value whether it means that nothing was measured: then a chunk that is not there is
    read as that.
    """

    def __init__(
        self, root: Path, folder: str, dims: tuple[str, ...], is_missing: Callable[[Any], bool] = lambda _: False
    ) -> None:
        import zarr

        self.root, self.folder, self.dims = root, folder, dims
        with zarr.config.set(_PIPELINE):  # stays with the array
            array: zarr.Array[Any] = zarr.open_array(root / folder, mode="r")
            self.empty = is_missing(array.fill_value)
            self._array = array.with_config({"read_missing_chunks": self.empty})
        self.shape, self.dtype = self._array.shape, self._array.dtype
        self._shards = _own(root, folder, dims, self._array, self.empty)

    def read(self, picks: Sequence[Pick], threads: int = 1) -> Values:
        """Return the values at `picks`, one for each dimension.

        Raises Damaged, or what zarr-python and its codecs raise, where they cannot be had.
        """
        if self._shards is not None:
            return self._shards.read(picks, threads=threads)
        import zarr

        with zarr.config.set({"codec_pipeline.max_workers": threads}):
            return np.asarray(self._array.oindex[tuple(picks)])

    @property
    def pieces(self) -> Pieces:
        """How it lies in files below `root`: each chunk, or each shard, has its own."""
        marks = tuple(_MARK + axis for axis in range(len(self.dims)))
        key = f"{self.folder}/{self._array.metadata.encode_chunk_key(marks)}".replace("{", "{{").replace("}", "}}")
        for mark in marks:
            key = key.replace(str(mark), "{}")
        return Pieces(self.dims, tuple(self._array.shards or self._array.chunks), key)

    def lacking(self, names: Container[str]) -> str:
        """Say how many of its chunks are not there, "" where all are; raises BadInput where these would be numbers."""
        files = list(self.pieces.files({}, dict(zip(self.dims, self.shape, strict=True))))
        lacking = sum(name not in names for name in files)
        if not lacking:
            return ""
        missing = f"{lacking:,} of {len(files):,} {'shards' if self._array.shards else 'chunks'} of '{self.folder}'"
        if self.empty:
            return (
                f"{self.root.name} lacks {missing}: they are read as missing values, as Zarr says, and whether they "
                "were left out as empty or were lost cannot be told"
            )
        raise BadInput(
            f"{self.root} lacks {missing}, which Zarr reads as {self._array.fill_value}, and that is not marked as "
            "missing; fetch it again, or if they were left out as empty, write the group again with write_empty_chunks."
        )


def _own(
    root: Path, folder: str, dims: tuple[str, ...], array: "zarr.Array[Any]", empty: bool
) -> "_ForeignShards | None":
    """Return our own reader of an array, where it is of the kind that this reads."""
    found = None if array.shards is None else json.loads((root / folder / "zarr.json").read_bytes())["codecs"]
    if not found or len(found) != 1 or found[0]["name"] != "sharding_indexed" or array.dtype.kind not in "biufc":
        return None
    how = found[0]["configuration"]
    codec = _codec(how["codecs"], array.dtype)
    if codec is None or how["index_codecs"] != _INDEX or how.get("index_location", "end") != "end":
        return None
    shape = Array(folder, dims, array.shape, array.dtype.name, array.shards or (), array.chunks)
    locate = partial(_located, root / folder, array.metadata.encode_chunk_key)
    return _ForeignShards(shape, locate, codec, array.fill_value, empty)


def _codec(codecs: list[dict[str, Any]], dtype: "np.dtype[Any]") -> Codec | None:
    """Return how chunks are stored, where that is as they are or by Blosc, with or without a CRC32C behind."""
    names = [one["name"] for one in codecs]
    order = codecs[0].get("configuration", {}).get("endian", "little")
    summed = names[-1] == "crc32c"
    middle = names[1:-1] if summed else names[1:]
    if names[0] != "bytes" or order != "little" or dtype.byteorder == ">" or middle not in ([], ["blosc"]):
        return None
    return Codec("blosc" if middle else "", summed=summed)


def _located(folder: Path, key_of: Any, place: tuple[int, ...]) -> Extent:
    path = folder / key_of(place)
    try:
        return Extent(path, 0, os.stat(path).st_size, "")  # whoever wrote it left no tag
    except FileNotFoundError:
        raise Missing(f"{path} is gone") from None


class _ForeignShards(ShardedArray):
    """Shards without a tag, and with chunks that were left out; with whole ones too where `empty`."""

    def __init__(self, array: Array, locate: Any, codec: Codec, fill: Any, empty: bool) -> None:
        super().__init__(array, array.name, locate, "the source")
        self._codec, self.empty = codec, empty
        self.fill: Values = np.broadcast_to(np.asarray(fill, self.dtype), array.chunk)

    def _read_shard(self, place: tuple[int, ...], chunks: list[Any], out: Values, threads: int) -> None:
        try:
            super()._read_shard(place, chunks, out, threads)
        except Missing:
            if not self.empty:
                raise
            for chunk in chunks:
                self._put(chunk, self.fill, out)
