"""In SLURM jobs too the disk reads what a worker makes next."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "workflows"))
import test_ahead

source = test_ahead.source
pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("bed", "prefect_here")]


def test_what_a_worker_in_a_job_makes_next_is_read_from_the_disk_meanwhile(source: Path, home: Path) -> None:
    assert test_ahead.seen_ahead(source, home, site="testbed") == [1] * (test_ahead.ROWS - 1) + [0]
