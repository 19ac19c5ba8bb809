"""NetCDF by the CF conventions: classic (CDF-1, CDF-2, CDF-5) and netCDF-4, groups and all.

What CF calls packed, masked or relative is decoded; what only describes (bounds, grid mappings, strings, scalars)
becomes a coordinate. Times of a calendar that datetime64 can't hold (360_day, noleap, year 1) stay numbers with
`units` and `calendar`, as any CF reader expects them. Source: CF conventions 1.11; NetCDF User's Guide, appendix B.
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import xarray as xr

from terp.storage.errors import BadInput
from terp.storage.ingest.cdf import promised_size

NAME = "netcdf"
CUT: tuple[str, ...] = ()  # differs from file to file: see `cut`

_CLASSIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
_HDF5 = b"\x89HDF\r\n\x1a\n"
BROKEN = (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError, OverflowError)
_MENTIONS = ("bounds", "climatology", "grid_mapping", "cell_measures", "formula_terms", "_connectivity", "_coordinates")


def recognise(path: Path) -> bool:
    """Whether it begins as netCDF, and is not UVH5; of a damaged HDF5 file `read` says what is wrong."""
    try:
        with path.open("rb") as file:
            magic = file.read(8)
    except OSError:
        return False
    return magic[:4] in _CLASSIC or (magic == _HDF5 and not _is_uvh5(path))


def _is_uvh5(path: Path) -> bool:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "Header" in file and "Data" in file
    except OSError:
        return False


def read(path: Path) -> dict[str, xr.Dataset]:
    """Every group of the file that holds anything, lazily; BadInput if it is cut short, damaged or without data."""
    _check_whole(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about attributes that break CF: nothing the reader of a message could change
        try:
            return checked(decoded(path, engine="netcdf4", cache=False, decode_timedelta=False), path)
        except BROKEN as error:
            raise BadInput(
                f"{path} begins as netCDF (or HDF5) but can't be read as such ({error}); fetch it again."
            ) from error


def _check_whole(path: Path) -> None:
    """The netCDF library reads zeros past the end of a classic file, so its length is checked here."""
    promised, size = promised_size(path), path.stat().st_size
    if size < promised:
        raise BadInput(f"{path} is cut short: its header promises {promised} bytes and it has {size}; fetch it again.")


def decoded(path: Path, **options: Any) -> dict[str, xr.Dataset]:
    """The groups of a file, values decoded; times stay numbers where only cftime could hold them."""
    raw = xr.open_groups(path, **options, decode_times=False)
    return {name: without_cftime(group, raw[name]) for name, group in xr.open_groups(path, **options).items()}


def without_cftime(group: xr.Dataset, raw: xr.Dataset) -> xr.Dataset:
    """Return a group whose times stay the numbers of `raw` where only cftime could hold them."""
    odd = {name for name, var in group.variables.items() if var.dtype == object and raw[name].dtype.kind in "iuf"}
    return group.assign({name: raw.variables[name] for name in odd})


def checked(groups: Mapping[str, xr.Dataset], path: Path) -> dict[str, xr.Dataset]:
    """Groups as a product can hold them, named "" and "a/b"; BadInput if none has data, or an axis is empty."""
    held = {name.strip("/"): tidy(_with_axes(name, groups)) for name in groups}
    if not any(group.data_vars for group in held.values()):
        raise BadInput(f"{path} holds no data variable that has a dimension; there is nothing to compute on.")
    for name, group in held.items():
        for dim in sorted({str(d) for var in group.data_vars.values() for d in var.dims if not group.sizes[d]}):
            raise BadInput(f"{path} has no entries along '{dim}' of group '{name or '/'}'; it was never filled.")
    return {name: group for name, group in held.items() if group.variables or group.attrs}


def _with_axes(name: str, groups: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The group with the axes that its dimensions have in the groups above it."""
    group = groups[name]
    for above in map(str, PurePosixPath(name).parents):
        for dim in [d for d in group.dims if d not in group.variables]:
            axis = groups[above].variables.get(dim) if above in groups else None
            if axis is not None and axis.dims == (dim,) and axis.size == group.sizes[dim]:
                group = group.assign_coords({dim: axis})
    return group


def tidy(dataset: xr.Dataset) -> xr.Dataset:
    """A dataset whose data variables are numbers, still lazy, that share at least one dimension.

    All else is a coordinate, and in memory. Of the encoding only the chunks and shards of a Zarr source are kept.
    """
    data = _sharing(dataset, [name for name in dataset.data_vars if _is_data(dataset, str(name))])
    plain = dataset.set_coords([name for name in dataset.data_vars if name not in data]).drop_encoding()
    for name, variable in plain.variables.items():
        variable.attrs = _plain(variable.attrs)
        if name in plain.coords or variable.dtype.kind == "M":
            variable.load()
    for name in data:
        cut = {key: dataset[name].encoding.get(key) for key in ("chunks", "shards")}
        plain[name].encoding = {key: lengths for key, lengths in cut.items() if lengths}
    return plain.assign_attrs(_plain(plain.attrs))


def cut(groups: Mapping[str, xr.Dataset]) -> dict[str, tuple[str, ...]]:
    """For each group the dimensions that all its data variables share: regions may be cut along these."""
    return {name: _shared(list(group.data_vars.values())) for name, group in groups.items()}


def _shared(variables: list[xr.DataArray]) -> tuple[str, ...]:
    first = variables[0].dims if variables else ()
    return tuple(str(dim) for dim in first if all(dim in var.dims for var in variables))


def _is_data(dataset: xr.Dataset, name: str) -> bool:
    variable = dataset[name]
    return variable.ndim > 0 and variable.dtype.kind in "biufcM" and name not in set(_mentioned(dataset))


def _mentioned(dataset: xr.Dataset) -> Iterator[str]:
    """Names of the variables that others refer to as their description (CF 5.6, 7.1, 7.2; UGRID 1.0)."""
    for variable in dataset.variables.values():
        for key, value in variable.attrs.items():
            if str(key).endswith(_MENTIONS):
                yield from str(value).replace(":", " ").split()


def _sharing(dataset: xr.Dataset, names: list[Any]) -> set[Any]:
    """The largest variable, and each that shares a dimension with all taken before; no lone series beside a grid."""
    taken: list[Any] = []
    for name in sorted(names, key=lambda n: -dataset[n].size):
        fits = bool(_shared([dataset[n] for n in (*taken, name)]))
        if fits and (not taken or dataset[name].ndim > 1 or dataset[taken[0]].ndim == 1):
            taken.append(name)
    return set(taken)


def _plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): _jsonable(value) for name, value in attrs.items()}


def _jsonable(value: Any) -> Any:
    """An attribute as JSON can say it: no numpy types, and NaN and infinity in words."""
    if isinstance(value, np.ndarray | list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
