"""The benchmark of archiving: all ways put the same results away, and what is told of the object is counted."""

from pathlib import Path

import pytest

from benchmarks.archiving import Results, described, measured
from terp.storage.archive import Archive


@pytest.mark.filterwarnings("ignore:'count' is passed:DeprecationWarning")  # within bagit
def test_all_ways_are_measured_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.archiving.PROCESSES", 1)  # bagit never closes the pool of others
    results = Results(tmp_path, shards=2, rows=256, columns=2048)
    rates = measured(results, rounds=1)
    assert len(rates) == 5
    assert all(rate > 0 for rate in rates.values())
    assert [path.name for path in tmp_path.iterdir()] == ["product"]


def test_what_is_told_of_the_object_is_what_it_has(tmp_path: Path) -> None:
    results = Results(tmp_path, shards=2, rows=256, columns=2048)
    told = described(results)
    assert told["inner chunks"] == 4
    assert Archive(next(tmp_path.glob("target*")) / "archive").verify("urn:bench") == []
    assert told["bytes of the object"] > results.bytes
