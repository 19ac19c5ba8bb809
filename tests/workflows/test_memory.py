"""What a worker needs of memory is known before: it never takes a tenth more, on every kind of stage."""

import mmap
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from prefect import flow

from terp.cluster.site import Site, load_site
from terp.storage.home import Home
from terp.workflows import api, ingest, rechunk, stage
from terp.workflows.cli.compute import plan_text
from terp.workflows.errors import Usage
from terp.workflows.planning.plan import Plan, make_plan
from terp.workflows.running.at_site import at_site
from terp.workflows.running.fits import hardly_fitting

ROWS, CELLS = 4096, 4096  # 64 MiB of float32
KINDS = ("mapped", "haloed", "wide", "compiled", "summed", "grouped")
MIB = 1 << 20


def stages(mib: int) -> dict[str, Any]:
    """A stage of each kind, on blocks of so many MiB."""
    rows = mib * 64

    @stage(cut=("time",), block={"time": rows}, copies=4)  # two of float64
    def made(block: xr.Dataset) -> xr.Dataset:
        values = np.sin(block["seed"].to_numpy()[:, None] + np.arange(CELLS)).astype("f4")
        return xr.Dataset({"v": (("time", "cell"), values)}, {"time": block["time"], "cell": np.arange(CELLS)})

    @stage(cut=("time",), block={"time": rows})
    def mapped(block: xr.Dataset) -> xr.Dataset:
        return block * 2 + 1

    @stage(cut=("time",), block={"time": rows}, halo={"time": 3})
    def haloed(block: xr.Dataset) -> xr.Dataset:
        return block.rolling(time=7, center=True, min_periods=1).mean()

    @stage(cut=("time",), block={"time": rows}, halo={"time": rows // 2})
    def wide(block: xr.Dataset) -> xr.Dataset:
        return block.shift(time=rows // 2, fill_value=0)

    @stage(cut=("time",), block={"time": rows})
    def compiled(block: xr.Dataset) -> xr.Dataset:
        return block * 2 + 1

    @compiled.kernel
    def _(block: xr.Dataset) -> xr.Dataset:
        values = block["v"].to_numpy() * np.float32(2)
        values += 1
        return xr.Dataset({"v": (("time", "cell"), values)}, {"time": block["time"], "cell": block["cell"]})

    @stage(over=("time",), block={"time": rows})
    def summed(block: xr.Dataset) -> xr.Dataset:
        return block.sum("time")

    @stage(over=("time",), block={"time": rows})
    def grouped(block: xr.Dataset) -> xr.Dataset:
        return block.groupby(block["time"] % 7).sum().reindex(time=range(7), fill_value=0).rename(time="day")

    return locals()


def kinds(mib: int, *names: str) -> Any:
    """A flow with these stages, or one of each kind, on blocks of so many MiB of what it is given, or makes first."""
    some = stages(mib)

    @flow
    def one_flow(path: str) -> Any:
        data = ingest(path) if names else some["made"](ingest(path))
        turned = rechunk(data, ("cell",), block={"cell": some["rows"]})
        found = {name: some[name](data) for name in names or KINDS}
        return {**found, "turned": turned}

    return one_flow


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "seeds.nc"
    xr.Dataset({"seed": ("time", np.arange(ROWS, dtype="f4"))}, {"time": np.arange(ROWS)}).to_netcdf(path)
    return str(path)


def planned(body: Any, source: str, home: Path) -> Plan:
    return make_plan(body, {"path": source}, Home(home).open())[0]


def took(body: Any, source: str, home: Path) -> dict[str, float]:
    """How many times what was planned workers held at most, while they made regions of each stage."""
    expected = {one.step.key: one.step.memory for one in planned(body, source, home).steps}
    done = api.run(body, source, home=home, workers=1, archive=False)
    return {one.name: one.memory / expected[one.key] for one in done.record.stages}


@pytest.mark.campaign  # it takes minutes
@pytest.mark.parametrize("mib", [4, 8, 16, 32, 64])
def test_each_kind_of_stage_takes_at_most_a_tenth_more_than_was_planned(
    mib: int, source: str, home: Path, prefect_here: dict[str, str]
) -> None:
    assert prefect_here
    assert {name: ratio for name, ratio in took(kinds(mib), source, home).items() if not 0.8 < ratio < 1.1} == {}


def test_a_map_a_halo_a_reduction_and_a_rechunk_take_at_most_a_tenth_more_than_was_planned(
    tmp_path: Path, home: Path, prefect_here: dict[str, str]
) -> None:
    assert prefect_here
    ratios = took(kinds(16, "mapped", "wide", "summed"), a_source(tmp_path / "values.nc", 2048), home)
    assert len(ratios) == 6
    assert {name: ratio for name, ratio in ratios.items() if not 0.8 < ratio < 1.1} == {}


def test_what_is_read_and_made_of_a_halo_is_counted(source: str, home: Path) -> None:
    need = {one.step.name: one.step.need.blocks for one in planned(kinds(16), source, home).steps}
    assert need["wide"] > (32 + 32) * MIB, "twice 16 MiB are read, and as much is made of it"


def test_what_cannot_fit_is_refused_with_the_blocks_that_would(source: str, home: Path) -> None:
    plan = planned(kinds(64), source, home)
    with pytest.raises(Usage, match=r"made needs 424 MiB .* 226 MiB here: blocks of 1,0\d\d along time would fit"):
        hardly_fitting(plan, 226 * MIB, "here", "take fewer workers")


def test_a_reduction_that_cannot_fit_is_refused_with_blocks_of_what_it_reduces(source: str, home: Path) -> None:
    plan = planned(kinds(64), source, home)
    summed = replace(plan, steps=tuple(one for one in plan.steps if one.step.name.startswith("summed")))
    with pytest.raises(Usage, match=r"summed.blocks needs .* here: blocks of 1\d\d along time would fit"):
        hardly_fitting(summed, 166 * MIB, "here", "take fewer workers")


def test_blocks_of_a_stage_with_a_halo_that_would_fit_leave_room_for_it(source: str, home: Path) -> None:
    plan = planned(kinds(32), source, home)
    [wide] = [one for one in plan.steps if one.step.name == "wide"]
    room = wide.step.need.itself + wide.step.need.blocks * 3 // 4  # of 4,096 that are read: 3,072, and 2,048 are halo
    assert any("blocks of 1,02" in note for note in hardly_fitting(replace(plan, steps=(wide,)), room, "here", "or so"))


def test_what_may_not_fit_is_said_and_not_refused(source: str, home: Path) -> None:
    notes = hardly_fitting(planned(kinds(64), source, home), 566 * MIB, "here", "take fewer workers")
    assert [note.partition(" ")[0] for note in notes] == ["haloed"]
    assert "or take fewer workers" in notes[0]


def test_a_plan_for_a_site_says_so_too(source: str, home: Path) -> None:
    site: Site = load_site("testbed", {"memory_per_core": "260M"})
    with pytest.raises(Usage, match="at testbed: blocks of"):
        at_site(planned(kinds(64), source, home), site)


@stage(cut=("time",), block={"time": 1024})
def greedy(block: xr.Dataset) -> xr.Dataset:
    """Holds what a plan cannot see: memory that is not from Python."""
    with mmap.mmap(-1, 8 * block["v"].nbytes) as held:
        for page in range(0, len(held), mmap.PAGESIZE):
            held[page] = 1
        return block + 1


@flow
def greedy_twice(path: str) -> Any:
    return greedy(greedy(ingest(path)))


def a_source(path: Path, rows: int) -> str:
    values = np.full((rows, CELLS), rows, "f4")
    xr.Dataset({"v": (("time", "cell"), values)}, {"time": np.arange(rows)}).to_netcdf(path)
    return str(path)


def test_what_a_region_took_is_what_is_planned_with_from_then_on(
    tmp_path: Path, home: Path, prefect_here: dict[str, str]
) -> None:
    assert prefect_here
    first, other = a_source(tmp_path / "first.nc", 2048), a_source(tmp_path / "other.nc", 3072)
    before = planned(greedy_twice, first, home)
    assert all(one.to_json()["worker_memory_is"] == "estimate" for one in before.steps)
    done = api.run(greedy_twice, first, home=home, workers=1, archive=False)
    peak = max(stage.memory for stage in done.record.stages if stage.name == "greedy")
    log = (home / "runs" / done.record.id / "log.txt").read_text()
    assert log.count("MiB, measured; ") == 1, "the second time, it was no surprise"
    after = planned(greedy_twice, other, home)
    [need, again] = [one.step.need for one in after.steps if one.step.name == "greedy"]
    assert need == again
    assert need.measured
    assert 0.9 < need.bytes / peak < 1.1, "and not what was tried"
    assert re.search(r"^greedy .* MiB, measured ", plan_text(after), re.MULTILINE)
    with pytest.raises(Usage, match=r"greedy needs \d+ MiB, measured, in a worker, which has .*: blocks of"):
        hardly_fitting(after, peak - 16 * MIB, "here", "take fewer workers")
