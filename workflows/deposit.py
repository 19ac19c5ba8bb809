"""Archive what a run made: pack each result, draw it, describe it, and take it into the archive as one object.

The order is that of trust: products are sealed; packing reads every shard once more and proves it; the crate and
the README tell of what was packed; the archive's inventory closes it.
"""

import base64
import getpass
import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from blake3 import blake3

from terp.storage import files, provenance
from terp.storage.archive import Archive
from terp.storage.crate import CHECKSUMS, README, crate
from terp.storage.errors import BadPackage, StorageError
from terp.storage.home import Home
from terp.storage.package import Member, Packed, pack, write_index
from terp.storage.product import StoredProduct, canonical
from terp.storage.readme import readme
from terp.storage.source import Identity
from terp.workflows.record import RunRecord, all_runs

if TYPE_CHECKING:
    import xarray as xr
    from prefect import Flow

PICTURE = "picture.png"


class _Told(Protocol):
    def say(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...


def deposit(home: Home, run: RunRecord, flow: "Flow[Any, Any]", told: _Told) -> dict[str, Any]:
    """Archive the results of a run; return where they rest and what they show.

    The same results are archived once: a run that only found what was there gets the object that holds it.
    """
    products = {name: StoredProduct(home.product(key)) for name, key in run.results.items()}
    values = {name: product.seal.values for name, product in products.items() if product.seal}
    identifier = f"urn:terp:{run.flow.replace('_', '-')}:{blake3(canonical(run.results)).hexdigest()[:20]}"
    found = _already(home, identifier, values)
    if found:
        told.say(f"archived before as {identifier} {found['version']}")
        return found
    folder = run.folder(home) / "package"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with files.disk(folder):
            files.make_folders(folder)
        return {"values": values, **_deposit(home, run, flow, told, products, identifier, folder)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _already(home: Home, identifier: str, values: Mapping[str, str]) -> dict[str, Any] | None:
    """Return where the same values rest in the archive, if they do."""
    for run in reversed(all_runs(home)):
        known = run.archived
        if known and known["identifier"] == identifier and known["values"] == values:
            try:
                there = Archive(home.archive).files(identifier, known["version"])
            except StorageError:
                continue
            if all(path.exists() for path in there.values()):
                return known
    return None


def _deposit(
    home: Home,
    run: RunRecord,
    flow: "Flow[Any, Any]",
    told: _Told,
    products: Mapping[str, StoredProduct],
    identifier: str,
    folder: Path,
) -> dict[str, Any]:
    packed = [pack(_members(product), folder / f"{name}.zarr.zip") for name, product in products.items()]
    for one in packed:
        write_index(one)
    told.say(f"packed {', '.join(one.path.name for one in packed)}")
    results = {name: product.open() for name, product in products.items() if _has_root(product)}
    shown = _show(flow, results, folder / PICTURE, told)
    described = _record(home, run, flow, packed, products, folder)
    (folder / README).write_text(readme(described, identifier))
    _write_checksums(folder, packed)
    crate(described, folder)
    for path in folder.iterdir():
        files.sync_file(path)
    archive = Archive(home.archive)
    archive.create_if_missing()
    receipt = archive.ingest(
        identifier,
        {path.name: path for path in folder.iterdir()},
        message=f"Results of the flow {run.flow}",
        user_name=described.agent.name,
        user_address=_orcid_uri(described.agent.orcid),
        created=datetime.now(UTC).replace(microsecond=0),
        digests={one.path.name: one.sha512 for one in packed},
        move=True,
    )
    told.say(f"archived {identifier} {receipt.version}")
    return {
        "identifier": identifier,
        "version": receipt.version,
        "path": str(receipt.path),
        "facts": shown,
        "files": sorted(archive.files(identifier, receipt.version)),
    }


def _has_root(product: StoredProduct) -> bool:
    return any(group.path == "" for group in product.groups)


def _members(product: StoredProduct) -> list[Member]:
    return [Member(e.key, product.data / e.key, e.size, e.crc32, e.blake3) for e in product.manifest.values()]


def _show(flow: "Flow[Any, Any]", results: "Mapping[str, xr.Dataset]", target: Path, told: _Told) -> dict[str, Any]:
    """Draw the results and return their facts, as the flow's file says (`picture`, `facts`), or else plainly."""
    from terp.workflows.quicklook import quicklook

    module = sys.modules[flow.fn.__module__]
    draw, facts = getattr(module, "picture", quicklook), getattr(module, "facts", None)
    try:
        draw(results, target)
        return dict(facts(results)) if facts else {}
    except Exception as error:  # noqa: BLE001 (the user's own code; results must be kept whatever it does)
        told.warn(f"the picture or facts of {flow.name} could not be made: {type(error).__name__}: {error}")
        target.unlink(missing_ok=True)
        return {}


def _write_checksums(folder: Path, packed: list[Packed]) -> None:
    """Write a file for `sha512sum -c`; what was packed was hashed on the way."""
    import hashlib

    known = {one.path.name: one.sha512 for one in packed}
    lines = []
    for path in sorted(folder.iterdir()):
        digest = known.get(path.name) or hashlib.sha512(path.read_bytes()).hexdigest()
        lines.append(f"{digest}  {path.name}\n")
    (folder / CHECKSUMS).write_text("".join(lines))


def _record(
    home: Home,
    run: RunRecord,
    flow: "Flow[Any, Any]",
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
        flow=_flow(flow),
        started=datetime.fromisoformat(run.started),
        ended=datetime.fromisoformat(run.ended or run.started),
        agent=_agent(),
        environment=provenance.Environment.here(run.workers),
        inputs=[one for source in sources for one in _inputs(source)],
        parameters=run.parameters,
        stages=[_stage(home, one) for one in run.stages],
        outputs=[*(_packed_output(one, products) for one in packed), *_other_outputs(folder)],
        warnings=run.warnings,
    )


def _stage(home: Home, noted: Any) -> provenance.Stage:
    code = StoredProduct(home.product(noted.key)).frozen["ingredients"]["code"]
    started = datetime.fromisoformat(noted.started)
    ended = datetime.fromisoformat(noted.ended or noted.started)
    return provenance.Stage(noted.name, noted.key, noted.regions, started, ended, blake3(canonical(code)).hexdigest())


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
            description=f"Read as {source.reader}",
        )
        for part in source.parts
    ]


def _media_type(name: str) -> str:
    known = {".nc": "application/netcdf", ".txt": "text/plain", ".csv": "text/csv", ".gz": "application/gzip"}
    known |= {".zip": "application/zip", ".json": "application/json", ".png": "image/png", ".md": "text/markdown"}
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
    import hashlib

    about = {PICTURE: ("Picture", "The results as a picture")}
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


def _flow(flow: "Flow[Any, Any]") -> provenance.Flow:
    path = inspect.getsourcefile(flow.fn)
    source = Path(path).read_text() if path and Path(path).exists() else inspect.getsource(flow.fn)
    text = inspect.getdoc(flow.fn) or f"The flow {flow.name}"
    shipped = flow.fn.__module__.startswith("terp.")
    commit, dirty = (None, False) if shipped or not path else _git_state(Path(path))
    known = version("terp") if shipped else commit or f"sha256:{_sha256(source)[:12]}"
    return provenance.Flow(str(flow.name), text, known, source, commit, dirty)


def _sha256(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def _git_state(path: Path) -> tuple[str | None, bool]:
    """Return the commit of the repository that a file lies in, and whether the file differs from it."""
    try:
        head = _git(path.parent, "rev-parse", "HEAD")
        return head, bool(_git(path.parent, "status", "--porcelain", "--", path.name))
    except (OSError, subprocess.SubprocessError):
        return None, False


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def _orcid_uri(orcid: str | None) -> str | None:
    return None if not orcid else orcid if orcid.startswith("https://") else f"https://orcid.org/{orcid}"


@cache
def _agent() -> provenance.Agent:
    """Return who runs this: as the environment says, as git knows them, or by their login."""
    name = os.environ.get("TERP_AGENT", "")
    try:
        name = name or _git(Path.home(), "config", "--global", "user.name")
    except (OSError, subprocess.SubprocessError):
        name = name or getpass.getuser()
    return provenance.Agent(
        name,
        os.environ.get("TERP_ORCID"),
        os.environ.get("TERP_AFFILIATION"),
        os.environ.get("TERP_AFFILIATION_ROR"),
    )


def redeposit(home: Home, run: RunRecord, flow: "Flow[Any, Any]", told: _Told) -> dict[str, Any]:
    """Archive the results of an earlier run; raises BadPackage when it did not end well."""
    if run.state != "finished" or not run.results:
        raise BadPackage(f"the run {run.id} is {run.shown_state}: only what is finished can be archived")
    return deposit(home, run, flow, told)
