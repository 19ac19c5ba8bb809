"""The step that takes a foreign source in, as its reader presents it."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import xarray as xr

from terp.storage.grid import REGION_BYTES, SMALL_REGION_BYTES, choose_blocks
from terp.storage.ingest import recognise
from terp.storage.making import Layout
from terp.storage.source import Identity, Source
from terp.workflows.planning import schema as schemas
from terp.workflows.planning.code import Code
from terp.workflows.planning.memory import Need, nbytes_of, need_of, weigh
from terp.workflows.planning.step import Step, group_of, key_of
from terp.workflows.running.task import Task

_MOST = 4 * REGION_BYTES  # of a region that is as a source has it


def _as_it_is(source: xr.Dataset, dims: tuple[str, ...]) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """Return blocks and inner chunks as a Zarr source has them, {} where it has none, or none that would do.

    So no chunk of the source is read twice, and who cut it with care finds it as it was.
    """
    lengths: dict[str, set[int]] = {}
    inner: dict[str, set[int]] = {}
    for variable in source.data_vars.values():
        chunks = variable.encoding.get("chunks") or ()
        shards = variable.encoding.get("shards")
        for dim, chunk, shard in zip(map(str, variable.dims), chunks, shards or chunks, strict=False):
            lengths.setdefault(dim, set()).add(min(shard, variable.sizes[dim]))
            inner.setdefault(dim, set()).update([min(chunk, variable.sizes[dim])] if shards else [])
    one = {dim: found.pop() for dim, found in lengths.items() if len(found) == 1}
    if not lengths or one.keys() != lengths.keys():
        return {}, {}
    blocks = {dim: (int(source.sizes[dim]), one[dim]) for dim in dims if one[dim] < source.sizes[dim]}
    others = any(one[dim] < source.sizes[dim] for dim in one.keys() - blocks.keys())
    size = nbytes_of({dim: block for dim, (_, block) in blocks.items()}, [source])
    if others or not (SMALL_REGION_BYTES <= size <= _MOST):
        return {}, {}
    return blocks, {dim: found.pop() for dim, found in inner.items() if len(found) == 1}


def ingested(identity: Identity) -> Step:
    """Return the step that takes a source in, as its reader presents it."""
    reader = recognise(Path(identity.path))
    source = Source(identity)
    found = source.groups
    full = {path: schemas.weightless(dataset) for path, dataset in found.items()}
    groups, small, need = [], {}, Need()
    grid: dict[str, Any] = {}
    for path, dims in reader.cut(found).items():
        schema = full[path]
        sizes = {dim: int(schema.sizes[dim]) for dim in dims}
        blocks, chunk = _as_it_is(found[path], dims)
        if blocks:
            grid[path] = [blocks, chunk]
        elif schema.data_vars:
            blocks = choose_blocks(sizes, dims, weigh(sizes, schema), {})
        group, small[path], full[path] = group_of(path, schema, blocks, chunk)
        groups.append(group)
        need = max(need, need_of((), schema, blocks), key=lambda one: one.blocks)
    module = import_module(f"terp.storage.ingest.{reader.module}")
    ingredients = {
        "stage": "ingest",
        "reader": identity.reader,
        "source": identity.content,
        "code": Code(module.read).parts,
        **({"grid": grid} if grid else {}),
    }
    key, layout = key_of("ingest", ingredients), Layout(tuple(groups), small)
    doubts = tuple(source.lacking())
    task = Task("ingest", b"", (), {})
    step = Step("ingest", key, ingredients, full, layout, task, (), need, doubts)
    return replace(step, source=identity, pieces=source.pieces)
