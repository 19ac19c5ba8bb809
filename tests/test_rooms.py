"""The rules of the house, read from the house itself."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("workflows", "cluster", "storage")

TOP = {
    *("workflows", "cluster", "storage", "slurm", "tests", "benchmarks", "docs"),
    *("pyproject.toml", "uv.lock", "Makefile", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"),
    *("CITATION.cff", "codemeta.json", ".ci", ".namespace", ".gitignore", ".gitattributes", ".python-version"),
    ".pre-commit-config.yaml",
}

LINES = 300  # of a module: past that it is two
STEPS = 60  # lines of a function

# Longer, each for its reason.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}


def tracked() -> list[Path]:
    """All files of the project: what git has, and what it does not ignore."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("this is no clone, so git does not know its files")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def modules() -> Iterator[tuple[str, ast.Module]]:
    """The modules of the three packages, by their path."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


type Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def public(tree: ast.Module | ast.ClassDef) -> Iterator[Function | ast.ClassDef]:
    """The classes and functions that others may use, with the methods of those classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def places() -> list[str]:
    """What no file should name: the registries of the lock, and where things are on this machine."""
    hosts = set(re.findall(r'"https://([^/"]+)/', (ROOT / "uv.lock").read_text()))
    here = {str(ROOT), str(ROOT.parent / "shared")}
    home = {f"{Path.home()}/"} if len(Path.home().parts) > 1 else set()
    return sorted(hosts | here | home)


def test_the_top_of_the_repository_holds_the_rooms_and_the_usual_small_files() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} - TOP == set()


def test_every_public_module_class_and_function_says_what_it_is() -> None:
    silent = [path for path, tree in modules() if not ast.get_docstring(tree)]
    for path, tree in modules():
        silent += [f"{path}:{node.lineno} {node.name}" for node in public(tree) if not ast.get_docstring(node)]
    assert silent == []


def test_a_module_can_be_held_in_the_head() -> None:
    sizes = {path: len((ROOT / path).read_text().splitlines()) for path, _ in modules()}
    assert {path: size for path, size in sizes.items() if size > LINES and path not in LONG_FILES} == {}


def test_a_function_can_be_seen_at_once() -> None:
    sizes = {
        f"{path}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path, tree in modules()
        for node in functions(tree)
    }
    assert {name: size for name, size in sizes.items() if size > STEPS and name not in LONG_FUNCTIONS} == {}


def test_no_exception_to_these_rules_outlives_its_reason() -> None:
    paths = {path for path, _ in modules()}
    names = {f"{path}:{node.name}" for path, tree in modules() for node in functions(tree)}
    assert set(LONG_FILES) <= paths
    assert set(LONG_FUNCTIONS) <= names


def test_no_file_names_a_registry_or_a_place_on_one_machine() -> None:
    texts = {path: path.read_text(errors="ignore") for path in tracked() if path.name != "uv.lock"}
    named = [f"{path.relative_to(ROOT)}: {word}" for path, text in texts.items() for word in places() if word in text]
    assert named == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_has_one_name_only(room: str) -> None:
    run = subprocess.run([sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True)
    assert f"ImportError: import terp.{room}, not {room}" in run.stderr
