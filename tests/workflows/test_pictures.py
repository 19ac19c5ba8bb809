"""Pictures of a climatology: the same results give the same bytes, and what has nothing to show gives none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from terp.storage.ingest import locate, recognise
from terp.workflows.flows import climatology as c
from terp.workflows.flows.pictures import draw, facts

NINO = c.BOXES["nino3.4"]


@pytest.fixture(scope="module")
def ostia() -> xr.Dataset:
    return recognise(locate("ostia")).read(locate("ostia"))[""].load()


def grid(values: Any, first: str = "2001-01", longitude: Any = None) -> xr.Dataset:
    """Monthly temperatures (time, lat, lon) from a month on, at latitudes 0, 10, ... and longitudes 0, 10, ..."""
    values = np.asarray(values)
    times, rows, columns = values.shape
    months = np.datetime64(first, "M") + np.arange(times)
    where = np.arange(columns) * 10.0 if longitude is None else longitude
    axes = {"time": months.astype("datetime64[ns]"), "lat": np.arange(rows) * 10.0, "lon": where}
    attrs = {"units": "K", "standard_name": "air_temperature"}
    return xr.Dataset({"t": (("time", "lat", "lon"), values, attrs)}, axes)


def days(first: str, **variables: list[list[float]]) -> xr.Dataset:
    """Daily values of stations (station, time) from a day on."""
    (stations, times) = np.shape(next(iter(variables.values())))
    axes = {
        "station": np.arange(stations) + 1,
        "time": (np.datetime64(first, "D") + np.arange(times)).astype("datetime64[ns]"),
    }
    return xr.Dataset({k: (("station", "time"), np.array(v, dtype="float32")) for k, v in variables.items()}, axes)


def results(data: xr.Dataset) -> dict[str, xr.Dataset]:
    normal = c.normals(data)
    anomaly = c.anomalies(data, normal)
    if "station" in data.dims:
        return {"normals": normal, "anomalies": anomaly, "records": c.records(data), "gaps": c.gaps(data)}
    latitude, longitude = (str(c.axis(data, which).name) for which in ("latitude", "longitude"))
    index = c.mean_over(anomaly, latitude, longitude, box=NINO)
    return {"normals": normal, "anomalies": anomaly, "index": index, "zonal": c.mean_over(normal, longitude)}


def test_the_same_results_give_the_same_picture_to_the_byte(tmp_path: Path, ostia: xr.Dataset) -> None:
    found = results(ostia)
    assert all(draw(found, tmp_path / name) for name in ("a.png", "b.png"))
    picture = (tmp_path / "a.png").read_bytes()
    assert picture == (tmp_path / "b.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert b"matplotlib" not in picture.lower()


def test_no_settings_of_the_user_show_in_a_picture(tmp_path: Path, ostia: xr.Dataset) -> None:
    import matplotlib as mpl

    draw(results(ostia), tmp_path / "a.png")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        draw(results(ostia), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_stations_and_zonal_means_have_their_pictures(tmp_path: Path) -> None:
    series = np.random.default_rng(3).normal(10, 5, (2, 800)).tolist()
    assert draw(
        results(days("2019-01-01", TG=series, TX=series, TN=series, FXX=[series[0], [np.nan] * 800])),
        tmp_path / "a.png",
    )
    still = grid(np.random.default_rng(4).normal(size=(1, 5, 4))).isel(time=0, drop=True)
    means = {"mean": c.mean_over(still, "lat", "lon"), "zonal": c.mean_over(still, "lon")}
    assert draw(means, tmp_path / "b.png")
    assert facts(means) == {}


def test_results_that_have_nothing_to_show_make_no_picture(tmp_path: Path) -> None:
    longitude = np.arange(0, 360, 60.0)
    nothing = results(grid(np.full((14, 2, 6), np.nan), longitude=longitude))
    empty = results(days("2020-01-01", TG=[[np.nan] * 5], TX=[[np.nan] * 5]))
    for found in (nothing, empty, {"image": xr.Dataset()}, {}):
        assert not draw(found, tmp_path / "a.png")
        assert facts(found) == {}
    assert not (tmp_path / "a.png").exists()
