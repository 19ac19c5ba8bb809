"""A value tells what it was made of, and an input what was made of it."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from terp.storage.errors import BadPackage, BadProduct
from terp.storage.grid import Group, shape_array
from terp.storage.home import Home
from terp.storage.labels import labels
from terp.storage.making import Layout, create
from terp.storage.package import pack_product
from terp.storage.package.excerpt import Excerpt
from terp.storage.package.packed import PackedProduct
from terp.storage.package.table import MEMBERS
from terp.storage.product import StoredProduct
from terp.storage.source import identify
from terp.workflows import stage
from terp.workflows.errors import BadStage, Usage
from terp.workflows.results.impact import impact
from terp.workflows.results.place import along
from terp.workflows.results.why import why
from terp.workflows.running.record import RunRecord

sys.path.insert(0, str(Path(__file__).parent))
from here import made

TIMES = 420


def series() -> xr.Dataset:
    when = np.arange("1980-01", "2015-01", dtype="M8[M]").astype("M8[ns]")
    lat = np.linspace(-2.5, 2.5, 6)
    values = np.random.default_rng(1).normal(size=(TIMES, 6, 3))
    return xr.Dataset({"v": (("time", "lat", "beam"), values)}, {"time": when, "lat": lat})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A Zarr group whose chunks are files."""
    path = tmp_path / "series.zarr"
    encoding: dict[str, Any] = {"v": {"chunks": (100, 2, 3)}}
    series().to_zarr(path, zarr_format=3, consolidated=False, encoding=encoding)
    return path


@stage(cut=("time", "lat"), block={"time": 60, "lat": 2}, halo={"time": 3})
def smoothed(block: xr.Dataset) -> xr.Dataset:
    return block.rolling(time=7, center=True, min_periods=1).mean()


@stage(over=("time",), block={"time": 20})
def total(block: xr.Dataset) -> xr.Dataset:
    return block.sum("time")


Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(source: Path, tmp_path: Path) -> Ask:
    """Make the smoothed series; return how to ask about it."""
    [*_, product] = made(source, tmp_path / "home", smoothed).values()
    return lambda **words: why(Home(tmp_path / "home"), product.key, at=words)


def test_a_value_is_in_a_region_that_was_made_of_parts_of_files(ask: Ask) -> None:
    told = ask(time="2010-01", lat="0")
    assert (told["region"], told["box"]) == (6 * 3 + 1, {"time": [360, 420], "lat": [2, 4]})
    assert told["at"]["lat"]["nearest"]
    assert told["at"]["time"]["text"] == "2010-01-01"
    assert [one["key"] for one in told["shards"]] == ["v/c/6/1/0"]
    assert told["made"]["worker"]
    assert told["stage"]["name"] == "smoothed"
    ingest, files = told["from"]
    assert ingest["box"] == {"time": (357, 420), "lat": (2, 4), "beam": (0, 3)}
    assert (ingest["shards"], ingest["of"]) == (1, 1)
    assert files["files"] == 15, "the one region of the product that took the source in holds all chunks"
    assert len(files["sha256"]["v/c/0/0/0"]) == 64


def test_files_of_a_source_are_those_that_the_region_was_read_from(source: Path, tmp_path: Path) -> None:
    [product] = made(source, tmp_path / "home", lambda data: data).values()
    [files] = why(Home(tmp_path / "home"), product.key)["from"]
    stored = {str(path.relative_to(source)) for path in source.glob("v/c/**/*") if path.is_file()}
    assert files["files"] == len(stored)
    assert set(files["first"]) <= stored


def test_a_reduction_is_made_of_all_parts_and_no_part_twice(source: Path, tmp_path: Path) -> None:
    [*_, product] = made(source, tmp_path / "home", total).values()
    steps = why(Home(tmp_path / "home"), product.key)["from"]
    assert [(step.get("shards"), step["of"]) for step in steps[:2]] == [(2, 2), (21, 21)]
    assert [step["box"] for step in steps[:2]] == [
        {"part": (0, 2), "lat": (0, 6), "beam": (0, 3)},
        {"part": (0, 21), "lat": (0, 6), "beam": (0, 3)},
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"tim": "2010"}, "there is no dimension 'tim': --at takes time, lat, beam"),
        ({"time": "1890", "lat": "0"}, "time has no '1890': it has 420 labels from 1980-01-01 to 2014-12-01"),
        ({"time": "soon", "lat": "0"}, "time has no 'soon'"),
        ({"time": "2010", "lat": "-75"}, "lat has no '-75': it has 6 labels from -2.5 to 2.5"),
        ({"time": "2010", "lat": "north"}, "lat has no 'north': it has 6 labels from -2.5 to 2.5"),
        ({"time": "2010-01", "lat": "0", "beam": "9"}, "beam has no coordinate: give a number from 0 to 2, not '9'"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(ask: Ask, words: dict[str, str], said: str) -> None:
    with pytest.raises(Usage) as error:
        ask(**words)
    assert said in str(error.value)


def test_a_label_of_several_regions_is_answered_for_all_of_them(ask: Ask) -> None:
    told = ask(time="2010-01")
    assert (told["asked"], told["region"], told["box"]) == (3, 18, {"time": [360, 420], "lat": [0, 6]})
    assert [one["key"] for one in told["shards"]] == ["v/c/6/0/0"]
    assert told["from"][0]["box"] == {"time": (357, 420), "lat": (0, 6), "beam": (0, 3)}
    whole = ask()
    assert (whole["asked"], whole["box"]) == (21, {"time": [0, 420], "lat": [0, 6]})
    series = ask(lat="0")
    assert (series["asked"], series["box"]) == (7, {"time": [0, 420], "lat": [2, 4]})


def test_a_variable_that_is_not_there_is_answered_with_those_that_are(source: Path, tmp_path: Path) -> None:
    [product] = made(source, tmp_path / "home", lambda data: data).values()
    with pytest.raises(Usage, match="there is no variable 'w': name one of v with --variable"):
        why(Home(tmp_path / "home"), product.key, variable="w")


def test_an_input_that_was_removed_ends_the_way_and_is_told(source: Path, tmp_path: Path) -> None:
    import shutil

    first, second = made(source, tmp_path / "home", smoothed).values()
    shutil.rmtree(first.folder)
    [step] = why(Home(tmp_path / "home"), second.key, at={"time": "2010-01", "lat": "0"})["from"]
    assert (step["product"], step["lost"]) == (first.key, True)


def test_an_unfinished_product_says_so(source: Path, tmp_path: Path) -> None:
    [product] = made(source, tmp_path / "home", lambda data: data).values()
    (product.folder / "seal.json").unlink()
    with pytest.raises(BadProduct, match=r"ingest is not finished|run the same command again"):
        why(Home(tmp_path / "home"), product.key)


LABELS = {
    "days": np.arange("1999-12-30", "2000-02-08", dtype="M8[D]").astype("M8[ns]"),
    "seconds": np.datetime64("2000-01-01", "ns") + np.arange(40) * np.timedelta64(7, "s"),
    "long ago": np.arange("1499-12-30", "1500-02-08", dtype="M8[D]").astype("M8[us]"),
    "another calendar": xr.date_range("2000-01-01", periods=40, calendar="noleap", use_cftime=True),
    "up": np.linspace(-2.5, 2.5, 40).astype("f4"),
    "down": np.arange(40)[::-1] / 4,
    "in no order": np.array([3.0, 1.0, 2.0, *range(4, 41)]),
    "numbers": np.arange(40, dtype="i4") * 3,
    "texts": np.array([f"s{number}" for number in range(40)]),
}
ASKED = (
    "2000-01",
    "2000",
    "2000-01-05",
    "2000-01-01 00:01",
    "Jan 2000",
    "1500-01",
    "0",
    "3",
    "2.375",
    "1e9",
    "nan",
    "s7",
)


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_read_and_found_as_xarray_does(name: str, tmp_path: Path) -> None:
    group = Group("", {"x": (40, 10)}, (shape_array("v", ("x",), (40,), "float32", {"x": (40, 10)}),))
    frame = xr.Dataset(coords={"x": LABELS[name]})
    product = create(tmp_path / "p", "p", "p", {}, Layout((group,), {"": frame}))
    found = labels(product.proven, group, "x", lambda: product.frame(""))
    assert found is not None
    np.testing.assert_array_equal(found, product.frame("")["x"].to_numpy())
    if name in ("days", "seconds", "up", "down", "numbers"):
        labels(product.proven, group, "x", lambda: pytest.fail("xarray is needed"))
    for label in ASKED:
        beyond = name in ("up", "down") and label in ("1e9", "2000", *(("3",) if name == "up" else ()))
        expected = None if beyond else by_xarray(product.frame(""), label)
        assert places(found, label) == expected, label


def places(found: Any, label: str) -> tuple[int, int] | None:
    try:
        one = along(lambda _: found, {"x": 40}, {"x": label})["x"]
    except Usage:
        return None
    return one.start, one.stop


def by_xarray(frame: xr.Dataset, label: str) -> tuple[int, int] | None:
    kind = frame["x"].dtype.kind
    try:
        wanted = float(label) if kind == "f" else int(label) if kind == "i" else label
        at = frame.assign(v=("x", np.arange(40)))["v"].sel(x=wanted, method="nearest" if kind == "f" else None)
    except (KeyError, ValueError, TypeError):
        return None
    return (int(at.min()), int(at.max()) + 1) if at.size else None


def test_years_that_nanoseconds_do_not_hold_are_found_and_read_or_refused_but_never_turned_into_others(
    tmp_path: Path,
) -> None:
    months = np.arange("1500-01", "1503-05", dtype="M8[M]").astype("M8[us]")
    xr.Dataset({"v": ("time", np.arange(40.0))}, {"time": months}).to_netcdf(tmp_path / "old.nc")
    first, about = np.datetime64("1500-01-01", "us"), {"calendar": "proleptic_gregorian"}

    @stage(cut=("time",), block={"time": 20})
    def numbered(block: xr.Dataset) -> xr.Dataset:
        days = block["v"].astype("i8") * 30
        return block.assign(day=days.assign_attrs(units="days since 1500-01-01", **about))

    @stage(cut=("time",), block={"time": 20})
    def dated(block: xr.Dataset) -> xr.Dataset:
        return block.assign(day=("time", first + block["v"].to_numpy().astype("m8[D]")))

    *_, product = made(tmp_path / "old.nc", tmp_path / "home", numbered).values()
    told = why(Home(tmp_path / "home"), product.key, at={"time": "1500-02"})["at"]["time"]
    assert (told["start"], told["stop"], told["text"]) == (1, 2, "1500-02-01 00:00:00")
    with warnings.catch_warnings(action="ignore"):
        read = xr.open_zarr(product.data, consolidated=False, zarr_format=3).load()
    for name, when in (("time", months), ("day", first + np.arange(40) * np.timedelta64(30, "D"))):
        assert [str(one)[:10] for one in read[name].to_numpy()] == list(when.astype("M8[D]").astype(str))
    with pytest.raises(BadStage, match=r"day has times that do not fit into nanoseconds.* let the stage give numbers"):
        made(tmp_path / "old.nc", tmp_path / "home", dated)


def test_a_question_imports_nothing_heavy(source: Path, tmp_path: Path) -> None:
    *_, product = made(source, tmp_path / "home", lambda data: data).values()
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom terp.workflows.cli import terp\n"
        f"told = CliRunner().invoke(terp, ['why', {product.key!r}, '--at', 'time=2010-01', '--at', 'lat=0'])\n"
        "assert told.exit_code == 0, told.output\n"
        "print(sorted({'pandas', 'xarray', 'zarr', 'dask', 'prefect', 'pydantic'} & set(sys.modules)))"
    )
    env = {**os.environ, "TERP_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"


@stage(cut=("time", "members"), block={"time": 20, "members": 2})
def doubled(block: xr.Dataset) -> xr.Dataset:
    return block.assign(w=block["v"] * 2)


def test_rows_found_in_the_text_of_a_table_are_those_of_the_whole_table(tmp_path: Path) -> None:
    series().rename(lat="members").to_netcdf(tmp_path / "series.nc")
    *_, product = made(tmp_path / "series.nc", tmp_path / "home", doubled).values()
    for name, most in (("one", 1 << 40), ("bands", 8000)):
        packages = pack_product(product, tmp_path, name, most)
        assert (len(packages) > 1) == (name == "bands")
        answers_as_the_whole_table(tmp_path / f"{name}{MEMBERS}")


def answers_as_the_whole_table(table: Path) -> None:
    excerpt, whole = Excerpt(table, {}), PackedProduct(table)
    [group] = whole.groups
    rows = {one["key"]: one for one in whole.told["members"] if "key" in one}
    found = [excerpt.shard(group, array, index) for index in range(group.regions) for array in group.arrays]
    assert {one["key"]: one for one in found} == rows
    assert len(rows) == 21 * 3 * 2
    small = excerpt.small("time")
    assert sorted(small.names()) == ["time/c/0", "time/zarr.json"]
    assert small.read("time/zarr.json", 0, small.size_of("time/zarr.json") or 0) == whole.document("time/zarr.json")
    assert not list(excerpt.small("v").names())[1:], "shards are no small files"
    with pytest.raises(BadPackage, match="restore both from a copy"):
        excerpt.shard(group, replace(group.arrays[0], name="x"), 0)
    for length in (table.stat().st_size - 40, 0):
        os.truncate(table, length)
        with pytest.raises(BadPackage, match="restore both from a copy"):
            Excerpt(table, {})
    with pytest.raises(BadPackage, match="restore both from a copy"):
        excerpt.shard(group, group.arrays[0], 0)


def keys(products: list[dict[str, Any]]) -> list[str]:
    return sorted(one["product"] for one in products)


@pytest.fixture
def kept(source: Path, tmp_path: Path) -> dict[str, StoredProduct]:
    return made(source, tmp_path / "home", lambda data: (smoothed(data), total(smoothed(data)))[1])


def test_all_that_was_made_of_a_source_is_found_by_path_digest_or_product(
    kept: dict[str, StoredProduct], source: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    assert keys(impact(home, str(source))["products"]) == sorted(kept)
    digest = kept[next(iter(kept))].frozen["ingredients"]["source"]["v/c/0/0/0"]
    assert keys(impact(home, digest)["products"]) == sorted(kept)
    assert keys(impact(home, str(source / "v/c/0/0/0"))["products"]) == sorted(kept)
    assert keys(impact(home, list(kept)[1])["products"]) == sorted(list(kept)[1:])
    with pytest.raises(Usage, match="was made of"):
        impact(home, str(tmp_path / "elsewhere"))


def test_a_file_that_was_changed_since_is_told_by_both_digests(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    file = tmp_path / "series.nc"
    series().to_netcdf(file)
    made(file, home.root, lambda data: data)
    before = identify(file, home.cache)
    run = RunRecord.begin(home, "series", "series", {})
    run.took_in(home, {"series.nc": before})
    run.save(home)
    (series() + 1).to_netcdf(tmp_path / "other.nc")
    (tmp_path / "other.nc").replace(file)
    [old] = made(file, home.root, lambda data: data).values()
    told = impact(home, str(file))
    [now, then] = told["versions"]
    assert (now["now"], now["runs"], then["now"], then["runs"]) == (True, [], False, [run.id])
    assert then["sha256"] == {str(file): before.parts[0].sha256} != now["sha256"]
    assert [one["run"] for one in told["runs"]] == [run.id]
    assert {digest for one in told["products"] for digest in one["sha256"]} == {
        *then["sha256"].values(),
        *now["sha256"].values(),
    }
    assert old.key in keys(told["products"])


def test_what_an_archive_keeps_of_the_making_answers_as_the_products_do(
    kept: dict[str, StoredProduct], tmp_path: Path
) -> None:
    from terp.storage.descent import descent, found_in, pack, results, unpacked

    last = list(kept)[-1]
    for name in ("one.zip", "two.zip"):
        pack({"total": last}, kept.values(), tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert results(tmp_path / "one.zip") == {"total": last}
    here = list(descent(found_in(tmp_path / "home/products"), last, "", [0]))
    assert list(descent(unpacked(tmp_path / "one.zip"), last, "", [0])) == here
    assert len(here) == 5
