"""Around: who, for whom, with what and on what terms, as the crate tells it."""

import json
from urllib.parse import quote

from terp.storage.crate.entities import MADE_UP, Entity, link, numbered, value
from terp.storage.environment import Environment
from terp.storage.machine import Machine
from terp.storage.provenance import Agent, Record

_HEAD = "BLAKE3 of the last line of the journal"
_SIF = "https://w3id.org/ro/terms/workflow-run#SIFImage"


def people(agent: Agent) -> list[Entity]:
    """Return the person, then the organisation, where it is known."""
    person: Entity = {"@id": agent.orcid_url or "#agent", "@type": "Person", "name": agent.name}
    if not agent.affiliation:
        return [person]
    where: Entity = {"@id": agent.affiliation_url or "#affiliation", "@type": "Organization", "name": agent.affiliation}
    if agent.affiliation_url:
        where["url"] = agent.affiliation_url
    return [person | {"affiliation": link(where)}, where]


def support(agent: Agent) -> dict[str, Entity]:
    """Return the project and the grant that it was made under, by the property of the root that names them."""
    found: dict[str, Entity] = {}
    if agent.project:
        found["sourceOrganization"] = {"@id": "#project", "@type": "Project", "name": agent.project}
    if agent.grant:
        name = agent.grant if agent.grant.startswith("https://") else "#grant"
        found["funding"] = {"@id": name, "@type": "Grant", "name": agent.grant, "identifier": agent.grant}
    return found


def licence(record: Record) -> Entity:
    """Return the terms."""
    told = {"name": record.licence.name, "description": record.licence.description}
    return {"@id": record.licence.url, "@type": "CreativeWork", **told}


def facts(record: Record) -> list[Entity]:
    """Return what is to be said of the run beyond what schema.org has words for."""
    there, flow = record.environment, record.flow
    told = {**_of_machine(there.machine), "locale": there.locale, "workers": record.workers}
    told |= {"git commit": flow.commit, "code differs from that commit": flow.dirty} if flow.commit else {}
    return [
        *(value("environment", name, given) for name, given in told.items() if given != ""),
        *(value("distribution", name, one.version) for name, one in there.distributions.items()),
        *(
            numbered("other environment", number, f"{whose}: {', '.join(one.instead_of(there)) or 'the same'}")
            for number, (whose, one) in enumerate(record.others, 2)
        ),
        *(numbered("place", number, place) for number, place in enumerate(record.places, 1)),
        *(
            numbered("computed on", number, _in_words(machine, regions))
            for number, (machine, regions) in enumerate(record.machines, 1)
        ),
        *(numbered("warning", number, warning) for number, warning in enumerate(record.warnings, 1)),
        *([value("journal", _HEAD, record.journal)] if record.journal else []),
    ]


def journal_head(metadata: bytes) -> str:
    """Return the digest of the last line of the journal, as a crate's metadata tell it; "" where they do not."""
    graph = json.loads(metadata)["@graph"]
    return next((str(one["value"]) for one in graph if one.get("name") == _HEAD), "")


def _of_machine(machine: Machine) -> dict[str, str]:
    return {
        "operating system": machine.system,
        "C library": machine.libc,
        "CPU": machine.cpu,
        "CPU features": " ".join(machine.features),
        "computed at": machine.level,
        "numerical library": machine.blas,
    }


def _in_words(machine: Machine, regions: int) -> str:
    threads = ", ".join(f"{name} {number}" for name, number in machine.threads if number)
    told = "; ".join(f"{name} {given}" for name, given in _of_machine(machine).items() if given)
    return f"{regions} regions; {told}" + (f"; threads {threads}" if threads else "")


def images(record: Record) -> list[Entity]:
    """Return the containers that the run was in, controller and workers, where they were in any."""
    inside = [one for one in record.locks.values() if one.image]
    return list({(one.image, one.image_sha256): _image(one) for one in inside}.values())


def _image(there: Environment) -> Entity:
    name = there.image.rpartition("/")[2]
    about = {"name": name, "sha256": there.image_sha256, "registry": "local", "tag": "none"}
    image = f"{MADE_UP}/image/{there.image_sha256 or quote(name)}"
    return {"@id": image, "@type": "ContainerImage", "additionalType": {"@id": _SIF}, **about}
