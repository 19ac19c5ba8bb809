"""No secret rests in a home where others may read it: of a URL, parameter, code, warning or error; nor at Prefect."""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent.parent / "storage"))
from serving import Served, serving

from terp.cluster.errors import ClusterError
from terp.cluster.site import load_site
from terp.storage.home import Home
from terp.workflows import api
from terp.workflows.errors import Usage
from terp.workflows.prefect.deploy import Work, deploy
from terp.workflows.prefect.flow import open_to_all
from terp.workflows.running.record import load_run

Terp = Callable[..., subprocess.CompletedProcess[str]]

FLOW = '''
"""A flow."""
import warnings
from prefect import flow
import xarray as xr
from terp.workflows import Product, ingest, stage

PASSWORD = "planted-in-code"
KNOWN = {"secret_key": "planted-in-a-table", "by": 2}

def a_token(note: str, password: str = "planted-as-a-default") -> str:
    return f"{len(PASSWORD)} {len(password)}"

@stage(cut=("y",))
def doubled(block: xr.Dataset, note: str, api_key: str) -> xr.Dataset:
    warnings.warn("see https://ada:planted-in-a-warning@example.org/x")
    if note.endswith("fails") and bool((block == 11).v.any()):
        raise ValueError("no answer of https://ada:planted-in-an-error@example.org/x to " + note + api_key + PASSWORD)
    return (block * KNOWN["by"]).assign_attrs(note=note, token=a_token(note))

def facts(results: dict) -> dict:
    return {"server": "https://ada:planted-in-facts@example.org/x"}

@flow
def double(source: str, note: str = "", api_key: str = "") -> Product:
    """Twice as much. Ask https://ada:planted-in-a-docstring@example.org for more"""
    return doubled(ingest(source), note, api_key)
'''
NOTE = "https://ada:planted-in-a-parameter@example.org/x, planted-in-the-environment"
KEY = "planted-under-a-name"


@pytest.fixture(autouse=True)
def as_many_have_it() -> Iterator[None]:
    """Have what is written be for others to read, as it is on many systems."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a flow, and something that was edited since it was committed."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "twice.py").write_text(FLOW)
    (folder / "settings.env").write_text("SURF_TOKEN=old\n")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "first")):
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *words], cwd=folder, check=True)
    (folder / "settings.env").write_text("SURF_TOKEN=planted-in-a-diff\n")
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Iterator[str]:
    """The URL of an input, with a login."""
    path = tmp_path / "in.nc"
    xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("y", "x"), name="v").to_netcdf(path)
    with serving(path.read_bytes()) as served:
        yield with_login(served)


def with_login(served: Served) -> str:
    return served.url.replace("://", "://ada:planted-in-a-url@") + "&token=planted-in-a-query"


def readable(folder: Path) -> Iterator[Path]:
    """Walk the files below a folder that somebody else may read."""
    for path in folder.iterdir():
        if path.stat().st_mode & 0o044:
            if path.is_dir():
                yield from readable(path)
            else:
                yield path


def telling(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in readable(folder) if b"planted" in path.read_bytes()]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_that_others_may_read_has_a_secret_however_the_run_ends(
    fails: bool, terp: Terp, home: Path, project: Path, source: str, prefect: dict[str, str]
) -> None:
    there = {"SURF_API_KEY": "planted-in-the-environment"}
    words = ["run", "twice.py:double", source, "--set", f"note={NOTE}{' fails' if fails else ''}"]
    done = terp(*words, "--set", f"api_key={KEY}", "--workers", "1", cwd=project, **there)
    assert (done.returncode == 0) is not fails, done.stderr
    assert "planted" not in done.stdout + done.stderr
    assert telling(home) == []
    record = load_run(Home(home), "last")
    files = [path.relative_to(record.folder(Home(home))).as_posix() for path in readable(record.folder(Home(home)))]
    assert {"run.json", "log.txt", "journal.jsonl", "captured/flow.py", "captured/changes.diff"} <= set(files)
    assert any(name.startswith("failure-") for name in files) is fails
    [product] = Home(home).products.glob("doubled-*")
    code = json.loads((product / "product.json").read_text())["body"]["ingredients"]["code"]
    assert "len(PASSWORD)" in code["a_token"], "it is no secret, though it is called like one"
    assert record.parameters["api_key"] == "(withheld)"
    assert record.parameters["note"].startswith("https://example.org/x")
    login = tuple(prefect["PREFECT_API_AUTH_STRING"].split(":", 1))
    told = httpx.post(f"{prefect['PREFECT_API_URL']}/flow_runs/filter", json={}, auth=login).text
    logs = httpx.post(f"{prefect['PREFECT_API_URL']}/logs/filter", json={}, auth=login).text
    assert '"api_key":"(withheld)"' in told
    assert "planted" not in told + logs


def test_what_was_run_goes_on_and_is_planned_as_it_was_given(terp: Terp, project: Path, source: str) -> None:
    words = ["twice.py:double", source, "--set", f"note={NOTE}"]
    assert terp("run", *words, "--set", f"api_key={KEY}", "--workers", "1", cwd=project).returncode == 0
    same = json.loads(terp("plan", *words, "--set", f"api_key={KEY}", "--json", cwd=project).stdout)
    other = json.loads(terp("plan", *words, "--set", "api_key=planted-anew", "--json", cwd=project).stdout)
    assert [one["missing"] for one in same["stages"]] == [0, 0]
    assert [one["missing"] for one in other["stages"]] == [0, 1]
    assert other["stages"][1]["why"].startswith("a value that is withheld, as it may be a secret, changed; 1 of 1")


def test_a_controller_that_is_a_job_finds_its_parameters_where_only_its_user_does(
    home: Path, project: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    (project / "sbatch").write_text('#!/bin/sh\necho "sbatch: error: invalid partition specified: batch" >&2\nexit 1\n')
    (project / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{project}:{os.environ['PATH']}")
    with pytest.raises(ClusterError):
        api.submit("twice.py:double", (source,), {"api_key": KEY}, load_site("generic", {}), {"--no-archive": True})
    script = load_run(Home(home).open(), "last").folder(Home(home)) / "jobs" / "controller.sh"
    assert KEY in script.read_text()
    assert script.parent.stat().st_mode & 0o077 == 0
    assert telling(home) == []


@pytest.mark.parametrize("setting", [{"api_key": KEY}, {"note": NOTE}])
def test_a_deployment_would_have_prefect_keep_a_secret_and_is_refused(
    setting: dict[str, str], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(Usage, match=f"{next(iter(setting))} of double has the look of a secret.*read it from a file"):
        deploy(tmp_path / "home", Work("twice.py:double", ["in.nc"], setting, "pool"))


def test_what_prefect_may_keep_of_an_error_has_none_in_all_that_it_shows() -> None:
    error = OSError("it did not answer")
    error.__cause__ = ValueError("https://ada:planted@example.org/x")
    told = open_to_all(error)
    assert "planted" not in "".join(traceback.format_exception(told))
    assert str(told) == "OSError: it did not answer"
    plain = ValueError("nothing of that kind")
    assert open_to_all(plain) is plain
