"""A plan: all that a run will do, decided before anything is done.

The flow's body runs with products that are only schemas; no stage sees data. So every stage, its regions, memory,
bytes and files are known, what exists already, and why what is done again is done again.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from terp.storage.canonical import canonical
from terp.storage.errors import BadProduct
from terp.storage.fetching import identified
from terp.storage.home import Home
from terp.storage.meter import Tell, silent
from terp.storage.product import StoredProduct
from terp.storage.scrub import scrub, told_apart
from terp.storage.source import Identity
from terp.workflows.errors import PlanEnds, Usage
from terp.workflows.planning.code import Code
from terp.workflows.planning.explain import Reasons, Why
from terp.workflows.planning.intake import ingested
from terp.workflows.planning.measured import Peaks
from terp.workflows.planning.reasons import crowded, reasons
from terp.workflows.planning.step import Step
from terp.workflows.running.blame import blaming
from terp.workflows.running.record import RunRecord, all_runs
from terp.workflows.session import Product, repeating, session

if TYPE_CHECKING:
    import xarray as xr
    from prefect import Flow

_DISK_RATE = 300e6  # bytes a second that one worker encodes and writes, of the order of what was measured
_REGION_SECONDS = 0.03  # what a region costs beside its bytes: a task, syncs, a record; measured
_PACKED = 0.6  # stored bytes for each decoded byte, of the order of what measured data gives


@dataclass(frozen=True)
class Planned:
    """A step and what exists of it: regions recorded, whether sealed, and why it is done (again).

    It is needless when all that would be made of it is there already.
    """

    step: Step
    done: int
    sealed: bool
    reason: Why
    needless: bool = False

    @property
    def why(self) -> str:
        """Why it is done or not, in a line."""
        return self.reason.words

    @property
    def missing(self) -> int:
        """Regions to be made."""
        return 0 if self.sealed or self.needless else self.step.regions - self.done

    @property
    def seconds(self) -> float:
        """Estimate of one worker's seconds for what is missing: a made-up call and the writing of each region."""
        share = self.missing / max(self.step.regions, 1)
        return share * self.step.nbytes / _DISK_RATE + self.missing * (_REGION_SECONDS + self.step.trial[0])

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "stage": self.step.name,
            "key": self.step.key,
            "regions": self.step.regions,
            "missing": self.missing,
            "sealed": self.sealed,
            "why": self.why,
            "causes": [cause.to_json() for cause in self.reason.causes],
            "bytes": self.step.nbytes,
            "stored_bytes_estimate": int(self.step.nbytes * _PACKED),
            "files": self.step.shards,
            "worker_memory": self.step.memory,
            "worker_memory_is": "measured" if self.step.need.measured else "estimate",
            "seconds_estimate": round(self.seconds, 2),
            "at_most_times": self.step.at_most,
            "doubts": list(self.step.doubts),
            "crowded": list(crowded(self.step)),
            "cut": {g.path: {d: list(n) for d, n in g.cut.items()} for g in self.step.layout.groups},
        }


@dataclass(frozen=True)
class Plan:
    """All that a flow will do with these parameters, and what ended the planning early, if anything did."""

    flow: str
    parameters: Mapping[str, Any]
    steps: tuple[Planned, ...]
    results: Mapping[str, str]
    sources: tuple[Identity, ...]
    ends: str = ""
    firsts: Mapping[str, str] = field(default_factory=dict)

    def keeps(self, key: str) -> bool:
        """Say whether a product is a result of the flow, or may become one.

        All of an iteration are alike in that, whatever was known of its end: or it would be stored in another way by a
        run that is interrupted. `firsts` names the first of the iteration of a product.
        """
        kept = {self.firsts.get(result, result) for result in self.results.values()}
        return bool(self.ends) or self.firsts.get(key, key) in kept

    @property
    def tasks(self) -> int:
        """Dask tasks to be submitted."""
        return sum(one.missing for one in self.steps)

    def reasons(self, step: Step) -> dict[str, str]:
        """Return why a product is cut and stored as it is: `cut`, `chunk`, `codec` and a kernel's `tile`."""
        return reasons(step, self.keeps(step.key))

    def _codecs(self, step: Step) -> list[str]:
        groups = step.stored(self.keeps(step.key)).groups
        return sorted({array.codec for group in groups for array in group.arrays})

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "flow": self.flow,
            "parameters": dict(self.parameters),
            "stages": [
                one.to_json() | {"codecs": self._codecs(one.step), "reasons": self.reasons(one.step)}
                for one in self.steps
            ],
            "tasks": self.tasks,
            "bytes": sum(one.step.nbytes for one in self.steps),
            "files": sum(one.step.shards for one in self.steps),
            "worker_memory": max((one.step.memory for one in self.steps), default=0),
            "seconds_estimate": round(sum(one.seconds for one in self.steps), 2),
            "results": dict(self.results),
            "ends": self.ends,
        }


@dataclass
class Planner:
    """The session behind a flow's body while it is planned; `elsewhere` says where sources are now, by their names.

    `tell` is given words on how far it is with what takes long.
    """

    home: Home
    steps: dict[str, Step] = field(default_factory=dict)
    sources: dict[str, Identity] = field(default_factory=dict)
    taken_in: dict[str, Step] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    calls: dict[str, str] = field(default_factory=dict)
    firsts: dict[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, Path] = field(default_factory=dict)
    tell: Tell = silent

    @cached_property
    def runs(self) -> list[RunRecord]:
        """The runs of the home, as they were when they were first asked for."""
        return all_runs(self.home)

    @cached_property
    def peaks(self) -> Peaks:
        """What was measured in these runs."""
        return Peaks(self.runs)

    def take(self, build: Callable[[], Sequence[Step]], call: str) -> Product:
        """Note the steps of one call."""
        return product_of(self.known(build, call))

    def known(self, build: Callable[[], Sequence[Step]], call: str) -> Step:
        """Return the last step of a call, whose steps are found out once."""
        if call not in self.calls:
            steps = list(build())
            self.steps.update((step.key, step) for step in steps)
            self.calls[call] = steps[-1].key
            self.firsts[steps[-1].key] = repeating.get() or steps[-1].key
        return self.steps[self.calls[call]]

    def source(self, source: str) -> tuple[Callable[[], Sequence[Step]], str]:
        """Identify a source and plan to take it in."""
        if source not in self.taken_in:
            place = self.elsewhere and self.elsewhere.get(scrub(told_apart([*self.sources, source])[-1]))
            self.sources[source] = identified(str(place or source), self.home.cache, self.tell)
            self.taken_in[source] = ingested(self.sources[source])
        step = self.taken_in[source]
        return lambda: [step], step.key

    def values(self, product: Product) -> "xr.Dataset":
        """End the plan: values do not exist yet."""
        raise PlanEnds(f"the flow looks at the values of {product.key}, so what follows is known only in the run")

    def decide(self, product: Product, until: Callable[["xr.Dataset"], bool]) -> bool | None:
        """Return the decision that an earlier run recorded, or None."""
        try:
            decision: bool = json.loads(decision_path(self.home, product, until).read_bytes())["stop"]
        except (OSError, ValueError, KeyError):
            return None
        return decision

    def at_most(self, product: Product, times: int) -> None:
        """Note how often a step may be repeated."""
        self.limits[product.key] = times


def product_of(step: Step) -> Product:
    """Return what a step makes, as a flow's body sees it."""
    return Product(step.key, step.schemas)


def decision_path(home: Home, product: Product, until: Callable[..., bool]) -> Path:
    """Return where the decision of one criterion about one product is recorded."""
    digest = blake3(canonical(Code(until).parts)).hexdigest()[:20]
    return home.product(product.key) / "decisions" / f"{digest}.json"


def make_plan(
    flow: "Flow[Any, Any]",
    parameters: Mapping[str, Any],
    home: Home,
    elsewhere: Mapping[str, Path] | None = None,
    tell: Tell = silent,
) -> tuple[Plan, Planner]:
    """Plan a flow; raises what its body or a stage's trial raises.

    `elsewhere` says where sources are now; `tell` is given words on how far it is with what takes long.
    """
    planner = Planner(home, elsewhere=elsewhere or {}, tell=tell)
    results: dict[str, Product] = {}
    ends = ""
    token = session.set(planner)
    try:
        with blaming(flow):
            results = named_results(flow.fn(**parameters))
    except PlanEnds as end:
        ends = str(end)
    finally:
        session.reset(token)
    reasons = Reasons(home, planner.steps, lambda: planner.runs)
    planned = [_planned(planner, step, reasons) for step in planner.steps.values()]
    keys = {name: product.key for name, product in results.items()}
    if not ends:
        planned = _without_needless(planned, keys.values())
    sources = tuple(planner.sources.values())
    return Plan(str(flow.name), parameters, tuple(planned), keys, sources, ends, planner.firsts), planner


def _without_needless(planned: Sequence[Planned], results: Iterable[str]) -> list[Planned]:
    """Mark what has not to be made: neither a result nor read by anything that is to be made."""
    needed = set(results)
    for one in reversed(planned):
        if one.step.key in needed and one.missing:
            needed |= {key for key, _ in one.step.inputs}
    why = Why("not needed: all that is made of it exists")
    return [one if one.sealed or one.step.key in needed else replace(one, needless=True, reason=why) for one in planned]


def named_results(returned: Any) -> dict[str, Product]:
    """Return what a flow returned, by name; raises Usage when it is not products."""
    if isinstance(returned, Product):
        return {returned.key.rpartition("-")[0]: returned}
    if isinstance(returned, tuple | list):
        returned = {str(one.key).rpartition("-")[0]: one for one in returned if isinstance(one, Product)}
    if isinstance(returned, dict) and returned and all(isinstance(one, Product) for one in returned.values()):
        for name in returned:
            if not str(name).replace("_", "").replace("-", "").isalnum():
                raise Usage(f"the flow returns a product named {name!r}: use letters, digits, - and _")
        return {str(name): one for name, one in returned.items()}
    raise Usage("the flow must return a Product, or a dict of them by name: they are what is kept and archived")


def _planned(planner: Planner, step: Step, reasons: Reasons) -> Planned:
    step = replace(step, at_most=planner.limits.get(step.key, 1))
    try:
        product = StoredProduct(planner.home.product(step.key))
        done, total = product.progress()
        sealed = product.seal is not None
    except BadProduct:
        return Planned(planner.peaks.revised(step), 0, False, reasons.of(step))
    if sealed:
        return Planned(step, total, True, Why("exists"))
    return Planned(planner.peaks.revised(step), done, False, Why(f"half done: {done:,} of {total:,} regions"))
