"""What the benchmarks say of a candidate is so."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks import report
from benchmarks.harness import ROOT, Failed, check, difference, measure
from benchmarks.job import Candidate, Job, Row
from benchmarks.watching import Watch

BEGINNING = """
import socket, subprocess, sys, time
harness = socket.socket(fileno=int(sys.argv[-1]))
def say(word):
    harness.sendall(word)
    harness.recv(1)
"""
WORK = """
say(b"begin")
child = subprocess.Popen([sys.executable, "-c", '''
import time
held = bytearray(b"x" * (200 << 20))
end = time.process_time() + 0.5
while time.process_time() < end: pass
time.sleep(60)
'''])
time.sleep(2)
say(b"end")
"""


def run(code: str, folder: Path, limit: float = 60) -> dict[str, float]:
    return measure([sys.executable, "-c", BEGINNING + code], folder / "log", limit)


def test_what_the_children_of_a_candidate_take_is_counted_and_they_are_ended(tmp_path: Path) -> None:
    before = set(psutil.pids())
    took = run(WORK, tmp_path)
    assert took["wall"] >= 2
    assert took["cpu"] >= 0.5
    assert took["pss"] > took["largest"] > 200 << 20
    held = [one for one in set(psutil.pids()) - before if "bytearray" in " ".join(psutil.Process(one).cmdline())]
    assert held == []


@pytest.fixture
def nobody_watches_on() -> Iterator[None]:
    """Fail if something looks at processes still when a candidate has failed: it would take time of the next."""
    yield
    assert not [thread for thread in threading.enumerate() if isinstance(thread, Watch)]


@pytest.mark.usefixtures("nobody_watches_on")
def test_a_candidate_that_raises_has_failed_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="ValueError: no room for it"):
        run("say(b'begin')\nraise ValueError('no room for it')", tmp_path)


@pytest.mark.usefixtures("nobody_watches_on")
def test_a_candidate_that_takes_too_long_has_failed(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="more than 1 s"):
        run("say(b'begin')\ntime.sleep(60)", tmp_path, limit=1)


def test_a_candidate_that_ends_before_its_work_has_failed(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="without a word"):
        run("", tmp_path)


def row(found: object) -> Row:
    values = np.array([1.0, 2.0, np.nan])
    return Row("a row", lambda _: None, lambda _: values, lambda _: np.asarray(found), {"HAND": Candidate(print)})


@pytest.mark.parametrize("found", [[1, 2.1, np.nan], [1, 2, 3], [1, np.nan, np.nan], [1, 2]])
def test_results_that_differ_have_failed(found: list[float], tmp_path: Path) -> None:
    given = row(found)
    with pytest.raises(Failed, match="off by"):
        check(given, Job(tmp_path, 1), given.expected(Job(tmp_path, 1)))


def test_results_that_agree_are_told_how_well() -> None:
    assert difference(np.array([1, 2.001, np.nan]), np.array([1, 2, np.nan])) == pytest.approx(0.0005)


def results(commit: str, wall: float, hand: float) -> report.Results:
    def runs(seconds: float) -> report.Results:
        one = {"wall": seconds, "cpu": seconds, "setup": 1.0, "pss": 2 << 20, "largest": 1 << 20, "load": 0.1}
        return {"peer": "", "runs": [one], "off": 0.0, "error": ""}

    failed = {"peer": "", "runs": [], "off": 0.0, "error": "KilledWorker"}
    candidates = {"HAND": runs(hand), "terp": runs(wall), "other": failed}
    return {
        "machine": {"commit": commit, "cpu": "a processor"},
        "gib": 1,
        "rows": {"a": {"title": "a row", "cap": 1 << 19, "candidates": candidates}},
    }


def test_the_table_has_ratios_and_those_that_failed() -> None:
    lines = report.table(results("old", 6.0, 2.0)).splitlines()
    assert next(line for line in lines if line.startswith("terp")).split()[1:5] == ["6.00", "3.00", "6.00", "3.00"]
    assert "over the cap" in next(line for line in lines if line.startswith("terp"))
    assert next(line for line in lines if line.startswith("other")).endswith("FAILED: KilledWorker")


def test_two_commits_are_compared_alone_and_relative_to_the_loop_by_hand() -> None:
    lines = report.comparison(results("old", 6.0, 2.0), results("new", 6.0, 4.0)).splitlines()
    assert lines[0].startswith("new / old")
    assert next(line for line in lines if " terp" in line).split()[2:] == ["1.00", "1.00", "1.00", "0.50", "0.50"]
    assert lines[-1].endswith("FAILED")


def test_results_can_be_drawn_when_some_failed(tmp_path: Path) -> None:
    report.plot(results("new", 6.0, 2.0), tmp_path / "plot.svg")
    assert "HAND" in (tmp_path / "plot.svg").read_text()


def test_what_lineage_weighs_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.lineage", "--regions", "1000"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "bytes of a region's lineage in the ledger" in done.stdout


@pytest.mark.campaign
def test_what_provenance_costs_is_measured_with_and_without_it(tmp_path: Path) -> None:
    from benchmarks.overhead import compared

    costs = compared("a", tmp_path, 0.25, 2)
    assert len(costs.captured) == len(costs.plain) == 2
    for one in costs.counted:
        assert {"note", "RunRecord.note", "Machine.here"} <= one.keys()
        assert all(seconds > 0 for seconds in one.values())
