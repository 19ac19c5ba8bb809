"""Describe a run and what it made for its crate: inputs, parameters, code, environment, people, outputs."""

import base64
import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terp.storage import provenance
from terp.storage.archive.licences import Read
from terp.storage.archive.policy import POLICY, Policy
from terp.storage.canonical import canonical
from terp.storage.descent import ARCHIVED, above, keys_of, stored_in
from terp.storage.environment import Environment
from terp.storage.home import Home
from terp.storage.ingest import SAMPLES, locate
from terp.storage.ingest.told import Told, told_of
from terp.storage.package import Packed
from terp.storage.package.table import FIRST, MEMBERS, PACKAGE
from terp.storage.product import StoredProduct
from terp.storage.source import Identity
from terp.workflows.results.bundle import SOURCES, Bundle
from terp.workflows.results.costs import resources
from terp.workflows.results.itself import ITSELF
from terp.workflows.results.metadata import DATACITE, MDTO, OF_FILE, PREMIS
from terp.workflows.results.quicklook import PICTURE
from terp.workflows.results.recipe import RECIPE, digest_of
from terp.workflows.results.starts import starts_of, with_locks
from terp.workflows.running.capture import captured, machines_of
from terp.workflows.running.decided import demand
from terp.workflows.running.record import JOURNAL, RunRecord, StageRecord
from terp.workflows.running.software import computed
from terp.workflows.running.who import who

if TYPE_CHECKING:
    from prefect import Flow

    from terp.workflows.results.payload import Payload

VALUES = "values.json"
_CHANGED = "what must not be archived was taken out, or it is no Python text"


def described(
    home: Home,
    run: RunRecord,
    flow: "Flow[Any, Any]",
    code: Bundle,
    made: "Payload",
    products: Mapping[str, StoredProduct],
    folder: Path,
    policy: Policy,
) -> provenance.Record:
    """Return what the crate and the README tell of a run."""
    found = captured(home, run, flow)
    started = datetime.fromisoformat(run.started)
    rights = policy.rights
    environment, *others = environments_of(home, run, starts := starts_of(home, run))
    return provenance.Record(
        run=run.id,
        title=(found.description or f"Results of the flow {run.flow}").partition("\n")[0].rstrip("."),
        flow=found,
        started=started,
        ended=max(started, datetime.fromisoformat(run.ended or run.started)),
        agent=provenance.Agent(**run.agent) if run.agent else who(),
        environment=environment[1],
        others=others,
        workers=run.workers,
        inputs=[_licensed(one, policy) for one in inputs_of(home, run)],
        parameters=run.parameters,
        stages=stages_of(home, run, run.identities(home)),
        outputs=[
            *(_packed_output(one, products, run.results) for one in made.packed),
            *_other_outputs(folder, made.digests, ()),
        ],
        places=_places(run),
        machines=list(machines_of(run).items()),
        warnings=[*run.warnings, *(f"{name} is not here as it was run: {_CHANGED}" for name in code.withheld)],
        resources=resources(run),
        hosts=_hosts(run),
        program=version("terp"),
        licence=provenance.Licence(rights.licence, rights.licence_name, _terms(policy)),
        journal=str(run.journal["head"]),
        starts=with_locks(starts, [one for _, one in (environment, *others)]),
    )


def _terms(policy: Policy) -> str:
    return f"Rights holder: {policy.rights.holder}. To be used for: {policy.decision.purpose.strip().rstrip('.')}."


def with_new_files(record: provenance.Record, folder: Path) -> provenance.Record:
    """Return a record that also tells of files put into its folder since: packages first, all else by name."""
    new = _other_outputs(folder, {}, {one.file for one in record.outputs})
    outputs = sorted([*record.outputs, *new], key=lambda one: "" if one.file.endswith(PACKAGE) else one.file)
    return replace(record, outputs=outputs)


def inputs_of(home: Home, run: RunRecord) -> list[provenance.Input]:
    """Return what a run has read, by content, each with the licence that it tells."""
    told = run.told()
    return [_input(run, given, source, told[given]) for given, source in run.identities(home).items()]


def objections_of(home: Home, run: RunRecord, policy: Policy) -> list[str]:
    """Say what the terms of what a run has read forbid of its results."""
    told = run.told()
    return policy.licence_objections(_read(one, told[given]) for given, one in run.identities(home).items())


def demand_licences(decision: bytes, sources: Iterable[Identity]) -> None:
    """Raise BadPolicy where licences of what will be read are against archiving what is made of it.

    Nothing is where nobody has decided.
    """
    if decision:
        policy = Policy.parse(decision)
        read = (_read(one, told_of(Path(one.path), one.reader)) for one in sources)
        demand(policy, "the policy", tuple(policy.licence_objections(read)))


def _read(source: Identity, told: Told) -> Read:
    return Read(Path(source.path).name, source.sha256, _licence(source, told), told.closed)


def _licensed(one: provenance.Input, policy: Policy) -> provenance.Input:
    return replace(one, licence=policy.licence_of(one.name, one.sha256, one.licence))


def environments_of(home: Home, run: RunRecord, starts: Sequence[provenance.Start]) -> list[tuple[str, Environment]]:
    """Return whose environments were met, and these: first that which computed most; what is here, if none was noted.

    The controller's own is always there, also where it computed nothing; then what else its `starts` met.
    """
    found = [(f"workers that made {regions:,} regions", one) for one, regions in computed(home, run)]
    found += [("the controller", Environment.from_json(run.environment))] if run.environment else []
    found += [(f"start {number}", one) for number, start in enumerate(starts, 1) for one in start.environments]
    once = {one.digest: (whose, one) for whose, one in reversed(found)}  # of those that are alike the first
    return [once.pop(one.digest) for _, one in found if one.digest in once] or [("", Environment.here())]


def _places(run: RunRecord) -> list[str]:
    """Return where it ran, by the class of machine."""
    kinds = dict.fromkeys(machine.cpu for machine in machines_of(run))
    return [f"{run.site}, {cpu}" if run.site else cpu for cpu in kinds]


def _hosts(run: RunRecord) -> list[str]:
    """Return the names of hosts that were met, so that they can be taken out."""
    from_jobs = [name for job in run.cluster.get("jobs", ()) for name in str(job.get("nodes", "")).split(",")]
    held = [str(one.get("holder", {}).get("host", "")) for one in run.attempts]
    return sorted({os.uname().nodename, str(run.holder.get("host", "")), *held, *from_jobs} - {"", "None assigned"})


def stages_of(home: Home, run: RunRecord, sources: Mapping[str, Identity]) -> list[provenance.Stage]:
    """Return the stages of a run, and those of earlier runs that made what it read: the whole way from the inputs."""
    noted = {one.key: one for one in run.stages}
    digests = {canonical(one.content): one.sha256 for one in sources.values()}
    made = above([*noted, *run.results.values()], stored_in(home.products), lambda one: one.frozen)
    return [_stage(product, noted.get(key), run, digests) for key, product in made.items()]


def _stage(
    product: StoredProduct, noted: StageRecord | None, run: RunRecord, digests: Mapping[bytes, str]
) -> provenance.Stage:
    made_of = product.frozen["ingredients"]
    reads = keys_of(product.frozen)
    below = made_of.get("source")
    reads = [*reads, digests[canonical(below)]] if below is not None and canonical(below) in digests else reads
    started = datetime.fromisoformat(noted.started if noted else run.started)
    return provenance.Stage(
        product.name,
        product.key,
        noted.regions if noted else product.progress()[1],
        started,
        max(started, datetime.fromisoformat((noted and noted.ended) or run.started)),
        digest_of(made_of),
        reads,
        made_of.get("parameters", {}),
        noted.seconds if noted else 0.0,
        noted.memory if noted else 0,
        noted is None or noted.reused,
        tuple(made_of.get("tolerance", ())),
    )


def _input(run: RunRecord, called: str, source: Identity, told: Told) -> provenance.Input:
    digest, single = source.sha256, source.is_file
    named = base64.urlsafe_b64encode(bytes.fromhex(digest)).decode().rstrip("=")  # RFC 6920
    how = f"{len(source.parts):,} files, of which the SHA-256 is that of what `sha256sum --zero` says of them, by name"
    return provenance.Input(
        Path(source.path).name,
        f"ni:///sha-256;{named}",
        digest,
        source.size,
        _media_type(source.path) if single else "application/octet-stream",
        _licence(source, told),
        _told_of(source) if single else f"{_told_of(source)}: {how}",
        () if single else [(one.name, one.sha256) for one in source.parts],
        next((name for name, given in run.parameters.items() if _names(given, called, source.path)), ""),
        source.url,
    )


def _told_of(source: Identity) -> str:
    """Return how a source was read, and from where it was fetched, if it was."""
    version = f", where its ETag was {source.etag}" if source.etag else ""
    return f"Read as {source.reader}" + (f", fetched from {source.url}{version}" if source.url else "")


def _names(value: Any, called: str, path: str) -> bool:
    """Say whether a parameter names a source: as the flow called it, or by its place."""
    if not isinstance(value, str) or not value:
        return False
    return value == called or str(locate(value).expanduser().absolute()) == path


def _licence(source: Identity, told: Told) -> str:
    """Return the licence of a sample that came with the installation, or that which a source tells of itself."""
    if any(locate(name) == Path(source.path) for name in SAMPLES):
        return "https://www.nationalarchives.gov.uk/doc/open-government-licence/"
    return told.licence


def _media_type(name: str) -> str:
    known = {".nc": "application/netcdf", ".txt": "text/plain", ".csv": "text/csv", ".gz": "application/gzip"}
    known |= {
        ".toml": "application/toml",
        ".xml": "application/xml",
        ".jsonl": "application/jsonl",
        ".zip": "application/zip",
        ".json": "application/json",
        ".png": "image/png",
        ".md": "text/markdown",
    }
    return known.get(Path(name).suffix, "application/octet-stream")


def _packed_output(packed: Packed, products: Mapping[str, StoredProduct], keys: Mapping[str, str]) -> provenance.Output:
    name, _, part = packed.path.name.removesuffix(PACKAGE).partition(".")  # no result has a dot in its name
    product = products[name]
    arrays = ", ".join(f"{g.path}/{a.name}".strip("/") for g in product.groups for a in g.arrays)
    holds = f"Zarr v3 group with {arrays}, made by the stage {product.name}, in a ZIP without compression"
    if part == "whole":
        holds = f"Coordinates and metadata of all of {name}, whose values are in its bands: a Zarr v3 group in a ZIP"
    return provenance.Output(
        packed.path.name,
        packed.sha256,
        packed.sha512,
        packed.size,
        f"{name}, {'band ' if part.isdigit() else ''}{part}" if part else name,
        f"Band {int(part)} of {name}: {holds}" if part.isdigit() else holds,
        "application/zip",
        name if part in ("", FIRST) else "",
        keys[name],
    )


def _other_outputs(folder: Path, known: Mapping[str, tuple[str, str]], but: Collection[str]) -> list[provenance.Output]:
    """Return the files of a folder that are no packages, but for some; digests are `known` of what is large."""
    about = {
        PICTURE: ("Picture", "The results as a picture"),
        ARCHIVED: ("Lineage", "What every region of the results was made of, down to the sources"),
        VALUES: ("Values", "What the results show in figures, and for each a digest of all its values"),
        SOURCES: ("Code", "The flow's file and all own modules it imports, as they were run, in a ZIP"),
        ITSELF: ("terp", "The code of terp itself as it computed, in a ZIP, under the licence that is in it"),
        RECIPE: ("Recipe", "What it takes to make the results again: flow, parameters, sources, keys, tolerances"),
        POLICY: ("Decision", "Who answers for it, how long it is kept, who may see and use it: the policy in TOML"),
        JOURNAL: ("Journal", "What happened in the run, in order: each line has the BLAKE3 of the line before"),
        MDTO: ("MDTO", "What it is, and how it is to be kept: an informatieobject after MDTO 1.0.1"),
        PREMIS: ("PREMIS", "Its files, and what happened to them, after PREMIS 3.0"),
        DATACITE: ("DataCite", "How to cite it, after DataCite 4"),
    }
    endings = {
        MEMBERS: ("Table of members", "In which package each file of the result is and where, with its digests"),
        OF_FILE: ("MDTO of a file", "What that file is, after MDTO 1.0.1"),
        ".nc": ("Second form", "The same values, coordinates and attributes in NetCDF-4, proven to be the same"),
        ".nc.proof.json": ("Proof", "The digests of all values, by array and region, as read back out of both forms"),
    }
    outputs = []
    for path in sorted(folder.iterdir()):
        if path.name.endswith(PACKAGE) or path.name in but:
            continue
        title, text = about.get(path.name) or next(told for end, told in endings.items() if path.name.endswith(end))
        digests = known.get(path.name) or _digests(path.read_bytes())
        outputs.append(provenance.Output(path.name, *digests, path.stat().st_size, title, text, _media_type(path.name)))
    return outputs


def _digests(data: bytes) -> tuple[str, str]:
    return hashlib.sha256(data).hexdigest(), hashlib.sha512(data).hexdigest()
