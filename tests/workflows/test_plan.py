"""A plan knows all that a run will do, without any stage having seen data."""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from prefect import flow

from terp.storage.home import Home
from terp.workflows import Product, ingest, iterate, stage
from terp.workflows.errors import BadStage, Usage
from terp.workflows.planning.plan import Plan, decision_path, make_plan

Make = Callable[[Callable[..., Any]], Plan]
HOT = 1000.0  # no made-up value is as large


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small grid whose values any look at them would show."""
    values = np.full((12, 4, 6), HOT, "f4")
    grid = {"time": np.arange("2000-01", "2001-01", dtype="M8[M]").astype("M8[ns]"), "y": range(4), "x": range(6)}
    path = tmp_path / "grid.nc"
    xr.Dataset({"v": (("time", "y", "x"), values)}, grid).to_netcdf(path)
    return path


@pytest.fixture
def plan(tmp_path: Path, source: Path) -> Make:
    house = Home(tmp_path / "home").open()

    def of(body: Callable[[Product], Any]) -> Plan:
        @flow
        def made(path: str) -> Any:
            return body(ingest(path))

        return make_plan(made, {"path": str(source)}, house)[0]

    return of


@stage(cut=("y", "x"), block={"y": 1})
def looked(block: xr.Dataset) -> xr.Dataset:
    """Refuse real data."""
    assert float(block["v"].max()) < HOT, "the plan has let a stage see data"
    return block * 2


@stage(over=("y", "x"), block={"y": 1, "x": 1})
def summed(block: xr.Dataset) -> xr.Dataset:
    """Sum over the grid."""
    return block.sum(("y", "x"))


@stage(cut=())
def halved(block: xr.Dataset) -> xr.Dataset:
    """Half of it."""
    return block / 2


def test_no_stage_sees_data_while_it_is_planned(plan: Make) -> None:
    made = plan(looked)
    assert [one.step.name for one in made.steps] == ["ingest", "looked"]
    assert made.steps[1].step.regions == 4
    assert made.tasks == 5


def test_a_reduction_whose_calls_cost_much_whatever_they_get_has_fewer_of_them(tmp_path: Path) -> None:
    xr.Dataset({"v": ("row", np.zeros(1 << 22, "f4"))}).to_netcdf(tmp_path / "rows.nc")

    def parts(overhead: float) -> int:
        @stage(over=("row",), overhead=overhead)
        def image(block: xr.Dataset) -> xr.Dataset:
            return xr.Dataset({"image": ("pixel", np.full(1 << 18, block["v"].sum().item(), "f4"))})

        @flow
        def made(path: str) -> Product:
            return image(ingest(path))

        planned = make_plan(made, {"path": str(tmp_path / "rows.nc")}, Home(tmp_path / "home").open())[0]
        return next(one.step.regions for one in planned.steps if one.step.name == "image.blocks")

    assert [parts(overhead) for overhead in (0.0, 1.0, 4.0, 16.0)] == [4, 4, 2, 1]


def test_a_reduction_is_planned_as_a_tree_that_the_grid_fixes(plan: Make) -> None:
    made = plan(summed)
    assert [(one.step.name, one.step.regions) for one in made.steps[1:]] == [
        ("summed.blocks", 24),
        ("summed.level1", 2),
        ("summed", 1),
    ]


def test_an_iteration_without_criterion_is_planned_in_full(plan: Make) -> None:
    made = plan(lambda data: iterate(halved, data, limit=3))
    assert [one.step.name for one in made.steps] == ["ingest", "halved", "halved", "halved"]
    assert len({one.step.key for one in made.steps}) == 4


def test_an_iteration_with_a_criterion_is_planned_as_at_most(plan: Make) -> None:
    made = plan(lambda data: iterate(halved, data, limit=7, until=lambda state: bool(state["v"].max() < 1)))
    assert made.steps[1].step.at_most == 7


def test_all_of_an_iteration_is_stored_alike_whatever_is_known_of_its_end(tmp_path: Path, source: Path) -> None:
    def little(state: xr.Dataset) -> bool:
        return bool(state["v"].max() < 1)

    @flow
    def made(path: str) -> Any:
        return iterate(halved, ingest(path), limit=7, until=little)

    home = Home(tmp_path / "home").open()
    before = make_plan(made, {"path": str(source)}, home)[0]
    first = before.results["halved"]
    decision = decision_path(home, Product(first, {}), little)
    decision.parent.mkdir(parents=True)
    decision.write_text('{"stop": false}')
    after = make_plan(made, {"path": str(source)}, home)[0]
    assert after.results["halved"] != first
    assert before.keeps(first)
    assert after.keeps(first)
    assert after.keeps(after.results["halved"])


def test_a_flow_that_looks_at_values_ends_its_plan_and_says_so(plan: Make) -> None:
    made = plan(lambda data: halved(data) if data.open()["v"].max() > 0 else data)
    assert "looks at the values" in made.ends
    assert [one.step.name for one in made.steps] == ["ingest"]


def test_the_key_is_the_same_wherever_the_source_lies(tmp_path: Path, source: Path) -> None:
    other = tmp_path / "elsewhere" / "renamed.nc"
    other.parent.mkdir()
    shutil.copy(source, other)

    @flow
    def made(path: str) -> Any:
        return looked(ingest(path))

    keys = [make_plan(made, {"path": str(p)}, Home(tmp_path / "home").open())[0].results for p in (source, other)]
    assert keys[0] == keys[1]


def _same(block: xr.Dataset) -> xr.Dataset:
    return block


def _other(block: xr.Dataset) -> xr.Dataset:
    return block.rename(v="w")


def _fails(block: xr.Dataset) -> xr.Dataset:
    return block[["nothing"]]


def _tuned(block: xr.Dataset, *, how: Any) -> xr.Dataset:
    return block + how


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            stage(cut=("z",))(_same),
            "cut along z, which its inputs do not have; they have time, x, y",
        ),
        (stage(cut=("y",))(lambda b: b.mean("y")), "lacks y, along which blocks are cut"),
        (stage(cut=("y",))(lambda b: b["v"]), "returned a DataArray"),
        (stage(cut=("y",))(lambda b: b.isel(y=[0])), "changes the size of y"),
        (stage(cut=("y",))(lambda b: b.assign_coords(m=b["v"].mean())), "depends on the data"),
        (stage(cut=("y",))(_fails), "fails on a made-up block .* KeyError: 'nothing'"),
        (stage(over=("y",))(_same), "reduces over y, but its result still has it"),
        (stage(whole=("level",))(_same), "keeps level whole, which its first input does not have"),
        (stage(cut=("y",), libraries=("no-such-library",))(_same), "no-such-library.*not installed"),
        (stage(cut=("y",), block={"x": 2})(_same), "fixes blocks along x"),
        (lambda data: stage(cut=("y",))(_tuned)(data, how=object()), "parameters are numbers, text"),
        (lambda data: iterate(stage(cut=())(_other), data, limit=2), "returns other variables"),
    ],
)
def test_a_stage_that_does_what_a_stage_cannot_is_told_in_the_plan(plan: Make, body: Any, words: str) -> None:
    with pytest.raises(BadStage, match=words):
        plan(body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cut": "y"},
        {"cut": ("y",), "whole": ("x",)},
        {},
        {"cut": ("y",), "overhead": 1.0},
        {"over": ("y",), "overhead": -1.0},
    ],
)
def test_a_stage_that_is_declared_wrongly_is_told_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadStage):
        stage(**wrong)


def test_what_a_block_should_not_do_is_noted(plan: Make) -> None:
    def in_place(block: xr.Dataset) -> xr.Dataset:
        block["v"] *= 2
        return block

    def by_chance(block: xr.Dataset) -> xr.Dataset:
        return block + np.random.default_rng().normal()

    def by_cut(block: xr.Dataset) -> xr.Dataset:
        return block - block.mean("y")

    def doubts(function: Any) -> str:
        return " ".join(plan(stage(cut=("y",))(function)).steps[1].step.doubts)

    assert "changes its input block in place" in doubts(in_place)
    assert "not pure" in doubts(by_chance)
    assert "other values when it is cut along y" in doubts(by_cut)
    assert doubts(_same) == ""


def test_outside_a_run_a_stage_is_its_function() -> None:
    data = xr.Dataset({"v": (("y", "x"), np.ones((2, 3)))})
    assert float(halved(data)["v"].sum()) == 3
    assert float(summed(data)["v"]) == 6


def test_outside_a_run_ingest_says_how_to_run() -> None:
    with pytest.raises(Usage, match="terp run"):
        ingest("somewhere")


def test_stages_and_plans_need_no_prefect() -> None:
    """So that a worker, which needs them, has none of it."""
    import subprocess

    code = "import sys, terp.workflows.running.task, terp.workflows.planning.step\nsys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("chunks", [None, (8, 256, 128)])
def test_a_zarr_source_is_taken_in_as_it_is_cut(tmp_path: Path, home: Path, chunks: tuple[int, ...] | None) -> None:
    values = np.zeros((32, 512, 256), "f4")
    sharded = {"chunks": chunks, "shards": (32, 256, 128)} if chunks else {"chunks": (32, 256, 128)}
    store = tmp_path / "cut.zarr"
    field = xr.Dataset({"v": (("time", "y", "x"), values)})
    field.to_zarr(store, zarr_format=3, consolidated=False, encoding={"v": {**sharded, "fill_value": -1}})

    @flow
    def taken(path: str) -> Any:
        return ingest(path)

    [planned] = make_plan(taken, {"path": str(store)}, Home(home).open())[0].steps
    [array] = planned.step.layout.groups[0].arrays
    assert array.shard == (32, 256, 128)
    assert planned.step.regions == 4
    assert array.chunk == (chunks or array.chunk)


def test_a_zarr_source_in_crumbs_is_cut_as_suits(tmp_path: Path, home: Path) -> None:
    store = tmp_path / "crumbs.zarr"
    field = xr.Dataset({"v": (("y", "x"), np.zeros((512, 256), "f4"))})
    field.to_zarr(store, zarr_format=3, consolidated=False, encoding={"v": {"chunks": (32, 32), "fill_value": -1}})

    @flow
    def taken(path: str) -> Any:
        return ingest(path)

    [planned] = make_plan(taken, {"path": str(store)}, Home(home).open())[0].steps
    assert planned.step.regions == 1


@stage(cut=("x",), block={"x": 1})
def cut_small(block: xr.Dataset) -> xr.Dataset:
    """A million regions."""
    return block + 1


def test_a_million_regions_are_planned_in_two_seconds(tmp_path: Path) -> None:
    stored = xr.Dataset({"v": (("x", "y"), np.zeros((10**6, 2), "f4"))}, {"x": np.arange(10**6)})
    stored.to_zarr(tmp_path / "data.zarr", zarr_format=3, consolidated=False)

    @flow
    def body(path: str) -> Product:
        return cut_small(ingest(path))

    home, path = Home(tmp_path / "home").open(), {"path": str(tmp_path / "data.zarr")}
    started = time.process_time()  # of this process alone: other work makes no difference
    plan, _ = make_plan(body, path, home)
    assert plan.steps[-1].missing == 10**6
    assert plan.to_json()["tasks"] > 10**6
    assert time.process_time() - started < 2
