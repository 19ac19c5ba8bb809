"""A small environment with terp in it, to be packed in half a second: a virtual environment without libraries."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from terp.cluster.environment import prologue

ROOT = Path(__file__).parents[2]
PACKAGES = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
PACK = "import sys, pathlib; from terp.cluster.environment import pack; print(pack(pathlib.Path(sys.argv[1])))"

type Done = subprocess.CompletedProcess[str]


def describe(packages: Path, name: str, version: str, direct_url: str = "{}") -> None:
    """Write what an installer writes of a distribution."""
    folder = packages / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "direct_url.json").write_text(direct_url)


def make(venv: Path, *words: str) -> Path:
    """A virtual environment with terp in it, and a module of a user's."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", *words, venv], check=True)
    packages = venv / PACKAGES
    shutil.copytree(ROOT / "cluster", packages / "terp/cluster", ignore=shutil.ignore_patterns("__pycache__"))
    describe(packages, "terp", "0.1.0")
    (packages / "sensors.py").write_text("WHERE = 'in the environment'\n")
    subprocess.run([venv / "bin/python", "-c", "import sensors"], check=True)
    return venv


def job(pack: Path, local: Path | str, then: str = 'echo "$TERP_PYTHON"', patience: int = 60) -> str:
    """The script of a job that unpacks and goes on."""
    return "\n".join(["set -eu", *prologue(pack, str(local), patience), then])


def packing(venv: Path, cache: Path) -> Done:
    return subprocess.run([venv / "bin/python", "-c", PACK, cache], capture_output=True, text=True)


def packed(venv: Path, cache: Path) -> Path:
    done = packing(venv, cache)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())
