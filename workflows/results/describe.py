"""Describe a run and what it made for its crate: inputs, parameters, code, environment, people, outputs."""

import base64
import getpass
import hashlib
import inspect
import os
import subprocess
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terp.storage import provenance
from terp.storage.descent import ARCHIVED
from terp.storage.environment import Environment
from terp.storage.home import Home
from terp.storage.ingest import SAMPLES, locate
from terp.storage.package import Packed
from terp.storage.product import StoredProduct
from terp.storage.source import Identity
from terp.workflows.results.bundle import SOURCES, Bundle, git, git_state
from terp.workflows.results.costs import resources
from terp.workflows.results.recipe import RECIPE, digest_of
from terp.workflows.running.record import JOURNAL, RunRecord

if TYPE_CHECKING:
    from prefect import Flow

PICTURE = "picture.png"
VALUES = "values.json"
_CHANGED = "what must not be archived was taken out, or it is no Python text"


def described(
    home: Home,
    run: RunRecord,
    flow: "Flow[Any, Any]",
    code: Bundle,
    packed: list[Packed],
    products: Mapping[str, StoredProduct],
    folder: Path,
) -> provenance.Record:
    """Return what the crate and the README tell of a run."""
    title = (inspect.getdoc(flow.fn) or f"Results of the flow {run.flow}").partition("\n")[0].rstrip(".")
    sources = [Identity.from_json(plain) for plain in run.sources]
    return provenance.Record(
        run=run.id,
        title=title,
        flow=_flow(flow, code),
        started=datetime.fromisoformat(run.started),
        ended=datetime.fromisoformat(run.ended or run.started),
        agent=_agent(),
        environment=environment_of(run),
        workers=run.workers,
        inputs=[one for source in sources for one in _inputs(source)],
        parameters=run.parameters,
        stages=[_stage(home, one) for one in run.stages],
        outputs=[*(_packed_output(one, products) for one in packed), *_other_outputs(folder)],
        warnings=[*run.warnings, *(f"{name} is not here as it was run: {_CHANGED}" for name in code.withheld)],
        resources=resources(run),
        journal=str(run.journal["head"]),
    )


def environment_of(run: RunRecord) -> Environment:
    """Return what a run was made with; of a run from before this was noted, what is here now."""
    return Environment.from_json(run.environment) if run.environment else Environment.here()


def _stage(home: Home, noted: Any) -> provenance.Stage:
    made_of = StoredProduct(home.product(noted.key)).frozen["ingredients"]
    started = datetime.fromisoformat(noted.started)
    ended = datetime.fromisoformat(noted.ended or noted.started)
    tolerance = tuple(made_of.get("tolerance", ()))
    return provenance.Stage(noted.name, noted.key, noted.regions, started, ended, digest_of(made_of), tolerance)


def _inputs(source: Identity) -> list[provenance.Input]:
    def named(sha256: str) -> str:
        return "ni:///sha-256;" + base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip("=")  # RFC 6920

    return [
        provenance.Input(
            part.name,
            named(part.sha256),
            part.sha256,
            part.size,
            _media_type(part.name),
            _licence(source),
            f"Read as {source.reader}",
        )
        for part in source.parts
    ]


def _licence(source: Identity) -> str:
    """Return the licence of a sample that came with the installation; that of other sources is not known."""
    if any(locate(name) == Path(source.path) for name in SAMPLES):
        return "https://www.nationalarchives.gov.uk/doc/open-government-licence/"
    return ""


def _media_type(name: str) -> str:
    known = {".nc": "application/netcdf", ".txt": "text/plain", ".csv": "text/csv", ".gz": "application/gzip"}
    known |= {
        ".jsonl": "application/jsonl",
        ".zip": "application/zip",
        ".json": "application/json",
        ".png": "image/png",
        ".md": "text/markdown",
    }
    return known.get(Path(name).suffix, "application/octet-stream")


def _packed_output(packed: Packed, products: Mapping[str, StoredProduct]) -> provenance.Output:
    name = packed.path.name.removesuffix(".zarr.zip")
    product = products[name]
    arrays = ", ".join(f"{g.path}/{a.name}".strip("/") for g in product.groups for a in g.arrays)
    return provenance.Output(
        packed.path.name,
        packed.sha256,
        packed.sha512,
        packed.size,
        name,
        f"Zarr v3 group with {arrays}, made by the stage {product.name}, in a ZIP without compression",
        "application/zip",
    )


def _other_outputs(folder: Path) -> list[provenance.Output]:
    about = {
        PICTURE: ("Picture", "The results as a picture"),
        ARCHIVED: ("Lineage", "What every region of the results was made of, down to the sources"),
        VALUES: ("Values", "What the results show in figures, and for each a digest of all its values"),
        SOURCES: ("Code", "The flow's file and all own modules it imports, as they were run, in a ZIP"),
        RECIPE: ("Recipe", "What it takes to make the results again: flow, parameters, sources, keys, tolerances"),
        JOURNAL: ("Journal", "What happened in the run, in order: each line has the BLAKE3 of the line before"),
    }
    outputs = []
    for path in sorted(folder.iterdir()):
        if path.name.endswith(".zarr.zip"):
            continue
        data = path.read_bytes()
        title, text = about.get(
            path.name, ("Table of members", "Where each file of the package begins, with its digests")
        )
        digests = hashlib.sha256(data).hexdigest(), hashlib.sha512(data).hexdigest()
        outputs.append(provenance.Output(path.name, *digests, len(data), title, text, _media_type(path.name)))
    return outputs


def _flow(flow: "Flow[Any, Any]", code: Bundle) -> provenance.Flow:
    path = inspect.getsourcefile(flow.fn)
    text = inspect.getdoc(flow.fn) or f"The flow {flow.name}"
    shipped = flow.fn.__module__.startswith("terp.")
    source = code.files.get(code.main) or (Path(path).read_text() if path and Path(path).exists() else "")
    source = source or inspect.getsource(flow.fn)
    state = code.terp if shipped else git_state(Path(path)) if path else {}
    commit, dirty = state.get("commit"), bool(state.get("dirty"))
    known = code.terp["version"] if shipped else commit or f"sha256:{_sha256(source)[:12]}"
    return provenance.Flow(str(flow.name), text, known, source, commit, dirty)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def orcid_uri(orcid: str | None) -> str | None:
    """Return an ORCID as the URI that it is."""
    return None if not orcid else orcid if orcid.startswith("https://") else f"https://orcid.org/{orcid}"


@cache
def _agent() -> provenance.Agent:
    """Return who runs this: as the environment says, as git knows them, or by their login."""
    name = os.environ.get("TERP_AGENT", "")
    try:
        name = name or git(Path.home(), "config", "--global", "user.name")
    except (OSError, subprocess.SubprocessError):
        name = name or getpass.getuser()
    return provenance.Agent(
        name,
        os.environ.get("TERP_ORCID"),
        os.environ.get("TERP_AFFILIATION") or "No organisation stated",
        os.environ.get("TERP_AFFILIATION_ROR") or "https://terp.invalid/no-organisation",
    )
