"""A folder of netCDF files that are alike, each of which holds a part of one axis: a file for each month, or pass.

They are put in the order of that axis, whatever their names are, and read a part at a time. All else has to be the
same in all of them, but for attributes that only describe a file (its history): these are left out where they differ.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from terp.storage.codec import Values
from terp.storage.errors import BadInput
from terp.storage.ingest import netcdf
from terp.storage.lineage import Pieces
from terp.storage.opening import lazily
from terp.storage.sharded import Pick

NAME = "netcdf-series"
CUT: tuple[str, ...] = ()  # differs from folder to folder: see `cut`

cut = netcdf.cut

_NAMES = (".nc", ".nc4", ".cdf", ".netcdf")
_MEANING = ("units", "calendar", "standard_name")  # attributes without which numbers say something else
_APART = "Files that do not belong together go in folders of their own"
_HOLE = 1.5  # times the usual step, above which something is taken to lie between two files


def recognise(path: Path) -> bool:
    """Whether this is a folder with netCDF files, by their names; what is in them is looked at by `read`."""
    try:
        return path.is_dir() and any(_files(path))
    except OSError:
        return False


def read(path: Path) -> dict[str, xr.Dataset]:
    """One dataset of all files; BadInput names the files that do not fit together, and what in them does not."""
    files = [_File(file, _only(file)) for file in _files(path)]
    if len(files) == 1:
        return {"": files[0].data}
    dim = _axis(files)
    _demand_rising(files, dim)
    files.sort(key=lambda one: one.data[dim].values[0])
    for one, other in pairwise(files):
        _demand_order(one, other, dim)
        _demand_alike(one, other, dim)
    first = files[0].data
    parts = {name: [one.data.variables[name] for one in files] for name, v in first.variables.items() if dim in v.dims}
    axes = {
        name: xr.Variable.concat(parts[name], dim) if name in parts else one.variable
        for name, one in first.coords.items()
    }
    data = {name: _lazy(parts[name], dim) if name in parts else one.variable for name, one in first.data_vars.items()}
    found = xr.Dataset(data, axes, _common([one.data.attrs for one in files]))
    found.encoding = {
        "along": dim,
        "files": [one.path.name for one in files],
        "lengths": [one.size(dim) for one in files],
    }
    return {"": found}


def pieces(_: Path, groups: Mapping[str, xr.Dataset]) -> dict[str, list[Pieces]]:
    """Each file holds a part of the axis along which they follow each other."""
    how = groups[""].encoding
    if "along" not in how:
        return {}
    starts = np.cumsum([0, *how["lengths"][:-1]]).tolist()
    return {"": [Pieces((how["along"],), (), names=tuple(how["files"]), starts=tuple(starts))]}


def lacking(path: Path, groups: Mapping[str, xr.Dataset], _: Container[str]) -> list[str]:
    """Return a sentence where something seems to lie between two files that is not there.

    Raises BadInput where what is in all files, as no part of their axis, is not the same in all.
    """
    how = groups[""].encoding
    if "along" not in how:
        return []
    _demand_same(path, groups[""], how["along"], how["files"])
    return list(_holes(path, groups[""][how["along"]].values, how["files"], how["lengths"]))


@dataclass(frozen=True)
class _File:
    path: Path
    data: xr.Dataset

    def size(self, dim: str) -> int:
        return int(self.data.sizes[dim])


class _Series:
    """An array that lies in several files, one after the other along an axis."""

    def __init__(self, parts: Sequence[xr.Variable], axis: int) -> None:
        self.parts, self.axis, self.dtype = parts, axis, parts[0].dtype
        self._starts = np.cumsum([0, *(one.shape[axis] for one in parts)])
        self.shape = (*parts[0].shape[:axis], int(self._starts[-1]), *parts[0].shape[axis + 1 :])

    def read(self, picks: Sequence[Pick], *, threads: int = 1) -> Values:
        """Return the values at `picks`, one for each dimension; each file is read once for a row of positions in it."""
        del threads  # the netCDF library has one
        places = np.arange(self.shape[self.axis])[picks[self.axis]]
        owners = np.searchsorted(self._starts, places, side="right") - 1
        ends = np.flatnonzero(np.diff(owners)) + 1
        runs = list(pairwise((0, *ends.tolist(), len(places)))) if len(places) else []
        read = [self._part(int(owners[a]), places[a:b], picks) for a, b in runs]
        return read[0] if len(read) == 1 else np.concatenate(read or [self._part(0, places, picks)], self.axis)

    def _part(self, number: int, places: Values, picks: Sequence[Pick]) -> Values:
        within = places - self._starts[number]
        row = bool(len(within)) and bool((np.diff(within) == 1).all())
        own: Pick = slice(int(within[0]), int(within[-1]) + 1) if row else within
        key = (*picks[: self.axis], own, *picks[self.axis + 1 :])
        return np.asarray(self.parts[number][key].values)


def _files(folder: Path) -> list[Path]:
    """Return the netCDF files of a folder in the order of their names."""
    return sorted(one for one in folder.iterdir() if one.suffix.lower() in _NAMES and not one.name.startswith("."))


def _only(path: Path) -> xr.Dataset:
    """Return the one group of a file."""
    if not netcdf.recognise(path):
        raise BadInput(f"{path} is named as netCDF and is none; take it out of the folder, or fetch it again.")
    groups = netcdf.read(path)
    if list(groups) != [""]:
        raise BadInput(f"{path} has groups ({', '.join(filter(None, groups))}): give such files one by one.")
    return groups[""]


def _axis(files: Sequence[_File]) -> str:
    """Return the one dimension whose coordinates are not the same in all files."""
    first = files[0]
    dims = [str(dim) for dim in first.data.dims if dim in first.data.indexes]
    for one in files[1:]:
        if lost := [dim for dim in dims if dim not in one.data.indexes]:
            raise BadInput(f"{one.path} has no axis {lost[0]}, which {first.path.name} has. {_APART}")
        for dim in dims:  # numbers that count from elsewhere are not to be compared
            _demand_facts(first, one, dim, _meaning(first.data.variables[dim], one.data.variables[dim]))
    found = [dim for dim in dims if any(not one.data.indexes[dim].equals(first.data.indexes[dim]) for one in files)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(
            f"the files in {first.path.parent} differ along {' and '.join(found)}: they must follow each other along "
            f"one. {_APART}"
        )
    raise BadInput(
        f"{first.path} and {files[1].path.name} hold the same place on every axis; keep one of them. {_APART}"
    )


def _demand_rising(files: Sequence[_File], dim: str) -> None:
    """Raise BadInput unless values along an axis rise through each file."""
    for one in files:
        if not one.data.indexes[dim].is_monotonic_increasing or not one.data.indexes[dim].is_unique:
            raise BadInput(f"{one.path} does not rise along {dim}: sort it, then run again.")


def _demand_order(one: _File, other: _File, dim: str) -> None:
    """Raise BadInput unless a file begins behind the end of the one before it."""
    last, begin = one.data[dim].values[-1], other.data[dim].values[0]
    if not last < begin:
        raise BadInput(
            f"{other.path} begins at {dim} {begin}, where {one.path.name} has gone as far as {last}: they overlap; "
            "take out what is there twice."
        )


def _demand_alike(one: _File, other: _File, dim: str) -> None:
    """Raise BadInput unless both have the same variables, of the same type, shape and meaning."""
    ours, theirs = one.data.variables, other.data.variables
    if odd := sorted(map(str, ours.keys() ^ theirs.keys())):
        raise BadInput(f"{other.path} and {one.path.name} do not both have {', '.join(odd)}. {_APART}")
    for name, mine in ours.items():
        _demand_facts(one, other, name, _facts(mine, theirs[name], dim))


def _demand_facts(one: _File, other: _File, name: Any, facts: Iterable[tuple[str, Any, Any]]) -> None:
    for what, had, has in facts:
        if had != has:
            raise BadInput(f"{other.path}: the {what} of {name} is {has}, and {had} in {one.path.name}. {_APART}")


def _facts(mine: xr.Variable, yours: xr.Variable, dim: str) -> Iterator[tuple[str, Any, Any]]:
    yield "type", _type(mine), _type(yours)
    there, here = ({d: n for d, n in one.sizes.items() if d != dim} for one in (mine, yours))
    yield "shape", there, here
    yield "order of dimensions", mine.dims, yours.dims
    yield from _meaning(mine, yours)


def _meaning(mine: xr.Variable, yours: xr.Variable) -> Iterator[tuple[str, Any, Any]]:
    for key in _MEANING:
        yield key, mine.attrs.get(key), yours.attrs.get(key)


def _type(variable: xr.Variable) -> str:
    """Return the type of values; texts are of one, however long the longest in a file is."""
    return "text" if variable.dtype.kind in "SU" else str(variable.dtype)


def _lazy(parts: Sequence[xr.Variable], dim: str) -> xr.Variable:
    return xr.Variable(
        parts[0].dims, lazily(_Series(parts, parts[0].dims.index(dim))), _common([p.attrs for p in parts])
    )


def _common(attributes: Sequence[Mapping[Any, Any]]) -> dict[Any, Any]:
    """Return the attributes that all have, with the same values."""
    first, *others = attributes
    return {name: value for name, value in first.items() if all(name in o and o[name] == value for o in others)}


def _demand_same(path: Path, data: xr.Dataset, dim: str, names: Sequence[str]) -> None:
    """Raise BadInput unless what has no part of the axis is the same in all files; the other axes are, by now."""
    still = [name for name, one in data.variables.items() if dim not in one.dims and name not in data.dims]
    held = {name: data.variables[name].copy(deep=False).load() for name in still}
    for name in names if still else ():
        other = _only(path / name)
        for variable in still:
            if not held[variable].equals(other.variables[variable]):
                raise BadInput(f"{path / name}: {variable} is not what it is in {names[0]}. {_APART}")


def _holes(path: Path, values: Values, names: Sequence[str], lengths: Sequence[int]) -> Iterator[str]:
    """Walk what to say of steps between files that are longer than usual."""
    if values.dtype.kind not in "iufM":
        return
    steps = np.diff(values)
    ends = np.cumsum(lengths)[:-1]
    usual = np.sort(steps)[len(steps) // 2]
    for number in np.flatnonzero(steps[ends - 1] > usual * _HOLE):
        at = int(ends[number])
        yield (
            f"{path.name}: between {names[number]} and {names[number + 1]} nothing is there, from {values[at - 1]} "
            f"to {values[at]}"
        )
