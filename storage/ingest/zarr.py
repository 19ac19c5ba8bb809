"""A Zarr group on disk (v2 or v3) as xarray writes it, and any group below it.

A chunk that is not there is an error, never fill values: a lost file and a chunk that was left out as empty look
the same. Source: Zarr v2 and v3 specifications; xarray's encoding of dimension names.
"""

import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from terp.storage.errors import BadInput
from terp.storage.ingest import netcdf
from terp.storage.lineage import Pieces

NAME = "zarr"
CUT: tuple[str, ...] = ()  # differs from group to group: see `cut`

cut = netcdf.cut

_MARK = 10**9  # numbers that stand for those of a chunk, to learn how a store names its chunks
_METADATA = ("zarr.json", ".zarray", ".zattrs")
_MARKS = ("zarr.json", ".zgroup", ".zmetadata", ".zarray")


def recognise(path: Path) -> bool:
    """Whether this is a folder with Zarr metadata at its top."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


def read(path: Path) -> dict[str, xr.Dataset]:
    """Every group that holds anything, lazily; BadInput if it is an array, damaged, without data, or lacks chunks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about dtypes without a Zarr v3 specification: strings read all the same
        try:
            _check_chunks(path)
            return netcdf.checked(_open(path), path)
        except netcdf.BROKEN as error:
            raise BadInput(
                f"{path} looks like Zarr but can't be read as a group of arrays with named dimensions ({error}); "
                "fetch it again."
            ) from error


def pieces(path: Path, groups: Mapping[str, xr.Dataset]) -> dict[str, list[Pieces]]:
    """Each chunk of an array, or each shard, has its own file."""
    import zarr

    root = zarr.open_group(path, mode="r")
    return {
        group: [_pieces(root, f"{group}/{name}".strip("/"), data[name]) for name in data.data_vars]
        for group, data in groups.items()
    }


def _pieces(root: Any, name: str, variable: xr.DataArray) -> Pieces:
    array = root[name]
    marks = tuple(_MARK + axis for axis in range(array.ndim))
    key = f"{name}/{array.metadata.encode_chunk_key(marks)}".replace("{", "{{").replace("}", "}}")
    for mark in marks:
        key = key.replace(str(mark), "{}")
    return Pieces(tuple(map(str, variable.dims)), tuple(array.shards or array.chunks), key)


def _check_chunks(path: Path) -> None:
    import zarr

    group = zarr.open(path, mode="r")
    if not isinstance(group, zarr.Group):
        raise BadInput(f"{path} is a single Zarr array without names or coordinates; give the group that holds it.")
    for name, array in group.members(max_depth=None):
        if not isinstance(array, zarr.Array) or _only_describes(array):
            continue
        whole = math.prod(-(-n // c) for n, c in zip(array.shape, array.shards or array.chunks, strict=True))
        lacking = whole - _files(path / name)
        if lacking > 0:
            missing = f"{lacking} of {whole} {'shards' if array.shards else 'chunks'}"
            remedy = "if they were left out as empty, write the group again with write_empty_chunks"
            raise BadInput(f"{path} lacks {missing} of '{name}'; fetch it again, or {remedy}.")


def _files(array: Path) -> int:
    """How many chunks or shards of an array there are: to ask zarr takes minutes where there are many."""
    return sum(name not in _METADATA for _, _, names in os.walk(array) for name in names)


def _open(path: Path) -> dict[str, xr.Dataset]:
    import zarr

    options: dict[str, Any] = {
        "engine": "zarr",
        "consolidated": False,
        "cache": False,
        "chunks": None,
        "decode_timedelta": False,
    }
    with zarr.config.set({"array.read_missing_chunks": False}):  # stays with the arrays that are opened here
        groups = netcdf.decoded(path, **options)
    return {name: _without_values(group) for name, group in groups.items()}


def _only_describes(variable: Any) -> bool:
    """Whether it is a CF grid mapping (5.6): its value means nothing, is mostly 0, and then no chunk is written."""
    return variable.ndim == 0 and "grid_mapping_name" in variable.attrs


def _without_values(group: xr.Dataset) -> xr.Dataset:
    return group.assign({n: ((), 0, v.attrs) for n, v in group.variables.items() if _only_describes(v)})
