"""Compare the environment that a run stood on with the one that is here, and build it where it is another."""

import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence, Set
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import terp.workflows
from terp.storage.environment import Environment
from terp.storage.errors import BadPackage
from terp.storage.machine import Machine
from terp.workflows.errors import Unavailable
from terp.workflows.results.itself import ITSELF, digest_of_files, itself
from terp.workflows.results.recorded import Recorded, Stood
from terp.workflows.running.repository import terp_itself


def differences(stood: Stood) -> list[str]:
    """Return how what is here differs from what a run stood on; nothing is said of what is only here."""
    here, python = Environment.here(), platform.python_version()
    found = [f"Python {stood.python} (here {python})"] if stood.python != python else []
    for name, version in stood.distributions.items():
        now = here.distributions.get(name)
        if now is None or now.version != version:
            found.append(f"{name} {version} ({f'here {now.version}' if now else 'not here'})")
    return found


def other_processors(then: Iterable[Machine], here: Iterable[Machine]) -> str:
    """Say in what the processors of two runs differ, in model and vector instructions; "" where that is nothing.

    Of a run that computed nothing, having found all of it made, nothing is known.
    """
    kinds = [dict.fromkeys(machine.computes for machine in some) for some in (then, here)]
    if not all(kinds) or kinds[0].keys() == kinds[1].keys():
        return ""
    shared = set.intersection(*(set(features) for some in kinds for _, features in some))
    before, now = (", ".join(_processor(*one, shared) for one in some) for some in kinds)
    return f"the run was computed on {before}, its replay on {now}"


def _processor(model: str, features: Sequence[str], shared: Set[str]) -> str:
    own = [one for one in features if one not in shared]
    return f"{model} with {' '.join(own)}" if own else model


def build(stood: Stood, lock: Path | None, folder: Path) -> Path:
    """Make a virtual environment of exactly the recorded distributions with `uv`; return its Python.

    Where one comes from is taken from `lock`, else it goes by its version. terp itself, where it is of the recorded
    version here, is linked: it may be a checkout that no index has. Raises Unavailable that names what cannot be had.
    """
    uv = _uv()
    _run(
        [uv, "venv", "--quiet", "--no-project", "--python", _interpreter(stood), str(folder)], {"Python": stood.python}
    )
    python = folder / "bin" / "python"
    wanted = dict(stood.distributions)
    linked = wanted.get("terp") == distribution("terp").version and wanted.pop("terp")
    pinned = folder / "pinned.txt"
    pinned.write_text(_pinned(lock, wanted))
    _run([uv, "pip", "install", "--quiet", "--no-deps", "--python", str(python), "-r", str(pinned)], wanted)
    if linked:
        _link_terp(folder)
    return python


def _uv() -> str:
    beside = Path(sys.executable).parent
    found = shutil.which("uv", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if not found:
        raise Unavailable("an environment is built with uv, which is not here: install it (`pip install uv`)")
    return found


def _pinned(lock: Path | None, wanted: Mapping[str, str]) -> str:
    """Return requirements as the lock has them; of what it does not name (it was installed from a folder), versions."""
    lines = lock.read_text().splitlines() if lock else []
    known = {line.partition("=")[0].partition("@")[0].strip(): line for line in lines}
    return "".join(known.get(name, f"{name}=={version}") + "\n" for name, version in wanted.items())


def _interpreter(stood: Stood) -> str:
    """Return the interpreter below this environment, where it is of the recorded version, else that version for uv."""
    return os.path.realpath(sys.executable) if stood.python == platform.python_version() else stood.python


def _run(command: list[str], wanted: Mapping[str, str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(
            f"the environment of the run cannot be built: {_blamed(done.stderr, wanted)}; "
            "have it another way, or replay with `--environment here`, in what is installed"
        )


def _blamed(said: str, wanted: Mapping[str, str]) -> str:
    """Return what uv says, with the distribution that it is about at the front."""
    words = " ".join(said.split())
    named = [name for name in wanted if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", words, re.IGNORECASE)]
    named = [name for name in named if f"{name}=={wanted[name]}" in words] or named
    named = named or (list(wanted) if len(wanted) == 1 else [])
    return f"{named[0]} {wanted[named[0]]} cannot be installed ({words[:300]})" if named else words[:300]


def _link_terp(folder: Path) -> None:
    """Let a built environment see the terp that is here, and no other package from where that is."""
    [site] = folder.glob("lib/python*/site-packages")
    (site / "terp").symlink_to(Path(terp.workflows.__path__[0]).parent)
    about = Path(str(distribution("terp").locate_file("")))
    for metadata in about.glob("terp-*.dist-info"):
        shutil.copytree(metadata, site / metadata.name)


# terp itself


def terp_of(crate: Recorded, environment: str, folder: Path) -> Path | None:
    """Unpack the terp that made a run and return its folder; None where the one that is here shall compute.

    That is where it is the same, where it was asked for (`environment` is "here"), and of crates from before terp was
    kept in them. Raises BadPackage where what is in the crate is another.
    """
    if not crate.terp or environment == "here":
        return None
    if crate.terp == itself().digest and not (environment == "build" and differences(crate.environment)):
        return None
    with zipfile.ZipFile(crate.file(ITSELF)) as held:
        if crate.terp != digest_of_files({name: held.read(name) for name in held.namelist()}):
            raise BadPackage(f"{ITSELF} of {crate.name} is not the terp that made its run: restore it from a copy")
        held.extractall(folder)
    return folder


def told_of_terp(
    crate: Recorded, own: bool, computed: Mapping[str, Any], scheduler: str
) -> tuple[dict[str, str], list[str]]:
    """Return which terp made the run again and where it was found, and what is to be said of it.

    `own` is whether that of the crate was to; `computed` is what the one that did has told of itself.
    """
    then, here = crate.recipe["terp"], {**terp_itself(), "sha256": itself().digest}
    notes = []
    if own and computed.get("sha256") != crate.terp:
        notes.append("the terp of the crate was given, and another one computed")
    if own and scheduler:
        notes.append("workers of a scheduler that is given compute with the terp that they have")
    same = crate.terp == here["sha256"] if crate.terp else then == terp_itself() and not then.get("dirty")
    if not own and not same:
        notes.append(f"terp was {_told(then)} then, and is {_told(here)} here")
    found = "in the crate" if own else "here, and the same" if same else "here"
    return {"name": _told(then if own else here), "found": found, "sha256": computed.get("sha256", "")}, notes


def _told(one: Mapping[str, Any]) -> str:
    commit = f" at commit {one['commit'][:12]}" if one.get("commit") else ""
    return f"{one['version']}{commit}{' with changes' if one.get('dirty') else ''}"
