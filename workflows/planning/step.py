"""A step: how one product is made, known before anything is made.

A stage call gives one step; a reduction gives one a level of its fixed tree. The key of a step is the digest of its
ingredients (code, parameters, keys of inputs, named libraries, cut), and names the product.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import xarray as xr
from blake3 import blake3

from terp.storage.canonical import canonical
from terp.storage.grid import Group, shape_array
from terp.storage.lineage import Origin, Origins, Pieces
from terp.storage.making import Layout
from terp.storage.scrub import cleaned_code, without_secrets
from terp.storage.source import Identity
from terp.workflows.errors import BadStage
from terp.workflows.planning.memory import Need
from terp.workflows.planning.schema import as_read
from terp.workflows.running.gather import Input
from terp.workflows.running.task import NAT, Task

_NAME = re.compile(r"[^/\x00-\x1f\x7f\ud800-\udfff]+")
_TAKEN = (".", "..", "zarr.json")
_LONGEST = 240  # bytes of a name, of the 255 that file systems bear
_WIDEST = {"f": 8, "c": 16, "i": 8, "u": 8, "b": 1}  # bytes of a number that Zarr knows


@dataclass(frozen=True)
class Step:
    """How one product is made.

    `inputs` are (key of the product, group) pairs; `need` what a worker needs of memory; `doubts` sentences for the
    user; `trial` seconds and bytes of the made-up call, for the estimate of time; `codec` what the user wants the
    values to be stored with, if anything; `source` what is taken in, `pieces` how that lies in its files, by group.
    """

    name: str
    key: str
    ingredients: Mapping[str, Any]
    schemas: Mapping[str, xr.Dataset]
    layout: Layout
    task: Task
    inputs: tuple[tuple[str, str], ...]
    need: Need
    doubts: tuple[str, ...] = ()
    trial: tuple[float, int] = (0.0, 0)
    at_most: int = 1
    codec: str = ""
    source: Identity | None = None
    pieces: Mapping[str, Sequence[Pieces]] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, Any]:
        """The ingredients as they are written down, which the key has with the secrets in them."""
        return told(self.ingredients)

    @property
    def memory(self) -> int:
        """Bytes that a worker is expected to need."""
        return self.need.bytes

    @property
    def code(self) -> str:
        """Name of the code that makes it, whatever that is given: what it takes of memory is alike."""
        return blake3(canonical([self.name, self.ingredients.get("code")])).hexdigest()[:20]

    def within(self, memory: int) -> "Step":
        """Return it with fewer regions made of one read, where a worker has too little memory for all (0: unknown)."""
        task, need = self.task, self.need
        while memory and task.together > 1 and need.bytes > memory:
            fewer = next(n for n in reversed(range(1, task.together)) if task.together % n == 0)
            need = replace(need, shared=need.shared // (task.together - 1) * (fewer - 1))
            task = replace(task, together=fewer)
        return replace(self, task=task, need=need)

    def stored(self, kept: bool) -> Layout:
        """Return how the product is laid out and stored; `kept`: it is a result of the flow."""
        return self.layout.stored(kept, self.codec)

    def laid_out(self, steps: "Mapping[str, Step]", kept: bool) -> Layout:
        """Return how the product is laid out, stored, and what its regions are made of; `kept`: it is a result."""
        return replace(self.stored(kept), origins=self._origins(steps))

    def _origins(self, steps: "Mapping[str, Step]") -> Origins:
        """Return what its regions are made of: of a source as it lies in its files, or of the products of `steps`."""
        if not self.inputs:
            groups = self.layout.groups
            return Origins({g.path: (Origin.of("", g.path, g.arrays, self.pieces.get(g.path, ())),) for g in groups})
        read = dict.fromkeys(self.inputs)
        some = (Origin.of(key, group, steps[key].schemas[group].data_vars.values()) for key, group in read)
        return Origins({self.layout.groups[0].path: tuple(some)})

    @property
    def regions(self) -> int:
        """Number of regions of the product."""
        return sum(group.regions for group in self.layout.groups)

    @property
    def nbytes(self) -> int:
        """Decoded bytes of the product."""
        return sum(array.nbytes for group in self.layout.groups for array in group.arrays)

    @property
    def shards(self) -> int:
        """Number of files its large arrays will have."""
        return sum(group.regions * len(group.arrays) for group in self.layout.groups)

    def bound(self, inputs: tuple[Input, ...], folder: Path) -> Task:
        """Return the task with its inputs where they are; what a source was is kept in the run's `folder`."""
        if self.source is not None:
            return replace(self.task, parameters=self.source.keep(folder).to_json())
        return replace(self.task, inputs=inputs)


def told(ingredients: Mapping[str, Any]) -> dict[str, Any]:
    """Return ingredients without the secrets in code and parameters."""
    known = dict(ingredients)
    if "code" in known:
        known["code"] = cleaned_code(known["code"], without_secrets)
    if "parameters" in known:
        known["parameters"] = without_secrets(known["parameters"])
    return known


def key_of(name: str, ingredients: Mapping[str, Any]) -> str:
    """Return the key that ingredients give: the stage's name and 80 bits of their BLAKE3."""
    return f"{name}-{blake3(canonical(ingredients)).hexdigest()[:20]}"


def group_of(
    path: str, schema: xr.Dataset, cut: Mapping[str, tuple[int, int]], chunk: Mapping[str, int] | None = None
) -> tuple[Group, xr.Dataset, xr.Dataset]:
    """Return the group that stores a schema, what of it is written at creation, and the schema with its inner chunks.

    `chunk` are lengths that somebody has chosen for these. Raises BadStage where values cannot be stored so.
    """
    _demand_storable(path, schema)
    arrays = []
    for name, values in schema.data_vars.items():
        dtype, attrs = _disk_type(values)
        beside = [str(n) for n in values.coords if n not in values.dims and " " not in str(n)]
        if beside:
            attrs["coordinates"] = " ".join(sorted(beside))
        dims = tuple(str(d) for d in values.dims)
        shaped = shape_array(str(name), dims, values.shape, dtype, cut, chunk)
        arrays.append(replace(shaped, attrs=attrs))
    known = as_read(schema)
    for array in arrays:
        known[array.name].encoding = {"preferred_chunks": dict(zip(array.dims, array.chunk, strict=True))}
    return Group(path, dict(cut), tuple(arrays)), schema.drop_vars(list(schema.data_vars)), known


def _demand_storable(path: str, schema: xr.Dataset) -> None:
    """Raise BadStage for names that are no names of files, an index of several coordinates, attributes and labels."""
    for name in (*(part for part in path.split("/") if path), *schema.variables):
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name.encode()) > _LONGEST or name in _TAKEN:
            raise BadStage(
                f"{name!r} can't be stored under its name: let it be a text of at most {_LONGEST} bytes, without / and "
                f"control characters, and none of {', '.join(_TAKEN)}"
            )
    for name, index in schema.indexes.items():
        if index.nlevels > 1:
            raise BadStage(
                f"{name} is an index of several coordinates, which can't be stored: use reset_index({name!r})"
            )
    for name, attrs in [("the result", schema.attrs), *((n, one.attrs) for n, one in schema.variables.items())]:
        _demand_told(str(name), attrs)
    for name, values in schema.coords.items():
        kinds = {type(one).__name__ for one in values.to_numpy().flat} if values.dtype.hasobject else set()
        if len(kinds - {"NoneType"}) > 1:
            raise BadStage(f"{name} holds {', '.join(sorted(kinds))}, which can't be stored together: make it all text")


def _demand_told(name: str, attrs: Mapping[Any, Any]) -> None:
    """Raise BadStage for attributes that JSON cannot have."""
    for key, value in attrs.items():
        try:
            canonical(json.loads(json.dumps({str(key): value}, default=str)))
        except (TypeError, ValueError) as error:
            raise BadStage(
                f"the attribute {str(key)!a} of {name} can't be stored ({error}): let it be a number of 64 bits, "
                "text in Unicode, or a list of these"
            ) from None


def _disk_type(values: xr.DataArray) -> tuple[str, dict[str, Any]]:
    attrs = dict(values.attrs)
    if values.dtype.kind == "M":
        units = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian", "_FillValue": NAT}
        return "int64", {**attrs, **units}
    if values.dtype.kind == "m":
        return "int64", {**attrs, "units": "nanoseconds", "dtype": "timedelta64[ns]", "_FillValue": NAT}
    if values.dtype.kind not in "fciub" or values.dtype.itemsize > _WIDEST[values.dtype.kind]:
        raise BadStage(
            f"{values.name} has type {values.dtype}, which cannot be cut into regions: keep text in coords, times of "
            "another calendar as numbers with `units` and `calendar`, and numbers in 64 bits"
        )
    return str(values.dtype.newbyteorder("=")), attrs
