"""Workflow: what was to be done, as the crate tells it. The flow, its stages as tools and steps, and what goes where.

Workflow Run Crate 0.5 (https://w3id.org/ro/wfrun/workflow/0.5) and Provenance Run Crate 0.5
(https://w3id.org/ro/wfrun/provenance/0.5), sections "Representing workflows" and "parameter connections".
"""

import hashlib
from collections.abc import Iterator
from urllib.parse import quote

from terp.storage.crate.entities import MADE_UP, Entity, file, file_link, kind_of, link
from terp.storage.environment import LOCK
from terp.storage.provenance import Input, Output, Record, Stage

SOURCE = "flow.py"

_PYTHON = "https://www.python.org/"
_LANGUAGE = "#python"
_BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"


def tool_of(stage: Stage) -> str:
    """Return the name of a stage as a tool: code and parameters are in its key."""
    return f"{MADE_UP}/stage/{quote(stage.key)}"


def step_of(stage: Stage) -> str:
    """Return the name of a stage as a step of the flow."""
    return f"{SOURCE}#step-{quote(stage.key)}"


def parameter_of(name: str) -> str:
    """Return the name of a formal parameter of the flow."""
    return f"{SOURCE}#parameter-{quote(name)}"


def result_of(name: str) -> str:
    """Return the name of what the flow gives back, as a formal parameter."""
    return f"{SOURCE}#result-{quote(name)}"


def read_by(stage: Stage, number: int) -> str:
    """Return the formal parameter by which a stage takes the nth thing that it reads."""
    return f"#takes-{quote(stage.key)}-{number}"


def setting_of(stage: Stage, name: str) -> str:
    """Return the formal parameter by which a stage takes a value."""
    return f"#setting-{quote(stage.key)}-{quote(name)}"


def made_by(stage: Stage) -> str:
    """Return what a stage gives, as a formal parameter."""
    return f"#gives-{quote(stage.key)}"


def engine(record: Record) -> Entity:
    """Return terp, which ran the flow."""
    url = f"{MADE_UP}/terp/{quote(record.program)}"
    return {"@id": url, "@type": "SoftwareApplication", "name": "terp", "softwareVersion": record.program, "url": url}


def workflow(record: Record, code: bytes) -> list[Entity]:
    """Return the flow, which is the main entity, with all that it is made of."""
    steps = list(_steps(record))
    tools = [one for one in steps if one["@type"] == "SoftwareApplication"]
    takes, gives = list(_takes(record)), list(_gives(record))
    out = list(_connections_out(record))
    flow, digest = record.flow, hashlib.sha256(code).hexdigest()
    about = file(SOURCE, f"Flow {flow.name}", flow.description or "The code as it was run", "text/x-python")
    main = about | {
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", *(["HowTo"] if tools else [])],
        "conformsTo": {"@id": _BIOSCHEMAS},
        "programmingLanguage": {"@id": _LANGUAGE},
        "version": flow.version,
        "url": flow.url or f"{MADE_UP}/flow/{quote(flow.name)}/{digest}",
        "sha256": digest,
        "contentSize": str(len(code)),
        "input": [link(one) for one in takes],
        "output": [link(one) for one in gives],
        "hasPart": [link(one) for one in tools],
        "step": [link(one) for one in steps if one["@type"] == "HowToStep"],
        "connection": [link(one) for one in out],
        "buildInstructions": file_link(LOCK),
        "softwareRequirements": {"@id": _PYTHON},
    }
    return [main, *takes, *gives, *steps, *out, *_around(record)]


def _around(record: Record) -> list[Entity]:
    """Return what a flow stands on."""
    version = record.environment.python.rpartition(" ")[2]
    python = {"name": "Python", "url": _PYTHON}
    return [
        {"@id": _PYTHON, "@type": "SoftwareApplication", "softwareVersion": version, **python},
        {"@id": _LANGUAGE, "@type": "ComputerLanguage", "version": version, **python},
        {"@id": _BIOSCHEMAS, "@type": "CreativeWork", "name": "Bioschemas ComputationalWorkflow", "version": "1.0"},
        engine(record),
    ]


def _formal(name: str, shown: str, kind: str, description: str) -> Entity:
    about = {"additionalType": kind, "name": shown, "description": description}
    return {"@id": name, "@type": "FormalParameter", **about}


def _takes(record: Record) -> Iterator[Entity]:
    """Yield the formal parameters of the flow: data, where one names a source, values else."""
    data = {one.parameter: one for one in record.inputs}
    for name, given in sorted(record.parameters.items()):
        kind = data_kind(data[name]) if name in data else kind_of(given)
        yield _formal(parameter_of(name), name, kind, f"Parameter {name} of the flow {record.flow.name}")


def data_kind(one: Input) -> str:
    """Return whether something read is a file or a folder."""
    return "Dataset" if one.parts else "File"


def _gives(record: Record) -> Iterator[Entity]:
    for one in record.outputs:
        if one.result:
            yield _formal(result_of(one.result), one.result, "File", f"Result {one.result} of the flow")


def _packed(record: Record) -> dict[str, Output]:
    return {one.key: one for one in record.outputs if one.key}


def _steps(record: Record) -> Iterator[Entity]:
    """Yield each stage as a tool, with its formal parameters, and as a step that says where these come from."""
    packed, stages = _packed(record), {one.key: one for one in record.steps}
    inputs = {one.sha256: one for one in record.inputs}
    for number, stage in enumerate(record.steps, 1):
        takes = []
        for place, read in enumerate(stage.reads, 1):
            kind = data_kind(inputs[read]) if read in inputs else "File" if read in packed else "Dataset"
            takes.append(_formal(read_by(stage, place), f"input {place}", kind, f"What {stage.name} reads"))
        for name, given in sorted(stage.parameters.items()):
            takes.append(_formal(setting_of(stage, name), name, kind_of(given), f"Parameter {name} of {stage.name}"))
        kind = "File" if stage.key in packed else "Dataset"
        gives = _formal(made_by(stage), "product", kind, f"What {stage.name} makes")
        connections = list(_connections_in(stage, stages, inputs))
        yield from (*takes, gives, *connections)
        yield _tool(stage, takes, gives)
        yield {
            "@id": step_of(stage),
            "@type": "HowToStep",
            "name": f"Stage {stage.name}",
            "position": str(number),
            "workExample": {"@id": tool_of(stage)},
            "connection": [link(one) for one in connections],
        }


def _tool(stage: Stage, takes: list[Entity], gives: Entity) -> Entity:
    return {
        "@id": tool_of(stage),
        "@type": "SoftwareApplication",
        "name": f"Stage {stage.name}",
        "description": f"A function of the flow's code on one block, cut into {stage.regions} regions",
        "softwareVersion": stage.code,
        "url": tool_of(stage),
        "input": [link(one) for one in takes],
        "output": link(gives),
    }


def _connection(source: str, target: str) -> Entity:
    ends = {"sourceParameter": {"@id": source}, "targetParameter": {"@id": target}}
    name = hashlib.sha256(f"{source} {target}".encode()).hexdigest()[:20]
    return {"@id": f"#connection-{name}", "@type": "ParameterConnection", **ends}


def _connections_in(stage: Stage, stages: dict[str, Stage], inputs: dict[str, Input]) -> Iterator[Entity]:
    for place, read in enumerate(stage.reads, 1):
        if read in stages:
            yield _connection(made_by(stages[read]), read_by(stage, place))
        elif read in inputs and inputs[read].parameter:
            yield _connection(parameter_of(inputs[read].parameter), read_by(stage, place))


def _connections_out(record: Record) -> Iterator[Entity]:
    stages = {one.key: one for one in record.steps}
    for one in record.outputs:
        if one.result and one.key in stages:
            yield _connection(made_by(stages[one.key]), result_of(one.result))
