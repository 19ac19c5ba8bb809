"""What is shown of replays is so: one bit is one bit, and a run that was killed goes on to the same values."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from benchmarks import replays
from terp.storage.ingest import locate


def test_a_bit_is_flipped_in_its_place_and_flipped_back(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(range(9)))
    replays.flip(path, 4)
    assert path.read_bytes() == bytes([0, 1, 2, 3, 4 ^ 16, 5, 6, 7, 8])
    replays.flip(path, 4)
    assert path.read_bytes() == bytes(range(9))


def test_one_value_of_an_input_is_the_next_number_and_no_other_is_touched(tmp_path: Path) -> None:
    path = shutil.copy(locate("ostia"), tmp_path / "altered.nc")
    replays.flip_value(path)
    with xr.open_dataset(locate("ostia")) as before, xr.open_dataset(path) as after:
        one, two = before["surface_temperature"].to_numpy(), after["surface_temperature"].to_numpy()
    [place] = np.argwhere((one != two) & ~(np.isnan(one) & np.isnan(two)))
    assert two[*place] == np.nextafter(one[*place], np.float32(np.inf))


@pytest.mark.campaign
def test_a_real_flow_killed_and_gone_on_and_replayed_in_all_ways_gives_the_same_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = replays.table(replays.Desk(tmp_path), ["climatology"], [2], [])
    run, *others = capsys.readouterr().out.splitlines()
    assert f"{len(record['results'])} results archived" in run
    assert [line[2:].partition("  ")[0] for line in others] == [
        "run, killed (-9), gone on, 2 workers",
        "replay, workers: 2",
        "replay, 1 x 4 threads",
        "replay, 2 x 4 threads",
    ]
    assert all(" equal" in line for line in others)
