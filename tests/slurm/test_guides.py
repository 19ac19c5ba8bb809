"""What the pages about sites show is so, at the testbed."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_docs import ROOT, SITE_GUIDES, Desk, runnable, unseen

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(400)]


@pytest.mark.parametrize("name", SITE_GUIDES)
def test_all_that_a_guide_to_sites_shows_is_so(name: str, bed: Any, tmp_path: Path, prefect: dict[str, str]) -> None:
    desk = Desk(tmp_path, {**prefect, **bed.environment})
    page = ROOT / "docs" / name
    printed = desk.follow(page)
    assert unseen([line for block in runnable(page) for line in block.output], printed, desk.home) == []
