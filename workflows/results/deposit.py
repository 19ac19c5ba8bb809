"""Archive what a run made: pack each result, draw it, describe it, and take it into the archive as one object.

The order is that of trust: products are sealed; packing reads every shard once more and proves it; the crate and
the README tell of what was packed; the archive's inventory closes it.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from blake3 import blake3

from terp.storage import descent, files
from terp.storage.archive import Archive, Receipt, tombstone
from terp.storage.archive.custody import Events
from terp.storage.archive.policy import POLICY, Policy
from terp.storage.archive.terms import First, Terms, known_since, utc_day
from terp.storage.canonical import canonical
from terp.storage.crate import CHECKSUMS, SIGNATURE, as_run, crate
from terp.storage.errors import BadPackage, BadPolicy, Damaged, StorageError
from terp.storage.holder import Holder
from terp.storage.home import Home
from terp.storage.product import StoredProduct
from terp.storage.provenance import Record
from terp.storage.readme import texts
from terp.storage.scrub import Named, scrub
from terp.storage.signature import SigningKey
from terp.workflows.results.bundle import SOURCES, Bundle, code_of, kept
from terp.workflows.results.catalogue import catalog
from terp.workflows.results.describe import VALUES, described, objections_of, with_new_files
from terp.workflows.results.earlier import Earlier, earlier
from terp.workflows.results.evidence import IN_CRATE, demand_as_noted, sound_journal
from terp.workflows.results.itself import ITSELF
from terp.workflows.results.losses import demand_decided
from terp.workflows.results.metadata import write_metadata
from terp.workflows.results.payload import USUAL, Packing, Payload, payload
from terp.workflows.results.quicklook import PICTURE, quicklook
from terp.workflows.results.recipe import RECIPE, recipe
from terp.workflows.results.verify import damage_of
from terp.workflows.running.decided import UNDECIDED, decide, decision_of, demand, keep_decision
from terp.workflows.running.record import JOURNAL, RunRecord

if TYPE_CHECKING:
    import xarray as xr
    from prefect import Flow


class _Told(Protocol):
    def say(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...


def deposit(
    home: Home,
    run: RunRecord,
    flow: "Flow[Any, Any]",
    told: _Told,
    *,
    version_of: str = "",
    packing: Packing = USUAL,
) -> dict[str, Any]:
    """Archive the results of a run; return where they rest and what they show.

    The same results are archived once: a run that only found what was there gets the object that holds it.
    `version_of` is an archived object of which they become the next version, which stores only what is new.
    """
    demand_as_noted(home, run)
    products = {name: StoredProduct(home.product(key)) for name, key in run.results.items()}
    values = {name: product.seal.values for name, product in products.items() if product.seal}
    policy = _demanded(home, run)
    demand_decided(_made_of(home, products), policy.lossy)
    before = earlier(home, version_of, products) if version_of else Earlier()
    identifier = before.identifier or _named(run)
    tombstone.demand_none(home.custody, identifier)  # what was destroyed does not come back under its name
    _demand_in_force(home, run, policy, identifier)
    found = _already(home, identifier, values, policy, packing)
    if found:
        run.note(home, "archived before", identifier=identifier, version=found["version"], values=Named(values))
        told.say(f"archived before as {identifier} {found['version']}")
        return found
    folder = _own_folder(run.folder(home) / "package")
    try:
        with files.disk(folder):
            made = payload(products, before, packing, folder, told)
            return _deposit(home, run, flow, told, products, values, identifier, folder, made, policy)
    except Damaged as damage:  # altered since it was sealed: packing reads all of it
        for product in products.values():
            damage_of(product)
        raise Damaged(f"{damage}: run the same command again to make it anew") from damage
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # somebody else's is there
            folder.parent.rmdir()


def _own_folder(packages: Path) -> Path:
    """Make a folder of our own, as somebody else may archive the same run now; remove those of who is gone."""
    with files.disk(packages):
        files.make_folders(packages)
        for other in packages.iterdir():
            with suppress(ValueError):
                if Holder.of_name(other.name).is_gone():
                    shutil.rmtree(other, ignore_errors=True)
        folder = packages / Holder.me().new_name()
        files.make_folders(folder)
    return folder


def _demanded(home: Home, run: RunRecord) -> Policy:
    """Return the decision under which a run's results are archived; raises BadPolicy where there is none that holds."""
    data = decision_of(home, run)
    if not data:
        raise BadPolicy(f"{run.id} is not archived: {UNDECIDED.format(run.id)}")
    policy = Policy.parse(data, f"the policy of {run.id}")
    demand(policy, f"the policy of {run.id}", tuple(objections_of(home, run, policy)))
    return policy


def _demand_in_force(home: Home, run: RunRecord, policy: Policy, identifier: str) -> None:
    """Raise BadPolicy where a restriction would close nothing from the first day on."""
    made, today = utc_day(datetime.fromisoformat(run.ended or run.started)), datetime.now(UTC).date()
    first = known_since(home.archive, identifier) or First(min(made, today), today)
    demand(policy, f"the policy of {run.id}", tuple(Terms(policy, first).over(today)))


def _named(run: RunRecord) -> str:
    return f"urn:terp:{run.flow.replace('_', '-')}:{blake3(canonical(run.results)).hexdigest()[:20]}"


def _already(
    home: Home, identifier: str, values: Mapping[str, str], policy: Policy, packing: Packing
) -> dict[str, Any] | None:
    """Return where the same values rest under the same decision, packed as is asked: the archive itself knows."""
    try:
        archive = Archive(home.archive)
        rests, version = archive.files(identifier), archive.head(identifier)
        known = json.loads(rests[VALUES].read_bytes())
        decided = Policy.load(rests[POLICY])
    except (StorageError, OSError, KeyError, ValueError):
        return None
    if decided != policy or known["values"] != values or not all(path.exists() for path in rests.values()):
        return None
    if not packing.is_that_of(rests):
        return None
    facts = known["facts"]
    place = str(rests[VALUES].parents[2])
    return {"identifier": identifier, "version": version, "path": place, "facts": facts, "values": dict(values)}


def _deposit(
    home: Home,
    run: RunRecord,
    flow: "Flow[Any, Any]",
    told: _Told,
    products: Mapping[str, StoredProduct],
    values: Mapping[str, str],
    identifier: str,
    folder: Path,
    made: Payload,
    policy: Policy,
) -> dict[str, Any]:
    key = SigningKey.here()
    descent.pack(run.results, _made_of(home, products), folder / descent.ARCHIVED)
    results = {name: product.open() for name, product in products.items() if _has_root(product)}
    shown = _show(flow, results, folder / PICTURE, told)
    (folder / VALUES).write_bytes(canonical({"facts": shown, "values": values}))
    code = _told_by_run(home, run, flow, products, folder)
    so_far = described(home, run, flow, code, made, products, folder, policy)
    so_far = _with_journal(home, run, so_far, folder, identifier, values)
    archived = datetime.now(UTC).replace(microsecond=0)
    write_metadata(home, identifier, so_far, policy, products.values(), made.migrations, folder, archived)
    told_of = with_new_files(so_far, folder)
    for name, text in texts(told_of, identifier, signed=bool(key)).items():
        (folder / name).write_text(text)
    for name in (CHECKSUMS, *([SIGNATURE] if key else [])):
        (folder / name).touch()  # so that the crate tells of it; it holds the crate's own checksum
    crate(told_of, folder)
    sums = _write_checksums(folder, {one.file: one.sha512 for one in told_of.outputs})
    if key:
        (folder / SIGNATURE).write_bytes(key.sign((folder / CHECKSUMS).read_bytes()))
    for path in folder.iterdir():
        files.sync_file(path)
    archive = Archive(home.archive)
    archive.create_if_missing()
    tombstone.demand_none(home.custody, identifier)  # packing may have taken hours
    receipt = archive.ingest(
        identifier,
        {one.path.name: one.path for one in made.packed} | {path.name: path for path in folder.iterdir()},
        message=f"Results of the flow {run.flow}",
        user_name=told_of.agent.name,
        user_address=told_of.agent.orcid_url,
        created=archived,
        digests={name: sha512 for name, (_, sha512) in made.digests.items()},
        move=True,
    )
    _noted(Events(home.custody), receipt, policy, made)
    run.note(home, "archived", identifier=identifier, version=receipt.version, sha512=sums)
    catalog(home).noted(identifier)
    told.say(f"archived {identifier} {receipt.version}")
    return {
        "identifier": identifier,
        "version": receipt.version,
        "path": str(receipt.path),
        "facts": shown,
        "values": dict(values),
    }


def _with_journal(
    home: Home, run: RunRecord, record: Record, folder: Path, identifier: str, values: Mapping[str, str]
) -> Record:
    """Write the journal, which has the digests of code, locks and recipe then; return a record that tells of it."""
    made = as_run(record) | {RECIPE: (folder / RECIPE).read_bytes()}
    digests = {name: blake3(data).hexdigest() for name, data in made.items()}
    run.note(home, "archiving", identifier=identifier, values=Named(values), **{IN_CRATE: digests})
    (folder / JOURNAL).write_bytes(sound_journal(home, run))
    return with_new_files(replace(record, journal=str(run.journal["head"])), folder)


def _noted(events: Events, receipt: Receipt, policy: Policy, made: Payload) -> None:
    ingested = {"version": receipt.version, "inventory": receipt.inventory, "policy": policy.version}
    events.append(receipt.identifier, "ingested", ingested)
    for migration in made.migrations:
        events.append(receipt.identifier, "migrated", migration)


def _told_by_run(
    home: Home, run: RunRecord, flow: "Flow[Any, Any]", products: Mapping[str, StoredProduct], folder: Path
) -> Bundle:
    """Write code, recipe and decision of a run; return the code."""
    code = kept(run.folder(home)) or code_of(flow, run.target)
    if code.files:
        (folder / SOURCES).write_bytes(code.packed())
    if code.itself:
        (folder / ITSELF).write_bytes(code.itself)
    (folder / RECIPE).write_bytes(canonical(recipe(home, run, code, products)))
    (folder / POLICY).write_bytes(decision_of(home, run))
    return code


def _made_of(home: Home, products: Mapping[str, StoredProduct]) -> list[StoredProduct]:
    """Return products and all that they were made of and that is here, each once."""
    keys = [product.key for product in products.values()]
    return list(descent.above(keys, descent.stored_in(home.products), lambda one: one.frozen).values())


def _has_root(product: StoredProduct) -> bool:
    return any(group.path == "" for group in product.groups)


def _show(flow: "Flow[Any, Any]", results: "Mapping[str, xr.Dataset]", target: Path, told: _Told) -> dict[str, Any]:
    """Draw the results and return their facts, as the flow's file says (`picture`, `facts`), or else plainly."""
    module = sys.modules[flow.fn.__module__]
    draw, facts = getattr(module, "picture", quicklook), getattr(module, "facts", None)
    try:
        draw(results, target)
        shown: dict[str, Any] = scrub(json.loads(json.dumps(dict(facts(results)) if facts else {}, default=str)))
    except Exception as error:  # noqa: BLE001 (the user's own code; results must be kept whatever it does)
        told.warn(f"the picture or facts of {flow.name} could not be made: {type(error).__name__}: {error}")
        target.unlink(missing_ok=True)
        return {}
    return shown


def _write_checksums(folder: Path, known: Mapping[str, str]) -> str:
    """Write a file for `sha512sum -c`, and return its own SHA-512; what was packed was hashed on the way."""
    digests = dict(known)
    for path in folder.iterdir():
        if path.name not in (CHECKSUMS, SIGNATURE, *digests):
            digests[path.name] = hashlib.sha512(path.read_bytes()).hexdigest()
    (folder / CHECKSUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())))
    return hashlib.sha512((folder / CHECKSUMS).read_bytes()).hexdigest()


def redeposit(
    home: Home,
    run: RunRecord,
    flow: "Flow[Any, Any]",
    told: _Told,
    *,
    policy: Path | None = None,
    version_of: str = "",
    packing: Packing = USUAL,
) -> dict[str, Any]:
    """Archive the results of an earlier run as `deposit` does, under another policy if one is given.

    Raises BadPackage when it did not end well, BadPolicy.
    """
    if run.state != "finished" or not run.results:
        raise BadPackage(f"the run {run.id} is {run.shown_state}: only what is finished can be archived")
    keep_decision(home, run, decide(home, policy), anew=policy is not None)
    return deposit(home, run, flow, told, version_of=version_of, packing=packing)
