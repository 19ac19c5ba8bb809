"""A look at the files of a product sees all of them, and takes none for another."""

import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terp.storage.filling import Filling, sizes_are_those
from terp.storage.grid import Group, shape_array
from terp.storage.looking import check_file, sizes_found

sys.path.insert(0, str(Path(__file__).parent))
import products


@given(st.permutations(["a", "b", "c"]), st.integers(0, 3), st.lists(st.integers(1, 7), min_size=3, max_size=3))
def test_keys_of_many_regions_are_those_of_each(dims: list[str], cut: int, sizes: list[int]) -> None:
    shape = dict(zip("abc", sizes, strict=True))
    blocks = {dim: (shape[dim], 2) for dim in sorted(shape)[:cut]}
    arrays = (
        shape_array("v", tuple(dims), tuple(shape[dim] for dim in dims), "f4", blocks),
        shape_array("w", tuple("abc"), tuple(sizes), "f4", blocks),
    )
    group = Group("g/h", blocks, arrays)
    numbers = np.arange(group.regions)
    assert group.keys(numbers) == [group.shard_key(array, int(n)) for n in numbers for array in arrays]
    for array in arrays:
        keys = [*group.shard_keys(array, numbers), "g/h/v/c", f"{group.shard_keys(array, numbers)[0]}/0"]
        assert group.regions_of(array, keys).tolist() == [*numbers, -1, -1]


def test_an_array_without_dimensions_has_one_shard_which_is_found(tmp_path: Path) -> None:
    group = Group("", {}, (shape_array("v", (), (), "f4", {}),))
    (tmp_path / "v").mkdir()
    (tmp_path / "v/c").write_bytes(b"four")
    (found, others) = sizes_found(tmp_path, [group])
    assert found[""].tolist() == [[4]]
    assert others == {}


def test_looking_at_many_shards_takes_little_memory_for_each(tmp_path: Path) -> None:
    many = 8_000
    blocks = {"x": (many, 1)}
    group = Group("", blocks, (shape_array("v", ("x",), (many,), "f4", blocks),))
    (tmp_path / "v/c").mkdir(parents=True)
    (tmp_path / "one").write_bytes(b"four")
    for number in range(many):
        (tmp_path / f"v/c/{number}").hardlink_to(tmp_path / "one")
    tracemalloc.start()
    try:
        found, others = sizes_found(tmp_path, [group])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found[""] == 4).all()
    assert others == {"one": 4}
    assert peak < 8 * many + (1 << 20), "no name is kept"


@pytest.mark.parametrize(
    "name",
    [
        "v/c/6/0",
        "v/c/01/0",
        "v/c/+1/0",
        "v/c/1_0/0",
        "v/c/\u0661/0",
        "v/c/1/1",
        "v/c/-1/0",
        "v/c/7",
        "v/c/7/0/0",
        "v/c/999999999999999999/0",
        "v/c/99999999999999999999999999/0",
        "v/c/1/0\n",
        "v/c/" + "9" * 200 + "/0",
        "v/c/1/0.tmp",
        "v/c/stray",
        "u/c/0",
        "x/c/9",
    ],
)
def test_a_file_that_is_no_shard_is_none_however_it_is_named(tmp_path: Path, name: str) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    assert sizes_are_those(product)
    stray = product.data / name
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"x")
    assert sizes_found(product.data, product.groups)[1][name] == 1
    assert not sizes_are_those(product)
    with Filling(product) as filling:
        assert filling.found_bad == []
    assert not stray.exists()
    assert sizes_are_those(product)


def test_a_shard_that_is_a_link_or_of_another_size_or_lost_is_given_up(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    one, two, three = (product.data / f"v/c/{index}/0" for index in (1, 2, 4))
    one.rename(tmp_path / "elsewhere")
    one.symlink_to(tmp_path / "elsewhere")
    os.truncate(two, 20)
    three.unlink()
    assert not sizes_are_those(product)
    with Filling(product) as filling:
        assert filling.found_bad == [("", 2), ("", 4)], "a link is looked at a second time, by what it leads to"
    assert products.fill(products.new(tmp_path)) == [2, 4]


def test_a_file_is_read_whole_and_what_is_wrong_with_it_is_said(tmp_path: Path) -> None:
    from blake3 import blake3

    path, data = tmp_path / "a", os.urandom(9 << 20)
    path.write_bytes(data)
    digest = blake3(data).hexdigest()
    assert check_file(path, len(data), digest) is None
    assert check_file(path, len(data) - 1, digest) == f"has {len(data)} bytes where {len(data) - 1} were recorded"
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert check_file(path, len(data), digest) == "has other bytes than were recorded"
    assert check_file(tmp_path / "b", 1, digest) == "is gone"
    assert "cannot be read" in (check_file(tmp_path, tmp_path.stat().st_size, digest) or "")
