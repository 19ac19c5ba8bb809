"""The code of a run is all of the user's own that the flow's file imports, and the same code gives the same bytes."""

import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from terp.workflows.planning.load import load_flow
from terp.workflows.results.bundle import Bundle, as_files, code_of, kept
from terp.workflows.results.itself import itself

FLOW = """
from bundle_tools.deep import work
from bundle_tools import CONSTANT
import bundle_late
import numpy
from prefect import flow

@flow
def made(source: str = "x"):
    return work(source)
"""
FILES = {
    "flows.py": FLOW,
    "bundle_tools/__init__.py": "CONSTANT = 1\n",
    "bundle_tools/deep.py": "from . import near\n\ndef work(x):\n    import bundle_inside\n    return near.more(x)\n",
    "bundle_tools/near.py": "def more(x):\n    return x\n",
    "bundle_tools/unused.py": "raise RuntimeError\n",
    "bundle_late.py": "import importlib\nfound = importlib.import_module('bundle_dynamic').thing\n",
    "bundle_dynamic.py": "def thing():\n    pass\n",
    "bundle_inside.py": "",
    "beside.py": "",
}
OWN = [name for name in sorted(FILES) if name not in ("bundle_tools/unused.py", "beside.py", "bundle_inside.py")]


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what a test has imported."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.startswith("bundle_") or name == "flows"]:
        del sys.modules[name]


def bundle(folder: Path, **changed: str) -> Bundle:
    for name, text in (FILES | changed).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    target = f"{folder / 'flows.py'}:made"
    return code_of(load_flow(target), target)


def test_it_holds_the_flows_file_and_all_own_modules_that_it_reaches(tmp_path: Path) -> None:
    code = bundle(tmp_path)
    assert sorted(code.files) == OWN, "no library, nothing that is only beside it, nothing that was never imported"
    assert (code.target, code.main, code.withheld) == ("flows.py:made", "flows.py", ())


def test_the_same_code_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    one = bundle(tmp_path / "one").packed()
    for name in [name for name in sys.modules if name.startswith("bundle_") or name == "flows"]:
        del sys.modules[name]
    sys.path[:] = [place for place in sys.path if place != str(tmp_path / "one")]
    assert bundle(tmp_path / "other").packed() == one


def test_what_must_not_be_archived_is_taken_out_and_its_file_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "very-secret-indeed")
    code = bundle(tmp_path, **{"bundle_late.py": f"KEY = 'very-secret-indeed'\nPLACE = '{Path.home()}/data'\n"})
    assert code.withheld == ("bundle_late.py",)
    assert code.files["bundle_late.py"] == "KEY = '(withheld)'\nPLACE = '~/data'\n"


def test_what_a_run_keeps_of_it_is_what_was_there_when_it_was_planned(tmp_path: Path) -> None:
    code = bundle(tmp_path / "code")
    run = tmp_path / "run"
    run.mkdir()
    for name, data in as_files(code).items():
        (run / name).write_bytes(data)
    (tmp_path / "code" / "flows.py").write_text("edited")
    assert kept(run) == code
    assert kept(tmp_path) is None


def test_a_flow_that_comes_with_terp_is_named_by_version_and_commit() -> None:
    code = code_of(load_flow("climatology"), "climatology")
    assert (code.files, code.target) == ({}, "climatology")
    assert code.terp["version"]


def test_terp_itself_is_kept_so_that_it_runs_from_there_and_keeps_the_same_again(tmp_path: Path) -> None:
    code = code_of(load_flow("climatology"), "climatology")
    assert len(code.itself) < 1 << 20
    with zipfile.ZipFile(io.BytesIO(code.itself)) as held:
        held.extractall(tmp_path)
        names = held.namelist()
    tops = {"/".join(name.split("/")[:2]) for name in names if name.startswith("terp/")}
    assert tops == {"terp/workflows", "terp/cluster", "terp/storage", "terp/slurm"}, "no tests, no benchmarks"
    asked = "from terp.workflows.results import itself as i; print(i.__file__, i.itself().digest)"
    done = subprocess.run(
        [sys.executable, "-c", asked], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.stdout.split() == [f"{tmp_path}/terp/workflows/results/itself.py", code.terp["sha256"]], done.stderr


def test_a_secret_that_stands_in_terp_itself_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "Zarr v3 group")  # what a changed checkout may hold, found where words are
    itself.cache_clear()
    found = itself()
    itself.cache_clear()
    assert found.withheld
    assert not [name for name, data in found.files.items() if b"Zarr v3 group" in data]
