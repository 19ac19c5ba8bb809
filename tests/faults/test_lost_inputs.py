"""A shard of an input that is lost while what is made of it is computed is made again, and the run goes on."""

from pathlib import Path

import flows
import pytest
import xarray as xr

from terp.workflows import api


@pytest.mark.parametrize("how", ["lost", "altered"])
def test_a_shard_that_is_gone_in_the_middle_of_a_run_is_made_again(
    how: str, home: Path, sources: Path, prefect_here: dict[str, str]
) -> None:
    assert prefect_here
    source = str(sources / "sea.nc")
    done = api.run(flows.losing, str(home), how, source, home=home, workers=1, archive=False)
    assert (home / "spoilt").exists()
    [told] = [one for one in done.record.warnings if "; it is made again" in one]
    assert "northern" in told
    noted = {one.name: one for one in done.record.stages}
    assert noted["northern"].made == noted["northern"].regions + 1
    with xr.open_dataset(source) as whole:
        xr.testing.assert_allclose(done.open()["surface_temperature"].load(), whole["surface_temperature"].load() * 4)
