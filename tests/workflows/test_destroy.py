"""A whole life at the command line: run, decide, archive, hold, sign, destroy; and what its identifier tells then."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from terp.storage.archive import Archive
from terp.storage.archive.copies import copies_of, copy_to
from terp.storage.archive.ocfl import place as place_of
from terp.storage.errors import StorageError
from terp.storage.home import Home
from terp.workflows.cli import terp as command
from terp.workflows.errors import WorkflowError
from terp.workflows.results.destroy import scope
from terp.workflows.results.impact import impact
from terp.workflows.running.record import all_runs

sys.path.insert(0, str(Path(__file__).parent))
from here import made

FLOW = '''
import xarray as xr
from prefect import flow
from terp.workflows import Product, ingest, stage

@stage(cut=("y",))
def halved(block: xr.Dataset) -> xr.Dataset:
    return block / 2

@stage(cut=("y",))
def doubled(block: xr.Dataset) -> xr.Dataset:
    return block * 2

@flow
def small(source: str) -> Product:
    """Half of it."""
    return halved(ingest(source))

@flow
def again(source: str) -> Product:
    """All of it."""
    return doubled(halved(ingest(source)))
'''
RUNS = """
import terp.workflows.api as terp

for flow in ("small", "again"):
    terp.run(f"mine.py:{flow}", "g.nc", workers=1)
"""
START = ('trigger = "Creatie"', 'trigger = "Einde van het project"\nstart = 2014-03-01')


SITE = """
[site.lab]
partition = "main"
walltime = "1:00:00"
max_workers = 4
partitions.main = {{ cores = 4, memory = "8G", walltime = "1:00:00" }}
file_systems.scratch = {{ path = "{}", purge_days = 14 }}
"""


@dataclass(frozen=True)
class Desk:
    """Where a person works: a home with two archived runs, of which the second was made of the first's result."""

    folder: Path

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    def run(self, flow: str) -> str:
        """Return the identifier of what a run archived."""
        return next(run.archived["identifier"] for run in all_runs(self.home) if run.flow == flow)

    def __call__(self, *words: str, code: int = 0) -> str:
        """Return what a command said, in this process."""
        done = CliRunner().invoke(command, ["--home", str(self.home.root), *words], standalone_mode=False)
        if done.exception is not None:
            assert isinstance(done.exception, StorageError | WorkflowError), done.exc_info
            assert done.exception.exit_code == code, str(done.exception)
            return f"{done.output}{done.exception}"
        assert code == 0, done.output
        return done.output


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, prefect: dict[str, str]) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    policy = (Path(__file__).parents[1] / "policy.toml").read_text()
    (folder / "policy.toml").write_text(policy.replace(*START))
    xr.Dataset({"v": (("y", "x"), np.full((4, 60), 3, "f4"))}, {"y": range(4), "x": range(60)}).to_netcdf(
        folder / "g.nc"
    )
    (folder / "mine.py").write_text(FLOW)
    (folder / "second").mkdir()
    for name in ("ann", "bob"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    named = {"TERP_POLICY": str(folder / "policy.toml"), "TERP_AGENT": "A Tester", "TERP_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, "-c", RUNS],
        env={**os.environ, **prefect, **named},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def desk(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("TERP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TERP_AGENT", "A Tester")
    return Desk(tmp_path)


def copy_to_second(desk: Desk, urn: str) -> None:
    """Put a copy of an object into a registered place, as it lies in the archive."""
    place = '[[place]]\nname = "second"\nkind = "folder"\naudit_every = "P1Y"\npath = "{}"\n'
    (desk.home.custody).mkdir(exist_ok=True)
    (desk.home.custody / "places.toml").write_text(place.format(desk.folder / "second"))
    rests = next(path.parent for path in desk.home.archive.glob("*/*/*/*/inventory.json") if urn in path.read_text())
    shutil.copytree(rests, desk.folder / "second" / rests.relative_to(desk.home.archive))


def test_the_scope_of_an_object_is_its_results_its_runs_and_what_only_they_needed(desk: Desk) -> None:
    first, second = (next(run for run in all_runs(desk.home) if run.flow == flow) for flow in ("small", "again"))
    found = scope(desk.home, desk.run("small"))
    assert set(found.folders) == {desk.home.product(first.results["halved"]), first.folder(desk.home)}
    assert found.runs == [first.id]
    assert set(found.derived) == {
        *(f"product {second.results['doubled']}", f"run {second.id}", second.archived["identifier"])
    }
    shutil.rmtree(second.folder(desk.home))  # the archive tells by itself what it was made of
    shutil.rmtree(desk.home.product(second.results["doubled"]))
    assert scope(desk.home, desk.run("small")).derived == [second.archived["identifier"]]


def test_what_was_made_of_a_source_is_known_by_what_is_left_of_products_runs_and_archive(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    first, second = (next(run for run in all_runs(desk.home) if run.flow == flow) for flow in ("small", "again"))
    ingest, halved, doubled = (stage.key for stage in second.stages)
    desk("archive", first.id, "--second-form", "netcdf4")
    archived = Archive(desk.home.archive).files(first.archived["identifier"])["halved.nc"]
    [taken] = made(archived, desk.home.root, lambda data: data)
    both = {first.archived["identifier"], second.archived["identifier"]}

    def found(named: str) -> tuple[set[str], set[str], set[str], set[str]]:
        told = impact(desk.home, named)
        keys = ({one["product"] for one in told[which]} for which in ("products", "gone"))
        return *keys, {one["run"] for one in told["runs"]}, {one["identifier"] for one in told["archived"]}

    source = str(desk.folder / "g.nc")
    assert found(source) == ({ingest, halved, doubled, taken}, set(), {first.id, second.id}, both)
    for key in (ingest, halved):
        shutil.rmtree(desk.home.product(key))
    aside = desk.home.archive.rename(desk.folder / "aside")
    assert found(source) == ({doubled}, {ingest, halved}, {first.id, second.id}, both), "as the records of runs tell"
    aside.rename(desk.home.archive)
    shutil.rmtree(desk.home.runs)
    assert found(source) == ({doubled, taken}, {ingest, halved}, set(), both), "as archived objects tell"
    shutil.rmtree(desk.home.product(doubled))
    assert found(halved) == ({taken}, {halved, doubled}, set(), both)
    assert found(doubled) == (set(), {doubled}, set(), {second.archived["identifier"]})
    assert "gone: product " + doubled + ", which was made of " + halved in desk("impact", source)


def test_a_result_that_a_run_has_which_is_not_archived_does_not_go(desk: Desk) -> None:
    first, other = (next(run for run in all_runs(desk.home) if run.flow == flow) for flow in ("small", "again"))
    assert list(scope(desk.home, desk.run("small")).busy) == []
    other.results = dict(first.results)
    other.save(desk.home)
    assert list(scope(desk.home, desk.run("small")).busy) == []  # the archive has it
    other.archived = {}
    other.save(desk.home)
    said = desk("destroy", desk.run("small"), "--propose", code=77)
    assert f"is a result of the run {other.id} too, which is not archived" in said


def test_a_whole_life_ends_with_a_statement(desk: Desk) -> None:
    urn, other = desk.run("small"), desk.run("again")
    run = next(run.id for run in all_runs(desk.home) if run.flow == "small")
    copy_to_second(desk, urn)
    assert f"{urn}  must be destroyed" in desk("retain")
    assert json.loads(desk("retain", "--on", "2024-02-01", "--json"))["objects"][0]["state"] == "keep"
    for name in ("ann", "bob"):
        desk("people", "add", name.title(), "--key", f"{desk.folder / name}.pub", "--role", "archivist")
    assert "Ann" in desk("people", "list")

    desk("hold", urn, "--reason", "a court case", "--by", "A Lawyer")
    assert "a court case" in desk("retain")
    assert "a court case" in desk("show", urn)
    assert "it is held" in desk("destroy", urn, "--propose", code=77)
    desk("release", urn, "--reason", "it is over")

    said = desk("destroy", urn, "--propose")
    assert f"made of it, and stays: {other}" in said
    assert "place second: " in said
    assert "signed by Ann" in desk("destroy", urn, "--sign", str(desk.folder / "ann"))
    assert "2 people have to sign" in desk("destroy", urn, "--execute", code=77)
    desk("destroy", urn, "--sign", str(desk.folder / "bob"))
    assert "nothing is left" in desk("destroy", urn, "--execute")

    assert not list((desk.folder / "second").rglob("*.zip"))
    for words in (("show", urn), ("open", urn), ("verify", urn), ("show", run), ("destroy", urn, "--execute")):
        assert "was destroyed on" in desk(*words, code=65)
    assert urn not in desk("ls")
    assert urn in desk("ls", "--where", "is:destroyed")
    assert "all is as it was recorded" in desk("verify", other)


def test_what_was_destroyed_does_not_come_back_under_its_name(
    desk: Desk, template: Path, prefect: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    urn = desk.run("small")
    run = next(run.id for run in all_runs(desk.home) if run.flow == "small")
    for name in ("ann", "bob"):
        desk("people", "add", name, "--key", f"{desk.folder / name}.pub")
    desk("destroy", urn, "--propose")
    for name in ("ann", "bob"):
        desk("destroy", urn, "--sign", str(desk.folder / name))
    desk("destroy", urn, "--execute")
    for folder in ("products", "runs"):  # as who runs the flow again has them
        shutil.copytree(template / "home" / folder, desk.home.root / folder, dirs_exist_ok=True)
    monkeypatch.chdir(desk.folder)
    for name, value in prefect.items():
        monkeypatch.setenv(name, value)
    assert "was destroyed on" in desk("archive", run, code=65)


def test_guard_archives_what_its_site_will_soon_remove(
    desk: Desk, prefect: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(desk.home.archive)
    for run in all_runs(desk.home):
        run.archived = {}
        run.save(desk.home)
        for key in run.results.values():
            os.utime(desk.home.product(key) / "product.json", (0, 0))
    monkeypatch.chdir(desk.folder)
    for name, value in {**prefect, "TERP_POLICY": str(desk.folder / "policy.toml")}.items():
        monkeypatch.setenv(name, value)
    (desk.folder / "terp.toml").write_text(SITE.format(desk.folder))
    said = desk("guard", "--archive")
    assert "any moment now" in said
    assert len(list(desk.home.archive.glob("*/*/*/*"))) == 2
    assert {run.archived["version"] for run in all_runs(desk.home)} == {"v1"}


def test_out_of_a_bundle_on_tape_one_object_goes_and_the_other_stays(desk: Desk) -> None:
    urn, other = desk.run("small"), desk.run("again")
    (desk.folder / "tape").mkdir()
    sizes = sum(path.stat().st_size for path in desk.home.archive.rglob("*") if path.is_file())
    place = '[[place]]\nname = "tape"\nkind = "tape"\naudit_every = "P1Y"\npath = "{}"\nmin_average = {}\nstate = []\n'
    desk.home.custody.mkdir(exist_ok=True)
    (desk.home.custody / "places.toml").write_text(place.format(desk.folder / "tape", sizes - 20_000))
    copy_to(desk.home, "tape", [urn, other])
    assert [state for _, state in copies_of(desk.home, urn)] == ["whole"]
    for name in ("ann", "bob"):
        desk("people", "add", name, "--key", f"{desk.folder / name}.pub")
    assert "place tape: " in desk("destroy", urn, "--propose")
    for name in ("ann", "bob"):
        desk("destroy", urn, "--sign", str(desk.folder / name))
    assert "nothing is left" in desk("destroy", urn, "--execute")
    stored = b"".join(path.read_bytes() for path in (desk.folder / "tape").iterdir())
    assert place_of(urn).as_posix().encode() not in stored
    assert place_of(other).as_posix().encode() in stored
    assert copies_of(desk.home, urn) == []
    assert [state for _, state in copies_of(desk.home, other)] == ["whole"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (lambda desk: ("destroy", desk.run("small")), 64, "say one of --propose, --sign KEYFILE and --execute"),
        (lambda _: ("destroy", "urn:terp:none:1", "--propose"), 64, "there is no urn:terp:none:1"),
        (lambda _: ("hold", "last", "--reason", "x"), 64, "is no whole identifier of an archived object"),
        (lambda desk: ("people", "add", "Ann", "--key", str(desk.folder / "ann")), 65, "is a private key"),
        (lambda desk: ("release", desk.run("small"), "--reason", "x"), 65, "is not held"),
        (lambda desk: ("destroy", desk.run("small"), "--sign", str(desk.folder / "ann")), 77, "nobody has proposed"),
    ],
)
def test_bad_input_is_told_in_words(desk: Desk, words: Callable[[Desk], tuple[str, ...]], code: int, said: str) -> None:
    assert said in desk(*words(desk), code=code)
