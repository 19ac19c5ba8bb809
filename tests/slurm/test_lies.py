"""Runs at a site whose shared file system lies as NFS may: late, with syncs that fail and renames that are repeated."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
sys.path.insert(0, str(Path(__file__).parent))
import runs
from disturbed import Disturbed

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]


@pytest.fixture
def run(bed: Any, prefect: dict[str, str]) -> Disturbed:
    home = bed.shared / f"home-{os.getpid()}"
    bed.ask("rm", "-rf", home)
    return Disturbed(home, prefect)


LATER = pytest.mark.campaign


@pytest.mark.parametrize(
    "lies",
    [
        pytest.param(("late=3",), id="late"),
        pytest.param(("late=2", "names=0.05"), id="late, and requests come twice", marks=LATER),
        pytest.param(("sync=0.003",), id="syncs fail", marks=LATER),
    ],
)
def test_a_file_system_that_lies_costs_time_but_no_byte(
    lies: tuple[str, ...],
    run: Disturbed,
    undisturbed: dict[str, bytes],
    bed: Any,
) -> None:
    bed.lie(*lies)
    said = ""
    for _ in range(12):  # a disk that refuses again and again stops a run; the same command goes on
        code, said = run.start().end(240)
        if code != 74:
            break
    assert code == 0, said + run.last_words()
    bed.lie("off")
    assert runs.products(run.home) == undisturbed
    assert not run.key_files()
    assert [job for job in run.left(bed) if "COMPLETING" not in job] == []
