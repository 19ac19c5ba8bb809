"""What NetCDF-4 can hold of a Zarr group, and as what: dimensions, types and attributes; what it cannot is refused.

Zarr has types, attributes and names that NetCDF-4 (NetCDF User's Guide, "The Enhanced Data Model") has not. Nothing is
bent until it fits. Two things are the same there that differ in Zarr: a list of one value and that value, as every
attribute is a vector; and texts of a fixed length and of any, as all texts are of any length.
"""

import base64
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from terp.storage.errors import CannotMigrate

TEXT = "string"
FILL = "_FillValue"
_NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
_RESERVED = (
    *("_NCProperties", "_Netcdf4Dimid", "_Netcdf4Coordinates", "_nc3_strict", "_IsNetcdf4", "_SuperblockVersion"),
    *("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS"),
)
_EXACT = 2**53  # integers up to here are doubles too


@dataclass(frozen=True)
class Variable:
    """An array as a variable: `type` is that of NumPy, or TEXT; `fill` its attribute _FillValue, if it has one."""

    path: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    type: str
    attributes: Mapping[str, Any]
    fill: Any = None

    @property
    def name(self) -> str:
        """Its name in its group."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Node:
    """A group: its dimensions with their lengths, its attributes and its variables."""

    path: str
    dims: Mapping[str, int]
    attributes: Mapping[str, Any]
    variables: tuple[Variable, ...]


Documents = Mapping[str, Mapping[str, Any]]  # what each `zarr.json` says, by the path of its group or array


def held(name: str, documents: Documents) -> list[Node]:
    """Return what a Zarr group is in NetCDF-4, parents first; raises CannotMigrate with all that it cannot hold."""
    wrong = list[str]()
    groups = sorted(path for path, said in documents.items() if said["node_type"] == "group")
    nodes = [_node(documents, path, wrong) for path in groups]
    if wrong:
        told = "\n".join(f"  {one}" for one in wrong)
        raise CannotMigrate(f"NetCDF-4 cannot hold all of {name}:\n{told}\narchive it without --second-form")
    return nodes


def _node(documents: Documents, path: str, wrong: list[str]) -> Node:
    inside = [one for one, said in documents.items() if said["node_type"] == "array" and _parent(one) == path]
    variables = tuple(_variable(one, documents[one], wrong) for one in sorted(inside))
    dims = dict[str, int]()
    for one in variables:
        for dim, size in zip(one.dims, one.shape, strict=True):
            if dims.setdefault(dim, size) != size:
                wrong.append(f"{one.path}: its dimension {dim} is of {size}, and another's is of {dims[dim]}")
    attributes = dict(_attributes(path or "the root", documents[path].get("attributes", {}), wrong))
    return Node(path, dims, attributes, variables)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _variable(path: str, said: Mapping[str, Any], wrong: list[str]) -> Variable:
    kind, shape = _type(said["data_type"]), tuple(said["shape"])
    if not kind:
        wrong.append(f"{path}: there are no values of the type {said['data_type']}")
    dims = tuple(said.get("dimension_names") or [None] * len(shape))
    if None in dims or len(set(dims)) < len(dims):
        wrong.append(f"{path}: a dimension has no name, or the name of another")
    if 0 in shape:
        wrong.append(f"{path}: a dimension of no length would be one without limit")
    given = dict(said.get("attributes", {}))
    fill = _filled(path, given.pop(FILL, None), kind, wrong)
    names = tuple(str(dim) for dim in dims)
    return Variable(path, names, shape, kind, dict(_attributes(path, given, wrong)), fill)


def _type(told: Any) -> str:
    if isinstance(told, dict):
        return TEXT if told.get("name") == "fixed_length_utf32" else ""
    return TEXT if told == "string" else told if told in _NUMBERS else ""


def _filled(path: str, value: Any, kind: str, wrong: list[str]) -> Any:
    """Return a fill value, which xarray writes in Zarr as the Base64 of a double where it is one."""
    if value is None or not kind:
        return None
    try:
        if kind.startswith("float") and isinstance(value, str):
            [value] = struct.unpack("<d", base64.b64decode(value, validate=True))
        return str(value) if kind == TEXT else np.array(value, kind)[()]
    except (ValueError, TypeError, OverflowError, struct.error):
        wrong.append(f"{path}: its attribute {FILL} is no {kind}")
        return None


def _attributes(owner: str, given: Mapping[str, Any], wrong: list[str]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        why = _unheld(name, value)
        if why:
            wrong.append(f"{owner}: its attribute {name!r} {why}")
        else:
            yield name, _vector(value)


def _unheld(name: str, value: Any) -> str:
    """Say why an attribute cannot be held, if so."""
    if name in _RESERVED or not name or "/" in name or "\0" in name or name != name.strip():
        return "has a name that NetCDF-4 keeps for itself"
    values = value if isinstance(value, list) else [value]
    if not values:
        return "is an empty list"
    if all(isinstance(one, str) for one in values):
        return "has a NUL in a text" if any("\0" in one for one in values) else ""
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        return f"is no number, text or list of one of these, but {value!r}"[:200]
    floats = any(isinstance(one, float) for one in values)
    whole = [one for one in values if isinstance(one, int)]
    if any(not -(2**63) <= one < 2**64 or (floats and abs(one) > _EXACT) for one in whole):
        return "is a number of more than 64 bits"
    return "" if floats or min(whole) >= 0 or max(whole) < 2**63 else "is a number of more than 64 bits"


def _vector(value: Any) -> Any:
    """Return an attribute as it is written: a text, texts, or an array of numbers."""
    if isinstance(value, str):
        return value
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], str):
        return values
    if any(isinstance(one, float) for one in values):
        return np.array(values, "f8")
    return np.array(values, "i8" if max(values) < 2**63 else "u8")


def same_attribute(one: Any, other: Any) -> bool:
    """Say whether an attribute that was to be written and one that was read are the same, numbers to the last bit."""
    ours, theirs = (np.atleast_1d(np.asarray(value)).tolist() for value in (one, other))
    return len(ours) == len(theirs) and all(map(_same, ours, theirs))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or struct.pack("<d", one) == struct.pack("<d", other)
    return isinstance(one, str) == isinstance(other, str) and bool(one == other)
