"""Write a band as NetCDF-4, with netCDF-C, a region of one array at a time: so memory does not grow with the band."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from terp.storage.errors import DiskTrouble
from terp.storage.form.band import Band
from terp.storage.form.held import FILL, TEXT, Node, Variable
from terp.storage.grid import Array

_LOSSLESS = {"compression": "zlib", "complevel": 1, "shuffle": True, "fletcher32": True}


def write(band: Band, nodes: Sequence[Node], path: Path) -> None:
    """Write a new file: compressed without loss, each chunk with its checksum. Raises DiskTrouble."""
    import netCDF4

    try:
        with netCDF4.Dataset(path, "w", format="NETCDF4") as file:
            file.set_fill_off()  # every value is written
            for node in nodes:
                group = file.createGroup(node.path) if node.path else file
                _fill(group, node, band)
    except (RuntimeError, OSError) as error:  # netCDF-C tells no more than that HDF5 failed
        raise DiskTrouble(f"{path.name} cannot be written as NetCDF-4: {error}; is there room on the disk?") from error


def written_by() -> str:
    """Return with what it is written."""
    import netCDF4

    return f"netCDF4 {version('netCDF4')} (netCDF-C {netCDF4.__netcdf4libversion__}, HDF5 {netCDF4.__hdf5libversion__})"


def _fill(group: Any, node: Node, band: Band) -> None:
    for name, size in node.dims.items():
        group.createDimension(name, size)
    _put_attributes(group, node.attributes)
    for one in node.variables:
        array = band.large[one.path][1] if one.path in band.large else None
        variable = _made(group, one, array)
        if array is None:
            variable[...] = band.small(one.path).astype(object if one.type == TEXT else one.type, copy=False)
            continue
        for part in band.parts(one.path):
            variable[part.box or ...] = part.values


def _made(group: Any, one: Variable, array: Array | None) -> Any:
    how: dict[str, Any] = {"fill_value": False if one.fill is None else one.fill}
    if array is not None and one.dims:
        chunks = [min(c, n) for c, n in zip(array.chunk, one.shape, strict=True)]
        how |= {"chunksizes": chunks, **_LOSSLESS}
    variable = group.createVariable(one.name, str if one.type == TEXT else one.type, one.dims, **how)
    variable.set_auto_maskandscale(False)
    variable.set_auto_chartostring(False)
    _put_attributes(variable, {name: value for name, value in one.attributes.items() if name != FILL})
    return variable


def _put_attributes(owner: Any, attributes: Any) -> None:
    for name, value in attributes.items():
        if isinstance(value, str | list):
            owner.setncattr_string(name, value)
        else:
            owner.setncattr(name, value)
