"""Crate: the record of a run as an RO-Crate that explains itself.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) after the profiles Process, Workflow and Provenance Run Crate 0.5
(https://w3id.org/ro/wfrun) and Workflow RO-Crate 1.0: all that they require, and what they recommend where the agent's
affiliation and its URL are known. The same record gives the same bytes.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from terp.storage.crate import actions, around
from terp.storage.crate.around import journal_head
from terp.storage.crate.drawing import DRAWING, drawing
from terp.storage.crate.entities import Entity, compact, file, file_link, link, links, time
from terp.storage.crate.prov import PROV_JSON, PROV_TURTLE, prov_json, prov_turtle
from terp.storage.crate.starts import starts
from terp.storage.crate.workflow import SOURCE, workflow
from terp.storage.environment import LOCK, is_lock
from terp.storage.files import disk
from terp.storage.files import replace as put
from terp.storage.provenance import Record
from terp.storage.scrub import scrub

__all__ = [
    "CHECKSUMS",
    "DIFF",
    "DRAWING",
    "FORMATS",
    "INPUTS",
    "LEESMIJ",
    "METADATA",
    "README",
    "SIGNATURE",
    "SOURCE",
    "as_run",
    "checksums",
    "contents",
    "crate",
    "journal_head",
]

METADATA, README, CHECKSUMS = "ro-crate-metadata.json", "README.md", "SHA512SUMS"
LEESMIJ, FORMATS = "LEESMIJ.md", "FORMATS.md"
SIGNATURE = "SHA512SUMS.sig"
DIFF, INPUTS = "changes.diff", "inputs.sha256"

_SPECIFICATION = "https://w3id.org/ro/crate/1.1"
_WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
_REQUIREMENTS = "https://pip.pypa.io/en/stable/reference/requirements-file-format/"
_CODEMETA = {"buildInstructions": "https://codemeta.github.io/terms/buildInstructions"}
_CONTEXT = [f"{_SPECIFICATION}/context", "https://w3id.org/ro/terms/workflow-run/context", _CODEMETA]
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    _WORKFLOW_CRATE: ("Workflow RO-Crate", "1.0"),
}
_BESIDE = {
    METADATA: ("Metadata", "Who made what from what, when and how, as JSON-LD", "application/ld+json"),
    SOURCE: ("Code", "The flow's file as it was run (Python)", "text/x-python"),
    LOCK: ("Environment", "Every Python distribution it was run with, for uv pip install -r", "text/plain"),
    DIFF: ("Changes", "How the repository of the flow differed from its commit, as git diff", "text/x-diff"),
    INPUTS: ("Digests of inputs", "SHA-256 of every file that was read, for sha256sum -c", "text/plain"),
    PROV_JSON: ("Provenance", "The run in W3C PROV, as PROV-JSON", "application/json"),
    PROV_TURTLE: ("Provenance", "The run in W3C PROV, as PROV-O in Turtle", "text/turtle"),
    DRAWING: ("Picture of the run", "Inputs, stages and results, and what was made of what", "image/svg+xml"),
    README: ("Read me first", "What this is, how it was made, how to check and read it", "text/markdown"),
    LEESMIJ: ("Lees mij eerst", "The same as README.md, in Dutch", "text/markdown"),
    FORMATS: ("Formats", "Every format here, described to the byte: enough to read it by hand", "text/markdown"),
    CHECKSUMS: ("Checksums", "SHA-512 of every other file, for sha512sum -c", "text/plain"),
    SIGNATURE: ("Signature", "Of the checksums, for ssh-keygen -Y verify -n file", "application/x-pem-file"),
}


def crate(record: Record, folder: Path) -> Path:
    """Write the crate's metadata and all that is told by the record alone; return the path of the metadata.

    The outputs of the record are files in that folder; texts for people, SHA512SUMS and SHA512SUMS.sig that are there
    already are described too. Raises DiskTrouble.
    """
    code: str = scrub(record.flow.source)
    record = scrub(record, record.hosts)
    texts = _texts(record) | {SOURCE: code}
    with disk(folder):
        for name, text in texts.items():
            put(folder / name, text.encode())
        beside = [name for name in _kinds(record) if name in texts.keys() - {SOURCE} or _is_beside(folder, name)]
        about, root, *others = (compact(one) for one in _graph(record, code.encode(), beside))
        once = {str(entity["@id"]): entity for entity in others}
        graph = [about, root, *(once[name] for name in sorted(once))]
        text = json.dumps({"@context": _CONTEXT, "@graph": graph}, indent=2, sort_keys=True, ensure_ascii=False)
        put(folder / METADATA, f"{text}\n".encode())
    return folder / METADATA


def as_run(record: Record) -> dict[str, bytes]:
    """Return the files of a crate that say by what code and in which environments its run was, by name.

    They are the same whatever journal the record names, so that this may have their digests.
    """
    locks = {name: scrub(one, record.hosts).lock() for name, one in record.locks.items()}
    told = {SOURCE: scrub(record.flow.source), DIFF: scrub(record.flow.diff, record.hosts), **locks}
    return {name: text.encode() for name, text in told.items() if text}


def _is_beside(folder: Path, name: str) -> bool:
    return name in (README, LEESMIJ, FORMATS, CHECKSUMS, SIGNATURE) and (folder / name).exists()


def checksums(text: str) -> dict[str, str]:
    """Return the SHA-512 of each file by its name, as SHA512SUMS tells it."""
    return {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}


def contents(record: Record, signed: bool = False) -> dict[str, str]:
    """Return the names of the files that stand in a crate beside the outputs of a record, and what each is."""
    written = {*_texts(record), METADATA, SOURCE, README, LEESMIJ, FORMATS, CHECKSUMS, *([SIGNATURE] if signed else [])}
    return {name: about for name, (_, about, _) in _kinds(record).items() if name in written}


def _kinds(record: Record) -> dict[str, tuple[str, str, str]]:
    """Return title, description and media type of the files that may stand beside the outputs, by name."""
    title, about, media_type = _BESIDE[LOCK]
    whose = zip(list(record.locks)[1:], (whose for whose, _ in record.others), strict=True)
    return _BESIDE | {name: (title, f"{about}: that of {one}", media_type) for name, one in whose}


def _texts(record: Record) -> dict[str, str]:
    """Return the files that follow from the record alone, by name; none that would be empty."""
    told = {
        **{name: one.lock() for name, one in record.locks.items()},
        DIFF: record.flow.diff,
        INPUTS: "".join(f"{digest}  {name}\n" for one in record.inputs for name, digest in one.files),
        PROV_JSON: prov_json(record),
        PROV_TURTLE: prov_turtle(record),
        DRAWING: drawing(record),
    }
    return {name: text for name, text in told.items() if text}


def _graph(record: Record, code: bytes, beside: Sequence[str]) -> list[Entity]:
    """Return all entities: the metadata file, the root, then the others in any order."""
    main, *planned = workflow(record, code)
    people, support = around.people(record.agent), around.support(record.agent)
    facts, images = around.facts(record), around.images(record)
    read = [*actions.inputs(record), *actions.parameters(record)]
    done = [*actions.run(record, read, facts, images), *actions.stages(record), *starts(record)]
    for action in done:
        if action["@type"] in ("CreateAction", "OrganizeAction", "ActivateAction"):
            action["agent"] = link(people[0])
    made = [*actions.outputs(record), *(_beside(name, _kinds(record)[name]) for name in beside)]
    files = [main, *made, *actions.inputs(record), *actions.products(record)]
    root = _root(record, files, done, people) | {name: link(one) for name, one in support.items()}
    context = [*people, *support.values(), around.licence(record), *facts, *images, *_profiles(record)]
    return [_about(), root, *files, *planned, *read, *done, *context]


def _beside(name: str, kind: tuple[str, str, str]) -> Entity:
    about = file(name, *kind)
    if is_lock(name):
        about["conformsTo"] = {"@id": _REQUIREMENTS}
    return about | ({"about": {"@id": "./"}} if name in (README, LEESMIJ, PROV_JSON, PROV_TURTLE, DRAWING) else {})


def _about() -> Entity:
    told = [{"@id": _SPECIFICATION}, {"@id": _WORKFLOW_CRATE}]
    return {"@id": METADATA, "@type": "CreativeWork", "about": {"@id": "./"}, "conformsTo": told}


def _profiles(record: Record) -> list[Entity]:
    """Return what the crate conforms to: without stages there is no provenance of them."""
    requirements = {"@id": _REQUIREMENTS, "@type": "CreativeWork", "name": "Requirements file format of pip"}
    kept = {url: known for url, known in _PROFILES.items() if record.stages or "provenance" not in url}
    found = [{"@id": url, "@type": "CreativeWork", "name": n, "version": v} for url, (n, v) in kept.items()]
    return [*found, requirements]


def _root(record: Record, files: Sequence[Entity], done: Sequence[Entity], people: Sequence[Entity]) -> Entity:
    author, *publisher = links(people)
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": record.title,
        "description": record.flow.description or record.title,
        "identifier": record.run,
        "datePublished": time(record.ended),
        "license": {"@id": record.licence.url},
        "author": author,
        **({"publisher": publisher[0]} if publisher else {}),
        "conformsTo": links(_profiles(record)[:-1]),
        "mainEntity": file_link(SOURCE),
        "hasPart": links(files),
        "mentions": [link(one) for one in done if one["@type"].endswith("Action")],
    }
