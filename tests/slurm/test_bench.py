"""`terp bench --site` runs the benchmarks on a node, and its results can be told anywhere."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from disturbed import TERP, Disturbed

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]


def test_the_benchmarks_run_on_a_node_and_are_told_here(bed: Any, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    desk = Disturbed(tmp_path / "home", bed.environment)
    few = ["--rows", "e2", "--gib", "0.25", "--rounds", "1", "--only", "HAND", "--only", "terp"]
    said = desk.terp("bench", "--site", "testbed", *few)
    found = re.search(r"^job (\d+) runs the benchmarks on a node of testbed.*--show (\S+)", said, re.DOTALL)
    assert found, said
    results = Path(found[2])
    state = bed.wait(int(found[1]), "COMPLETED", "FAILED", seconds=150)
    assert state == "COMPLETED", [path.read_text() for path in results.parent.glob("jobs/*.log")]
    row = json.loads(results.read_text())["rows"]["e2"]["candidates"]
    assert [(name, one["error"]) for name, one in row.items()] == [("HAND", ""), ("terp", "")]
    told = subprocess.run([TERP, "bench", "--show", results], capture_output=True, text=True, timeout=60)
    assert re.search(r"^terp +\d", told.stdout, re.MULTILINE), told.stdout + told.stderr
