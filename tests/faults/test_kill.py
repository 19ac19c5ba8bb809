"""Kill anything at any moment: the same command ends in the same bytes, and does again only what was in flight."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from runs import COMMAND, REGIONS, environment, products, recorded, run


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


@contextmanager
def paused(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hold a run where it is: it would be done before another command has begun."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The Dask workers of a run: what has parted from the process that was begun for them."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [one for one in children if "terp.cluster.worker" in " ".join(one.cmdline()) and one.ppid() != process.pid]


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


def test_killed_at_random_moments_it_ends_in_the_same_bytes(
    home: Path, prefect: dict[str, str], undisturbed: dict[str, bytes]
) -> None:
    report = kill_often(home, prefect, random.Random(20261121), 2)
    assert products(home) == undisturbed, report
    assert recorded(home) == REGIONS


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_killed_at_twenty_random_moments_it_ends_in_the_same_bytes(
    tmp_path: Path, prefect: dict[str, str], undisturbed: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    chance, lines = random.Random(), []
    for number in range(20):
        home = tmp_path / str(number)
        (one,) = kill_often(home, prefect, chance, 1)
        same, again = products(home) == undisturbed, recorded(home) - REGIONS
        lines.append(
            f"| {number + 1} | {one['target']} | {one['at']} | {REGIONS - one['at']} | {again} | "
            f"{'identical' if same else 'DIFFERENT'} |"
        )
        assert same
        assert again == 0
    with capsys.disabled():
        print("\n| kill | of | recorded then | made after | recorded twice | digests |\n|--|--|--|--|--|--|")
        print("\n".join(lines))


def kill_often(home: Path, prefect: dict[str, str], chance: random.Random, times: int) -> list[dict[str, Any]]:
    """Kill the controller, or a worker and then the controller, at random moments; go on each time, and finish."""
    report = []
    for _ in range(times):
        before = recorded(home)
        target = chance.choice(["controller", "worker, then controller"])
        moment = min(before + chance.randint(1, REGIONS // times), REGIONS - 1)
        for process in started(home, prefect, moment):
            if process.poll() is None:
                victims = workers_of(process)
                if target != "controller" and victims:
                    chance.choice(victims).kill()
                    time.sleep(chance.random())
                process.kill()
        report.append({"target": target, "at": recorded(home), "before": before})
    run(home, prefect)
    return report


def test_of_two_controllers_one_works_and_the_other_is_told(
    home: Path, prefect: dict[str, str], undisturbed: dict[str, bytes]
) -> None:
    for process in started(home, prefect, 2):
        with paused(process):
            other = subprocess.run(
                [*COMMAND, "--workers", "1"],
                env=environment(home, prefect),
                capture_output=True,
                text=True,
                timeout=120,
            )
        assert other.returncode == 69
        assert f"is being done by process {process.pid}" in other.stderr
        assert process.wait(200) == 0
    assert products(home) == undisturbed


def test_a_killed_run_is_not_shown_as_running(home: Path, prefect: dict[str, str], terp: Any) -> None:
    for process in started(home, prefect, 5):
        with paused(process):
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
