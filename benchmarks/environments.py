"""The environments of the peers: one for each file in peers/, in a folder that git ignores, made when first needed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".bench"


class Missing(Exception):
    """An environment could not be made; the words say why."""


@cache
def python(peer: str) -> Path:
    """Return the interpreter of a peer's environment, terp's own for none; raises Missing."""
    if not peer:
        return Path(sys.executable)
    wanted, folder = PEERS / f"{peer}.txt", CACHE / peer
    stamp, found = folder / "installed.txt", folder / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        run_uv("venv", "--clear", "--python", sys.executable, str(folder))
        run_uv("pip", "sync", "--compile-bytecode", "--python", str(found), str(wanted))
        stamp.write_text(wanted.read_text())
    return found


def versions(peer: str) -> dict[str, str]:
    """Return the pinned versions of a peer's environment."""
    lines = [line.split(";")[0].strip() for line in (PEERS / f"{peer}.txt").read_text().splitlines()]
    return dict(line.split("==") for line in lines if "==" in line)


def run_uv(*words: str) -> None:
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run([uv(), *words], check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise Missing(f"uv {words[0]}: {(done.stderr.strip() or 'no words').splitlines()[-1].strip()}")


@cache
def uv() -> str:
    """Return the uv that `.ci/install` used, or terp's own."""
    for candidate in _uvs():
        try:
            if subprocess.run([candidate, "--version"], check=False, capture_output=True).returncode == 0:
                return candidate
        except OSError:
            continue
    raise Missing("there is no uv; `make install` puts one into .tools")


def _uvs() -> Iterator[str]:
    yield from ("uv", str(ROOT / ".tools/bin/uv"), str(Path(sys.executable).with_name("uv")))
