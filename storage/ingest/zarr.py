"""A Zarr group on disk (v2 or v3) as xarray writes it, and any group below it.

A chunk that is not there is read as missing values where that is what its fill value means, which is told; elsewhere
it is an error: a lost file and a chunk that was left out as empty look the same. Source: Zarr v2 and v3
specifications; xarray's encoding of dimension names.
"""

import warnings
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from terp.storage.errors import BadInput, Damaged
from terp.storage.foreign import ForeignArray
from terp.storage.ingest import netcdf
from terp.storage.lineage import Pieces
from terp.storage.opening import lazily

NAME = "zarr"
CUT: tuple[str, ...] = ()  # differs from group to group: see `cut`

cut = netcdf.cut

_AS_STORED = dict.fromkeys(
    ("mask_and_scale", "decode_times", "concat_characters", "decode_coords", "decode_timedelta"), False
)
_MARKS = ("zarr.json", ".zgroup", ".zmetadata", ".zarray")


def recognise(path: Path) -> bool:
    """Whether this is a folder with Zarr metadata at its top."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


def read(path: Path) -> dict[str, xr.Dataset]:
    """Every group that holds anything, lazily; BadInput if it is an array, damaged, without data, or lacks chunks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about dtypes without a Zarr v3 specification: strings read all the same
        try:
            return netcdf.checked({name: _decoded(path, name, raw) for name, raw in _raw(path).items()}, path)
        except (*netcdf.BROKEN, Damaged) as error:
            raise BadInput(
                f"{path} looks like Zarr but can't be read as a group of arrays with named dimensions ({error}); "
                "fetch it again."
            ) from error


def pieces(path: Path, groups: Mapping[str, xr.Dataset]) -> dict[str, list[Pieces]]:
    """Each chunk of an array, or each shard, has its own file."""
    return {name: [one.pieces for one in some] for name, some in _arrays(path, groups).items()}


def lacking(path: Path, groups: Mapping[str, xr.Dataset], names: Container[str]) -> list[str]:
    """Return a sentence for each array that lacks chunks; BadInput where these would be read as numbers."""
    found = (one.lacking(names) for some in _arrays(path, groups).values() for one in some)
    return [said for said in found if said]


def _arrays(path: Path, groups: Mapping[str, xr.Dataset]) -> dict[str, list[ForeignArray]]:
    """For each group its large arrays, which are read box by box."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = {name.strip("/"): group for name, group in _raw(path).items()}
        return {
            name: [_array(path, name, raw[name][variable]) for variable in group.data_vars]
            for name, group in groups.items()
        }


def _raw(path: Path) -> dict[str, xr.Dataset]:
    """Return the groups as they are stored, in the order of their names: that in which they are found changes."""
    import zarr

    if not isinstance(zarr.open(path, mode="r"), zarr.Group):
        raise BadInput(f"{path} is a single Zarr array without names or coordinates; give the group that holds it.")
    options: dict[str, Any] = {"consolidated": False, "cache": False, "chunks": None, **_AS_STORED}
    with zarr.config.set({"array.read_missing_chunks": False}):  # stays with the arrays that are opened here
        found = xr.open_groups(path, engine="zarr", **options)
    return {name: found[name][sorted(map(str, found[name].variables))] for name in sorted(found)}


def _decoded(path: Path, name: str, raw: xr.Dataset) -> xr.Dataset:
    """Return a group with its values decoded, those of large arrays read through `ForeignArray`."""
    large = {n: one for n, one in raw.variables.items() if one.ndim and one.dtype.kind in "biufcmM"}
    read = {n: _lazy(_array(path, name, raw[n]), one) for n, one in large.items()}
    described = {n: ((), 0, one.attrs) for n, one in raw.variables.items() if _only_describes(one)}
    group = raw.assign(read).assign(described)
    whole = xr.decode_cf(group, decode_timedelta=False)
    return netcdf.without_cftime(whole, xr.decode_cf(group, decode_times=False, decode_timedelta=False))


def _lazy(array: ForeignArray, variable: xr.Variable) -> xr.Variable:
    return xr.Variable(variable.dims, lazily(array), variable.attrs, variable.encoding)


def _array(path: Path, group: str, variable: xr.DataArray) -> ForeignArray:
    folder = "/".join(part for part in (group.strip("/"), str(variable.name)) if part)
    return ForeignArray(path, folder, tuple(map(str, variable.dims)), lambda fill: _is_missing(fill, variable))


def _is_missing(fill: Any, variable: xr.DataArray) -> bool:
    """Whether a fill value is decoded as missing (CF 2.5.1)."""
    if fill is None:
        return False
    one = xr.Dataset({"fill": ((), fill, variable.attrs)})
    return bool(xr.decode_cf(one, decode_times=False, decode_timedelta=False)["fill"].isnull())


def _only_describes(variable: Any) -> bool:
    """Whether it is a CF grid mapping (5.6): its value means nothing, is mostly 0, and then no chunk is written."""
    return variable.ndim == 0 and "grid_mapping_name" in variable.attrs
