"""A longer source gives the next version of an archived object, which shares the bands that are the same."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import terp.storage
from terp.storage.archive import Archive
from terp.storage.archive.custody import Events
from terp.storage.errors import BadPackage, Damaged
from terp.storage.holder import Holder
from terp.storage.home import Home
from terp.storage.package.packed import PackedProduct
from terp.storage.package.table import MEMBERS
from terp.storage.product import StoredProduct
from terp.workflows.errors import Usage
from terp.workflows.planning.load import load_flow
from terp.workflows.results.compare import compared
from terp.workflows.results.deposit import _own_folder, redeposit
from terp.workflows.results.diff import diff
from terp.workflows.results.earlier import earlier
from terp.workflows.results.payload import Packing
from terp.workflows.results.recorded import recorded
from terp.workflows.results.show import open_archived
from terp.workflows.results.verify import verify
from terp.workflows.results.why import why
from terp.workflows.running.record import load_run
from terp.workflows.running.report import LogReporter

Terp = Callable[..., subprocess.CompletedProcess[str]]

FLOW = '''
"""Winds, doubled."""
import xarray as xr
from prefect import flow
from terp.workflows import Product, ingest, stage

@stage(cut=("time",), block={"time": 4})
def doubled(block: xr.Dataset) -> xr.Dataset:
    return block * 2

@flow
def twice(source: str) -> Product:
    return doubled(ingest(source))
'''
BANDED = 16_000  # bytes of a band: of a few shards


def source(path: Path, length: int) -> Path:
    wind = np.random.default_rng(5).normal(size=(100, 6, 5)).astype("f4")[:length]
    wind[2, 3, 4] = np.nan
    time = xr.Variable("time", np.arange(length), {"units": "days since 2001-01-01"})
    xr.Dataset({"wind": (("time", "y", "x"), wind)}, {"time": time}).to_netcdf(path)
    return path


@pytest.fixture
def home(one_home: Path) -> Path:
    return one_home


@pytest.fixture
def identifier(terp: Terp, home: Path) -> str:
    """An object of three versions: in one package, in bands, and grown; made once."""
    known = home / "identifier"
    if not known.exists():
        flow_file = f"{home.parent / 'winds.py'}:twice"
        (home.parent / "winds.py").write_text(FLOW)
        for name, length in (("short.nc", 30), ("long.nc", 45)):
            source(home.parent / name, length)
        run = load_run(Home(home), said(terp("run", flow_file, "short.nc", "--workers=1", "--json"))["id"])
        first, flow = run.archived["identifier"], load_flow(run.target)
        second = redeposit(Home(home), run, flow, LogReporter(), packing=Packing(BANDED))
        said(terp("run", flow_file, "long.nc", "--workers=1", "--json"))
        third = said(terp("archive", "--as-version-of", first, "--json"))
        assert [second["version"], third["version"]] == ["v2", "v3"]
        assert {second["identifier"], third["identifier"]} == {first}
        known.write_text(first)
    return known.read_text()


def said(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_version_stores_only_the_bands_that_are_new(home: Path, identifier: str) -> None:
    archive = Archive(Home(home).archive)
    second, third = archive.files(identifier, "v2"), archive.files(identifier, "v3")
    old, new = (sorted(n for n in files if n.endswith(".zarr.zip")) for files in (second, third))
    bands = [name for name in old if not name.endswith("whole.zarr.zip")]
    assert len(bands) >= 3
    assert len(new) > len(old)
    same = [name for name in bands if second[name] == third[name]]
    assert same == bands[:-1], "all but the last, which was not full"
    content = third["doubled.zarr.zip.members.json"].parent
    assert not {path.name for path in content.iterdir()} & set(same)


def test_every_version_opens_from_the_archive_and_from_its_folder(home: Path, identifier: str) -> None:
    for version, name in (("v1", "short.nc"), ("v2", "short.nc"), ("v3", "long.nc")):
        with xr.open_dataset(home.parent / name) as given:
            expected = given["wind"].load() * 2
        table = Archive(Home(home).archive).files(identifier, version)["doubled.zarr.zip.members.json"]
        for found in (open_archived(Home(home), identifier, version=version), terp.storage.open(table.parent)):
            np.testing.assert_array_equal(found["wind"], expected)
            assert found["time"].equals(expected["time"])


def test_the_archive_is_valid_for_others_and_for_terp(home: Path, identifier: str) -> None:
    import ocfl

    root = ocfl.StorageRoot(root=str(Home(home).archive))
    assert root.validate(validate_objects=True), root.errors if hasattr(root, "errors") else ""
    assert verify(Home(home), identifier)[1] == []


def test_coreutils_and_unzip_check_a_version_whose_bands_lie_in_several(home: Path, identifier: str) -> None:
    files = Archive(Home(home).archive).files(identifier)
    for name, path in files.items():
        os.link(path, home.parent / name)
    for words in (["sha512sum", "--quiet", "-c", "SHA512SUMS"], ["unzip", "-tq", "doubled.0001.zarr.zip"]):
        assert subprocess.run(words, cwd=home.parent, capture_output=True).returncode == 0


def test_its_crate_names_every_package(home: Path, identifier: str, issues: Any, tmp_path: Path) -> None:
    files = Archive(Home(home).archive).files(identifier)
    (tmp_path / "crate").mkdir()
    for name, path in files.items():
        os.link(path, tmp_path / "crate" / name)
    graph = json.loads(files["ro-crate-metadata.json"].read_bytes())["@graph"]
    described = {one["@id"]: one for one in graph}
    packages = [name for name in files if name.endswith(".zarr.zip")]
    assert all(described[name]["sha512"] for name in packages)
    assert "Band 1 of doubled" in described["doubled.0001.zarr.zip"]["description"]
    assert issues((tmp_path / "crate", "RECOMMENDED", False)) == [[]]


def test_diff_why_and_replay_know_of_bands(home: Path, identifier: str) -> None:
    at = Home(home)
    key = load_run(at, "last").results["doubled"]
    assert not diff(at, identifier, key)["doubled"]
    told = why(at, identifier, at={"time": "2001-02-10"})
    product = StoredProduct(at.product(key))
    shard = product.manifest.shard("", told["region"], 0)
    assert [(one["key"], one["blake3"]) for one in told["shards"]] == [(f"wind/c/{told['region']}/0/0", shard.blake3)]
    crate = recorded(at, identifier, home)
    crate.prove()
    assert {"doubled.0000.zarr.zip", "doubled.whole.zarr.zip"} <= set(crate.needed)
    packed = PackedProduct(crate.file("doubled.zarr.zip.members.json"), crate.files)
    assert compared("doubled", packed, product).verdict == "identical"


def test_what_is_no_version_of_an_object_is_refused(home: Path, identifier: str) -> None:
    with pytest.raises(BadPackage, match="holds no object 'urn:terp:nosuch'"):
        earlier(Home(home), "urn:terp:nosuch", ["doubled"])
    with pytest.raises(Usage, match="has doubled, and this run other: it is no version"):
        earlier(Home(home), identifier, ["other"])


def test_a_table_that_was_altered_tells_no_version_what_is_in_it(home: Path, identifier: str) -> None:
    """What it says of packages would go into the next version, and the archive would believe it."""
    [table] = [path for name, path in Archive(Home(home).archive).files(identifier).items() if name.endswith(MEMBERS)]
    before, mode = table.read_bytes(), table.stat().st_mode
    table.chmod(0o644)
    table.write_bytes(before.replace(b'"offset":', b'"offset":1', 1))
    try:
        with pytest.raises(Damaged, match="is not what was stored: mend"):
            earlier(Home(home), identifier, [table.name.removesuffix(MEMBERS)])
    finally:
        table.write_bytes(before)
        table.chmod(mode)


def test_who_archives_one_run_beside_another_leaves_the_others_files_alone(tmp_path: Path) -> None:
    """A schedule that guards against a purge may archive what a person is archiving."""
    others = _own_folder(tmp_path / "package")
    (others / "premis.xml").touch()
    gone = others.with_name(Holder(**{**vars(Holder.me()), "started": "1"}).new_name())
    gone.mkdir()
    mine = _own_folder(tmp_path / "package")
    assert {*(tmp_path / "package").iterdir()} == {others, mine}
    assert (others / "premis.xml").exists()


def test_a_second_form_comes_with_a_version_that_shares_the_packages(home: Path, identifier: str) -> None:
    at, archive = Home(home), Archive(Home(home).archive)
    run, before = load_run(at, "last"), archive.files(identifier)
    packing = Packing(second_form="netcdf4")
    made = redeposit(at, run, load_flow(run.target), LogReporter(), version_of=identifier, packing=packing)
    files = archive.files(identifier)
    assert made["version"] == "v4"
    bands = [name for name in files if name.endswith(".zarr.zip")]
    assert all(files[name] == before[name] for name in bands)
    forms = sorted(name for name in files if name.endswith(".nc"))
    assert len(forms) == len(bands) - 1
    assert "doubled.nc.proof.json" in files
    with xr.open_mfdataset([files[name] for name in forms], combine="by_coords") as found:
        xr.testing.assert_identical(found.load(), open_archived(at, identifier).load())
    told = next(one["facts"] for one in Events(at.custody).of(identifier) if one["event"] == "migrated")
    assert (told["type"], told["outcome"], [one["name"] for one in told["files"]]) == ("migration", "equal", forms)
    assert verify(at, identifier)[1] == []
    again = redeposit(at, run, load_flow(run.target), LogReporter(), version_of=identifier, packing=packing)
    assert again["version"] == "v4"


@pytest.mark.campaign
def test_a_run_whose_results_are_in_bands_is_made_again(terp: Terp, home: Path, identifier: str) -> None:
    done = terp("replay", identifier, "--workers=1", "--input", str(home.parent))
    assert done.returncode == 0, done.stderr
    assert "identical" in done.stdout
