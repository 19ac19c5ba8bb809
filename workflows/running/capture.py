"""Capture: what a run is made with and by whom, noted before anything is computed, without a word of the user's.

The flow's file and what differs from its commit are kept in the run's folder as they were then: a crate is written from
these, however much later, and whatever was edited meanwhile. What has the look of a secret is not kept.
"""

import hashlib
import inspect
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terp.storage.environment import Environment
from terp.storage.home import Home
from terp.storage.machine import Machine
from terp.storage.provenance import Agent, Flow
from terp.storage.scrub import without_secrets
from terp.workflows.errors import Usage
from terp.workflows.planning.plan import Plan
from terp.workflows.running.held import FOLDER, hold
from terp.workflows.running.image import with_digest
from terp.workflows.running.record import RunRecord
from terp.workflows.running.repository import State, state_of, terp_itself
from terp.workflows.running.software import keep

if TYPE_CHECKING:
    import prefect

SOURCE, DIFF = "flow.py", "changes.diff"
_MEMBERS = ("agent", "environment", "code", "parameters")


def capture(
    home: Home, run: RunRecord, flow: "prefect.Flow[Any, Any]", agent: Agent, beside: Mapping[str, bytes]
) -> list[str]:
    """Note who runs a flow, its code, and the environment here; return what people should know of that.

    Files that belong to it are put `beside` the record, by name.
    """
    here, trouble = with_digest(Environment.here(), home.cache)
    if run.attempts and (earlier := Environment.from_json(run.environment)).digest != here.digest:
        keep(home, run, earlier)  # however far it came: the controller of an earlier start stood on it
    run.agent, run.environment = asdict(agent), here.to_json()
    found, doubt = flow_of(flow)
    told = {key: value for key, value in asdict(found).items() if key not in ("source", "diff")}
    run.code = {**run.code, **told, "sha256": _sha256(found.source)}
    texts = {f"{FOLDER}/{SOURCE}": found.source.encode(), f"{FOLDER}/{DIFF}": found.diff.encode()}
    hold(home, run, {**texts, **beside}, _MEMBERS)
    return [one for one in (trouble, doubt) if one]


def captured(home: Home, run: RunRecord, flow: "prefect.Flow[Any, Any]") -> Flow:
    """Return the code of a run as it was noted; of a run from before that was done, as it is now."""
    folder = run.folder(home) / FOLDER
    try:
        source, diff = (folder / SOURCE).read_text(), (folder / DIFF).read_text()
        return Flow(
            **{key: run.code[key] for key in ("name", "description", "version", "commit", "dirty")},
            source=source,
            diff=diff,
        )
    except (OSError, KeyError):
        return flow_of(flow)[0]


def note_submitted(run: RunRecord, plan: Plan) -> None:
    """Note what was planned when a run was submitted."""
    run.code["planned"] = sorted(one.step.key for one in plan.steps)


def demand_as_submitted(run: RunRecord, plan: Plan) -> None:
    """Raise Usage where code or inputs are not those that were submitted: nobody is there who could be asked."""
    gone = set(run.code.get("planned", ())) - {one.step.key for one in plan.steps}
    if gone:
        names = ", ".join(sorted({key.rpartition("-")[0] for key in gone}))
        raise Usage(
            f"the code or the inputs of {run.target} were changed after the run {run.id} was submitted, so that "
            f"{names} would be other products: submit the same command again to run it as it is now"
        )


def note_machines(run: RunRecord, found: Counter[Machine]) -> str:
    """Note on what kinds of machine regions were made; return a warning where instructions differ within the run."""
    known = machines_of(run)
    before = len({machine.computes for machine in known})
    known.update(found)
    run.machines = [{"machine": machine.to_json(), "regions": n} for machine, n in known.items()]
    kinds = Counter[str]()
    for machine, regions in known.items():
        kinds[" ".join((machine.cpu, machine.level)).strip()] += regions
    if len({machine.computes for machine in known}) <= max(before, 1):
        return ""
    told = "; ".join(f"{cpu}: {regions:,} regions" for cpu, regions in kinds.items())
    return (
        f"regions of this run were computed with instructions that differ ({told}), by which the last bits of results "
        "may: have all starts of it take one --processor"
    )


def machines_of(run: RunRecord) -> Counter[Machine]:
    """Return the kinds of machine that regions of a run were made on, with how many."""
    return Counter({Machine.from_json(one["machine"]): one["regions"] for one in run.machines})


def flow_of(flow: "prefect.Flow[Any, Any]") -> tuple[Flow, str]:
    """Return a flow's code as it is now, without secrets; and what of it could not be had, as a warning."""
    path = inspect.getsourcefile(flow.fn)
    written = Path(path).read_text() if path and Path(path).exists() else inspect.getsource(flow.fn)
    source, text = without_secrets([written, inspect.getdoc(flow.fn) or f"The flow {flow.name}"])
    if flow.fn.__module__.startswith("terp."):
        terp = terp_itself()
        return Flow(str(flow.name), text, terp["version"], source, terp.get("commit"), bool(terp.get("dirty"))), ""
    found = state_of(Path(path)) if path else State()
    named = found.commit or f"sha256:{_sha256(source)[:12]}"
    diff = without_secrets(found.diff)
    return Flow(str(flow.name), text, named, source, found.commit, found.dirty, diff=diff), found.trouble


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
