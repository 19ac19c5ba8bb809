"""Actions: what was done, as the crate tells it. The run, each stage, and terp that led them, with what was made.

Process Run Crate 0.5 (https://w3id.org/ro/wfrun/process/0.5) for each action, Provenance Run Crate 0.5 for how they
hang together (OrganizeAction, ControlAction).
"""

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from terp.storage.crate.entities import MADE_UP, Entity, file, file_link, link, links, time, value
from terp.storage.crate.workflow import (
    SOURCE,
    data_kind,
    engine,
    made_by,
    parameter_of,
    read_by,
    result_of,
    setting_of,
    step_of,
    tool_of,
)
from terp.storage.provenance import Input, Output, Record, Resource, Stage

_DONE = {"actionStatus": "http://schema.org/CompletedActionStatus"}


def inputs(record: Record) -> list[Entity]:
    """Return what was read, which is not itself in the crate: it goes by its digest."""
    return [_input(one, record) for one in record.inputs]


def _input(one: Input, record: Record) -> Entity:
    about = {"name": one.name, "identifier": one.identifier, "sha256": one.sha256, "contentSize": str(one.size)}
    told = {"encodingFormat": one.media_type, "license": one.licence, "description": one.description}
    stands = [parameter_of(one.parameter)] if one.parameter in record.parameters else []
    stands += [
        read_by(stage, n) for stage in record.steps for n, read in enumerate(stage.reads, 1) if read == one.sha256
    ]
    of = [{"@id": name} for name in stands]
    told |= {"contentUrl": one.url} if one.url else {}
    return {"@id": _input_id(one), "@type": data_kind(one), **about, **told, "exampleOfWork": of}


def _input_id(one: Input) -> str:
    return f"#sha256-{one.sha256}" + ("/" if one.parts else "")


def outputs(record: Record) -> list[Entity]:
    """Return the files that were made."""
    return [_output(one, record) for one in record.outputs]


def _output(one: Output, record: Record) -> Entity:
    about = file(one.file, one.title, one.description, one.media_type)
    stands = [result_of(one.result)] if one.result else []
    stands += _stands_for(one.key, record) if one.key else []
    digests = {"sha256": one.sha256, "sha512": one.sha512, "contentSize": str(one.size)}
    return about | digests | {"exampleOfWork": [{"@id": name} for name in stands]}


def _stands_for(key: str, record: Record) -> Iterator[str]:
    """Yield the formal parameters that a product is an example of."""
    for stage in record.steps:
        if stage.key == key:
            yield made_by(stage)
        yield from (read_by(stage, number) for number, read in enumerate(stage.reads, 1) if read == key)


def parameters(record: Record) -> list[Entity]:
    """Return the values of the flow's parameters; one that names what is read has that as its example of work."""
    named = {one.parameter for one in record.inputs}
    return [
        value("parameter", name, given) | ({} if name in named else {"exampleOfWork": {"@id": parameter_of(name)}})
        for name, given in record.parameters.items()
    ]


def products(record: Record) -> list[Entity]:
    """Return the products between, which are not in the crate; they go by their keys."""
    packed = {one.key for one in record.outputs}
    return [_product(stage, record) for stage in record.steps if stage.key not in packed]


def _product(stage: Stage, record: Record) -> Entity:
    return {
        "@id": _product_id(stage.key),
        "@type": "Dataset",
        "name": f"Product of the stage {stage.name}",
        "description": "A Zarr group between the stages, which is not kept: the same code makes it again",
        "identifier": stage.key,
        "exampleOfWork": [{"@id": name} for name in _stands_for(stage.key, record)],
    }


def _product_id(key: str) -> str:
    return f"#product-{quote(key)}/"


def resource(kind: str, one: Resource) -> Entity:
    """Return how much of something was used."""
    about = {"@id": f"#{kind}-{quote(one.name)}", "@type": "PropertyValue", "name": one.name}
    quantity = {"propertyID": f"{MADE_UP}/quantity/{quote(one.quantity)}", "value": f"{one.value:.15g}"}
    return about | quantity | {"unitCode": f"https://qudt.org/vocab/unit/{one.unit}", "description": one.description}


def run(record: Record, read: Sequence[Entity], facts: Sequence[Entity], images: Sequence[Entity]) -> list[Entity]:
    """Return the run, as the action that made the results, and what it used."""
    used = [resource("resource", one) for one in record.resources]
    action = {
        "@id": f"#run-{quote(record.run)}",
        "@type": "CreateAction",
        "name": f"Run of the flow {record.flow.name}",
        "description": record.flow.description or record.title,
        "startTime": time(record.started),
        "endTime": time(record.ended),
        "instrument": file_link(SOURCE),
        "object": links(read),
        "result": [file_link(one.file) for one in record.outputs] or [file_link(SOURCE)],
        "additionalProperty": links(facts),
        "resourceUsage": links(used),
        "containerImage": links(images),
        **_DONE,
    }
    return [action, *used]


def stages(record: Record) -> list[Entity]:
    """Return each stage as an action that made a product, terp's leading of it, and what is to be said of it."""
    found = [entity for number, stage in enumerate(record.steps, 1) for entity in _stage(number, stage, record)]
    led = [link(one) for one in found if one["@type"] == "ControlAction"]
    if not led:
        return found
    leading = {
        "@id": "#leading",
        "@type": "OrganizeAction",
        "name": f"Leading of the flow {record.flow.name}",
        "description": "terp orders the stages, hands out their regions, and records what comes back",
        "startTime": time(record.started),
        "endTime": time(record.ended),
        "instrument": link(engine(record)),
        "object": led,
        "result": {"@id": f"#run-{quote(record.run)}"},
        **_DONE,
    }
    return [leading, *found]


def _stage(number: int, stage: Stage, record: Record) -> Iterator[Entity]:
    settings = [
        value(f"setting-value-{stage.key}", name, given) | {"exampleOfWork": {"@id": setting_of(stage, name)}}
        for name, given in sorted(stage.parameters.items())
    ]
    kind = f"stage-{number}"
    facts = [value(kind, "number of regions", stage.regions), value(kind, "digest of the code", stage.code)]
    facts += [value(kind, "tolerance", list(stage.tolerance))] if stage.tolerance else []
    used = [resource(f"{kind}-used", one) for one in _used(stage)]
    times = {"startTime": time(stage.started)} if not stage.reused else {}
    told = f"Step {number} of the run, " + (
        "made by an earlier run, at the latest by this time" if stage.reused else f"computed in {stage.regions} regions"
    )
    yield {
        "@id": f"#stage-{number}",
        "@type": "CreateAction",
        "name": f"Stage {stage.name}",
        "description": told,
        **times,
        "endTime": time(stage.ended),
        "instrument": {"@id": tool_of(stage)},
        "object": [*_read(stage, record), *links(settings)],
        "result": _made(stage.key, record),
        "additionalProperty": links(facts),
        "resourceUsage": links(used),
        **_DONE,
    }
    yield {
        "@id": f"#leading-{number}",
        "@type": "ControlAction",
        "name": f"Leading of the stage {stage.name}",
        "instrument": {"@id": step_of(stage)},
        "object": {"@id": f"#stage-{number}"},
        **_DONE,
    }
    yield from (*settings, *facts, *used)


def _used(stage: Stage) -> Iterator[Resource]:
    if stage.seconds:
        yield Resource("work", "seconds of work", round(stage.seconds, 3), "SEC", "of all workers together")
    if stage.memory:
        yield Resource("memory", "memory", stage.memory, "BYTE", "the most that a worker held")


def _read(stage: Stage, record: Record) -> list[Entity]:
    sources = {one.sha256: _input_id(one) for one in record.inputs}
    return [{"@id": sources[one]} if one in sources else _made(one, record) for one in stage.reads]


def _made(key: str, record: Record) -> Entity:
    """Return a link to a product: to the file that holds it, where it is a result."""
    packed = {one.key: one.file for one in reversed(record.outputs)}  # of several the first
    return file_link(packed[key]) if key in packed else {"@id": _product_id(key)}
