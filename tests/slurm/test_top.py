"""`terp top` shows the runs of all users, whatever else is in the queue, and lets a person watch."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from disturbed import TERP, Disturbed

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

OTHERS = "tides-20261122-030755-ebd6"
NOBODY = 65534


@pytest.fixture
def home(bed: Any, tmp_path: Path) -> Disturbed:
    """A home of one's own, and the commands of terp in it."""
    (tmp_path / "home").mkdir()
    return Disturbed(tmp_path / "home", bed.environment)


@pytest.fixture
def crowd(bed: Any) -> None:
    """Jobs of two users: a run with its controller, which another waits behind, and what is none of terp's."""
    low = ["--mem=10M", "--wrap", "sleep 600"]
    jobs = [
        bed.sbatch("-J", f"terp-{OTHERS}-controller", "-n1", *low),
        bed.sbatch("-J", f"terp-{OTHERS}", "-n4", *low),
        submit_as_nobody(bed, "-J", f"terp-{OTHERS}", "-n2", *low),
        bed.sbatch("-J", "wrapped", *low),
    ]
    for job in jobs:
        bed.wait(job, "RUNNING")
    bed.sbatch("-J", f"terp-{OTHERS}", "--begin=now+1hour", *low)


def submit_as_nobody(bed: Any, *words: str) -> int:
    """Submit a job as another user."""
    done = subprocess.run(
        ["sbatch", "--parsable", "-D", "/tmp", "-o", "/dev/null", *words],
        env={**os.environ, **bed.environment},
        user=NOBODY,
        group=NOBODY,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.usefixtures("crowd")
def test_all_runs_are_shown_with_their_users_jobs_cores_nodes_and_reasons(home: Disturbed) -> None:
    told = {one["user"]: one for one in json.loads(home.terp("top", "--json"))["runs"]}
    assert set(told) == {"root", "nobody"}
    mine = told["root"]
    assert (mine["run"], mine["controller"], mine["running"], mine["waiting"], mine["cores"]) == (
        OTHERS,
        "RUNNING",
        2,
        1,
        5,
    )
    assert mine["reasons"] == {
        "starts a little later (it was put back into the queue, or has a time to begin)": 1,
    }
    assert told["nobody"]["cores"] == 2
    assert all(0 <= one["core_hours"] < 1 and one["nodes"] for one in told.values())
    lines = home.terp("top").splitlines()
    assert lines[0].startswith("2 runs of 2 users: 3 jobs on ")
    assert lines[0].endswith("with 7 cores, 1 waiting")
    assert lines[1].split() == ["RUN", "USER", "JOBS", "CORES", "NODES", "CORE", "H", "AT"]
    assert lines[2].startswith(f"{OTHERS}  root    2 +1  5 ")
    assert len(lines) == 4


def test_of_ones_own_runs_stage_and_progress_are_shown(bed: Any, home: Disturbed, prefect: dict[str, str]) -> None:
    home.environment |= prefect
    home.start()
    home.until_recorded(20)
    [told] = json.loads(home.terp("top", "--json"))["runs"]
    assert told["run"] == home.run_id()
    assert told["at"].startswith("slow ")
    assert told["workers"] == 4
    assert f"{told['run']}  root" in home.terp("top", "--site", "testbed", "--once")
    code, said = home.end()
    assert code == 0, said
    assert "no run of terp has a job" in home.terp("top") or home.left(bed)


@pytest.fixture
def screen(home: Disturbed) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """`terp top` on a terminal: the terminal's other end, and the process."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [TERP, "top", "--site", "testbed"],
        env={**home.environment, "COLUMNS": "100", "LINES": "20"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    yield ours, process
    if process.poll() is None:
        process.kill()
    process.wait()
    os.close(ours)


def seen_until(terminal: int, wanted: str, times: int = 1, seconds: float = 30) -> str:
    """What a terminal shows, as soon as something has been shown so often."""
    shown, end = "", time.monotonic() + seconds
    while shown.count(wanted) < times:
        ready, _, _ = select.select([terminal], [], [], max(end - time.monotonic(), 0))
        assert ready, f"{wanted!r} is not shown {times} times: {shown!r}"
        shown += os.read(terminal, 65536).decode()
    return shown


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize("way", ["key", "signal"])
@pytest.mark.campaign
def test_on_a_terminal_it_is_made_anew_until_a_person_has_seen_enough(
    way: str, screen: tuple[int, "subprocess.Popen[bytes]"]
) -> None:
    terminal, process = screen
    shown = seen_until(terminal, "every 2 s; q ends it", times=3)
    assert shown.count("\x1b[H") == 3
    assert OTHERS in shown
    if way == "key":
        os.write(terminal, b"xq")
    else:
        process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


@pytest.mark.usefixtures("crowd")
@pytest.mark.campaign
def test_while_slurm_is_away_it_says_so_and_comes_back(bed: Any, screen: tuple[int, "subprocess.Popen[bytes]"]) -> None:
    terminal, process = screen
    seen_until(terminal, OTHERS)
    bed.ctld_down()
    seen_until(terminal, "SLURM's", seconds=60)
    bed.ctld_up()
    seen_until(terminal, OTHERS, seconds=60)
    os.write(terminal, b"q")
    assert process.wait(10) == 0
