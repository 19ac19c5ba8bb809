"""The thread that looks after jobs, when SLURM answers as it should not: stand-ins on the path say it."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from terp.cluster.keys import Keys
from terp.cluster.launch import connected, scheduler
from terp.cluster.notes import Notes
from terp.cluster.script import Order
from terp.cluster.site import load_site
from terp.cluster.staff import Bounds
from terp.cluster.supervise import Supervisor

sys.path.insert(0, str(Path(__file__).parent))
from waiting import until as waited

SECONDS = 30
until = partial(waited, seconds=SECONDS)
LINE = r"printf '%s\037%s\037terp-r\037RUNNING\0371000\037\0372\037n1\037me\037terp-keys\037None\n' {0} {0}"


class Supervised:
    """A supervisor of jobs that a stand-in for squeue tells of; `said` is what a person was told."""

    def __init__(self, folder: Path, client: object, address: str, keys: Path) -> None:
        self.folder, self.said = folder, list[str]()
        site = load_site("testbed", {"poll": "1", "patience": "1"})
        order = Order(site, "r", folder, keys, address, 1 << 30, "python3")
        self.crew = Supervisor(client, order, Bounds(1, 1, requeue=True), self.said.append)
        self.crew.slurm.time_limit = 3.0

    def write(self, name: str, *lines: str) -> None:
        """Make a command of some lines of shell, which notes that it was called."""
        path = self.folder / name
        path.write_text("\n".join(["#!/bin/sh", f'echo "$@" >>{self.folder}/{name}.calls', *lines, ""]))
        path.chmod(0o755)

    def calls(self, name: str) -> int:
        """How often a command was called."""
        path = self.folder / f"{name}.calls"
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervised]:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    keys = Keys.make(tmp_path / "run/keys")
    security = keys.security()
    with scheduler(security, "127.0.0.1", {}) as cluster, connected(cluster, security) as client:
        yield Supervised(tmp_path, client, cluster.scheduler_address, keys.folder)


def test_a_job_that_cannot_be_ended_stops_no_run_and_is_asked_again(supervised: Supervised) -> None:
    supervised.write("squeue", LINE.format(7))
    supervised.write("scancel", "echo 'scancel: error: Kill job error on job id 7: Access denied' >&2; exit 1")
    supervised.write("sbatch", "echo 8")
    supervised.write("sacct")
    supervised.crew.start()
    until(lambda: supervised.calls("scancel") >= 2)
    supervised.crew.check()
    supervised.crew.close()
    assert (supervised.folder / "cluster.json").exists(), "what was known in the end is written"


def test_a_controller_that_may_not_put_its_job_back_works_to_its_end(supervised: Supervised) -> None:
    end = "$(($(date +%s) + 20))"
    supervised.write("squeue", LINE.replace(r"\0371000\037\037", rf"\0371000\037{end}\037").format(5).replace("'", '"'))
    supervised.write("scontrol", "echo 'Requested operation is presently disabled' >&2; exit 1")
    supervised.write("scancel")
    supervised.write("sbatch", "echo 8")
    supervised.crew.start()
    until(lambda: supervised.calls("scontrol") >= 2)
    supervised.crew.check()
    supervised.crew.close()


def test_the_last_words_of_a_job_that_says_a_lot_are_found_without_reading_all(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    path = tmp_path / "jobs/x.log"
    path.write_text("no memory left\n")
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # a hole: more than any memory holds
        file.seek(0, 2)
        file.write(b"\nsegmentation fault\n")
    assert "segmentation fault" in Notes(tmp_path, "r", "", print).last_words("x.log")
