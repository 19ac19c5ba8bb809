"""A product is what its ledger says, whatever happened to its files; nothing else is ever read as truth."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from terp.storage.errors import BadProduct, Damaged, Fenced
from terp.storage.filling import Filling
from terp.storage.product import StoredProduct
from terp.storage.writing import write_region

sys.path.insert(0, str(Path(__file__).parent))
import products

Harm = Callable[[Path], None]


def shard(folder: Path, index: int) -> Path:
    return folder / "data.zarr" / "v" / "c" / str(index) / "0"


def truncate(folder: Path) -> None:
    data = shard(folder, 2).read_bytes()
    shard(folder, 2).write_bytes(data[: len(data) // 2])


def alter(folder: Path) -> None:
    data = bytearray(shard(folder, 2).read_bytes())
    data[20] ^= 1
    shard(folder, 2).write_bytes(data)


def delete(folder: Path) -> None:
    shard(folder, 2).unlink()


def swap(folder: Path) -> None:
    one, other = shard(folder, 2).read_bytes(), shard(folder, 3).read_bytes()
    assert len(one) == len(other), "a swap that sizes would betray is no test"
    shard(folder, 2).write_bytes(other)
    shard(folder, 3).write_bytes(one)


HARMS = [truncate, alter, delete, swap]


def test_a_product_that_is_filled_and_sealed_reads_as_what_was_written(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    assert products.fill(product) == list(range(products.REGIONS))
    data = product.open()
    np.testing.assert_array_equal(data["v"], products.expected())
    assert data["t"].attrs["units"] == "s"
    assert list(product.verify()) == []


def test_any_zarr_reader_reads_a_sealed_product(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    plain = xr.open_zarr(product.data, consolidated=False)
    np.testing.assert_array_equal(plain["v"], products.expected())


@pytest.mark.parametrize("harm", HARMS)
def test_harm_to_a_shard_is_never_read_as_truth(tmp_path: Path, harm: Harm) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    harm(product.folder)
    with pytest.raises((Damaged, ValueError, RuntimeError)):
        StoredProduct(product.folder).open()["v"].load()


@pytest.mark.parametrize("harm", HARMS)
def test_harm_to_a_shard_is_found_and_the_shard_is_written_again(tmp_path: Path, harm: Harm) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    whole, seal = products.tree(product.folder), product.seal
    harm(product.folder)
    assert any("v/c/2/0" in str(found) for found in product.verify())
    with Filling(product) as filling:
        filling.read_all()
    made = products.fill(products.new(tmp_path))
    assert set(made) == ({2, 3} if harm is swap else {2})
    assert products.tree(product.folder) == whole
    assert StoredProduct(product.folder).seal == seal


def test_a_shard_that_lost_its_end_or_is_another_is_not_sealed(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    with Filling(product) as filling:
        filling.commit([products.written(filling, index) for index in range(products.REGIONS)])
        for index, place in ((1, 0), (3, -8)):  # the tag, and the index
            path = product.data / f"v/c/{index}/0"
            data = bytearray(path.read_bytes())
            data[place] ^= 1
            path.write_bytes(data)
        assert filling.seal() == [("", 1), ("", 3)]


def test_the_plain_stack_never_recovers_from_a_shard_cut_short(tmp_path: Path) -> None:
    """Where an array ends inside a chunk, zarr reads the torn shard before each write (zarrs-python#185)."""
    array = zarr.create_array(tmp_path / "z", shape=(10,), shards=(8,), chunks=(4,), dtype="f4")
    array[:] = 1
    torn = tmp_path / "z" / "c" / "1"
    torn.write_bytes(torn.read_bytes()[:-7])
    for _ in range(3):
        with pytest.raises(ValueError, match="checksum"):
            array[8:10] = 1


def test_the_plain_stack_reads_a_lost_shard_as_fill_and_a_swapped_one_as_data(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    swap(product.folder)
    delete(product.folder)
    silently = xr.open_zarr(product.data, consolidated=False)["v"].load()
    assert not np.array_equal(silently, products.expected(), equal_nan=True)


@pytest.mark.parametrize("name", ["zarr.json", "v/zarr.json", "t/zarr.json", "t/c/0"])
def test_a_small_file_that_was_altered_is_found_and_put_back(tmp_path: Path, name: str) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    path = product.data / name
    good = path.read_bytes()
    path.write_bytes(good.replace(b"1", b"2") if b"1" in good else good[:-1])
    with pytest.raises((Damaged, BadProduct)):
        StoredProduct(product.folder).open()["t"].load()
    products.fill(products.new(tmp_path))
    assert path.read_bytes() == good


@pytest.mark.parametrize("name", ["product.json", "seal.json", "manifest.rows", "manifest.sums"])
@pytest.mark.parametrize("lost", [True, False])
def test_a_lost_or_altered_description_is_never_trusted_and_made_again(tmp_path: Path, name: str, lost: bool) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    path = product.folder / name
    good = path.read_bytes()
    if lost:
        path.unlink()
    else:
        path.write_bytes(good.replace(b"6", b"7") if name.endswith(".json") else good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(BadProduct):
        StoredProduct(product.folder).open().load()
    assert products.fill(products.new(tmp_path)) == []
    assert path.read_bytes() == good
    np.testing.assert_array_equal(StoredProduct(product.folder).open()["v"], products.expected())


def test_a_shard_that_was_never_recorded_does_not_count(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    stray = shard(product.folder, 4)
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"left by a controller that died between making it visible and recording it")
    assert products.fill(product) == list(range(products.REGIONS))
    np.testing.assert_array_equal(product.open()["v"], products.expected())


def test_a_product_that_is_not_finished_is_not_opened(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    with Filling(product) as filling:
        filling.commit([products.written(filling, 0)])
    with pytest.raises(BadProduct, match="1 of 6 regions"):
        product.open()


def test_a_controller_that_was_replaced_changes_nothing_more(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    old = Filling(product)
    late = products.written(old, 1)
    with Filling(product, take_over=True) as new:
        new.commit([products.written(new, i) for i in range(products.REGIONS)])
        whole = products.tree(product.folder)
        with pytest.raises(Fenced):
            old.commit([late])
        with pytest.raises(Fenced):
            old.void(("", 2), "a zombie says so")
        with pytest.raises(Fenced):
            old.seal()
        assert products.tree(product.folder) == whole
        assert new.seal().regions == products.REGIONS  # type: ignore[union-attr]


def test_a_worker_of_a_replaced_controller_finds_no_place_to_write(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    old = Filling(product)
    with Filling(product, take_over=True):
        assert not old.attempts.exists()


def test_the_same_work_gives_the_same_product_in_any_folder_and_order(tmp_path: Path) -> None:
    seals = []
    for place, order in (("a", range(6)), ("b", [5, 0, 3, 1, 4, 2])):
        (tmp_path / place).mkdir()
        product = products.new(tmp_path / place)
        with Filling(product) as filling:
            for index in order:
                filling.commit([products.written(filling, index)])
            seals.append(filling.seal())
    assert seals[0] == seals[1]
    assert products.tree(tmp_path / "a" / "rows-0") == products.tree(tmp_path / "b" / "rows-0")


@pytest.mark.parametrize(
    "block",
    [np.ones((1, 41), "f4"), np.ones((1, 39), "f4"), np.ones((2, 40), "f4"), np.ones((1, 40)), np.ones(40, "f4")],
)
def test_a_block_of_another_shape_or_type_is_refused_and_not_cut_or_filled_up(
    tmp_path: Path, block: np.ndarray[Any, Any]
) -> None:
    product = products.new(tmp_path)
    with Filling(product) as filling:
        with pytest.raises(BadProduct, match=r"block of v for region 1 is .*, not float32 of \(1, 40\)"):
            write_region(filling.attempts, product.groups[0], 1, {"v": block})
        assert list(filling.attempts.iterdir()) == []


def test_a_copied_product_is_a_product(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    shutil.copytree(product.folder, tmp_path / "elsewhere")
    np.testing.assert_array_equal(StoredProduct(tmp_path / "elsewhere").open()["v"], products.expected())


def test_of_a_region_that_was_made_twice_the_first_counts_and_nothing_is_left_of_the_other(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    with Filling(product) as filling:
        first, second, third = (products.written(filling, 0) for _ in range(3))
        assert filling.fresh([first, second]) == [first]
        assert filling.commit([first]) == []
        made = shard(product.folder, 0).stat()
        assert filling.commit([third]) == [], "it is not lost, only too late"
        assert shard(product.folder, 0).stat().st_ino == made.st_ino
        assert list(filling.attempts.iterdir()) == []
        assert filling.left == products.REGIONS - 1
        assert filling.ledger.longest() == pytest.approx(0.01)
    assert products.fill(product) == list(range(1, products.REGIONS))
