"""A run on real measurements, by command and from Python, to an object in the archive that anyone can check."""

import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from terp.storage.home import Home
from terp.storage.ingest import locate

MINE = Path(__file__).parents[2] / "docs" / "examples" / "mine.py"
Terp = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(one_home: Path) -> Path:
    return one_home


@pytest.fixture
def made(terp: Terp, module_home: Path) -> dict[str, Any]:
    """The record of the run of a researcher's own flow, run once."""
    known = module_home / "record.json"
    if not known.exists():
        done = terp("run", f"{MINE}:departures", "ostia", "--json")
        assert done.returncode == 0, done.stderr
        known.write_text(done.stdout)
    record: dict[str, Any] = json.loads(known.read_text())
    return record


def content(record: dict[str, Any]) -> Path:
    return Path(record["archived"]["path"]) / "v1" / "content"


def test_a_flow_of_ones_own_gives_what_plain_xarray_gives(made: dict[str, Any]) -> None:
    assert made["state"] == "finished"
    packed = content(made) / "departures.zarr.zip"
    from terp.storage.package.zipstore import open_zip

    ours = open_zip(packed)["surface_temperature"].load()
    with xr.open_dataset(locate("ostia")) as source:
        months = source["surface_temperature"].groupby("time.month")
        plain = (months - months.mean("time")).drop_vars("month").load()
    np.testing.assert_array_equal(ours, plain)
    weight = np.cos(np.deg2rad(plain["latitude"]))
    expected = (plain.astype("f8") * weight).sum(("latitude", "longitude")) / (plain.notnull() * weight).sum(
        ("latitude", "longitude")
    )
    means = open_zip(content(made) / "mean.zarr.zip")["mean"].load()
    np.testing.assert_allclose(means, expected, rtol=1e-5, atol=1e-6)


def test_the_object_is_checked_without_python(made: dict[str, Any]) -> None:
    folder = content(made)
    summed = subprocess.run(["sha512sum", "-c", "SHA512SUMS"], cwd=folder, capture_output=True, text=True)
    assert summed.returncode == 0, summed.stdout + summed.stderr
    if shutil.which("unzip"):
        tested = subprocess.run(["unzip", "-tq", "departures.zarr.zip"], cwd=folder, capture_output=True, text=True)
        assert tested.returncode == 0, tested.stdout
    for path in folder.glob("*.zip"):
        assert zipfile.ZipFile(path).testzip() is None


def test_the_archive_is_a_valid_ocfl_storage_root(made: dict[str, Any]) -> None:
    import ocfl

    root = ocfl.StorageRoot(root=str(Home.here().archive))
    assert root.validate(validate_objects=True), root.errors if hasattr(root, "errors") else ""
    assert root.num_objects == root.good_objects >= 1
    assert made["archived"]["identifier"]


def test_the_crate_of_a_run_meets_all_that_is_required_and_recommended(
    made: dict[str, Any], issues: Any, tmp_path: Path
) -> None:
    crate = shutil.copytree(content(made), tmp_path / "crate")  # the validator takes a % in a path for an escape
    assert issues((crate, "RECOMMENDED", False)) == [[]]


def test_the_object_tells_its_story_to_a_reader_who_has_never_heard_of_terp(made: dict[str, Any]) -> None:
    text = (content(made) / "README.md").read_text()
    for word in ("Departures of the sea-surface temperature", "sha512sum -c", "unzip -t", "Zarr", "A Tester"):
        assert word in text
    assert str(Path.home()) not in text


def test_the_same_command_again_finds_all_and_archives_nothing_twice(terp: Terp, made: dict[str, Any]) -> None:
    again = json.loads(terp("run", f"{MINE}:departures", "ostia", "--json").stdout)
    assert all(stage["reused"] for stage in again["stages"])
    assert again["results"] == made["results"]
    assert again["archived"] == made["archived"]


def test_plan_says_what_exists_and_submits_nothing(terp: Terp, home: Path, made: dict[str, Any]) -> None:
    before = sorted(home.rglob("*.log"))
    plain = json.loads(terp("plan", f"{MINE}:departures", "ostia", "--json").stdout)
    assert plain["tasks"] == 0
    assert {stage["why"] for stage in plain["stages"]} == {"exists"}
    assert sorted(home.rglob("*.log")) == before
    assert made["results"] == plain["results"]


def test_an_edit_of_one_stage_is_said_and_leaves_the_others(terp: Terp, tmp_path: Path, made: dict[str, Any]) -> None:
    text = MINE.read_text()
    edited = text.replace("np.cos(np.deg2rad(block", "np.sqrt(np.deg2rad(90 - abs(block").replace(
        '"latitude"]))\n    values', '"latitude"])))\n    values'
    )
    assert edited != text
    (tmp_path / "mine.py").write_text(edited)
    done = terp("plan", f"{tmp_path / 'mine.py'}:departures", "ostia", "--json")
    assert done.returncode == 0, done.stderr
    stages = {stage["stage"]: stage for stage in json.loads(done.stdout)["stages"]}
    assert stages["departure"]["why"] == "exists"
    assert re.search(r"code of `area_mean` changed; 1 of 1 regions exist under the old one", stages["area_mean"]["why"])
    assert made["state"] == "finished"


def test_show_open_ls_verify_and_logs_answer(terp: Terp, made: dict[str, Any]) -> None:
    assert made["id"] in terp("show", made["id"]).stdout
    assert "surface_temperature" in terp("open", made["id"], "departures").stdout
    identifier = made["archived"]["identifier"]
    assert identifier in terp("ls").stdout
    assert "surface_temperature" in terp("open", identifier, "departures").stdout
    assert made["results"]["mean"] in terp("ls", "--products").stdout
    checked = terp("verify", made["id"])
    assert "all is as it was recorded" in checked.stdout, checked.stderr
    assert "archived" in terp("logs", made["id"]).stdout
    shown = json.loads(terp("status", made["id"], "--json").stdout)[0]
    assert shown["state"] == "finished"


def test_what_is_archived_compares_with_the_working_product_it_was_packed_from(
    terp: Terp, made: dict[str, Any]
) -> None:
    key, identifier = made["results"]["departures"], made["archived"]["identifier"]
    one = terp("diff", f"{made['id']}/departures", key)
    assert (one.returncode, len(one.stdout.splitlines())) == (0, 1), one.stderr
    assert one.stdout.startswith("equal: departures, values ")
    assert terp("diff", made["id"], identifier).returncode == 0
    assert "name one of each" in terp("diff", made["id"], key).stderr
    other = terp("diff", key, made["results"]["mean"])
    assert other.returncode == 1
    assert "so there are no regions to compare" in other.stdout


def test_a_notebook_does_what_the_command_does(home: Path, prefect_here: dict[str, str], made: dict[str, Any]) -> None:
    assert prefect_here
    import terp.workflows as terp

    run = terp.run(f"{MINE}:departures", "ostia", workers=1)
    assert run.record.results == made["results"]
    assert float(run.open("mean")["mean"].max()) > 0
    assert home.exists()


def test_what_is_archived_outlives_the_working_products(terp: Terp, made: dict[str, Any], home: Path) -> None:
    for key in made["results"].values():
        assert terp("rm", key, "--yes").returncode == 0
        assert not (home / "products" / key).exists()
    assert "surface_temperature" in terp("open", made["id"], "departures").stdout
    refused = terp("rm", made["archived"]["identifier"], "--yes")
    assert refused.returncode == 64
    assert "not removed" in refused.stderr
