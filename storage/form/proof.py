"""Prove that a NetCDF-4 file holds what a band holds: both are read back, by other code than wrote the file.

The file is read with h5py, through h5netcdf. Values are compared by the BLAKE3 of their type, shape and bytes, region
by region (docs/architecture.md, "The trees"), so that not a number is itself and 0.0 is not -0.0.
"""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from terp.storage.codec import Values
from terp.storage.errors import CannotMigrate
from terp.storage.form.band import Band
from terp.storage.form.held import FILL, TEXT, Node, Variable, same_attribute
from terp.storage.shard import values_digest
from terp.storage.small import array_digest

_OF_HDF5 = ("_NCProperties", "_Netcdf4Dimid", "_Netcdf4Coordinates", "_nc3_strict")  # which netCDF-C adds

Digests = dict[str, list[tuple[int, str, str]]]  # by array: region (-1: all of it), digest in Zarr, digest in NetCDF


def prove(band: Band, nodes: Sequence[Node], path: Path) -> Digests:
    """Return the digests of all values of both; raises CannotMigrate that names the first thing that differs."""
    import h5netcdf

    try:
        with h5netcdf.File(path, "r", decode_vlen_strings=True) as file:
            there = {_path(one): one for one in _groups(file)}
            _demand(there.keys() == {node.path for node in nodes}, f"{path.name} has other groups")
            digests: Digests = {}
            for node in nodes:
                _prove_shape(node, there[node.path])
                for one in node.variables:
                    digests[one.path] = list(_values(band, one, there[node.path].variables[one.name]))
            return digests
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise CannotMigrate(f"{path.name} cannot be read back as NetCDF-4: {error}; archive again") from error


def read_by() -> str:
    """Return with what it is read back."""
    return f"h5netcdf {version('h5netcdf')} (h5py {version('h5py')})"


def _groups(group: Any) -> Iterator[Any]:
    yield group
    for one in group.groups.values():
        yield from _groups(one)


def _path(group: Any) -> str:
    return str(group.name).strip("/")


def _prove_shape(node: Node, group: Any) -> None:
    where = node.path or "the root"
    _demand(set(group.variables) == {one.name for one in node.variables}, f"{where} has other variables")
    sizes = {name: dim.size for name, dim in group.dimensions.items() if name in node.dims}
    _demand(sizes == dict(node.dims), f"{where} has other dimensions")
    _prove_attributes(where, node.attributes, group.attrs)
    for one in node.variables:
        found = group.variables[one.name]
        _demand(tuple(found.dimensions) == one.dims, f"{one.path} has other dimensions")
        _demand(tuple(found.shape) == one.shape, f"{one.path} is of another shape")
        _demand(_type(found.dtype) == one.type, f"{one.path} is of another type, {found.dtype}")
        expected = dict(one.attributes) | ({} if one.fill is None else {FILL: one.fill})
        _prove_attributes(one.path, expected, found.attrs)


def _type(dtype: Any) -> str:
    return TEXT if dtype in (str, object) or np.dtype(dtype).kind in "OT" else np.dtype(dtype).name


def _prove_attributes(owner: str, expected: dict[str, Any] | Any, found: Any) -> None:
    names = set(found) - set(_OF_HDF5)
    _demand(names == set(expected), f"{owner} has other attributes: {', '.join(sorted(names ^ set(expected)))}")
    for name, value in expected.items():
        _demand(same_attribute(value, found[name]), f"the attribute {name} of {owner} is another")


def _values(band: Band, one: Variable, found: Any) -> Iterator[tuple[int, str, str]]:
    if one.path not in band.large:
        ours, theirs = band.small(one.path), np.asarray(found[...])
        if one.type == TEXT:
            ours, theirs = ours.astype(object), theirs.astype(object)
        yield _same(one.path, -1, array_digest(ours).hex(), array_digest(theirs).hex())
        return
    for part in band.parts(one.path):
        yield _same(one.path, part.region, values_digest(part.values), values_digest(_block(found, part.box)))


def _block(found: Any, box: tuple[slice, ...]) -> Values:
    return np.asarray(found[box or ...])


def _same(path: str, region: int, ours: str, theirs: str) -> tuple[int, str, str]:
    where = f"region {region} of {path}" if region >= 0 else path
    _demand(ours == theirs, f"{where} has other values in NetCDF-4")
    return region, ours, theirs


def _demand(truth: bool, otherwise: str) -> None:
    if not truth:
        raise CannotMigrate(f"the second form is not the same: {otherwise}; nothing of it is kept")
