"""A plan says why products are cut and stored as they are; files that a site has no room for are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from prefect import flow

from terp.cluster.site import FileSystem, Site, load_site
from terp.storage.home import Home
from terp.workflows import Product, ingest, rechunk, stage
from terp.workflows.cli.compute import plan_text
from terp.workflows.errors import Usage
from terp.workflows.planning.plan import Plan, make_plan
from terp.workflows.running.at_site import at_site
from terp.workflows.running.fits import demand_files


@stage(whole=("time",))
def noisy(block: xr.Dataset) -> xr.Dataset:
    """Complex noise."""
    return xr.Dataset({"v": block["v"].astype("c8")})


@stage(over=("x",), overhead=1.0)
def image(block: xr.Dataset) -> xr.Dataset:
    """As much for any block."""
    return xr.Dataset({"image": ("pixel", np.full(1 << 20, block["v"].real.sum().item(), "f4"))})


@flow
def several(source: str) -> dict[str, Product]:
    """Products of all kinds."""
    data = ingest(source)
    wide = rechunk(data, ("time",), block={"time": 2})
    return {"wide": rechunk(wide, ("x",), codec="lz4-5-bitshuffle"), "image": image(noisy(data))}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    stored = xr.Dataset({"v": (("time", "x"), np.zeros((16, 1 << 18), "f4"))})
    stored.to_zarr(tmp_path / "data.zarr", zarr_format=3, encoding={"v": {"chunks": (16, 1 << 16)}}, consolidated=False)
    return make_plan(several, {"source": str(tmp_path / "data.zarr")}, Home(tmp_path / "home").open())[0]


def test_a_plan_says_why_products_are_cut_and_stored_as_they_are(plan: Plan) -> None:
    said: dict[str, Any] = {one.step.name: plan.reasons(one.step) for one in reversed(plan.steps)}
    assert said["ingest"]["cut"] == "regions of 65,536 of x, as its source has it; time whole"
    assert said["ingest"]["codec"] == "lz4-5-shuffle: floating point, goes through only"
    assert said["rearranged"]["cut"] == "regions of 2 of time, as its stage says (block={'time': 2}); x whole"
    assert said["ingest"]["chunk"].startswith("chunks of ")
    assert said["noisy"]["cut"].endswith("of x, chosen from its size; time whole")
    assert said["noisy"]["codec"] == "none: complex noise does not shrink"
    parts = "a region for each partial result, of 131,072 of x, for its calls to be worth their overhead"
    assert said["image.blocks"]["cut"] == parts
    assert said["image"] == {
        "cut": "one region, as it may not be cut",
        "chunk": "chunks of 262,144 of pixel: at most 1 MiB to be decoded for one value",
        "codec": "zstd-1-bitshuffle: it is kept, so small before fast",
    }
    assert plan.reasons(plan.steps[2].step)["codec"] == "lz4-5-bitshuffle, as its stage says"


def test_more_files_than_there_is_room_for_are_refused_with_the_blocks_that_would_do(plan: Plan) -> None:
    files = sum(one.step.shards for one in plan.steps)
    demand_files(plan, files, "here")
    with pytest.raises(Usage, match=rf"makes {files} files, 16 of them for noisy, and here allows {files - 4}: "):
        demand_files(plan, files - 4, "here")
    with pytest.raises(Usage, match=r'blocks of 32,768 along x would fit \(block=\{"x": 32768\} of the stage\)'):
        demand_files(plan, files - 4, "here")
    with pytest.raises(Usage, match="let stages have larger blocks, or set TERP_HOME elsewhere"):
        demand_files(plan, 1, "here")


def test_more_partial_results_than_there_is_room_for_are_fewer_with_larger_blocks_of_what_is_reduced(
    plan: Plan,
) -> None:
    [parts] = [one for one in plan.steps if one.step.name == "image.blocks"]
    only = replace(plan, steps=(parts,))
    with pytest.raises(Usage, match=r'2 of them for image.blocks.* \(block=\{"x": 262144\} of the stage\)'):
        demand_files(only, 1, "here")


def test_a_site_refuses_files_where_the_home_lies_and_only_tells_of_other_places(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERP_HOME", str(tmp_path / "scratch/me/terp"))
    monkeypatch.setenv("SOMEBODY", "me")
    site: Site = load_site("testbed", {})
    few = FileSystem(path=f"{tmp_path}/scratch/$SOMEBODY", files=3)
    with pytest.raises(Usage, match="scratch of testbed allows 3"):
        at_site(plan, site.model_copy(update={"file_systems": {"scratch": few}}))
    elsewhere = FileSystem(path=f"{tmp_path}/home", files=3)
    told = at_site(plan, site.model_copy(update={"file_systems": {"home": elsewhere}}))
    assert any("more than home allows" in note for note in told.notes)


@stage(cut=("x",), block={"x": 16})
def fine(block: xr.Dataset) -> xr.Dataset:
    """Is cut into very many."""
    return block * 2


@stage(over=("x",), block={"x": 16})
def summed(block: xr.Dataset) -> xr.Dataset:
    """Has very many partial results."""
    return block.sum("x")


@stage(cut=("x",), block={"x": 1 << 18}, chunk={"x": 1 << 14})
def doubled(block: xr.Dataset) -> xr.Dataset:
    """Twice as much."""
    return block * 2


@doubled.kernel
def _(block: xr.Dataset) -> xr.Dataset:
    return block + block


@pytest.fixture
def many(plan: Plan, tmp_path: Path) -> Plan:
    assert plan, "which made the source"

    @flow
    def body(source: str) -> dict[str, Product]:
        data = ingest(source)
        return {"fine": fine(data), "summed": summed(data), "doubled": doubled(doubled(data))}

    return make_plan(body, {"source": str(tmp_path / "data.zarr")}, Home(tmp_path / "home").open())[0]


def test_folders_with_very_many_entries_are_noted_with_the_block_that_would_do(many: Plan) -> None:
    shown = plan_text(many)
    would = "has 16,384 entries in one folder, as it is cut along {}: blocks of 64 along x would do"
    assert f"note: fine {would.format('x')}" in shown
    assert f"note: summed.blocks {would.format('part')}" in shown
    assert shown.count("in one folder") == 2


def test_a_plan_says_what_a_kernel_gets_at_a_time_and_which_chunks_its_stage_wants(many: Plan) -> None:
    last = [many.reasons(one.step) for one in many.steps if one.step.name == "doubled"][-1]
    assert last["chunk"] == "chunks of 16,384 of x, as its stage says"
    assert last["tile"] == "its kernel gets 16,384 of x at a time, which stay in the caches of a core"


def test_a_site_refuses_files_that_are_too_small_with_the_block_that_would_do(
    many: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERP_HOME", str(tmp_path / "scratch/terp"))
    site: Site = load_site("testbed", {})
    large = FileSystem.model_validate({"path": f"{tmp_path}/scratch", "smallest": "1M"})
    with pytest.raises(Usage, match=r"fine makes 16,384 files of about 1,024 bytes .*of 16,384 along x would fit"):
        at_site(many, site.model_copy(update={"file_systems": {"scratch": large}}))
    few = replace(many, steps=tuple(one for one in many.steps if one.step.name != "fine"))
    assert at_site(few, site.model_copy(update={"file_systems": {"scratch": large}})), "partial results may be small"
