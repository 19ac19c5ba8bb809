"""`--second-form netcdf4`: the same values in NetCDF-4, proven by reading both back, or refused in words."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

from terp.storage.errors import CannotMigrate, DiskTrouble
from terp.storage.filling import Filling
from terp.storage.form import migration, netcdf, second_form
from terp.storage.grid import Group, shape_array
from terp.storage.making import Layout, create
from terp.storage.package import pack_product
from terp.storage.package.packed import PackedProduct
from terp.storage.product import StoredProduct
from terp.storage.writing import Written, write_region

sys.path.insert(0, str(Path(__file__).parent))
import banded
import products
from lies import fails, lying
from test_lossy import changed

LENGTH = 60


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> StoredProduct:
    return banded.made(tmp_path_factory.mktemp("winds"), LENGTH)


@pytest.fixture(scope="module")
def packed(product: StoredProduct, tmp_path_factory: pytest.TempPathFactory) -> PackedProduct:
    folder = tmp_path_factory.mktemp("bands")
    pack_product(product, folder, "winds", banded.MOST)
    return PackedProduct(folder / "winds.zarr.zip")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> StoredProduct:
    made = products.new(tmp_path_factory.mktemp("plain"))
    products.fill(made)
    return made


def packed_with(plain: StoredProduct, folder: Path, **said: Any) -> PackedProduct:
    """The plain product with other metadata of its array."""
    product = changed(plain, folder / "product", **said)
    seal = json.loads((plain.folder / "seal.json").read_bytes())
    (product.folder / "seal.json").write_text(json.dumps({**seal, "product": product.digest}))
    pack_product(StoredProduct(product.folder), folder, "rows")
    return PackedProduct(folder / "rows.zarr.zip")


def test_each_band_is_one_file_that_others_read_with_the_same_values(
    product: StoredProduct, packed: PackedProduct, tmp_path: Path
) -> None:
    facts = second_form(packed, tmp_path, "winds")
    names = ["winds.0000.nc", "winds.0001.nc", "winds.0002.nc"]
    assert [one["name"] for one in facts["files"]] == names
    assert sorted(os.listdir(tmp_path)) == [*names, "winds.nc.proof.json"]
    for number, name in enumerate(names):
        part = slice(number * banded.ROWS, (number + 1) * banded.ROWS)
        for group in ("", "wet/rain"):
            expected = product.open(group).isel(time=part).load()
            with xr.open_dataset(tmp_path / name, group=group or None, engine="netcdf4") as found:
                xr.testing.assert_identical(found.load(), expected)
                assert {n: v.dtype for n, v in found.data_vars.items()} == {
                    n: v.dtype for n, v in expected.data_vars.items()
                }
    with netCDF4.Dataset(tmp_path / names[0]) as file:
        file.set_auto_mask(False)
        bits = file["wind"][:].view("u4")
    np.testing.assert_array_equal(bits, product.open()["wind"][: banded.ROWS].values.view("u4"))


def test_the_proof_has_the_digests_of_every_region_out_of_both(
    product: StoredProduct, packed: PackedProduct, tmp_path: Path
) -> None:
    facts = second_form(packed, tmp_path, "winds")
    proof = json.loads((tmp_path / "winds.nc.proof.json").read_bytes())
    rows = [row for file in proof["files"].values() for row in file["wind"]]
    group = product.group("")
    recorded = {at: product.manifest.shard("", at, 0).values for at in range(group.regions)}
    assert {region: zarr for region, zarr, _ in rows} == recorded
    assert all(zarr == other for _, zarr, other in rows)
    assert (facts["type"], facts["outcome"]) == ("migration", "equal")
    assert all(one["zarr"] == one["netcdf"] for one in facts["arrays"])
    assert {one["array"] for one in facts["arrays"]} >= {
        "wind",
        "gust",
        "name",
        "pole",
        "still/height",
        "wet/rain/rain",
    }
    json.dumps(facts)


def test_the_same_product_gives_the_same_file(plain: StoredProduct, tmp_path: Path) -> None:
    pack_product(plain, tmp_path, "rows")
    packed, sums = PackedProduct(tmp_path / "rows.zarr.zip"), set()
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        [one] = second_form(packed, tmp_path / place, "rows")["files"]
        sums.add((one["name"], one["sha512"]))
    assert len(sums) == 1


def spoilt(change: Any) -> Any:
    true = netcdf.write

    def write(band: Any, nodes: Any, path: Path) -> None:
        true(band, nodes, path)
        with netCDF4.Dataset(path, "a") as file:
            file.set_auto_maskandscale(False)
            change(file)

    return write


def flip(name: str, place: Any) -> Any:
    def change(file: Any) -> None:
        values = file[name][...]
        raw = values.reshape(-1).view(f"u{values.dtype.itemsize}")
        raw[place] ^= 1
        file[name][...] = values

    return change


def attribute(file: Any) -> None:
    file["wind"].units = "km h-1"


def minus(file: Any) -> None:
    values = file["wind"][...]
    values[values == 0] *= -1
    file["wind"][...] = values


CHANGES = {
    "a bit of a region": (flip("wind", 70), "region 1 of wind has other values"),
    "a bit of a NaN": (flip("wind", 3 * 40 + 2 * 8 + 1), "region 0 of wind has other values"),
    "a bit in a nested group": (flip("wet/rain/rain", 1), "region 0 of wet/rain/rain has other values"),
    "a bit of a coordinate": (flip("time", 3), "time has other values"),
    "an attribute": (attribute, "the attribute units of wind is another"),
    "one more attribute": (lambda file: file.setncattr("more", 1), "the root has other attributes: more"),
    "one more variable": (lambda file: file.createVariable("more", "f4", ()), "the root has other variables"),
    "one more group": (lambda file: file.createGroup("more"), "has other groups"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_the_same_is_refused_and_nothing_of_it_stays(
    packed: PackedProduct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    do, words = CHANGES[change]
    monkeypatch.setattr(migration.netcdf, "write", spoilt(do))
    with pytest.raises(CannotMigrate, match=words):
        second_form(packed, tmp_path, "winds")
    assert os.listdir(tmp_path) == []


def test_a_byte_that_flips_on_the_disk_is_refused(
    packed: PackedProduct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = netcdf.write

    def write(band: Any, nodes: Any, path: Path) -> None:
        true(band, nodes, path)
        data = bytearray(path.read_bytes())
        with netCDF4.Dataset(path) as file:
            assert file["wind"].filters()["fletcher32"]
        import h5py

        with h5py.File(path) as file:
            at = file["wind"].id.get_chunk_info(0).byte_offset
        data[at + 20] ^= 1
        path.write_bytes(data)

    monkeypatch.setattr(migration.netcdf, "write", write)
    with pytest.raises(CannotMigrate, match=r"winds\.0000\.nc\.[^ ]* cannot be read back|is not the same"):
        second_form(packed, tmp_path, "winds")
    assert os.listdir(tmp_path) == []


REFUSED = {
    "bool": ({"attributes": {"flag": True}}, "its attribute 'flag' is no number, text or list"),
    "none": ({"attributes": {"flag": None}}, "its attribute 'flag'"),
    "nested": ({"attributes": {"flag": {"a": 1}}}, "its attribute 'flag'"),
    "mixed": ({"attributes": {"flag": ["a", 1]}}, "its attribute 'flag'"),
    "empty": ({"attributes": {"flag": []}}, "is an empty list"),
    "large": ({"attributes": {"flag": 2**64}}, "more than 64 bits"),
    "reserved": ({"attributes": {"DIMENSION_LIST": "x"}}, "a name that NetCDF-4 keeps for itself"),
    "complex": ({"data_type": "complex64"}, "no values of the type complex64"),
    "half": ({"data_type": "float16"}, "no values of the type float16"),
    "unnamed": ({"dimension_names": None}, "a dimension has no name"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_netcdf4_cannot_hold_is_named(plain: StoredProduct, tmp_path: Path, what: str) -> None:
    said, words = REFUSED[what]
    packed = packed_with(plain, tmp_path, **said)
    (tmp_path / "nc").mkdir()
    with pytest.raises(CannotMigrate, match=rf"NetCDF-4 cannot hold all of rows:\n(.|\n)*v: .*{words}"):
        second_form(packed, tmp_path / "nc", "rows")
    assert os.listdir(tmp_path / "nc") == []


@pytest.mark.parametrize(
    "value", ["", "é", 3, -1, 2**63, 0.5, [1], ["a"], ["a", "", "ü"], [0, 1.5], [1, 2**53], -(2**63), [2**63, 1]]
)
def test_attributes_that_it_can_hold_come_back_as_they_were(plain: StoredProduct, tmp_path: Path, value: Any) -> None:
    packed = packed_with(plain, tmp_path, attributes={"flag": value, "_FillValue": "AAAAAAAA+H8="})
    second_form(packed, tmp_path, "rows")
    with netCDF4.Dataset(tmp_path / "rows.nc") as file:
        found = np.atleast_1d(np.asarray(file["v"].flag)).tolist()
        assert np.isnan(file["v"]._FillValue)
    assert found == (value if isinstance(value, list) else [value])


def test_a_full_disk_is_told_and_leaves_nothing(packed: PackedProduct, tmp_path: Path) -> None:
    with lying("fsync", fails(errno.ENOSPC, lambda n: n == 0)), pytest.raises(DiskTrouble, match="full"):
        second_form(packed, tmp_path, "winds")
    assert os.listdir(tmp_path) == []
    code = f"""
import resource, signal, sys
from pathlib import Path
from terp.storage.errors import DiskTrouble
from terp.storage.form import second_form
from terp.storage.package.packed import PackedProduct
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))
try:
    second_form(PackedProduct(Path({str(packed.path)!r})), Path({str(tmp_path)!r}), "winds")
except DiskTrouble as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "cannot be written as NetCDF-4" in done.stdout, done.stderr
    assert os.listdir(tmp_path) == []


def wide(folder: Path, rows: int) -> PackedProduct:
    """A product of so many MiB, cut into regions of 1 MiB."""
    cut = {"x": (rows, 1)}
    group = Group("", cut, (shape_array("v", ("x", "t"), (rows, 1 << 17), "f8", cut),))
    schema = xr.Dataset(coords={"x": np.arange(rows)})
    product = create(folder / "wide-0", "wide", "wide-0", {}, Layout((group,), {"": schema}))
    with Filling(product) as filling:
        for _, index in filling.missing():
            blocks = {"v": np.full((1, 1 << 17), index + 0.5)}
            stored = write_region(filling.attempts, group, index, blocks)
            filling.commit([Written("", index, stored, 0.0, "w")])
        filling.seal()
    pack_product(product, folder, "wide")
    return PackedProduct(folder / "wide.zarr.zip")


def test_memory_does_not_grow_with_the_product(tmp_path: Path) -> None:
    paths = [wide(tmp_path / str(rows), rows).path for rows in (4, 96)]
    code = f"""
import resource
from pathlib import Path
from terp.storage.form import second_form
from terp.storage.package.packed import PackedProduct
for path in {[str(path) for path in paths]!r}:
    second_form(PackedProduct(Path(path)), Path(path).parent, "wide")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    small, large = map(int, done.stdout.split())
    assert large - small < 40_000, "KiB, of 96 MiB"
