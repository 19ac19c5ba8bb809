"""The rows run in one harness: what is measured, checked, told and compared of each is so."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bandwidth, environments, report
from benchmarks.bandwidth import Bandwidth
from benchmarks.harness import ROOT, Asked, measure_row
from benchmarks.job import ASIDE, MEASURED, Moves, Row
from benchmarks.restarted import Other
from benchmarks.rows import LONG, ROWS, chosen, load, resume
from benchmarks.rows.regions import by_hand

SLOW = """
import time

def work(seed):
    time.sleep(0.1)
    return 4 * seed
"""
RATES = Bandwidth(memory=8e9, cached=4e9, disk=2e9, written=1e9, files=10_000)


def test_every_row_has_the_loop_by_hand_and_terp_and_names_environments_that_are_pinned() -> None:
    for letter in ROWS:
        row = load(letter)
        assert list(row.candidates)[:2] == ["HAND", "terp"], letter
        for one in row.candidates.values():
            assert not one.peer or environments.versions(one.peer), one.peer
        assert isinstance(row, Row) or row.columns[-3:] == ASIDE


def test_a_letter_is_all_its_rows_but_those_that_take_long() -> None:
    assert chosen("e,f,f6,h") == ["e1", "e2", "e3", "f3", "f4", "f6", "h1", "h2"]
    assert not set(chosen(",".join("abcdefgh"))) & set(LONG)
    with pytest.raises(KeyError, match="x"):
        chosen("a,x")


def test_the_floor_is_the_longer_of_what_memory_and_the_disk_take() -> None:
    assert RATES.floor(Moves(cached=4 << 30, memory=8 << 30)) == pytest.approx(2 * 2**30 / 1e9)
    assert RATES.floor(Moves(cached=4 << 30, written=4 << 30)) == pytest.approx(4 * 2**30 / 1e9)
    assert load("f3").floor(RATES) == pytest.approx(0.1)  # type: ignore[union-attr]


def test_bandwidths_are_measured_and_nothing_of_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "BYTES", 8 << 20)
    monkeypatch.setattr(bandwidth, "FILES", 10)
    rates = bandwidth.measure(tmp_path / "bandwidth")
    assert min(vars(rates).values()) > 0
    assert not list(tmp_path.iterdir())


def test_a_row_is_measured_from_outside_and_who_cannot_be_installed_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "run_uv", refuse)
    monkeypatch.setattr(environments, "CACHE", tmp_path)
    monkeypatch.setattr("benchmarks.machine.fill_page_cache", lambda _: None)  # of all memory
    environments.python.cache_clear()
    some = ["two threads", "Prefect, a task each"]
    told = measure_row("f3", Asked(tmp_path, 0.25, 1, 60, some), RATES)
    environments.python.cache_clear()
    [run] = told["candidates"]["two threads"]["runs"]
    assert 0 < run["ms a region"] < 1e3 * run["wall"]
    assert run["MiB"] > 1
    assert "uv venv: no network" in told["candidates"]["Prefect, a task each"]["error"]
    assert not (tmp_path / "f3").exists()
    lines = report.table({"machine": {"commit": "c", "cpu": "p"}, "gib": 1, "rows": {"f3": told}}).splitlines()
    assert any(line.startswith("floor") and line.split()[1] == "0.100" for line in lines)
    assert lines[-2].endswith("FAILED: uv venv: no network")


def refuse(*_: str) -> None:
    raise environments.Missing("uv venv: no network")


def test_what_is_killed_and_done_again_by_hand_goes_on_and_has_the_values_of_the_function(tmp_path: Path) -> None:
    told = resume.resumed(Other(tmp_path, "hand", 8, SLOW))
    assert told["left"] <= 0.5
    assert np.fromfile(tmp_path / "result/v/c/5", "f8") == 25


def test_numbers_by_hand_are_kept_in_files() -> None:
    assert by_hand(100)["ms a region"] > 0


def results(commit: str, seconds: float, share: float) -> report.Results:
    def found(**run: float) -> report.Results:
        return {"peer": "", "runs": [run], "off": 0.0, "error": ""}

    work = dict.fromkeys((one.key for one in MEASURED), seconds)
    rows = {
        "e1": {
            "columns": [vars(one) for one in load("e1").columns],
            "candidates": {"HAND": found(**work), "terp": found(**work, digests=0.25)},
        },
        "g": {
            "columns": [{"key": "share", "heading": "of undisturbed"}],
            "candidates": {"HAND": found(share=0.5), "terp": found(share=share)},
        },
    }
    common = {"title": "a row", "floor": 0.25}
    return {
        "machine": {"commit": commit, "cpu": "a processor"},
        "bandwidth": vars(RATES),
        "gib": 1,
        "rows": {letter: common | row for letter, row in rows.items()},
    }


def test_the_table_tells_what_some_candidates_have_alone_and_the_bandwidths_of_the_floor() -> None:
    lines = report.table(results("one", 2.0, 0.6)).splitlines()
    assert lines[1] == "GB/s: memory 8.0, cached 4.0, disk 2.0, written 1.0; small files 10,000 a second"
    of_row = lines[lines.index("e1  a row") :]
    assert [line.split()[-1] for line in of_row[2:4]] == ["-", "0.25"]
    assert of_row[4].split() == ["floor", "0.25", "0.12"]


def test_rows_of_other_columns_are_compared_by_these(tmp_path: Path) -> None:
    for name, told in (("old", results("one", 2.0, 0.8)), ("new", results("two", 1.0, 0.6))):
        (tmp_path / name).write_text(json.dumps(told))
    words = [sys.executable, "-m", "benchmarks", "--compare", tmp_path / "old", tmp_path / "new"]
    lines = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0].startswith("two / one")
    assert lines[-1].split() == ["g", "terp", "0.75"]
    report.plot(results("two", 1.0, 0.6), tmp_path / "plot.svg")
    assert "floor" in (tmp_path / "plot.svg").read_text()
