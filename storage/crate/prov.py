"""PROV: the record of a run in the terms of the W3C, as PROV-JSON and as PROV-O in Turtle.

PROV-DM (https://www.w3.org/TR/prov-dm/), PROV-JSON (https://www.w3.org/submissions/prov-json/), PROV-O
(https://www.w3.org/TR/prov-o/). Both are written from the same statements, so they say the same.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from terp.storage.crate.entities import MADE_UP, plain, time
from terp.storage.provenance import Agent, Record, Stage

PROV_JSON, PROV_TURTLE = "prov.json", "prov.ttl"

_PROV, _XSD = "http://www.w3.org/ns/prov#", "http://www.w3.org/2001/XMLSchema#"
_TERMS = f"{MADE_UP}/terms#"
_KINDS = {"entity": "Entity", "activity": "Activity", "agent": "Agent"}

# Relations by their name in PROV-JSON: its two ends there, and the property of PROV-O between them.
_RELATIONS = {
    "used": ("prov:activity", "prov:entity", "used"),
    "wasGeneratedBy": ("prov:entity", "prov:activity", "wasGeneratedBy"),
    "wasAssociatedWith": ("prov:activity", "prov:agent", "wasAssociatedWith"),
    "wasDerivedFrom": ("prov:generatedEntity", "prov:usedEntity", "wasDerivedFrom"),
    "wasAttributedTo": ("prov:entity", "prov:agent", "wasAttributedTo"),
    "actedOnBehalfOf": ("prov:delegate", "prov:responsible", "actedOnBehalfOf"),
    "wasInformedBy": ("prov:informed", "prov:informant", "wasInformedBy"),
}


@dataclass(frozen=True)
class _Thing:
    """An entity, activity or agent: its name within the run, PROV's types of it, and what is said of it."""

    kind: str
    name: str
    types: tuple[str, ...] = ()
    said: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Relation:
    kind: str
    ends: tuple[str, str]


def _statements(record: Record) -> Iterator[_Thing | _Relation]:
    """Yield all that is to be said of a run."""
    yield from _agents(record.agent, record.program)
    yield from _run(record)
    yield from _starts(record)
    for one in record.inputs:
        said = {"label": one.name, "sha256": one.sha256, "size": one.size}
        yield _Thing("entity", _input(one.sha256), said=said)
        yield _Relation("used", ("run", _input(one.sha256)))
    for number, stage in enumerate(record.steps, 1):
        yield from _stage(record, number, stage)
    made = {stage.key for stage in record.steps}
    for output in record.outputs:
        name = _file(output.file)
        yield _Thing("entity", name, said={"label": output.title, "sha256": output.sha256, "size": output.size})
        yield _Relation("wasGeneratedBy", (name, "run"))
        yield _Relation("wasAttributedTo", (name, "agent"))
        if output.key in made:
            yield _Relation("wasDerivedFrom", (name, _product(output.key)))


def _agents(agent: Agent, program: str) -> Iterator[_Thing | _Relation]:
    orcid = {"orcid": agent.orcid_url} if agent.orcid_url else {}
    support = {"project": agent.project, "grant": agent.grant}
    yield _Thing("agent", "agent", ("Person",), {"label": agent.name, **orcid, **support})
    yield _Thing("agent", "terp", ("SoftwareAgent",), {"label": "terp", "version": program})
    yield _Relation("actedOnBehalfOf", ("terp", "agent"))
    if agent.affiliation:
        said = {"label": agent.affiliation, "ror": agent.affiliation_url or ""}
        yield _Thing("agent", "organisation", ("Organization",), said)
        yield _Relation("actedOnBehalfOf", ("agent", "organisation"))


def _run(record: Record) -> Iterator[_Thing | _Relation]:
    said = {"label": f"Run of the flow {record.flow.name}", "startTime": time(record.started)}
    settings = {f"parameter-{name}": given for name, given in record.parameters.items()}
    yield _Thing("activity", "run", said={**said, "endTime": time(record.ended), **settings})
    flow = {"label": record.flow.name, "version": record.flow.version, "commit": record.flow.commit or ""}
    yield _Thing("entity", _file("flow.py"), ("Plan",), flow)
    for name, one in record.locks.items():
        yield _Thing("entity", _file(name), said={"label": one.python})
    for name in ("flow.py", *record.locks):
        yield _Relation("used", ("run", _file(name)))
    for agent in ("agent", "terp"):
        yield _Relation("wasAssociatedWith", ("run", agent))


def _starts(record: Record) -> Iterator[_Thing | _Relation]:
    """Yield the starts of a run that had several, each informed by the one before, and the run by all."""
    for number, one in enumerate(record.starts, 1):
        times = {"startTime": time(one.started), "endTime": time(one.ended)}
        said = {"run": one.run, "ending": one.ending, "regions-left": one.left, **dict(one.facts)}
        yield _Thing("activity", f"start-{number}", said={"label": f"Start {number} of {one.run}", **times, **said})
        yield _Relation("wasAssociatedWith", (f"start-{number}", "terp"))
        yield _Relation("wasInformedBy", ("run", f"start-{number}"))
        if number > 1:
            yield _Relation("wasInformedBy", (f"start-{number}", f"start-{number - 1}"))


def _stage(record: Record, number: int, stage: Stage) -> Iterator[_Thing | _Relation]:
    name, product = f"stage-{number}", _product(stage.key)
    begun = {} if stage.reused else {"startTime": time(stage.started)}
    said = {"label": stage.name, **begun, "endTime": time(stage.ended), "regions": stage.regions, "code": stage.code}
    settings = {f"parameter-{key}": given for key, given in stage.parameters.items()}
    yield _Thing("activity", name, said={**said, **settings})
    yield _Thing("entity", product, said={"label": f"Product of {stage.name}", "key": stage.key})
    yield _Relation("wasGeneratedBy", (product, name))
    yield _Relation("wasAssociatedWith", (name, "terp"))
    if not stage.reused:
        yield _Relation("wasInformedBy", (name, "run"))
    sources = {one.sha256 for one in record.inputs}
    for read in dict.fromkeys(stage.reads):
        what = _input(read) if read in sources else _product(read)
        yield _Relation("used", (name, what))
        yield _Relation("wasDerivedFrom", (product, what))


def _input(sha256: str) -> str:
    return f"input-{sha256}"


def _product(key: str) -> str:
    return f"product-{quote(key)}"


def _file(name: str) -> str:
    return f"file-{quote(name)}"


def _base(record: Record) -> str:
    return f"{MADE_UP}/run/{quote(record.run)}/"


def prov_json(record: Record) -> str:
    """Return the run as PROV-JSON."""
    prefixes = {"this": _base(record), "terp": _TERMS}
    told: dict[str, dict[str, Any]] = {"prefix": prefixes}
    for one in _statements(record):
        place = told.setdefault(one.kind, {})
        if isinstance(one, _Thing):
            place[f"this:{one.name}"] = _json_said(one)
        else:
            ends = zip(_RELATIONS[one.kind][:2], one.ends, strict=True)
            place[f"_:{one.kind}-{'-'.join(one.ends)}"] = {end: f"this:{name}" for end, name in ends}
    return json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _json_said(one: _Thing) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if one.types:
        said["prov:type"] = {"$": f"prov:{one.types[0]}", "type": "prov:QUALIFIED_NAME"}
    for name, given in one.said.items():
        if name in ("startTime", "endTime"):
            said[f"prov:{name}"] = given
        elif given != "":
            said["prov:label" if name == "label" else f"terp:{quote(name)}"] = _json_value(given)
    return said


def _json_value(given: Any) -> Any:
    text, kind = _literal(given)
    return text if kind == "string" else {"$": text, "type": f"xsd:{kind}"}


def _literal(given: Any) -> tuple[str, str]:
    """Return a value as text, and its type in XML Schema."""
    shown = plain(given)
    if isinstance(shown, bool):
        return str(shown).lower(), "boolean"
    if isinstance(shown, int):
        return str(shown), "integer"
    return (repr(shown), "double") if isinstance(shown, float) else (shown, "string")


def prov_turtle(record: Record) -> str:
    """Return the run as PROV-O in Turtle."""
    base = _base(record)
    lines = [f"@prefix prov: <{_PROV}> .", f"@prefix xsd: <{_XSD}> .", f"@prefix terp: <{_TERMS}> .", ""]
    for one in _statements(record):
        if isinstance(one, _Thing):
            lines += _turtle_said(base, one)
        else:
            lines.append(f"<{base}{one.ends[0]}> prov:{_RELATIONS[one.kind][2]} <{base}{one.ends[1]}> .")
    return "\n".join(lines) + "\n"


def _turtle_said(base: str, one: _Thing) -> list[str]:
    names = {
        "label": "<http://www.w3.org/2000/01/rdf-schema#label>",
        "startTime": "prov:startedAtTime",
        "endTime": "prov:endedAtTime",
    }
    types = ", ".join(f"prov:{kind}" for kind in (_KINDS[one.kind], *one.types))
    lines = [f"<{base}{one.name}> a {types} ;"]
    for name, given in one.said.items():
        if given != "":
            text, kind = (given, "dateTime") if name in ("startTime", "endTime") else _literal(given)
            shown = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are Turtle's
            typed = "" if kind == "string" else f"^^xsd:{kind}"
            lines.append(f"  {names.get(name, f'<{_TERMS}{quote(name)}>')} {shown}{typed} ;")
    lines[-1] = lines[-1].removesuffix(";") + "."
    return lines
