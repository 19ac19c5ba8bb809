"""A whole run on a file system that lies ends in the same bytes, or stops with a sentence and then goes on to them."""

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from runs import attempt, environment, products

LYING = Path(__file__).parent / "lying"
DISK_TROUBLE = 74


def test_on_a_disk_that_lies_the_same_command_ends_in_the_same_bytes(
    home: Path, prefect: dict[str, str], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    lies = {"LYING_SYNC": "0.002", "LYING_NAMES": "0.1", "LYING_LATE": "0.3", "LYING_LOG": str(tmp_path / "lies")}
    stops = []
    for seed in range(3, 12):
        worst = {"LYING_SYNC": "0.05"} if not stops else {}  # so that the first one stops
        lying = {**lies, **worst, "PYTHONPATH": str(LYING), "LYING_SEED": str(seed)}
        done = attempt({**environment(home, prefect), **lying})
        if done.returncode == 0:
            break
        assert done.returncode == DISK_TROUBLE, done.stderr
        stops.append(done.stderr.splitlines()[-1])
        assert stops[-1].startswith("terp: "), done.stderr
    assert done.returncode == 0, stops
    assert products(home) == undisturbed
    assert stops
    told = Counter((tmp_path / "lies").read_text())
    assert min(told[kind] for kind in "snl") > 0, f"all kinds of lies shall be told: {told}, {stops}"
