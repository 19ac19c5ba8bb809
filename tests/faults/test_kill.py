"""Kill anything at any moment: the same command ends in the same bytes, and does again only what was in flight."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

FLOWS = Path(__file__).parent / "flows.py"
COMMAND = [str(Path(sys.executable).with_name("terp")), "run", f"{FLOWS}:departures", "--no-archive", "--quiet"]
REGIONS = 216
WINDOW = 3 * 2  # regions in flight with two workers


def environment(home: Path, prefect: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **prefect, "TERP_HOME": str(home)}


def run(home: Path, prefect: dict[str, str]) -> None:
    done = subprocess.run(
        [*COMMAND, "--workers", "2"], env=environment(home, prefect), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


def products(home: Path) -> dict[str, bytes]:
    """All bytes that count: the Zarr groups, manifests and seals of all products."""
    found = {}
    for folder in (home / "products").iterdir():
        for path in [*(folder / "data.zarr").rglob("*"), folder / "manifest.jsonl", folder / "seal.json"]:
            if path.is_file():
                found[str(path.relative_to(home))] = path.read_bytes()
    return found


def recorded(home: Path) -> int:
    """How many times a region of the slow stage was recorded, over all segments."""
    logs = (home / "products").glob("slow-*/ledger/*.log")
    return sum(log.read_text().count('"stored"') for log in logs)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect: dict[str, str]) -> dict[str, bytes]:
    """The bytes of a run that nothing disturbs."""
    home = tmp_path_factory.mktemp("undisturbed")
    run(home, prefect)
    return products(home)


def started(home: Path, prefect: dict[str, str], regions: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a run; yield it once so many regions of the slow stage are recorded."""
    with subprocess.Popen(
        [*COMMAND, "--workers", "2"],
        env=environment(home, prefect),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while recorded(home) < regions and process.poll() is None:
            time.sleep(0.005)
        yield process


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The Dask workers of a run: what its nannies spawned."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [one for one in children if "spawn_main" in " ".join(one.cmdline())]


def gone(several: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(several, timeout=30)[1]


def test_a_killed_controller_loses_only_what_was_in_flight(
    home: Path, prefect: dict[str, str], undisturbed: dict[str, bytes]
) -> None:
    for process in started(home, prefect, 60):
        workers = workers_of(process)
        process.send_signal(signal.SIGKILL)
    assert gone(workers), "no worker outlives its controller"
    before = recorded(home)
    assert 60 <= before < REGIONS
    run(home, prefect)
    assert products(home) == undisturbed
    assert recorded(home) == REGIONS, "nothing that was recorded is done again"


def test_a_killed_worker_costs_only_its_region(
    home: Path, prefect: dict[str, str], undisturbed: dict[str, bytes]
) -> None:
    for process in started(home, prefect, 50):
        victim = workers_of(process)[0]
        victim.kill()
        assert process.wait(200) == 0
    assert products(home) == undisturbed
    assert recorded(home) == REGIONS


def test_killed_at_five_random_moments_it_ends_in_the_same_bytes(
    home: Path, prefect: dict[str, str], undisturbed: dict[str, bytes]
) -> None:
    chance = random.Random(20261121)
    report = kill_often(home, prefect, chance, 5)
    assert products(home) == undisturbed, report
    assert recorded(home) == REGIONS


def kill_often(home: Path, prefect: dict[str, str], chance: random.Random, times: int) -> list[dict[str, Any]]:
    """Kill the controller or a worker at random moments, go on each time, and finish; tell what each cost."""
    report = []
    for _ in range(times):
        before = recorded(home)
        target = chance.choice(["controller", "worker"])
        moment = min(before + chance.randint(1, 40), REGIONS - 1)
        for process in started(home, prefect, moment):
            if process.poll() is None:
                time.sleep(chance.random() * 0.1)
                victims = workers_of(process)
                if target == "worker" and victims:
                    chance.choice(victims).kill()
                else:
                    process.kill()
                if target == "worker":
                    time.sleep(chance.random() * 0.5)
                    process.kill()
        report.append({"target": target, "at": recorded(home), "before": before})
    run(home, prefect)
    return report


def test_of_two_controllers_one_works_and_the_other_is_told(
    home: Path, prefect: dict[str, str], undisturbed: dict[str, bytes]
) -> None:
    for process in started(home, prefect, 20):
        other = subprocess.run(
            [*COMMAND, "--workers", "1"], env=environment(home, prefect), capture_output=True, text=True, timeout=120
        )
        assert other.returncode == 69
        assert f"is being done by process {process.pid}" in other.stderr
        assert process.wait(200) == 0
    assert products(home) == undisturbed


def test_a_killed_run_is_not_shown_as_running(home: Path, prefect: dict[str, str], terp: Any) -> None:
    for process in started(home, prefect, 5):
        assert json.loads(terp("status", "--json").stdout)[-1]["state"] == "running"
        process.kill()
    assert json.loads(terp("status", "--json").stdout)[-1]["state"] == "killed"


def test_cancel_stops_a_run_that_then_goes_on(
    home: Path, prefect: dict[str, str], terp: Any, undisturbed: dict[str, bytes]
) -> None:
    for process in started(home, prefect, 10):
        stopped = terp("cancel")
        assert stopped.returncode == 0, stopped.stderr
        assert process.wait(30) == 130
    before = recorded(home)
    run(home, prefect)
    assert recorded(home) == REGIONS
    assert before < REGIONS
    assert products(home) == undisturbed
