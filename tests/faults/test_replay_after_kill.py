"""A run that was killed and went on is made again from its crate, and comes out the same."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from runs import REGIONS, recorded, run
from test_kill import gone, started, workers_of


def told_of_both_starts(record: dict[str, Any]) -> None:
    """By the crate, and by PROV in both its forms."""
    folder = Path(record["archived"]["path"]) / "v1" / "content"
    graph = {one["@id"]: one for one in json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]}
    first, second = graph["#start-1"], graph["#start-2"]
    assert first["actionStatus"].endswith("FailedActionStatus")
    assert "ended without a word: it was killed" in first["error"]
    assert second["actionStatus"].endswith("CompletedActionStatus")
    assert first["startTime"] <= first["endTime"] <= second["startTime"] <= second["endTime"]
    assert second["name"] == f"Start 2 of {record['id']}"
    assert record["id"] not in first["name"], "the same command is another run"
    assert graph["#start-1-machine"]["value"] == graph["#start-2-machine"]["value"] == "1"
    assert {"#start-1", "#start-2"} <= {one["@id"] for one in graph["./"]["mentions"]}
    prov = json.loads((folder / "prov.json").read_text())
    assert "killed" in prov["activity"]["this:start-1"]["terp:ending"]
    assert "_:wasInformedBy-start-2-start-1" in prov["wasInformedBy"]
    assert "start-2> prov:wasInformedBy" in (folder / "prov.ttl").read_text()


def test_a_killed_and_resumed_run_is_replayed_to_the_same_values(
    home: Path, prefect: dict[str, str], terp: Callable[..., CompletedProcess[str]]
) -> None:
    for process in started(home, {**prefect, "ODD": "1"}, 60):
        workers = workers_of(process)
        process.send_signal(signal.SIGKILL)
    assert gone(workers)
    assert 60 <= (before := recorded(home)) < REGIONS
    run(home, prefect)
    archived = terp("archive")
    assert archived.returncode == 0, archived.stderr
    last = max(path.name for path in (home / "runs").iterdir())
    record = json.loads((home / "runs" / last / "run.json").read_text())
    told_of_both_starts(record)
    assert record["warnings"] == [f"slow: UserWarning: odd (in {before} regions)"], "of what the killed run had made"
    done = terp("replay", "--workers=2", "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert {one["verdict"] for one in results.values()} == {"identical"}
    assert sum(one["regions"] for one in results.values()) > REGIONS
