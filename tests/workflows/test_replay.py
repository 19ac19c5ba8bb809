"""A run is made again from its crate alone: what comes of it is held, region by region, against what is archived."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from blake3 import blake3

from benchmarks.replays import threads
from terp.cluster.processor import usual
from terp.storage.canonical import canonical
from terp.storage.errors import BadInput, BadPackage
from terp.storage.filling import Filling
from terp.storage.home import Home
from terp.storage.ingest import locate
from terp.storage.package import pack_product
from terp.storage.package.zipstore import open_zip
from terp.storage.product import StoredProduct
from terp.storage.writing import Written, write_region
from terp.workflows.errors import BadStage, Unavailable
from terp.workflows.results.environment import build, terp_of, told_of_terp
from terp.workflows.results.itself import digest_of_files, itself
from terp.workflows.results.recorded import Recorded, Stood, recorded
from terp.workflows.results.replay import How, replay
from terp.workflows.stage import stage

Terp = Callable[..., subprocess.CompletedProcess[str]]

MINE = '''
import numpy as np
import xarray as xr
from prefect import flow

import factors
from terp.workflows import Product, ingest, stage


@stage(cut=("latitude",), block={"latitude": 6})
def scaled(block: xr.Dataset, *, offset: float | None = None) -> xr.Dataset:
    return factors.scale(block) + (offset or 0)


@flow
def mine(source: str = "ostia", offset: float | None = None, label: str = "") -> Product:
    """Sea-surface temperature on another scale."""
    return scaled(ingest(source), offset=offset)


def spread(block):
    return np.exp(block / 100)


@flow
def bits(source: str = "ostia") -> dict[str, Product]:
    """What other vector instructions round otherwise: with a tolerance, and without."""
    data = ingest(source)
    told = stage(cut=("latitude",), tolerance=1e-6)(spread)(data)
    return {"told": told, "untold": stage(cut=("latitude",))(spread)(data)}
'''
FACTORS = "FACTOR = 1.5\n\n\ndef scale(block):\n    return block * FACTOR\n"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a flow of one's own, a helper beside it, and measurements: a git repository with changes in it."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "mine.py").write_text(MINE)
    (folder / "factors.py").write_text("FACTOR = 1\n")
    shutil.copy(locate("ostia"), folder / "sst.nc")
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "before"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    (folder / "factors.py").write_text(FACTORS)
    with (folder / "mine.py").open("a") as file:
        file.write("# not committed\n")
    return folder


@pytest.fixture
def home(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One home for all tests here."""
    monkeypatch.setenv("TERP_HOME", str(desk / "home"))
    monkeypatch.setenv("TERP_AGENT", "A Tester")
    return desk / "home"


@pytest.fixture
def made(terp: Terp, desk: Path, home: Path) -> dict[str, Any]:
    """The record of a run of that flow, run once; its code is edited and broken after it."""
    known = home / "mine.json"
    if not known.exists():
        done = terp("run", "mine.py:mine", "sst.nc", "--set", 'label="null"', "--workers=1", "--json")
        assert done.returncode == 0, done.stderr
        known.write_text(done.stdout)
        (desk / "factors.py").write_text("raise RuntimeError('not the recorded code')\n")
    record: dict[str, Any] = json.loads(known.read_text())
    return record


@pytest.fixture
def crate(made: dict[str, Any], tmp_path: Path) -> Path:
    """The files of its crate, taken elsewhere."""
    copy = shutil.copytree(Path(made["archived"]["path"]) / "v1" / "content", tmp_path / "crate")
    for path in copy.iterdir():
        path.chmod(0o644)
    return copy


def sum_up(crate: Path) -> None:
    """Have all checksums fit what is there."""
    lines = [
        f"{hashlib.sha512(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(crate.iterdir())
        if path.name != "SHA512SUMS"
    ]
    (crate / "SHA512SUMS").write_text("".join(lines))


def alter(crate: Path, name: str, change: Callable[[Any], None]) -> None:
    """Change a JSON file of a crate so that nothing shows it."""
    plain = json.loads((crate / name).read_bytes())
    change(plain)
    (crate / name).write_text(json.dumps(plain))
    *lines, last = (crate / "journal.jsonl").read_bytes().splitlines(keepends=True)
    entry = json.loads(last)
    if name in entry["facts"]["crate"]:
        entry["facts"]["crate"][name] = blake3((crate / name).read_bytes()).hexdigest()
        forged = canonical(entry) + b"\n"
        (crate / "journal.jsonl").write_bytes(b"".join([*lines, forged]))
        about = (crate / "ro-crate-metadata.json").read_text()
        about = about.replace(blake3(last).hexdigest(), blake3(forged).hexdigest())
        (crate / "ro-crate-metadata.json").write_text(about)
    sum_up(crate)


def report(folder: Path) -> dict[str, Any]:
    """The last report, and no other stays."""
    paths = sorted(folder.glob("replay-*.json"), key=lambda path: path.stat().st_mtime)
    plain: dict[str, Any] = json.loads(paths[-1].read_text())
    for path in paths:
        path.unlink()
    return plain


def verdicts(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.stdout, done.stderr
    return {name: one["verdict"] for name, one in json.loads(done.stdout)["results"].items()}


def seen(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


ONE, TWO, MANY = (pytest.param(number, marks=pytest.mark.campaign) for number in (1, 2, 4))


@pytest.mark.campaign  # otherwise by threads, below
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_climatology_of_the_sample_comes_out_the_same(terp: Terp, home: Path, workers: int) -> None:
    run = terp("run", "climatology", "--workers=1", "--json")
    assert run.returncode == 0, run.stderr
    before = seen(home)
    done = terp("replay", json.loads(run.stdout)["id"], f"--workers={workers}", "--json", cwd=home.parent)
    assert done.returncode == 0, done.stderr
    assert verdicts(done) == dict.fromkeys(("normals", "anomalies", "index", "zonal"), "identical")
    assert seen(home) == before, "nothing is written to TERP_HOME"


def again_on_threads(terp: Terp, folder: Path, processes: int, *crates: str) -> None:
    """Make runs again on workers of four threads each, and demand that nothing differs."""
    with mock.patch.dict(os.environ), threads(folder, processes) as (address, named):  # Dask's nanny leaves some there
        for crate in crates:
            done = terp("replay", crate, "--scheduler", address, "--json", **named)
            assert done.returncode == 0, done.stderr
            assert set(verdicts(done).values()) == {"identical"}
            assert not [note for note in json.loads(done.stdout)["notes"] if "computed on" in note]


@pytest.mark.parametrize("processes", [ONE, 2])
def test_threads_give_what_processes_gave(terp: Terp, home: Path, crate: Path, tmp_path: Path, processes: int) -> None:
    climatology = terp("run", "climatology", "--workers=1", "--json")
    assert climatology.returncode == 0, climatology.stderr
    before = seen(home)
    again_on_threads(terp, tmp_path, processes, json.loads(climatology.stdout)["id"], str(crate))
    assert seen(home) == before, "nothing is written to TERP_HOME"


def imaged(terp: Terp, desk: Path) -> str:
    """The id of a run that makes an image of what is simulated."""
    for needed in ("pyuvdata", "ducc0", "numba", "casacore"):
        pytest.importorskip(needed, reason="imaging needs the radio extra")
    sys.path.insert(0, str(Path(__file__).parent))
    from test_imaging import CELL, simulate

    source = desk / "triple.uvfits"
    if not source.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # astropy's, about the random parameters it writes
            simulate(source)
    chosen = ("--set=pixels=64", f"--set=cell_mas={2 * CELL}", "--set=threshold=0.05")
    run = terp("run", "imaging", str(source), *chosen, "--workers=2", "--json")
    assert run.returncode == 0, run.stderr
    return str(json.loads(run.stdout)["id"])


@pytest.mark.parametrize("workers", [1, TWO, MANY])
def test_an_image_comes_out_the_same(terp: Terp, desk: Path, workers: int) -> None:
    done = terp("replay", imaged(terp, desk), f"--workers={workers}", "--json")
    assert done.returncode == 0, done.stderr
    assert set(verdicts(done).values()) == {"identical"}


@pytest.mark.campaign
@pytest.mark.parametrize("processes", [1, 2])
def test_threads_give_the_image_that_processes_gave(terp: Terp, desk: Path, tmp_path: Path, processes: int) -> None:
    again_on_threads(terp, tmp_path, processes, imaged(terp, desk))


def test_the_crate_holds_the_code_as_it_was_run_with_what_lies_beside_it(crate: Path) -> None:
    with zipfile.ZipFile(crate / "source.zip") as held:
        assert held.namelist() == ["factors.py", "mine.py"]
        assert held.read("factors.py").decode() == FACTORS
        assert held.read("mine.py").decode() == MINE + "# not committed\n"
        assert {one.date_time for one in held.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert "code differs from that commit" in (crate / "ro-crate-metadata.json").read_text()
    recipe = json.loads((crate / "replay.json").read_bytes())
    assert recipe["target"] == "mine.py:mine"
    assert recipe["parameters"] == {"source": "sst.nc", "offset": None, "label": "null"}, "None is not 'null'"
    assert recipe["withheld"] == []


def test_the_picture_of_a_run_shows_what_was_read_made_and_archived_and_what_comes_of_what(
    made: dict[str, Any], terp: Terp
) -> None:
    from xml.etree import ElementTree as ET

    told = json.loads(terp("show", made["id"], "--json").stdout)
    root, svg = ET.parse(told["picture of the run"]).getroot(), "{http://www.w3.org/2000/svg}"
    boxes = [[one.text or "" for one in box.iter(f"{svg}text")] for box in root.iter(f"{svg}g")]
    source, taken, scaled, result = boxes
    assert (source[0], source[2][:8]) == ("sst.nc", "SHA-256 ")
    assert (taken[0], scaled[0], result) == ("ingest", "scaled", ["scaled", "result", "scaled.zarr.zip"])
    assert all(" region" in one[1] for one in (taken, scaled))
    assert scaled[2].endswith(made["results"]["scaled"][-8:]), "each stage is told with the key of its product"
    places = [one for one in root.iter(f"{svg}rect") if one.get("rx")]
    assert sorted(float(one.get("x", 0)) for one in places) == [float(one.get("x", 0)) for one in places]
    ends = [(float(one.get("x", 0)), float(one.get("x", 0)) + float(one.get("width", 0))) for one in places]
    arrows = [one.get("d", "").split() for one in root.iter(f"{svg}path") if one.get("fill") == "none"]
    drawn = [(float(one[0].removeprefix("M")), float(one[-2]) + 6) for one in arrows]
    assert drawn == [(ends[n][1], ends[n + 1][0]) for n in range(3)], "from each box to the one that was made of it"


SHIPPED = """
from prefect import flow
from terp.workflows import Product, ingest
from terp.workflows.flows.climatology import mean_over


@flow
def zonal(source: str = "sst.nc") -> Product:
    return mean_over(ingest(source), "longitude")
"""
LINE = "total = fold(lambda *two: call(combine, *two), partials)"  # of the worker: the key of no stage holds it


@pytest.fixture
def elsewhere(terp: Terp, desk: Path, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """The record of a run by another terp, of which one line is another, and that terp's digest."""
    (desk / "shipped.py").write_text(SHIPPED)
    files = dict(itself().files)
    task = "terp/workflows/running/task.py"
    assert LINE.encode() in files[task]
    files[task] = files[task].replace(LINE.encode(), f"{LINE} + 1000".encode())
    for name, data in files.items():
        (tmp_path / "other" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "other" / name).write_bytes(data)
    run = terp("run", "shipped.py:zonal", "--workers=1", "--json", PYTHONPATH=str(tmp_path / "other"))
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout), digest_of_files(files)


def test_a_run_is_made_again_by_the_terp_that_made_it_not_by_the_one_that_is_installed(
    elsewhere: tuple[dict[str, Any], str], terp: Terp, desk: Path
) -> None:
    record, known = elsewhere
    made = open_zip(Path(record["archived"]["path"]) / "v1/content/area_mean.zarr.zip")
    assert float(np.nanmin(made["surface_temperature"])) < 250, "in K: that terp computed otherwise"
    done = terp("replay", record["id"], "--workers=1")
    assert done.returncode == 0, done.stderr
    assert "area_mean: identical (1 region)" in done.stdout
    told = report(desk)
    assert (told["terp"]["found"], told["terp"]["sha256"]) == ("in the crate", known)
    assert told["notes"] == []


@pytest.mark.campaign
def test_the_terp_that_is_here_makes_a_run_again_where_that_is_asked_for(
    elsewhere: tuple[dict[str, Any], str], terp: Terp, desk: Path
) -> None:
    record, _ = elsewhere
    done = terp("replay", record["id"], "--workers=1", "--environment=here")
    assert done.returncode == 1, done.stderr
    assert "area_mean: differs in region 0" in done.stdout
    told = report(desk)
    assert (told["terp"]["found"], told["terp"]["sha256"]) == ("here", itself().digest)
    assert [note for note in told["notes"] if note.startswith("terp was ")]


def test_which_terp_computes_is_told_by_digest_and_a_crate_from_before_it_was_kept_goes_by_version(
    crate: Path, home: Path, tmp_path: Path
) -> None:
    def found() -> Recorded:
        return recorded(Home(home), str(crate), tmp_path)

    assert found().terp == itself().digest
    assert terp_of(found(), "recorded", tmp_path / "none") is None, "it is here, and the same"
    alter(crate, "replay.json", lambda plain: plain["terp"].update(sha256="ab" * 32))
    assert terp_of(found(), "here", tmp_path / "none") is None
    with pytest.raises(BadPackage, match=r"terp\.zip of crate is not the terp that made its run: restore it"):
        terp_of(found(), "recorded", tmp_path / "forged")
    told, notes = told_of_terp(found(), True, {"version": "0.1.0", "sha256": "cd" * 32}, "tls://there:1")
    assert told["found"] == "in the crate"
    assert notes == [
        "the terp of the crate was given, and another one computed",
        "workers of a scheduler that is given compute with the terp that they have",
    ]
    (crate / "terp.zip").unlink()
    with pytest.raises(BadPackage, match=r"crate lacks terp\.zip, without which its run cannot be repeated"):
        found().prove()

    def before(plain: dict[str, Any]) -> None:
        plain["terp"] = {"version": "0.0.1"}

    alter(crate, "replay.json", before)
    found().prove()
    assert terp_of(found(), "recorded", tmp_path / "none") is None
    told, notes = told_of_terp(found(), False, {"version": "0.1.0"}, "")
    assert told["found"] == "here"
    assert notes[0].startswith("terp was 0.0.1 then, and is ")


def test_what_counts_is_the_code_in_the_crate_not_the_edited_file(made: dict[str, Any], terp: Terp, desk: Path) -> None:
    done = terp("replay", made["id"], "--workers=2")
    assert done.returncode == 0, done.stderr
    assert "scaled: identical (3 regions)" in done.stdout
    assert report(desk)["same"] is True


def test_a_result_that_is_lost_everywhere_is_made_again_and_put_back(
    made: dict[str, Any], terp: Terp, desk: Path, tmp_path: Path
) -> None:
    urn, package = made["archived"]["identifier"], Path(made["archived"]["path"]) / "v1/content/scaled.zarr.zip"
    stored = package.read_bytes()
    package.unlink()
    left = terp("repair", urn)
    assert (left.returncode, f"`terp replay {urn} --keep FOLDER`" in left.stdout) == (65, True), left.stderr
    again = tmp_path / "again"
    done = terp("replay", urn, "--workers=1", "--keep", str(again))
    assert done.returncode == 0, done.stderr
    assert "scaled: identical (3 regions)" in done.stdout
    assert "not byte for byte" not in "".join(report(desk)["notes"])
    mended = terp("repair", urn, "--from", str(again))
    assert (mended.returncode, package.read_bytes() == stored) == (0, True), mended.stdout + mended.stderr
    assert f"scaled.zarr.zip is as it was stored again: from the folder {again}" in mended.stdout
    assert f"the folder {again}: scaled.zarr.zip.members.json is no file of what is damaged" not in mended.stdout


def test_a_crate_taken_elsewhere_is_enough_once_the_home_is_gone(
    crate: Path, terp: Terp, tmp_path: Path, desk: Path
) -> None:
    packed = shutil.make_archive(str(tmp_path / "moved"), "zip", crate)
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    shutil.copy(desk / "sst.nc", inputs / "of_another_name.bin")
    away = tmp_path / "away"
    away.mkdir()
    words = ("replay", packed, "--input", str(inputs), "--workers=1")
    done = terp(*words, cwd=away, TERP_HOME=str(tmp_path / "no-home"))
    assert done.returncode == 0, done.stderr
    told = report(away)
    assert told["results"]["scaled"]["verdict"] == "identical"
    assert told["inputs"] == [{"name": "sst.nc", "found": "by its digest"}]
    assert not (tmp_path / "no-home").exists()


def test_a_value_that_was_altered_in_the_archive_is_found_and_named(
    made: dict[str, Any], crate: Path, terp: Terp, home: Path, desk: Path, tmp_path: Path
) -> None:
    product = StoredProduct(Home(home).product(made["results"]["scaled"]))
    [group] = product.groups
    [array] = group.arrays
    box = group.box(1)
    picks = [box.get(dim, slice(0, size)) for dim, size in zip(array.dims, array.shape, strict=True)]
    values = product.array("", array.name).read(picks)
    at = dict.fromkeys(array.dims, 2)
    true = str(values[2, 2, 2])
    values[2, 2, 2] = np.float32(271.25)
    shutil.copytree(product.folder, tmp_path / "forged")
    forged = StoredProduct(tmp_path / "forged")
    with Filling(forged) as filling:
        filling.void(("", 1), "to be forged")
        done = write_region(filling.attempts, group, 1, {array.name: values})
        filling.commit([Written("", 1, done, 0.1, "a forger", reads=forged.origins.row("", {}))])
        filling.seal()
    (crate / "scaled.zarr.zip").unlink()
    pack_product(forged, crate, "scaled")
    sum_up(crate)
    assert float(open_zip(crate / "scaled.zarr.zip")[array.name].max()) > 0, "by itself it looks sound"
    done = terp("replay", str(crate), "--workers=2")
    assert done.returncode == 1, done.stderr
    place = ", ".join(f"{dim} {at[dim] + box.get(dim, slice(0, 0)).start}" for dim in array.dims)
    assert f"differs in region 1: {array.name}[{place}] was 271.25, is {true}" in done.stdout
    assert "scaled came out otherwise than archived" in done.stderr
    assert report(desk)["results"]["scaled"]["other"] == 1


def test_another_input_with_a_forged_digest_gives_other_values(crate: Path, terp: Terp, tmp_path: Path) -> None:
    import xarray as xr

    with xr.open_dataset(locate("ostia")) as source:
        source.load().assign(surface_temperature=source["surface_temperature"] + 1).to_netcdf(tmp_path / "warm.nc")
    data = (tmp_path / "warm.nc").read_bytes()

    def forge(recipe: dict[str, Any]) -> None:
        recipe["sources"][0]["parts"][0] |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    alter(crate, "replay.json", forge)
    done = terp("replay", str(crate), "--input", str(tmp_path / "warm.nc"), "--workers=1", "--json")
    assert done.returncode == 1, done.stderr
    one = json.loads(done.stdout)
    assert one["results"]["scaled"]["first"]["region"] == 0
    assert one["notes"] == [n for n in one["notes"] if "terp was" in n] + [
        "the results have other keys than were recorded: a parameter, a library or how they are cut is another"
    ]


@pytest.mark.parametrize(
    "part", ["SHA512SUMS", "replay.json", "source.zip", "scaled.zarr.zip", "scaled.zarr.zip.members.json"]
)
def test_what_a_crate_lacks_is_named(crate: Path, home: Path, part: str) -> None:
    (crate / part).unlink()
    with pytest.raises(BadPackage, match=f"crate lacks {part}, without which its run cannot be repeated"):
        replay(Home(home), str(crate), How())


def test_a_part_that_is_not_as_it_was_is_named(crate: Path, home: Path) -> None:
    with (crate / "source.zip").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BadPackage, match=r"source\.zip of crate is not as SHA512SUMS says"):
        replay(Home(home), str(crate), How())


def test_an_input_that_is_not_found_is_named_with_its_digest(
    crate: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter(crate, "replay.json", lambda plain: plain["sources"][0]["parts"][0].update(sha256="ab" * 32))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        BadInput, match=rf"sst\.nc \(1,713,012 bytes, SHA-256 {'ab' * 32}\) is not found: give the file"
    ):
        replay(Home(home), str(crate), How())


def stood(crate: Path, name: str, version: str) -> None:
    """Have a crate say that the run stood on a distribution."""
    entity = {"@id": f"#distribution-{name}", "@type": "PropertyValue", "name": name, "value": version}
    alter(crate, "ro-crate-metadata.json", lambda plain: plain["@graph"].append(entity))


def test_a_source_at_a_url_is_told_of_by_it_and_found_again_with_and_without_its_server(
    terp: Terp, desk: Path, home: Path, tmp_path: Path
) -> None:
    import xarray as xr

    sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
    from serving import serving

    (desk / "factors.py").write_text(FACTORS)
    with xr.open_dataset(desk / "sst.nc") as sample:  # other values, or it would be found in the sample
        warm = sample.load()["surface_temperature"] + 1
        sample.assign(surface_temperature=warm).to_netcdf(tmp_path / "warm.nc")
    data = (tmp_path / "warm.nc").read_bytes()
    with serving(data) as served:
        run = terp("run", "mine.py:mine", served.url.replace("http://", "http://anna:hunter2secret@"), "--json")
        assert run.returncode == 0, run.stderr
        record = json.loads(run.stdout)
        metadata = (Path(record["archived"]["path"]) / "v1/content/ro-crate-metadata.json").read_text()
        [source] = [e for e in json.loads(metadata)["@graph"] if "contentUrl" in e]
        assert source["sha256"] == hashlib.sha256(data).hexdigest()
        assert source["description"].endswith('where its ETag was "one"')
        assert "hunter2secret" not in metadata
        assert f"run {record['id']}, finished" in terp("impact", served.url).stdout
        assert served.url in (Path(record["archived"]["path"]) / "v1/content/run.svg").read_text()
        assert verdicts(terp("replay", record["id"], "--workers=1", "--json")) == {"scaled": "identical"}
        assert served.codes[0] == 200
    gone = terp("replay", record["id"], "--workers=1", "--json")
    assert "sst a.nc" in gone.stderr
    assert "is not found: give the file" in gone.stderr
    there = terp("replay", record["id"], "--workers=1", "--json", "--input", str(home / "cache"))
    assert verdicts(there) == {"scaled": "identical"}


def test_another_environment_is_named_and_used_only_when_asked_for(crate: Path, home: Path, terp: Terp) -> None:
    stood(crate, "not-a-distribution", "1.2")
    with pytest.raises(
        Unavailable, match=r"not that of the run: not-a-distribution 1\.2 \(not here\)\. `--environment"
    ):
        replay(Home(home), str(crate), How())
    done = terp("replay", str(crate), "--environment=here", "--workers=1", "--json")
    assert done.returncode == 0, done.stderr
    [note] = [note for note in json.loads(done.stdout)["notes"] if "environment" in note]
    assert note == "replayed in another environment than that of the run: not-a-distribution 1.2 (not here)"


def test_a_replay_on_other_processors_says_what_they_have_and_have_not(crate: Path, terp: Terp) -> None:
    def older(recipe: dict[str, Any]) -> None:
        [machine] = recipe["machines"]
        recipe["machines"] = [
            machine | {"cpu": "Another", "level": "native", "features": [*machine["features"][1:], "avx9"]}
        ]

    first = json.loads((crate / "replay.json").read_bytes())["machines"][0]["features"][0]
    alter(crate, "replay.json", older)
    done = terp("replay", str(crate), "--workers=1", "--json")
    assert done.returncode == 0, done.stderr
    [note] = [note for note in json.loads(done.stdout)["notes"] if "computed on" in note]
    assert note.startswith("the run was computed on Another with avx9, its replay on ")
    assert note.endswith(f" with {first}: values may differ in their last bits, as far as a tolerance is declared")


def test_a_replay_computes_with_the_instructions_of_the_run_wherever_it_is(crate: Path, terp: Terp) -> None:
    def elsewhere(recipe: dict[str, Any]) -> None:
        [machine] = recipe["machines"]
        recipe["machines"] = [machine | {"cpu": "Another", "level": "x86-64-v2", "features": ["avx9"]}]

    [machine] = json.loads((crate / "replay.json").read_bytes())["machines"]
    assert machine["level"] == usual()
    alter(crate, "replay.json", elsewhere)
    done = terp("replay", str(crate), "--workers=1", "--json")
    assert done.returncode == 0, done.stderr
    assert not [note for note in json.loads(done.stdout)["notes"] if "computed on" in note]
    other = terp("replay", str(crate), "--workers=1", "--json", "--processor=native")
    [note] = [note for note in json.loads(other.stdout)["notes"] if "computed on" in note]
    assert note.startswith("the run was computed on x86-64-v2, its replay on ")


def test_a_distribution_that_cannot_be_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    python = ".".join(map(str, sys.version_info[:3]))
    with pytest.raises(Unavailable, match=r"cannot be built: not-a-distribution 1\.2 cannot be installed \("):
        build(Stood(python, {"not-a-distribution": "1.2"}), None, tmp_path / "environment")


@pytest.mark.campaign
def test_an_environment_is_built_from_what_is_recorded(crate: Path, terp: Terp) -> None:
    def forget(plain: dict[str, Any]) -> None:
        [python] = [entity for entity in plain["@graph"] if entity["@id"] == "#distribution-ruff"]
        python["value"] = "0.14.0"

    alter(crate, "ro-crate-metadata.json", forget)
    done = terp("replay", str(crate), "--environment=build", "--workers=1", "--json")
    assert done.returncode == 0, done.stderr
    assert verdicts(done) == {"scaled": "identical"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="levels are those of x86-64")
def test_on_other_vector_instructions_a_result_is_held_to_the_tolerance_that_its_stage_declares(
    terp: Terp, desk: Path
) -> None:
    (desk / "factors.py").write_text(FACTORS)
    run = terp("run", "mine.py:bits", "--workers=1", "--json")
    assert run.returncode == 0, run.stderr
    done = terp("replay", "last", "--workers=1", "--processor=x86-64-v2")
    assert done.returncode == 1, done.stderr
    assert "told: within 1e-06 relative, 0 absolute" in done.stdout
    assert "untold: differs in region 0" in done.stdout
    object_ = Path(json.loads(run.stdout)["archived"]["path"])
    assert '"tolerance"' in next(object_.rglob("ro-crate-metadata.json")).read_text()


@pytest.mark.parametrize("tolerance", [-1, (1e-6,), "much", float("inf")])
def test_a_tolerance_that_is_none_is_refused(tolerance: Any) -> None:
    with pytest.raises(BadStage, match="say a relative tolerance"):
        stage(cut=(), tolerance=tolerance)


def test_code_that_scrubbing_had_to_change_is_told(terp: Terp, desk: Path) -> None:
    (desk / "open.py").write_text(
        MINE.replace("import factors\n", "").replace("factors.scale(block)", "block") + "KEY = 'hunter2-hunter2'\n"
    )
    run = terp("run", "open.py:mine", "--workers=1", "--json", A_TOKEN="hunter2-hunter2")
    assert run.returncode == 0, run.stderr
    archived = json.loads(run.stdout)["archived"]
    content = Path(archived["path"]) / "v1" / "content"
    assert b"hunter2" not in b"".join(path.read_bytes() for path in content.iterdir())
    assert "open.py is not here as it was run" in (content / "README.md").read_text()
    done = terp("replay", archived["identifier"], "--workers=1")
    assert done.returncode == 0, done.stderr
    assert "note: open.py is not in the crate as it was run" in done.stdout


def test_the_newest_version_of_an_object_is_meant_by_its_identifier(
    made: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    found = recorded(Home(home), made["archived"]["identifier"], tmp_path)
    assert isinstance(found, Recorded)
    assert found.recipe["run"] == made["id"]
