"""What was altered after it was sealed is never archived: packing finds it, and the same command makes it again."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from terp.storage.package.zipstore import open_zip

MINE = f"{Path(__file__).parents[2] / 'docs' / 'examples' / 'mine.py'}:departures"
Terp = Callable[..., subprocess.CompletedProcess[str]]


def test_an_altered_shard_is_found_by_packing_and_made_again_by_the_same_command(terp: Terp, home: Path) -> None:
    made = json.loads(terp("run", MINE, "--no-archive", "--json").stdout)
    array = home / "products" / made["results"]["departures"] / "data.zarr" / "surface_temperature"
    shard = next(path for path in array.rglob("c/*/*/*") if path.is_file())
    whole = shard.read_bytes()
    shard.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    refused = terp("run", MINE)
    assert refused.returncode == 65
    assert "run the same command again to make it anew" in refused.stderr
    assert not (home / "archive").exists()
    mended = json.loads(terp("run", MINE, "--json").stdout)
    assert shard.read_bytes() == whole
    packed = next((home / "archive").rglob("departures.zarr.zip"))
    assert np.isfinite(open_zip(packed)["surface_temperature"].to_numpy()).any()
    assert mended["results"] == made["results"]
