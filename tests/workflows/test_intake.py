"""Taking a source in: what changes while a run is at it stops the run, and what it was made of can be found again."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from prefect import flow

from terp.storage.errors import BadInput
from terp.storage.home import Home
from terp.storage.product import StoredProduct
from terp.workflows import Product, api, ingest
from terp.workflows.results.why import why
from terp.workflows.running.progress import Progress
from terp.workflows.running.report import LogReporter

pytestmark = pytest.mark.usefixtures("prefect_here")


@flow
def taken(source: str) -> Product:
    """Take a source in, and nothing else."""
    return ingest(source)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A Zarr group of chunks that are regions of their own."""
    values = np.random.default_rng(1).normal(size=(4, 1024, 1024)).astype("f4")
    data = xr.Dataset({"v": (("t", "y", "x"), values)}, {"t": np.arange(4)})
    data.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False, encoding={"v": {"chunks": (1, 1024, 1024)}})
    return tmp_path / "a.zarr"


class Meanwhile(LogReporter):
    """Does something to the source as soon as all regions are recorded."""

    def __init__(self, change: Any) -> None:
        self.change = change

    def progress(self, progress: Progress) -> None:
        """Do it once, at the end."""
        if progress.done == progress.total and self.change:
            self.change()
            self.change = None


CHANGES = {
    "v/c/9 was not there": lambda source: (source / "v/c/9").write_bytes(b"?"),
    "v/c/0/0/0 was changed": lambda source: os.utime(source / "v/c/0/0/0"),
    "v/c/1/0/0 is gone": lambda source: (source / "v/c/1/0/0").rename(source.parent / "kept"),
}


@pytest.mark.parametrize("said", CHANGES)
def test_a_source_that_changed_when_all_was_read_is_not_sealed_and_the_same_command_mends_it(
    source: Path, home: Path, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        api.run(
            taken, str(source), home=home, workers=1, archive=False, reporter=Meanwhile(lambda: CHANGES[said](source))
        )
    (folder,) = (home / "products").iterdir()
    assert StoredProduct(folder).seal is None
    (source / "v/c/9").unlink(missing_ok=True)
    if (source.parent / "kept").exists():
        (source.parent / "kept").rename(source / "v/c/1/0/0")
    run = api.run(taken, str(source), home=home, workers=1, archive=False)
    assert run.record.stages[0].made == 0, "what was recorded is what the files hold, as it turned out"
    assert run.open().v.equals(xr.open_zarr(source, consolidated=False, chunks=None).v)


def test_a_run_keeps_the_list_of_the_files_that_it_was_made_of(source: Path, home: Path) -> None:
    run = api.run(taken, str(source), home=home, workers=1, archive=False)
    folder = home / "runs" / run.record.id
    (kept,) = json.loads((folder / "run.json").read_text())["sources"]
    assert set(kept) == {"given", "file", "digest"}, "the list has a file of its own"
    identity = run.record.identities(Home(home))[str(source)]
    assert {part.name for part in identity.parts} == {
        str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()
    }
    product = StoredProduct(home / "products" / run.record.stages[0].key)
    assert product.frozen["ingredients"]["source"] == identity.content


def test_an_archived_object_lists_every_file_of_a_source_however_many(tmp_path: Path, home: Path) -> None:
    data = xr.Dataset({"v": (("t", "x"), np.arange(480, dtype="f4").reshape(120, 4))}, {"t": np.arange(120)})
    source = tmp_path / "many.zarr"
    data.to_zarr(source, zarr_format=3, consolidated=False, encoding={"v": {"chunks": (1, 4)}})
    archived = api.run(taken, str(source), home=home, workers=1).record.archived
    listed = Path(archived["path"]) / archived["version"] / "content" / "inputs.sha256"
    assert len(listed.read_text().splitlines()) > 120
    subprocess.run(["sha256sum", "--quiet", "--check", listed], cwd=tmp_path, check=True)


def test_a_folder_of_files_is_one_source_and_what_its_values_came_from_are_these_files(
    tmp_path: Path, home: Path
) -> None:
    days = xr.Dataset({"v": (("time", "x"), np.arange(24, dtype="f4").reshape(6, 4))}, {"time": np.arange(6)})
    source = tmp_path / "days"
    source.mkdir()
    for name, part in (("b", slice(0, 2)), ("a", slice(2, 5)), ("c", slice(5, 6))):
        days.isel(time=part).to_netcdf(source / f"{name}.nc")
    run = api.run(taken, str(source), home=home, workers=1, archive=False)
    assert run.open().v.equals(days.v)
    [step] = why(Home(home), run.record.stages[0].key, at={"time": "3"})["from"]
    assert (step["files"], step["of"], step["first"]) == (3, 3, ["b.nc", "a.nc", "c.nc"])
