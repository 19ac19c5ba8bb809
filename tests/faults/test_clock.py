"""A clock that is set back while a run computes costs nothing: no time goes back, and what happened is told."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

JUMPING = Path(__file__).with_name("jumping")


@pytest.mark.campaign
def test_a_run_whose_clock_is_set_back_by_an_hour_ends_well_and_tells_of_it(
    terp: Callable[..., CompletedProcess[str]],
) -> None:
    done = terp("run", "climatology", "--workers=1", "--json", PYTHONPATH=str(JUMPING))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert any(re.search(r"clock .* went back by 3,(599|600) s during the run", one) for one in record["warnings"])
    assert record["started"] <= record["ended"]
    crate = Path(record["archived"]["path"]) / "v1/content"
    times = [json.loads(line)["time"] for line in (crate / "journal.jsonl").read_text().splitlines()]
    assert times == sorted(times)
    again = terp("replay", record["id"], "--workers=1", "--json")
    assert again.returncode == 0, again.stderr
    assert {one["verdict"] for one in json.loads(again.stdout)["results"].values()} == {"identical"}
