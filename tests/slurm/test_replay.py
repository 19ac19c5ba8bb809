"""What was made on one machine comes out the same in jobs, and the other way round: the crate is all that it takes."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "workflows"))
sys.path.insert(0, str(Path(__file__).parent))
from disturbed import PLAIN, TERP

pytestmark = [pytest.mark.slurm, pytest.mark.campaign, pytest.mark.timeout(900)]
AT_SITE = ("--site", "testbed", *(word for key, value in PLAIN.items() for word in ("--site-set", f"{key}={value}")))
HERE = ("--workers", "2")
Terp = Callable[..., dict[str, Any]]


@pytest.fixture
def terp(bed: Any, tmp_path: Path, prefect: Mapping[str, str]) -> Terp:
    """Run a command of terp's that must go well; return what it says as JSON."""
    environment = {**os.environ, **prefect, **bed.environment, "TERP_HOME": str(tmp_path / "home")}

    def run(*words: str) -> dict[str, Any]:
        done = subprocess.run(
            [TERP, *words, "--json"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    return run


def verdicts(told: dict[str, Any]) -> set[str]:
    return {one["verdict"] for one in told["results"].values()}


@pytest.mark.parametrize(("first", "again"), [(HERE, AT_SITE), (AT_SITE, HERE), (AT_SITE, AT_SITE)])
def test_the_climatology_comes_out_the_same(terp: Terp, first: tuple[str, ...], again: tuple[str, ...]) -> None:
    run = terp("run", "climatology", *first)
    told = terp("replay", run["id"], *again)
    assert set(told["results"]) == {"normals", "anomalies", "index", "zonal"}
    assert verdicts(told) == {"identical"}


def test_an_image_comes_out_the_same(terp: Terp, tmp_path: Path) -> None:
    for needed in ("pyuvdata", "ducc0", "numba", "casacore"):
        pytest.importorskip(needed, reason="imaging needs the radio extra")
    from test_imaging import CELL, simulate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's, about the random parameters it writes
        simulate(tmp_path / "triple.uvfits")
    chosen = ("--set=pixels=64", f"--set=cell_mas={2 * CELL}", "--set=threshold=0.05")
    run = terp("run", "imaging", str(tmp_path / "triple.uvfits"), *chosen, *HERE)
    assert verdicts(terp("replay", run["id"], *AT_SITE)) == {"identical"}
