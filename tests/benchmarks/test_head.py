"""What is told of a controller whose workers sleep is so: they are fed by the one that runs have."""

import pytest

from benchmarks import head, regions


def test_workers_that_sleep_are_kept_busy_and_their_regions_are_recorded() -> None:
    with head.sleeping(2) as (client, process):
        assert len(client.nthreads()) == 2
        told = head.measure(client, process, 2, 0.5, 2.0)
    assert 0 < told["regions a second"] <= 6, "two workers of half a second each"
    assert told["workers busy"] == pytest.approx(told["regions a second"] / 4)
    assert told["ms a region"] > 0
    assert not process.is_running()


def test_what_a_core_feeds_is_told_of_regions_that_are_tasks_of_their_own() -> None:
    found = [{"seconds": 0.0, "ms a region": 0.1}, {"seconds": 1.0, "ms a region": 2.0}]
    assert head.ceiling(found) == {"regions a second of a core": 500.0, "seconds for 10,000 cores": 20.0}


def test_two_threads_are_a_line_beside_the_others() -> None:
    assert regions.threads(1000)["ms a region"] < 5
