"""PREMIS of an archived object: what it consists of, what happened until it rested, by whom, and what may be done."""

from collections.abc import Iterable, Mapping
from typing import Any

from terp.storage.metadata import premis
from terp.storage.metadata.filling.kept import PAYLOAD, Kept, time
from terp.storage.metadata.formats import PRONOM, format_of
from terp.storage.provenance import Output

_PROGRAM, _WHO = "executing program", "implementer"


def premis_of(kept: Kept, events: Iterable[premis.Event] = ()) -> premis.Premis:
    """Return the PREMIS document of an object as it is archived, with `events` after those of its making.

    Agents that such events name must be among those of the object: its maker, its organisation, or terp.
    """
    files = [_file(kept, one) for one in kept.record.outputs]
    represented = premis.representation(_whole(kept), kept.identifier, [kept.name_of(one.file) for one in kept.payload])
    return premis.Premis(
        object=(premis.entity(kept.identifier, kept.told.title), represented, *files),
        event=(*_events(kept), *events),
        agent=tuple(_agents(kept)),
        rights=tuple(_rights(kept)),
    )


def program_of(kept: Kept) -> str:
    """Return the identifier of the program that works on the object."""
    return f"terp {kept.record.program}"


def maker_of(kept: Kept) -> str:
    """Return the identifier of the person who made the object."""
    agent = kept.told.agent
    return agent.orcid_url or agent.name


def _whole(kept: Kept) -> str:
    return f"{kept.identifier}/{kept.version}"


def _file(kept: Kept, output: Output) -> premis.File:
    known = format_of(output.file)
    registered = ("PRONOM" if known.register == PRONOM else known.register, known.key) if known.key else None
    parts = [premis.relation("structural", "is part of", [_whole(kept)])] if output.file.endswith(PAYLOAD) else []
    return premis.file(
        kept.name_of(output.file),
        name=output.file,
        size=output.size,
        digests={"SHA-512": output.sha512, "SHA-256": output.sha256},
        format_name=known.label,
        format_version=known.version,
        registry=registered,
        related=parts,
    )


def _events(kept: Kept) -> list[premis.Event]:
    record, files = kept.told, [kept.name_of(one.file) for one in kept.record.outputs]
    data = [kept.name_of(one.file) for one in kept.payload]
    both = [(program_of(kept), _PROGRAM), (maker_of(kept), _WHO)]
    made = f"the flow {record.flow.name} ({record.flow.version}), run {record.run}"
    packed = "each byte was read once, held against what was recorded when it was computed, and stored as it was"
    warned = "; ".join(record.warnings)
    taken = time(kept.archived)

    def one(kind: str, when: str, objects: list[str], detail: str, note: str = "") -> premis.Event:
        name = f"{_whole(kept)}/{kind.replace(' ', '-')}"
        return premis.event(name, kind, when, objects=objects, agents=both, detail=detail, note=note)

    return [
        one("creation", time(record.ended), data, made, f"take note: {warned}" if warned else ""),
        one("information package creation", taken, [_whole(kept)], packed),
        one("message digest calculation", taken, files, "SHA-512 and SHA-256, in the pass that packed"),
        one("ingestion", taken, [kept.identifier], f"as {kept.version} of an OCFL 1.1 object"),
    ]


def migration(kept: Kept, told: Mapping[str, Any]) -> premis.Event:
    """Return the event of a second form, as `terp.storage.form.migration.second_form` tells of it."""
    files, proof = [kept.name_of(one["name"]) for one in told["files"]], told["proof"]
    return premis.event(
        f"{_whole(kept)}/migration/{proof['name']}",
        "migration",
        time(kept.archived),
        objects=files,
        agents=[(program_of(kept), _PROGRAM)],
        outcome=told["outcome"],
        detail=f"{told['from']} to {told['to']}, written by {told['written']}, read back by {told['read back']}",
        note=f"{told['detail']}; the proof is {proof['name']}, SHA-512 {proof['sha512']}",
    )


def _agents(kept: Kept) -> list[premis.Agent]:
    record, policy = kept.told, kept.policy
    python = record.environment.python
    found = [
        premis.agent(program_of(kept), "terp", "software", record.program, f"on {python}" if python else ""),
        premis.agent(maker_of(kept), record.agent.name, "person"),
        premis.agent(policy.archiefvormer.identificatie, policy.archiefvormer.naam, "organization"),
    ]
    if (keeper := policy.zorgdrager) and keeper.identificatie != policy.archiefvormer.identificatie:
        found.append(premis.agent(keeper.identificatie, keeper.naam, "organization"))
    return found


def _rights(kept: Kept) -> list[premis.Rights]:
    policy, objects = kept.policy, [kept.identifier]
    licence = (policy.rights.licence, f"{policy.rights.licence_name}; rights holder: {policy.rights.holder}")
    decided = policy.decision
    found = [
        premis.rights(f"{_whole(kept)}/licence", objects, licence=licence),
        premis.rights(
            f"{_whole(kept)}/decision",
            objects,
            ground=f"{decided.openness}: decided by {decided.by} on {decided.on}, {decided.ground}; "
            f"for: {decided.purpose}",
        ),
    ]
    for number, one in enumerate(policy.beperkingGebruik, 1):
        parts = f" ({', '.join(one.variables)})" if one.variables else ""
        term = f"for {one.looptijd}, from {kept.terms.closed_from(one)} to {kept.terms.closed_until(one)}"
        told = " ".join(filter(None, (f"{one.type}: {one.grond}, {term}{parts}", one.toelichting)))
        found.append(premis.rights(f"{_whole(kept)}/restriction-{number}", objects, ground=told))
    return found
