"""What is said by a command, and the sources that it is given."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from terp.storage.ingest import locate

HERE = Path(__file__).parent
BAD, FLOWS = f"{HERE / 'bad_flows.py'}", f"{HERE / 'flows.py'}"
TERP = str(Path(sys.executable).with_name("terp"))


@dataclass(frozen=True)
class Said:
    """What a command said, how it ended, and the workers that it left."""

    code: int
    out: str
    err: str
    left: int = 0


Say = Callable[..., Said]


def holds(said: Said, code: int, *words: str) -> None:
    """It ended with the code, said all these words, and showed no traceback."""
    text = said.out + said.err
    assert said.code == code, text
    assert [word for word in words if word not in text] == [], text
    assert "Traceback" not in text
    assert "a fault of terp itself" not in text


def nothing_half_written(home: Path) -> None:
    """No product, package, record or archived object that has only been begun."""
    begun = [*home.glob("products/.*"), *home.glob("products/*/attempts/*"), *home.glob("runs/*/package")]
    begun += [*home.glob("archive/extensions/terp-staging/*"), *home.glob("**/.*.json.*")]
    assert begun == []
    for folder in home.glob("products/*"):
        shards = [path for path in folder.glob("data.zarr/**/c/**/*") if path.is_file()]
        assert (folder / "seal.json").exists() or "manifest.rows" not in os.listdir(folder)
        assert all(path.stat().st_size for path in shards)


def command(*words: str, home: Path, prefect: dict[str, str], **more: str) -> Said:
    """The command as a user gives it, in a process of its own."""
    environment = {**os.environ, **prefect, "TERP_HOME": str(home), **more}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def state(home: Path) -> str:
    (record,) = home.glob("runs/*/run.json")
    return str(json.loads(record.read_text())["state"])


def grid(rows: int = 18, months: int = 12) -> xr.Dataset:
    """A sea-surface temperature on a small grid."""
    values = np.random.default_rng(7).normal(290, 5, (months, rows, 8)).astype("f4")
    axes = {
        "time": np.arange("2001-01", "2004-01", dtype="M8[M]")[:months].astype("M8[ns]"),
        "latitude": ("latitude", np.linspace(-4, 4, rows), {"standard_name": "latitude"}),
        "longitude": ("longitude", np.linspace(190, 240, 8), {"standard_name": "longitude"}),
    }
    return xr.Dataset({"surface_temperature": (("time", "latitude", "longitude"), values, {"units": "K"})}, axes)


def zarr_of(path: Path, **encoding: Any) -> Path:
    """The grid as a foreign Zarr group of two chunks."""
    encoding |= {"chunks": (6, 18, 8)}
    grid().to_zarr(path, zarr_format=2, consolidated=False, encoding={"surface_temperature": encoding})
    return path


def make_sources(folder: Path) -> None:
    """Fill a folder with sources, good and bad."""
    grid().to_netcdf(folder / "sea.nc")
    grid(9).to_netcdf(folder / "small.nc")
    (grid() * np.nan).to_netcdf(folder / "nan.nc")
    grid().isel(time=slice(0, 0)).to_netcdf(folder / "unfilled.nc")
    grid().drop_vars(["latitude", "longitude"]).to_netcdf(folder / "unnamed.nc")
    grid()["surface_temperature"][0, 0, 0].to_netcdf(folder / "scalar.nc")
    raw = locate("ostia").read_bytes()
    (folder / "half.nc").write_bytes(raw[: len(raw) // 2])
    (folder / "empty.nc").touch()
    (folder / "page.nc").write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>")
    (folder / "grib.nc").write_bytes(b"GRIB\x00\x01\x02\x02" * 64)
    (folder / "packed.nc").write_bytes(gzip.compress(raw[:9999]))
    (folder / "noise.nc").write_bytes(np.random.default_rng(1).bytes(5000))
    (folder / "hdf.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + np.random.default_rng(2).bytes(5000))
    (folder / "loop.nc").symlink_to("loop.nc")
    os.mkfifo(folder / "pipe.nc")
    (folder / "nothing").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes/notes.txt").write_text("dear all")
    chunk = zarr_of(folder / "cut.zarr") / "surface_temperature/1.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-20])
    (zarr_of(folder / "sparse.zarr") / "surface_temperature/1.0.0").unlink()
    (zarr_of(folder / "lost.zarr", _FillValue=None) / "surface_temperature/1.0.0").unlink()
    (zarr_of(folder / "torn.zarr") / "surface_temperature/.zarray").write_text('{"zarr_format": 2')
