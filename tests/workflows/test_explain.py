"""A plan says why a stage has to be done: what differs from what was made earlier, down to the first cause."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from prefect import flow

from terp.storage.filling import Filling
from terp.storage.home import Home
from terp.storage.making import create
from terp.storage.rows import Record
from terp.storage.shard import Stored
from terp.workflows import Product, ingest, iterate, stage
from terp.workflows.cli.compute import plan_text
from terp.workflows.planning import step as steps
from terp.workflows.planning.explain import NEVER
from terp.workflows.planning.plan import Plan, make_plan
from terp.workflows.running.clock import now
from terp.workflows.running.record import RunRecord, StageRecord
from terp.workflows.stage import Stage

Body = Callable[[Product], Any]


class Desk:
    """A home and a source; what is planned there may be made there, as far as plans look at it."""

    def __init__(self, folder: Path) -> None:
        self.home, self.source = Home(folder / "home").open(), folder / "grid.nc"
        self.measure(1)

    def measure(self, value: float) -> None:
        """Put other values into the source."""
        grid = {"y": range(4), "x": range(6)}
        self.source.unlink(missing_ok=True)
        xr.Dataset({"v": (("y", "x"), np.full((4, 6), value, "f4"))}, grid).to_netcdf(self.source)

    def plan(self, body: Body) -> Plan:
        @flow
        def made(path: str) -> Any:
            return body(ingest(path))

        return make_plan(made, {"path": str(self.source)}, self.home)[0]

    def make(self, body: Body) -> Plan:
        """Have there be an open product of each step."""
        planned = self.plan(body)
        for one in planned.steps:
            folder = self.home.product(one.step.key)
            create(folder, one.step.name, one.step.key, one.step.ingredients, one.step.stored(kept=True))
        return planned

    def why(self, body: Body) -> dict[str, str]:
        return {one.step.name: one.why.partition("; 0 of")[0] for one in self.plan(body).steps}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


FACTOR = 2


def added(block: xr.Dataset, by: float) -> xr.Dataset:
    return block + by


def edited(block: xr.Dataset, by: float) -> xr.Dataset:
    return block - by


edited.__name__ = edited.__qualname__ = "added"


def by_factor(block: xr.Dataset) -> xr.Dataset:
    return block * FACTOR


def summed(block: xr.Dataset) -> xr.Dataset:
    return block.sum(("y", "x"))


SUM = stage(over=("y", "x"), block={"y": 1, "x": 1})(summed)


def chain(function: Any = added, by: float = 1, **how: Any) -> Body:
    first = stage(cut=("y",), **how)(function)
    return lambda data: SUM(first(data, by=by))


def test_what_was_never_made_is_said_to_be_so(desk: Desk) -> None:
    assert set(desk.why(chain()).values()) == {NEVER}


def test_edited_code_is_shown_as_it_was_and_is(desk: Desk) -> None:
    desk.make(chain())
    planned = desk.plan(chain(edited))
    why = planned.steps[1].reason
    assert why.words.startswith("code of `added` changed; 0 of 1 regions exist under the old one (added-")
    assert "-    return block + by" in why.diff
    assert "+    return block - by" in why.diff
    shown = plan_text(planned, 3)
    assert "the code of added:" in shown
    assert "lines more: terp plan --why" in shown
    assert "    +    return block - by" in plan_text(planned, 0)
    [cause] = json.loads(json.dumps(planned.to_json()))["stages"][1]["causes"]
    assert (cause["kind"], cause["name"]) == ("code", "added")
    assert cause["old"] != cause["new"]


def test_what_code_reaches_is_code_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    body: Body = stage(cut=("y",))(by_factor)
    desk.make(body)
    monkeypatch.setitem(globals(), "FACTOR", 3)
    planned = desk.plan(body)
    assert planned.steps[1].why.startswith("code of `by_factor:FACTOR` changed")
    assert planned.steps[1].reason.diff[-2:] == ["-2", "+3"]


def test_what_follows_names_the_first_cause(desk: Desk) -> None:
    desk.make(chain())
    told = desk.why(chain(by=5))
    assert told["added"] == "parameter by 1 -> 5"
    for name in ("summed.blocks", "summed.level1", "summed"):
        assert told[name] == "input added changed, by added: parameter by 1 -> 5"


def test_a_source_with_other_content_is_the_first_cause_of_all(desk: Desk) -> None:
    desk.make(chain())
    desk.measure(2)
    told = desk.why(chain())
    assert told["ingest"] == "the source has other content"
    assert told["added"] == "input ingest changed, by ingest: the source has other content"
    assert told["summed"] == "input added changed, by ingest: the source has other content"


def test_where_the_old_input_was_removed_that_is_said(desk: Desk) -> None:
    made = desk.make(chain())
    (desk.home.product(made.steps[1].step.key) / "product.json").unlink()
    told = desk.why(chain(by=5))
    assert told["summed"] == (
        f"input added changed, by what cannot be told any more, as {made.steps[1].step.key} was removed"
    )


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {"halo": {"y": 1}}, 'halo none -> {"y": 1}'),
        ({}, {"codec": "none"}, "codec none -> 'none'"),
        ({"block": {"y": 1}}, {"block": {"y": 2}}, 'block {"y": 1} -> {"y": 2}'),
        ({"chunk": {"y": 1}}, {"chunk": {"y": 2}}, 'chunk {"y": 1} -> {"y": 2}'),
    ],
)
def test_another_cut_halo_or_codec_is_said(desk: Desk, before: Any, after: Any, words: str) -> None:
    desk.make(chain(**before))
    assert desk.why(chain(**after))["added"] == words


def test_another_cut_is_said_with_the_dimensions(desk: Desk) -> None:
    desk.make(stage(cut=("y",))(by_factor))
    assert desk.why(stage(cut=("y", "x"))(by_factor))["by_factor"] == 'cut ["y"] -> ["y", "x"]'


def test_another_version_of_a_named_library_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    body = chain(libraries=("numpy",))
    desk.make(body)
    monkeypatch.setattr(sys.modules[Stage.__module__], "version", lambda _: "99.1")
    assert desk.why(body)["added"] == f"library numpy '{np.__version__}' -> '99.1'"


def test_of_several_earlier_products_the_most_similar_is_compared(desk: Desk) -> None:
    desk.make(chain(edited, by=1))
    desk.make(chain(added, by=7))
    assert desk.why(chain(added, by=8))["added"] == "parameter by 7 -> 8"


def test_another_call_in_the_same_flow_is_no_earlier_version(desk: Desk) -> None:
    first = stage(cut=("y",))(added)
    desk.make(lambda data: first(data, by=1))
    told = [one.why for one in desk.plan(lambda data: {"a": first(data, by=1), "b": first(data, by=2)}).steps]
    assert told == ["half done: 0 of 1 regions", "half done: 0 of 1 regions", NEVER]


def test_the_rounds_of_a_long_iteration_have_one_first_cause(desk: Desk) -> None:
    def body(by: float) -> Body:
        return lambda data: iterate(stage(cut=("y",))(added), data, limit=60, by=by)

    desk.make(body(1))
    told = [one.why for one in desk.plan(body(2)).steps[1:]]
    assert told[0].startswith("parameter by 1 -> 2")
    assert all("input added changed, by added: parameter by 1 -> 2;" in one for one in told[1:])


def test_what_a_run_had_made_and_is_gone_was_removed(desk: Desk) -> None:
    planned = desk.plan(chain())
    record = RunRecord.begin(desk.home, "made", "made", {})
    step = planned.steps[1].step
    record.stages.append(StageRecord(step.name, step.key, 1, made=1, ended="2026-11-22T03:07:55+00:00"))
    record.save(desk.home)
    assert desk.why(chain())["added"] == f"was removed: {record.id} had made it, 2026-11-22"
    assert record.started <= now()


def test_a_plan_reads_the_records_of_runs_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    RunRecord.begin(desk.home, "made", "made", {})
    read, really = list[str](), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path.name), really(path))[1])
    desk.plan(chain())
    assert read.count("run.json") == 1


def test_what_is_half_done_says_how_far(desk: Desk) -> None:
    body = chain(block={"y": 1})
    planned = desk.make(body).steps[1]
    product = create(desk.home.product(planned.step.key), "", "", {}, planned.step.layout)
    with Filling(product) as filling:
        stored = {"v": Stored(1, "0" * 64, "0" * 64, 1)}
        filling.ledger.append(Record("", index, 0, stored, 0.1, "one") for index in range(3))
    assert desk.why(body)["added"] == "half done: 3 of 4 regions"
    assert steps.key_of("added", planned.step.ingredients) == planned.step.key


def test_what_was_made_of_a_stage_before_it_was_edited_and_is_gone_is_told_of(desk: Desk) -> None:
    old = desk.plan(chain()).steps[1].step
    record = RunRecord.begin(desk.home, "made", "made", {})
    record.stages.append(StageRecord(old.name, old.key, 1, made=1, ended="2026-11-22T03:07:55+00:00"))
    record.save(desk.home)
    told = desk.why(chain(by=5))
    assert told["added"] == (
        f"never made here as it is now; what {record.id} made of this stage, 2026-11-22, was removed: in what that "
        "differs cannot be told"
    )
    assert told["ingest"] == NEVER
