"""Crate: the record of a run as an RO-Crate that explains itself.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) after the profile Process Run Crate 0.5
(https://w3id.org/ro/wfrun/process/0.5): all that both require, and what they recommend where the agent's affiliation
and its URL are known. The same record gives the same bytes.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from terp.storage.environment import LOCK
from terp.storage.files import disk
from terp.storage.files import replace as put
from terp.storage.provenance import Agent, Flow, Input, Output, Record, Resource, Stage
from terp.storage.scrub import scrub

METADATA, SOURCE, README, CHECKSUMS = "ro-crate-metadata.json", "flow.py", "README.md", "SHA512SUMS"
SIGNATURE = "SHA512SUMS.sig"
HEAD = "BLAKE3 of the last line of the journal"

_SPECIFICATION = "https://w3id.org/ro/crate/1.1"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_CONTEXT = [f"{_SPECIFICATION}/context", "https://w3id.org/ro/terms/workflow-run/context"]
_PYTHON = "https://www.python.org/"
_BESIDE = {
    LOCK: ("Environment", "Every Python distribution it was run with, for uv pip install -r", "text/plain"),
    README: ("Read me first", "What this is, how it was made, how to check and read it", "text/markdown"),
    CHECKSUMS: ("Checksums", "SHA-512 of the results, for sha512sum -c", "text/plain"),
    SIGNATURE: ("Signature", "Of the checksums, for ssh-keygen -Y verify -n file", "application/x-pem-file"),
}

Entity = dict[str, Any]


def crate(record: Record, folder: Path) -> Path:
    """Write the crate's metadata and the flow's code into a folder; return the path of the metadata.

    The outputs of the record are files in that folder; a README.md, SHA512SUMS and SHA512SUMS.sig that are there
    already are described too. Raises DiskTrouble.
    """
    code = scrub(record.flow.source).encode()
    with disk(folder):
        put(folder / LOCK, scrub(record.environment.lock()).encode())
    beside = [name for name in _BESIDE if (folder / name).exists()]
    about, root, *others = scrub([_compact(entity) for entity in _graph(record, code, beside)])
    once = {str(entity["@id"]): entity for entity in others}  # two stages may have made the same product
    graph = [about, root, *(once[name] for name in sorted(once))]
    text = json.dumps({"@context": _CONTEXT, "@graph": graph}, indent=2, sort_keys=True, ensure_ascii=False)
    with disk(folder):
        put(folder / SOURCE, code)
        put(folder / METADATA, f"{text}\n".encode())
    return folder / METADATA


def _graph(record: Record, code: bytes, beside: Sequence[str]) -> list[Entity]:
    """Return all entities: the metadata file, the root, then the others in any order."""
    files = [*map(_output, record.outputs), _source(record.flow, code), *(_file(n, *_BESIDE[n]) for n in beside)]
    inputs = [_input(number, one) for number, one in enumerate(record.inputs, 1)]
    parameters = [_value("parameter", name, value) for name, value in record.parameters.items()]
    facts, people, software = _facts(record), _people(record.agent), _software(record.flow, record, code)
    stages = [_stage(number, one) for number, one in enumerate(record.stages, 1)]
    used = [_resource(number, one) for number, one in enumerate(record.resources, 1)]
    actions = [_run(record, inputs + parameters, facts, used), *(action for action, *_ in stages)]
    for action in actions:
        action["agent"], action["instrument"] = _link(people[0]), _link(software[0])
        action["actionStatus"] = "http://schema.org/CompletedActionStatus"
    made = [entity for _, *rest in stages for entity in rest]
    root = _root(record, files, actions, people)
    licence = {"@id": record.licence.url, "@type": "CreativeWork"}
    licence |= {"name": record.licence.name, "description": record.licence.description}
    others = [licence, *files, *inputs, *parameters, *facts, *used, *people, *software, *actions, *made]
    return [_about(), root, _profile(), *others]


def _about() -> Entity:
    about = {"about": {"@id": "./"}, "conformsTo": {"@id": _SPECIFICATION}}
    return {"@id": METADATA, "@type": "CreativeWork", **about}


def _profile() -> Entity:
    return {"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}


def _root(record: Record, files: Sequence[Entity], actions: Sequence[Entity], people: Sequence[Entity]) -> Entity:
    author, *publisher = map(_link, people)
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": record.title,
        "description": record.flow.description or record.title,
        "identifier": record.run,
        "datePublished": _time(record.ended),
        "license": {"@id": record.licence.url},
        "author": author,
        **({"publisher": publisher[0]} if publisher else {}),
        "conformsTo": {"@id": _PROFILE},
        "hasPart": [_link(file) for file in files],
        "mentions": [_link(action) for action in actions],
    }


def _run(record: Record, read: Sequence[Entity], facts: Sequence[Entity], used: Sequence[Entity]) -> Entity:
    return {
        "@id": f"#run-{quote(record.run)}",
        "@type": "CreateAction",
        "name": f"Run of the flow {record.flow.name}",
        "description": record.flow.description or record.title,
        "startTime": _time(record.started),
        "endTime": _time(record.ended),
        "object": [_link(entity) for entity in read],
        "result": [_file_link(one.file) for one in record.outputs] or [_file_link(SOURCE)],
        "additionalProperty": [_link(fact) for fact in facts],
        "resourceUsage": [_link(one) for one in used],
    }


def _stage(number: int, stage: Stage) -> tuple[Entity, ...]:
    """Return the action, the product it made, and what is to be said of that."""
    facts = [
        _value(f"stage-{number}", "number of regions", stage.regions),
        _value(f"stage-{number}", "digest of the code", stage.code),
        *([_value(f"stage-{number}", "tolerance", list(stage.tolerance))] if stage.tolerance else []),
    ]
    product = {
        "@id": f"#product-{quote(stage.key)}",
        "@type": "CreativeWork",
        "name": f"Product of the stage {stage.name}",
        "identifier": stage.key,
        "additionalProperty": [_link(fact) for fact in facts],
    }
    action = {
        "@id": f"#stage-{number}",
        "@type": "CreateAction",
        "name": f"Stage {stage.name}",
        "description": f"Step {number} of the run, computed in {stage.regions} regions",
        "startTime": _time(stage.started),
        "endTime": _time(stage.ended),
        "result": _link(product),
    }
    return action, product, *facts


def _facts(record: Record) -> list[Entity]:
    """Return what is to be said of the run beyond what schema.org has words for."""
    there, flow = record.environment, record.flow
    machine = there.machine
    system = {"operating system": machine.system, "C library": machine.libc, "CPU": machine.cpu}
    system |= {"CPU features": " ".join(machine.features), "numerical library": machine.blas, "locale": there.locale}
    system = {name: value for name, value in system.items() if value} | {"workers": record.workers}
    code = {"git commit": flow.commit, "code differs from that commit": flow.dirty} if flow.commit else {}
    return [
        *(_value("environment", name, value) for name, value in (system | code).items()),
        *(_value("distribution", name, one.version) for name, one in there.distributions.items()),
        *(_numbered("place", number, place) for number, place in enumerate(record.places, 1)),
        *(_numbered("warning", number, warning) for number, warning in enumerate(record.warnings, 1)),
        *([_value("journal", HEAD, record.journal)] if record.journal else []),
    ]


def journal_head(metadata: bytes) -> str:
    """Return the digest of the last line of the journal, as a crate's metadata tell it; "" where they do not."""
    graph = json.loads(metadata)["@graph"]
    return next((str(one["value"]) for one in graph if one.get("name") == HEAD), "")


def _resource(number: int, one: Resource) -> Entity:
    """Return how much of something was used, as Provenance Run Crate wants it told."""
    told = {"unitCode": one.unit and f"https://qudt.org/vocab/unit/{one.unit}", "description": one.description}
    quantity = {"propertyID": f"https://terp.invalid/quantity/{quote(one.quantity)}", "value": f"{one.value:.15g}"}
    about = {"@id": f"#resource-{number}", "@type": "PropertyValue", "name": one.name, **quantity}
    return about | {k: v for k, v in told.items() if v}


def _software(flow: Flow, record: Record, code: bytes) -> list[Entity]:
    """Return the flow and the Python it needs; an application is asked to have an URL, made up where there is none."""
    url = flow.url or f"https://terp.invalid/flow/{quote(flow.name)}/{hashlib.sha256(code).hexdigest()}"
    about = {"name": flow.name, "description": flow.description, "softwareVersion": flow.version, "url": url}
    made_of = {"hasPart": _file_link(SOURCE), "softwareRequirements": {"@id": _PYTHON}}
    python = {"name": "Python", "softwareVersion": record.environment.python, "url": _PYTHON}
    return [
        {"@id": url, "@type": "SoftwareApplication", **about, **made_of},
        {"@id": _PYTHON, "@type": "SoftwareApplication", **python},
    ]


def _people(agent: Agent) -> list[Entity]:
    orcid = agent.orcid and f"https://orcid.org/{agent.orcid.rstrip('/').rpartition('/')[2]}"
    person: Entity = {"@id": orcid or "#agent", "@type": "Person", "name": agent.name}
    if not agent.affiliation:
        return [person]
    where: Entity = {"@id": agent.affiliation_url or "#affiliation", "@type": "Organization", "name": agent.affiliation}
    if agent.affiliation_url:
        where["url"] = agent.affiliation_url
    return [person | {"affiliation": _link(where)}, where]


def _input(number: int, one: Input) -> Entity:
    """Return something read that is not itself in the crate."""
    about = {"name": one.name, "identifier": one.identifier, "sha256": one.sha256, "contentSize": str(one.size)}
    told = {"encodingFormat": one.media_type, "license": one.licence, "description": one.description}
    return {"@id": f"#input-{number}", "@type": "CreativeWork", **about, **{k: v for k, v in told.items() if v}}


def _output(one: Output) -> Entity:
    file = _file(one.file, one.title, one.description, one.media_type)
    return file | {"sha256": one.sha256, "sha512": one.sha512, "contentSize": str(one.size)}


def _source(flow: Flow, code: bytes) -> Entity:
    file = _file(SOURCE, f"Code of the flow {flow.name}", "The code as it was run", "text/x-python")
    return file | {"sha256": hashlib.sha256(code).hexdigest(), "contentSize": str(len(code))}


def _compact(entity: Entity) -> Entity:
    """Return an entity without empty lists, and with single values in place of lists of one."""
    lists = {key: value[0] for key, value in entity.items() if isinstance(value, list) and len(value) == 1}
    return {key: lists.get(key, value) for key, value in entity.items() if value != []}


def _file(name: str, title: str, description: str, media_type: str) -> Entity:
    about = {"name": title, "description": description, "encodingFormat": media_type}
    return {**_file_link(name), "@type": "File", **about}


def _file_link(name: str) -> Entity:
    return {"@id": quote(name)}


def _link(entity: Entity) -> Entity:
    return {"@id": entity["@id"]}


def _value(kind: str, name: str, value: Any) -> Entity:
    """Return a named value; what is not a plain string is given as JSON."""
    shown = scrub({name: value})[name] if isinstance(value, str) else value
    text = shown if isinstance(shown, str) else json.dumps(scrub(shown), sort_keys=True, ensure_ascii=False)
    return {"@id": f"#{kind}-{quote(name)}", "@type": "PropertyValue", "name": name, "value": text}


def _numbered(kind: str, number: int, value: str) -> Entity:
    return {"@id": f"#{kind}-{number}", "@type": "PropertyValue", "name": kind, "value": value}


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
