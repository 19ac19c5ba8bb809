"""What is told of a controller whose workers sleep is so: they are fed by the one that runs have."""

import pytest

from benchmarks.rows import head


@pytest.mark.parametrize("controller", [head.terp, head.by_hand])
def test_workers_that_sleep_are_kept_busy_and_what_that_takes_is_told(controller: head.Controller) -> None:
    told = head.measure(controller, 2, 0.25, 1.0)
    assert 0 < told["regions a second"] <= 18, "two workers of an eighth of a second at least, and those begun"
    assert told["of its work"] == pytest.approx(8 / told["regions a second"])
    assert told["ms a region"] > 0
