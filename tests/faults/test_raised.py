"""A region that raises is tried again on another worker; the cause is kept whatever comes of that."""

from pathlib import Path

import flows
import pytest

from terp.workflows import api
from terp.workflows.errors import StageFailed


def report(home: Path) -> str:
    (path,) = home.glob("runs/*/failure-picky-*.txt")
    return path.read_text()


def test_a_region_that_raises_on_one_worker_is_made_by_another_and_that_is_recorded(
    home: Path, tmp_path: Path, prefect_here: dict[str, str]
) -> None:
    assert prefect_here
    done = api.run(flows.choosing, str(tmp_path / "marks"), home=home, workers=2, archive=False)
    (told,) = [one for one in done.record.warnings if "ZeroDivisionError: not here" in one]
    assert "region 0 (latitude 0:9) raised" in told
    assert "was made when it was tried again" in told
    assert "Traceback" in report(home)


def test_a_region_that_raises_again_in_another_way_stops_the_run_with_both_causes(
    home: Path, tmp_path: Path, prefect_here: dict[str, str]
) -> None:
    assert prefect_here
    with pytest.raises(StageFailed, match="ZeroDivisionError: not here; tried again: LookupError: nor here"):
        api.run(flows.choosing, str(tmp_path / "marks"), "nor here", home=home, workers=1, archive=False)
    assert "raise ZeroDivisionError" in report(home)
    assert "raise LookupError" in report(home)
