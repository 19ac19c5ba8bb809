"""A run that was killed and went on is made again from its crate, and comes out the same."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

sys.path.insert(0, str(Path(__file__).parent))
from runs import REGIONS, recorded, run
from test_kill import gone, started, workers_of


def test_a_killed_and_resumed_run_is_replayed_to_the_same_values(
    home: Path, prefect: dict[str, str], terp: Callable[..., CompletedProcess[str]]
) -> None:
    for process in started(home, prefect, 60):
        workers = workers_of(process)
        process.send_signal(signal.SIGKILL)
    assert gone(workers)
    assert 60 <= recorded(home) < REGIONS
    run(home, prefect)
    archived = terp("archive")
    assert archived.returncode == 0, archived.stderr
    done = terp("replay", "--workers=2", "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert {one["verdict"] for one in results.values()} == {"identical"}
    assert sum(one["regions"] for one in results.values()) > REGIONS
