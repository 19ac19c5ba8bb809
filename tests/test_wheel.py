"""The wheel, which is what computing centres install: all of terp, and nothing from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the wheel is built with hatchling, of the group dev")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds; for pure Python, unpacking is installing."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def elsewhere(installed: Path, code: str, folder: Path) -> str:
    """What Python code prints, run from a folder that is not the checkout, with the wheel before all else."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_wheel_holds_every_module_of_the_three_packages(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    rooms = ("workflows", "cluster", "storage")
    wanted = {f"terp/{path.relative_to(ROOT)}" for room in rooms for path in (ROOT / room).rglob("*.py")}
    assert wanted - held == set()


def test_the_wheel_holds_the_sites_scripts_and_benchmarks_as_data_and_the_licence(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    data = {
        f"terp/{path.relative_to(ROOT)}"
        for room in ("slurm", "benchmarks")
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert data - held == set()
    assert any(name.endswith("licenses/LICENSE") for name in held)
    assert not any(name.startswith(("tests/", "terp/tests/", "docs/")) for name in held)


def test_the_three_packages_are_imported_from_the_wheel_in_another_folder(installed: Path, tmp_path: Path) -> None:
    code = "import terp.workflows as w, terp.cluster as c, terp.storage as s; print(w.__file__, c.__file__, s.__file__)"
    places = elsewhere(installed, code, tmp_path).split()
    assert places == [str(installed / f"terp/{room}/__init__.py") for room in ("workflows", "cluster", "storage")]


def test_the_command_of_the_wheel_shows_its_help(installed: Path, tmp_path: Path) -> None:
    code = """if True:
        import sys
        from importlib.metadata import entry_points
        (script,) = entry_points(group="console_scripts", name="terp")
        print(sys.modules[script.load().__module__].__file__, flush=True)
        sys.argv = ["terp", "--help"]
        script.load()()
    """
    place, _, words = elsewhere(installed, code, tmp_path).partition("\n")
    assert place.startswith(str(installed))
    assert "run" in words
