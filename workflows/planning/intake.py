"""The step that takes a foreign source in, as its reader presents it."""

from importlib import import_module
from pathlib import Path

from terp.storage.grid import choose_blocks
from terp.storage.ingest import recognise
from terp.storage.making import Layout
from terp.storage.source import Identity, opened_source
from terp.workflows.planning import schema as schemas
from terp.workflows.planning.code import Code
from terp.workflows.planning.memory import Need, need_of, weigh
from terp.workflows.planning.step import Step, group_of, key_of
from terp.workflows.running.task import Task


def ingested(identity: Identity) -> Step:
    """Return the step that takes a source in, as its reader presents it."""
    reader = recognise(Path(identity.path))
    found = opened_source(identity)
    full = {path: schemas.weightless(dataset) for path, dataset in found.items()}
    groups, small, need = [], {}, 0
    for path, dims in reader.cut(found).items():
        schema = full[path]
        sizes = {dim: int(schema.sizes[dim]) for dim in dims}
        weight = weigh(sizes, schema)
        blocks = choose_blocks(sizes, dims, weight, {}) if schema.data_vars else {}
        group, small[path], full[path] = group_of(path, schema, blocks)
        groups.append(group)
        need = max(need, need_of((), schema, blocks).blocks)
    module = import_module(f"terp.storage.ingest.{reader.module}")
    ingredients = {
        "stage": "ingest",
        "reader": identity.reader,
        "source": identity.content,
        "code": Code(module.read).parts,
    }
    task = Task("ingest", b"", (), identity.to_json())
    key = key_of("ingest", ingredients)
    return Step("ingest", key, ingredients, full, Layout(tuple(groups), small), task, (), Need(need))
