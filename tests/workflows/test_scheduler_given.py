"""A scheduler that is there already: its workers are used, over TLS only, with the keys that Dask is told of."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from terp.cluster.keys import Keys
from terp.cluster.launch import scheduler

Terp = Callable[..., subprocess.CompletedProcess[str]]
PREFIX = "DASK_DISTRIBUTED__COMM__TLS__"


def named(keys: Keys) -> dict[str, str]:
    """The environment that names keys to Dask."""
    files = {"CA_FILE": keys.certificate, "CLIENT__CERT": keys.certificate, "CLIENT__KEY": keys.key}
    return {f"{PREFIX}{name}": str(path) for name, path in files.items()}


def test_a_run_uses_the_workers_of_a_scheduler_that_is_given(terp: Terp, tmp_path: Path) -> None:
    keys = Keys.make(tmp_path / "keys")
    with scheduler(keys.security(), "127.0.0.1", {}) as cluster, worker(cluster.scheduler_address, keys):
        words = ("run", "climatology", "--no-archive", "--quiet", "--scheduler", cluster.scheduler_address)
        refused = terp(*words)
        assert refused.returncode == 69
        assert "no keys for" in refused.stderr
        stranger = terp(*words, **named(Keys.make(tmp_path / "others")))
        assert stranger.returncode == 69, stranger.stderr
        done = terp(*words, **named(keys))
        assert done.returncode == 0, done.stderr
        assert len(cluster.scheduler.workers) == 1, "they are not ours to end"


def test_a_scheduler_that_speaks_in_the_clear_is_refused(terp: Terp) -> None:
    done = terp("run", "climatology", "--quiet", "--scheduler", "tcp://127.0.0.1:9")
    assert done.returncode == 69
    assert "tls://" in done.stderr


FLOW = """
import xarray as xr
from prefect import flow
from terp.workflows import Product, ingest, stage

@stage(cut=("y",))
def doubled(block: xr.Dataset) -> xr.Dataset:
    return block * 2

@flow
def double(source: str) -> Product:
    return doubled(ingest(source))
"""


@contextmanager
def worker(address: str, keys: Keys, **environment: str) -> Iterator[None]:
    """A worker that is not terp's to start."""
    command = [sys.executable, "-m", "terp.cluster.worker", address, "--keys", str(keys.folder)]
    preload = ["--preload", "terp.workflows.running.task"]
    with subprocess.Popen([*command, *preload], env={**os.environ, **environment}) as process:
        try:
            yield
        finally:
            process.terminate()


@contextmanager
def worker_elsewhere(address: str, keys: Keys, packages: Path) -> Iterator[None]:
    """A worker that has one distribution more than the controller, and another version of one."""
    for name, version in (("dyke", "1.0"), ("click", "0.1")):
        about = packages / f"{name}-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    with worker(address, keys, PYTHONPATH=str(packages)):
        yield


def test_the_lock_is_that_of_the_workers_where_these_are_in_another_environment_and_it_is_said(
    terp: Terp, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(FLOW)
    grid = xr.Dataset({"v": (("y", "x"), np.ones((4, 6), "f4"))}, {"y": range(4), "x": range(6)})
    grid.to_netcdf(tmp_path / "grid.nc")
    keys = Keys.make(tmp_path / "keys")
    with scheduler(keys.security(), "127.0.0.1", {}) as cluster:
        address = cluster.scheduler_address
        with worker_elsewhere(address, keys, tmp_path / "packages"):
            done = terp("run", "mine.py:double", "grid.nc", "--json", "--scheduler", address, **named(keys))
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    [warning] = [one for one in record["warnings"] if "another environment" in one]
    here = next(one for name, one in record["environment"]["distributions"].items() if name == "click")["version"]
    assert f"controller: click 0.1 instead of {here}, dyke 1.0 instead of (none). Both are recorded" in warning
    assert sum(record["software"].values()) == 2, "all regions, by what they were made with"
    folder = Path(record["archived"]["path"]) / "v1" / "content"
    computed, led = ((folder / name).read_text() for name in ("environment.lock", "environment-2.lock"))
    assert "\nclick==0.1\n" in computed
    assert "\ndyke==1.0\n" in computed
    assert f"\nclick=={here}\n" in led
    assert "dyke" not in led
    graph = {one["@id"]: one for one in json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]}
    assert graph["#distribution-dyke"]["value"] == "1.0", "what a replay stands on is what computed"
    assert "that of the controller" in graph["environment-2.lock"]["description"]
    assert warning in (folder / "README.md").read_text()
