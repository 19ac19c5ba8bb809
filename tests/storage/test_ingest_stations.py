"""The reader of KNMI's daily files: codes become numbers with units, gaps stay gaps, and no bad line is guessed at."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from terp.storage.errors import BadInput
from terp.storage.ingest import recognise, stations
from terp.storage.ingest.columns import COLUMNS, STATION_COLUMNS


def line(day: str, station: int = 348, **codes: int) -> str:
    """A line of a KNMI file; the columns that are not named are blank."""
    values = {"STN": f"{station:5d}", "YYYYMMDD": day} | {name: f"{code:5d}" for name, code in codes.items()}
    return ",".join(values.get(name, "     ") for name in STATION_COLUMNS)


def daily(path: Path, *lines: str) -> Path:
    """A KNMI file: its words, the names of the columns, and lines of values; written as they write it."""
    words = [
        "BRON: KONINKLIJK NEDERLANDS METEOROLOGISCH INSTITUUT (KNMI)",
        "RH = Etmaalsom van de neerslag, \u00e9\u00e9n getal",
    ]
    text = "\r\n".join([*words, "", f"# {','.join(STATION_COLUMNS)}", "", *lines]) + "\r\n"
    path.write_bytes(gzip.compress(text.encode("latin-1")) if path.suffix == ".gz" else text.encode("latin-1"))
    return path


def refusal(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read(path)
    assert str(path.name) in str(caught.value)
    return str(caught.value)


def test_a_daily_file_is_recognised_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    assert recognise(daily(tmp_path / "weather.csv", line("20200101"))).name == "knmi-daily"


@pytest.mark.parametrize("name", ["etmgeg_348.txt", "etmgeg_348.txt.gz"])
def test_codes_become_numbers_in_the_units_of_their_attributes(tmp_path: Path, name: str) -> None:
    path = daily(tmp_path / name, line("20200229", TG=-15, FXX=420, PG=10185, Q=2885, UG=84, RH=1423))
    found = stations.read(path)[""]
    day = {
        key: (round(float(found[key][0, 0]), 4), found[key].attrs["units"])
        for key in ("TG", "FXX", "PG", "Q", "UG", "RH")
    }
    assert [day["TG"], day["FXX"], day["PG"]] == [(-1.5, "degC"), (42.0, "m s-1"), (1018.5, "hPa")]
    assert [day["Q"], day["UG"], day["RH"]] == [(2885.0, "J cm-2"), (84.0, "%"), (142.3, "mm")]
    assert set(COLUMNS) <= set(found.data_vars)
    assert all(found[key].dims == ("station", "time") for key in found.data_vars)
    assert found.TN.isnull().all()


@pytest.mark.parametrize("name", ["RH", "RHX", "SQ"])
def test_a_trace_is_nothing_and_told_but_never_a_negative_amount(tmp_path: Path, name: str) -> None:
    lines = [line(f"2020010{day}", **{name: code}) for day, code in enumerate((-1, 0, 5), start=1)]
    found = stations.read(daily(tmp_path / "etmgeg_348.txt", *lines))[""]
    assert found[name].values.tolist() == [[0, 0, 0.5]]
    assert found[f"{name}_trace"].values.tolist() == [[True, False, False]]


def test_below_zero_is_a_temperature_and_no_trace(tmp_path: Path) -> None:
    found = stations.read(daily(tmp_path / "etmgeg_348.txt", line("20200101", TN=-1)))[""]
    assert found.TN.values == pytest.approx(-0.1)


def test_codes_for_calm_wind_and_an_unseen_sky_are_no_numbers(tmp_path: Path) -> None:
    found = stations.read(
        daily(tmp_path / "etmgeg_348.txt", line("20200101", DDVEC=0, NG=9), line("20200102", DDVEC=360, NG=8))
    )[""]
    np.testing.assert_array_equal(found.DDVEC, [[np.nan, 360]])
    np.testing.assert_array_equal(found.NG, [[np.nan, 8]])
    assert found.DDVEC_calm.values.tolist() == found.NG_obscured.values.tolist() == [[True, False]]


def test_days_that_a_file_skips_are_gaps_on_one_axis_of_all_days(tmp_path: Path) -> None:
    daily(tmp_path / "etmgeg_348.txt", line("20200227", TG=1), line("20200301", TG=4))
    daily(tmp_path / "etmgeg_278.txt.gz", line("20200302", 278, TG=9))
    found = stations.read(tmp_path)[""]
    assert found.station.values.tolist() == [278, 348]
    assert found.time.dt.strftime("%m%d").values.tolist() == ["0227", "0228", "0229", "0301", "0302"]
    expected = [[np.nan] * 4 + [0.9], [0.1, np.nan, np.nan, 0.4, np.nan]]
    np.testing.assert_array_equal(found.TG, np.array(expected, dtype="float32"))
    assert found.observed.values.tolist() == [[False] * 4 + [True], [True, False, False, True, False]]


def test_days_out_of_order_find_their_places(tmp_path: Path) -> None:
    found = stations.read(daily(tmp_path / "etmgeg_348.txt", line("20200102", TG=2), line("20200101", TG=1)))[""]
    assert found.TG.values.tolist() == [[np.float32(0.1), np.float32(0.2)]]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (line("20200101"), "line 8: 20200101 is a day that the file already has"),
        (line("20200230"), "line 8: 20200230 is no date"),
        (line("20201301"), "line 8: 20201301 is no date"),
        (line("20200102")[:-12], "line 8: 39 values where the columns are 41"),
        (line("20200102") + ",  1", "line 8: 42 values where the columns are 41"),
        (line("20200102").replace("     ", "  abc", 1), "line 8: 'abc' is no value of DDVEC"),
        (line("20200102").replace("     ", "  inf", 1), "line 8: 'inf' is no value of DDVEC"),
        (line("        "), "line 8: '' is no value of YYYYMMDD"),
        ("<html>", "line 8: 1 values where the columns are 41"),
        (line("20200102", 260), "stations 348, 260"),
    ],
)
def test_a_garbled_line_is_named_and_not_guessed_at(tmp_path: Path, bad: str, why: str) -> None:
    path = daily(tmp_path / "etmgeg_348.txt", line("20200101"), "", bad, line("20200103"))
    assert why in refusal(stations.read, path)


def test_a_file_that_ends_in_the_midst_of_a_line_is_refused(tmp_path: Path) -> None:
    path = daily(tmp_path / "etmgeg_348.txt", line("20200101"), line("20200102", EV24=12))
    path.write_bytes(path.read_bytes()[:-3])
    assert "line 7: the last line has no end" in refusal(stations.read, path)


def test_a_zipped_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    path = daily(tmp_path / "etmgeg_348.txt.gz", *(line(f"2020{month:02}01", TG=month) for month in range(1, 13)))
    path.write_bytes(path.read_bytes()[:-9])
    assert recognise(path).name == "knmi-daily"
    assert "can't be unzipped" in refusal(stations.read, path)


def test_a_file_with_other_columns_or_without_lines_is_refused(tmp_path: Path) -> None:
    path = daily(tmp_path / "etmgeg_348.txt", line("20200101"))
    path.write_bytes(path.read_bytes().replace(b",EV24", b",EVER"))
    assert "EV24, EVER" in refusal(stations.read, path)
    assert "no line of values" in refusal(stations.read, daily(tmp_path / "etmgeg_350.txt"))


def test_each_station_of_a_folder_is_told_with_its_own_file(tmp_path: Path) -> None:
    daily(tmp_path / "etmgeg_1.txt", line("20200101", STN=380))
    daily(tmp_path / "etmgeg_2.txt.gz", line("20200101", STN=260))
    groups = stations.read(tmp_path)
    [pieces] = stations.pieces(tmp_path, groups)[""]
    assert list(groups[""]["station"].to_numpy()) == [260, 380]
    assert [pieces.name(number, [2]) for number in range(2)] == ["etmgeg_2.txt.gz", "etmgeg_1.txt"]


def test_a_station_given_twice_is_refused(tmp_path: Path) -> None:
    for name in ("etmgeg_348.txt", "etmgeg_348.txt.gz"):
        daily(tmp_path / name, line("20200101"))
    assert "both of station 348" in refusal(lambda path: stations.read(path.parent), tmp_path / "etmgeg_348.txt.gz")


def test_places_come_from_the_table_beside_the_files_and_are_marked_unverified(tmp_path: Path) -> None:
    daily(tmp_path / "etmgeg_348.txt", line("20200101"))
    daily(tmp_path / "etmgeg_999.txt", line("20200101", 999))
    (tmp_path / "stations.csv").write_text("stn,name,lat,lon\n348,Cabauw,51.971,4.926\n260,De Bilt,52.1,5.177\n")
    found = stations.read(tmp_path)[""]
    assert found.station_name.values.tolist() == ["Cabauw", ""]
    np.testing.assert_array_equal(found.lat, [51.971, np.nan])
    assert all("unverified" in found[name].attrs["comment"] for name in ("station_name", "lat", "lon"))
    (tmp_path / "stations.csv").write_text("stn,name,lat,lon\n348,Cabauw,north,4.926\n")
    assert "line 2" in refusal(lambda path: stations.read(path.parent), tmp_path / "stations.csv")


def test_the_real_stations_are_read_whole(shared: Path) -> None:
    found = stations.read(shared / "data/weather/knmi")[""]
    assert dict(found.sizes) == {"station": 14, "time": 14700}
    assert int(found.observed.sum()) == 165_754
    assert float(found.RH.min()) == 0
    assert float(found.RH_trace.sum() / found.RH.notnull().sum()) == pytest.approx(0.082, abs=5e-4)
    heino = found.observed.sel(station=278, time=slice("1989-10-12", "2026-06-25"))
    assert int((~heino).astype(int).diff("time").clip(min=0).sum()) == 15
