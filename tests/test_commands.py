"""`make demo` and `make test` in a fresh clone: what they find there, and their words when something is missing."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ["awk", "bash", "cat", "cksum", "dirname", "env", "grep", "make", "mktemp", "rm", "sed", "sort", "tail"]
NOWHERE = "http://127.0.0.1:9"


class Clone:
    """What the commands need of a clone, on a machine that has the usual small tools and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin, self.home = folder / "clone", folder / "bin", folder / "home"
        for made in (self.root, self.bin, self.home):
            made.mkdir()
        for name in ("Makefile", ".ci", ".python-version", "pyproject.toml", "uv.lock"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self.root / name)
        for tool in TOOLS:
            self.link(tool, shutil.which(tool))

    def link(self, name: str, target: str | None) -> None:
        """Have a real program on the PATH."""
        assert target, f"these tests need {name}"
        (self.bin / name).symlink_to(target)

    def script(self, path: Path, text: str) -> Path:
        """Have a program that does only this."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{text}\n")
        path.chmod(0o755)
        return path

    def python(self, version: str, path: Path) -> Path:
        """A Python that can only say which it is."""
        return self.script(path, f'echo "{version} {path}"')

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone, with nothing of the environment of these tests."""
        environment = {"PATH": str(self.bin), "HOME": str(self.home), "TMPDIR": str(self.home)} | more
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=120)

    def find(self) -> str:
        """Which Python and which uv would be used."""
        found = self.run(".ci/install", "--find")
        assert found.returncode == 0, found.stderr
        return found.stdout.strip()

    def fails(self, *command: str, **more: str) -> str:
        """The words it fails with, which are for people."""
        failed = self.run(*command, **more)
        assert failed.returncode != 0
        assert "Traceback" not in failed.stdout + failed.stderr
        assert not (self.root / ".venv" / ".installed").exists()
        return failed.stderr


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def real_python() -> str:
    return str(getattr(sys, "_base_executable", sys.executable))


def real_uv(clone: Clone) -> str:
    places: list[Callable[[], str | None]] = [
        lambda: str(Path(sys.executable).with_name("uv")) if importlib.util.find_spec("uv") else None,
        lambda: str(ROOT / ".tools/bin/uv"),
        lambda: shutil.which("uv"),
    ]
    for place in places:
        uv = place()
        if uv and Path(uv).exists() and clone.run(uv, "--version").returncode == 0:
            return uv
    pytest.skip("no uv that works outside of this machine's own set-up")


def test_make_alone_says_what_can_be_made(clone: Clone) -> None:
    said = clone.run("make").stdout
    assert all(f"make {name}" in said for name in ("demo", "test", "campaign", "bench", "clean", "help"))


@pytest.mark.parametrize("command", ["demo", "test"])
def test_a_python_that_is_too_old_is_named(clone: Clone, command: str) -> None:
    old = clone.python("3.9.2", clone.bin / "python3")
    words = clone.fails("make", command)
    assert f"terp needs Python 3.12 or newer; found 3.9.2 at {old}; install python3.13 or uv" in words


def test_without_any_python_the_words_say_so(clone: Clone) -> None:
    assert "terp needs Python 3.12 or newer; install python3.13 or uv" in clone.fails("make", "test")


def test_a_shim_that_does_not_run_is_passed_over(clone: Clone) -> None:
    clone.script(clone.bin / "uv", 'echo "pyenv: uv: command not found" >&2; exit 127')
    clone.script(clone.bin / "python3.13", "echo \"pyenv: version '3.13' is not installed\" >&2; exit 1")
    good = clone.python("3.12.4", clone.bin / "python3")
    assert clone.find() == f"{good} none"


def test_a_python_of_pyenvs_is_found_though_no_shim_leads_there(clone: Clone) -> None:
    versions = clone.home / ".pyenv/versions"
    for number in ("3.9.18", "3.12.1", "3.13.0", "3.13.11", "3.14.0"):
        clone.python(number, versions / number / "bin/python")
    assert clone.find() == f"{versions / '3.13.11/bin/python'} none"


def test_a_python_that_only_uv_knows_is_found(clone: Clone) -> None:
    hidden = clone.python("3.12.9", clone.home / "hidden/python")
    clone.script(clone.bin / "uv", f'if [ "$1" = python ]; then echo "{hidden}"; else echo uv 0.9.0; fi')
    assert clone.find() == f"{hidden} uv"


def test_without_venv_the_words_name_debians_package(clone: Clone) -> None:
    no_venv = 'if [ "$1" = -c ]; then echo "3.13.0 $0"; else echo "ensurepip is not available" >&2; exit 1; fi'
    clone.script(clone.bin / "python3", no_venv)
    assert "can't make a virtual environment; install its venv (Debian: apt install python3-venv)" in clone.fails(
        "make", "test"
    )
    assert not (clone.root / ".tools").exists()


def test_pip_without_a_registry_says_what_to_do(clone: Clone) -> None:
    clone.link("python3", real_python())
    words = clone.fails("make", "demo", PIP_INDEX_URL=NOWHERE, PIP_CONFIG_FILE=os.devnull, PIP_NO_CACHE_DIR="1")
    assert "the last words of pip:" in words
    assert "getting uv failed, as no package registry can be reached." in words
    assert "Check the network" in words


def test_uv_without_a_registry_says_what_to_do(clone: Clone) -> None:
    clone.link("python3", real_python())
    clone.link("uv", real_uv(clone))
    offline = {"UV_DEFAULT_INDEX": NOWHERE, "HTTPS_PROXY": NOWHERE, "UV_HTTP_RETRIES": "0", "UV_NO_CONFIG": "1"}
    words = clone.fails("make", "demo", UV_CACHE_DIR=str(clone.home / "cache"), **offline)
    assert "the last words of uv:" in words
    assert "installing failed, as no package registry can be reached." in words


def test_what_is_installed_is_not_installed_again_until_the_lock_changes(clone: Clone) -> None:
    clone.script(clone.root / ".venv/bin/python", "exit 0")
    stamp = clone.run("bash", "-c", 'echo "$PWD $(cat .ci/install pyproject.toml uv.lock | cksum)"').stdout
    (clone.root / ".venv/.installed").write_text(stamp)
    assert clone.run("make", "install").returncode == 0  # there is no Python to be found here
    with (clone.root / "uv.lock").open("a") as lock:
        lock.write("\n")
    assert clone.run("make", "install").returncode != 0
