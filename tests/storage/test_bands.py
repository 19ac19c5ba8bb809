"""A large product is packed in bands: each a whole Zarr group, all together the product, and the same as it grows."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from blake3 import blake3

import terp.storage
from terp.storage import tree
from terp.storage.compare import compare
from terp.storage.errors import BadPackage, Damaged, DiskTrouble
from terp.storage.grid import Group, shape_array
from terp.storage.package import Packed, pack_product, read_directory
from terp.storage.package.bands import BAND_BYTES, cut_of
from terp.storage.package.packed import PackedProduct
from terp.storage.product import StoredProduct

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
import banded
import killing
from banded import MOST, ROWS
from lies import fails, lying

LENGTH = 60
GROUPS = ("", "wet/rain", "still")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> StoredProduct:
    return banded.made(tmp_path_factory.mktemp("winds"), LENGTH)


@pytest.fixture(scope="module")
def bands(product: StoredProduct, tmp_path_factory: pytest.TempPathFactory) -> list[Packed]:
    return pack_product(product, tmp_path_factory.mktemp("bands"), "winds", MOST)


@pytest.fixture
def folder(bands: list[Packed], tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(bands[0].path.parent, tmp_path / "copy"))


def test_a_product_that_fits_is_one_package_and_a_larger_one_is_bands_of_whole_shards(
    product: StoredProduct, bands: list[Packed], tmp_path: Path
) -> None:
    assert [one.path.name for one in pack_product(product, tmp_path, "winds")] == ["winds.zarr.zip"]
    names = ["winds.0000.zarr.zip", "winds.0001.zarr.zip", "winds.0002.zarr.zip", "winds.whole.zarr.zip"]
    assert [one.path.name for one in bands] == names
    assert sorted(os.listdir(bands[0].path.parent)) == [*names, "winds.zarr.zip.members.json"]
    for one in bands:
        assert sum(m.size for m in one.members if "/c/" in m.name and "wind" in m.name) <= MOST
        read_directory(one.path)


@pytest.mark.parametrize("band", [0, 1, 2])
@pytest.mark.parametrize("group", GROUPS)
def test_each_band_is_a_whole_zarr_group_for_any_reader(
    product: StoredProduct, bands: list[Packed], tmp_path: Path, band: int, group: str
) -> None:
    part = slice(band * ROWS, (band + 1) * ROWS)
    path = bands[band].path
    subprocess.run(["unzip", "-q", str(path), "-d", str(tmp_path / "plain")], check=True)
    if group == "still" and band:
        assert not (tmp_path / "plain" / group).exists(), "what has no time is in the first band, whole"
        return
    whole = product.open(group).load()
    expected = whole.isel(time=part) if "time" in whole.dims else whole
    stores = (tmp_path / "plain", zarr.storage.ZipStore(path, read_only=True))
    for store in stores:
        found = xr.open_zarr(store, group=group or None, consolidated=False, zarr_format=3).load()
        xr.testing.assert_identical(found, expected)
        assert found.to_dict(data=False) == expected.to_dict(data=False)
    xr.testing.assert_identical(terp.storage.open(path, group).load(), expected)


def test_no_shard_is_encoded_again(product: StoredProduct, bands: list[Packed]) -> None:
    table = json.loads((bands[0].path.parent / "winds.zarr.zip.members.json").read_bytes())
    renamed = 0
    for one in table["members"]:
        data = bands[one["package"]].path.read_bytes()[one["offset"] :][: one["size"]]
        assert blake3(data).hexdigest() == one["blake3"]
        if "key" in one:
            assert data == (product.data / one["key"]).read_bytes()
            renamed += one["key"] != one["name"]
    assert {one["key"] for one in table["members"] if "key" in one} == {one.key for one in product.shards()}
    assert renamed > 20
    for one, told in zip(bands, table["packages"], strict=True):
        data = one.path.read_bytes()
        assert (told["size"], told["sha512"]) == (len(data), hashlib.sha512(data).hexdigest())
        assert told["sha256"] == hashlib.sha256(data).hexdigest()


def test_the_bands_joined_are_the_product(product: StoredProduct, bands: list[Packed]) -> None:
    folder = bands[0].path.parent
    for path in (folder, folder / "winds.zarr.zip", folder / "winds.zarr.zip.members.json"):
        for group in GROUPS:
            joined = terp.storage.open(path, group)
            xr.testing.assert_identical(joined.load(), product.open(group).load())
    joined = terp.storage.open(folder)
    np.testing.assert_array_equal(joined["wind"][20:53, 1], product.open()["wind"][20:53, 1].values)
    assert not compare(product, PackedProduct(folder / "winds.zarr.zip"))


def test_the_table_and_the_packages_give_both_roots_and_all_small_files_exactly(
    product: StoredProduct, bands: list[Packed]
) -> None:
    packed = PackedProduct(bands[0].path.parent / "winds.zarr.zip")
    assert packed.tree.prove() == product.tree.prove()
    with zipfile.ZipFile(bands[-1].path) as whole:
        small = {name: whole.read(name) for name in whole.namelist()}
    for group in packed.groups:
        for array in group.arrays:
            small[f"{group.home(array)}/zarr.json"] = packed.document(f"{group.home(array)}/zarr.json")
    assert small == {one.key: (product.data / one.key).read_bytes() for one in product.small_files}
    stored = {one["key"]: bytes.fromhex(one["blake3"]) for one in packed.told["members"] if "key" in one}
    keys = [key for group in packed.groups for key in group.keys(np.arange(group.regions))]
    [leaves] = tree.leaves(keys, [stored[key] for key in keys])
    digests = {key: blake3(data).digest() for key, data in small.items()}
    assert tree.root(digests, tree.nodes(leaves)) == packed.told["stored"]


def test_what_holds_the_whole_does_not_pass_for_the_data(bands: list[Packed]) -> None:
    """A reader would put fill values where an array's shards are not there: so no large array is in it."""
    found = xr.open_zarr(zarr.storage.ZipStore(bands[-1].path, read_only=True), consolidated=False)
    assert not found.data_vars
    assert found.sizes["time"] == LENGTH


def test_a_product_that_has_grown_has_the_same_bands_but_for_the_last(bands: list[Packed], tmp_path: Path) -> None:
    longer = banded.made(tmp_path, LENGTH + 25)
    grown = pack_product(longer, tmp_path, "winds", MOST)
    assert [one.sha512 for one in grown[:2]] == [one.sha512 for one in bands[:2]]
    assert len(grown) == 5
    assert grown[2].sha512 != bands[2].sha512


def test_bands_that_an_earlier_version_has_are_not_made_again(bands: list[Packed], tmp_path: Path) -> None:
    before = PackedProduct(bands[0].path.parent / "winds.zarr.zip")
    longer = banded.made(tmp_path, LENGTH + 25)
    made = pack_product(longer, tmp_path, "winds", MOST, before)
    assert [one.path.parent == tmp_path for one in made] == [False, False, True, True, True]
    files = {one.path.name: one.path for one in made}
    packed = PackedProduct(tmp_path / "winds.zarr.zip", files)
    xr.testing.assert_identical(packed.open().load(), longer.open().load())
    with pytest.raises(BadPackage, match=r"winds\.0000\.zarr\.zip is not there"):
        PackedProduct(tmp_path / "winds.zarr.zip")


@pytest.mark.parametrize(("length", "rows"), [(10**6, 4096 + 128), (5 * 10**6, 4096 + 128), (3000, None)])
def test_where_bands_end_follows_from_the_cut_alone(length: int, rows: int | None) -> None:
    cut = {"time": (length, 128), "x": (4096, 1024)}
    group = Group("", cut, (shape_array("v", ("time", "x"), (length, 4096), "f4", cut),))
    found = cut_of([group], 70_000_000)
    assert (found and found.rows) == rows
    if length > 10**6:
        assert cut_of([group], BAND_BYTES) is None, "80 GB fit"


def test_a_product_that_is_not_cut_is_one_package() -> None:
    cut = {"time": (10, 10)}
    group = Group("", cut, (shape_array("v", ("time", "x"), (10, 4096), "f4", cut),))
    assert cut_of([group], 1) is None
    assert cut_of([Group("", {}, ())], 1) is None


# what is damaged or lost


def test_a_band_that_is_gone_short_or_another_is_named(folder: Path) -> None:
    table, band = folder / "winds.zarr.zip", folder / "winds.0001.zarr.zip"
    data = band.read_bytes()
    for spoilt in (data[:-1], b""):
        band.write_bytes(spoilt)
        with pytest.raises(BadPackage, match=r"winds\.0001\.zarr\.zip is not there .* restore both from a copy"):
            terp.storage.open(table)
    band.write_bytes((folder / "winds.0000.zarr.zip").read_bytes()[: len(data)].ljust(len(data), b"\0"))
    with pytest.raises(Damaged, match=r"restore the package from a copy"):
        terp.storage.open(table)["wind"][ROWS : ROWS + 1].load()
    band.unlink()
    with pytest.raises(BadPackage, match=r"winds\.0001\.zarr\.zip"):
        terp.storage.open(folder)


@pytest.mark.parametrize("spoilt", [b"", b"{}", b"[]", b'{"format":"terp members 3","groups":[],"packages":[]}'])
def test_a_table_that_is_none_is_refused(folder: Path, spoilt: bytes) -> None:
    (folder / "winds.zarr.zip.members.json").write_bytes(spoilt)
    with pytest.raises(BadPackage, match="restore both from a copy"):
        terp.storage.open(folder)


@pytest.mark.parametrize(
    "said", [{"offset": None}, {"size": "1"}, {"package": 99}, {"blake3": 5}, {"name": None}, {"values": 7}]
)
def test_a_table_with_a_bad_row_is_refused(folder: Path, said: dict[str, object]) -> None:
    path = folder / "winds.zarr.zip.members.json"
    table = json.loads(path.read_bytes())
    next(one for one in table["members"] if "key" in one).update(said)
    path.write_text(json.dumps(table))
    with pytest.raises(BadPackage, match="restore both from a copy"):
        terp.storage.open(folder)


def test_a_table_that_names_packages_elsewhere_is_refused(folder: Path) -> None:
    path = folder / "winds.zarr.zip.members.json"
    shutil.copy(folder / "winds.0000.zarr.zip", folder.parent / "winds.0000.zarr.zip")
    for name in ("../winds.0000.zarr.zip", str(folder.parent / "winds.0000.zarr.zip")):
        table = json.loads(path.read_bytes())
        table["packages"][0]["name"] = name
        path.write_text(json.dumps(table))
        with pytest.raises(BadPackage, match="restore both from a copy"):
            terp.storage.open(folder)


def test_a_folder_of_none_or_several_results_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadPackage, match=r"should hold one NAME\.zarr\.zip\.members\.json, and has none"):
        terp.storage.open(tmp_path / "empty")
    shutil.copy(folder / "winds.zarr.zip.members.json", folder / "more.zarr.zip.members.json")
    with pytest.raises(BadPackage, match=r"several results: name one of more\.zarr\.zip, winds\.zarr\.zip"):
        terp.storage.open(folder)
    with pytest.raises(DiskTrouble):
        terp.storage.open(tmp_path / "gone")
    with pytest.raises(BadPackage, match=r"no group 'dry'; it holds .*still, .*wet/rain"):
        terp.storage.open(folder / "winds.zarr.zip", "dry")


# a hostile file system


@pytest.mark.parametrize(("name", "code"), [("fsync", errno.EIO), ("write", errno.ENOSPC), ("link", errno.EIO)])
def test_a_disk_that_fails_at_any_step_is_told_and_leaves_no_table(
    product: StoredProduct, tmp_path: Path, name: str, code: int
) -> None:
    for number in range(0, 40, 7):
        target = tmp_path / str(number)
        target.mkdir()
        try:
            with lying(name, fails(code, lambda n, at=number: n == at)):
                pack_product(product, target, "winds", MOST)
        except DiskTrouble:
            assert not list(target.glob("*.json")), "what is not whole has no table"
        else:
            xr.testing.assert_identical(terp.storage.open(target).load(), product.open().load())


@pytest.mark.parametrize("step", [31, pytest.param(1, marks=pytest.mark.campaign)])
def test_killed_at_any_step_nothing_looks_whole_and_the_same_work_ends_in_the_same_bytes(
    product: StoredProduct, bands: list[Packed], tmp_path: Path, step: int
) -> None:
    command = (Path(banded.__file__), product.folder, tmp_path)
    [honest] = killing.told(*command, killing.NEVER)
    killed, total = map(int, honest.split())
    assert not killed
    points = [str(point) for point in range(0, total, step)]
    assert killing.told(*command, *points) == [f"1 {point}" for point in points]
    expected = {one.path.name: one.path.read_bytes() for one in bands}
    for point in points:
        folder = tmp_path / point
        assert not (folder / "winds.zarr.zip.members.json").exists() or int(point) > total - 6
        for path in folder.glob("[!.]*.zip"):
            assert path.read_bytes() == expected[path.name], "a package is there whole, or not at all"
    folder = tmp_path / points[len(points) // 2]
    pack_product(product, folder, "winds", MOST)
    assert {path.name: path.read_bytes() for path in folder.glob("[!.]*.zip")} == expected
    xr.testing.assert_identical(terp.storage.open(folder).load(), product.open().load())
