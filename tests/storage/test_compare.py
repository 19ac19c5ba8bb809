"""Two products are compared by their digests: what differs is named, and nothing else is read."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from terp.storage import runs, sharded
from terp.storage.compare import Element, compare
from terp.storage.errors import BadPackage, BadProduct, Damaged
from terp.storage.filling import Filling
from terp.storage.grid import Group, shape_array
from terp.storage.making import Layout, create
from terp.storage.package import pack_product
from terp.storage.package.packed import PackedProduct
from terp.storage.product import StoredProduct
from terp.storage.writing import Written, write_region

sys.path.insert(0, str(Path(__file__).parent))
import products

ROWS = 600
Value = dict[str, np.ndarray[Any, Any]]


def made(
    folder: Path,
    change: Callable[[Value], Any] = lambda _: None,
    *,
    block: int = 2,
    codec: str = "",
    dtype: str = "f4",
    first: int = 10,
) -> StoredProduct:
    """A product of 300 regions of two arrays, whose values may be changed before they are written."""
    cut = {"x": (ROWS, block)}
    v = shape_array("v", ("x", "t"), (ROWS, 4), dtype, cut)
    group = Group("", cut, (v, shape_array("w", ("t", "x"), (4, ROWS), "i8", cut)))
    small = xr.Dataset(coords={"x": np.arange(ROWS) + first, "t": np.arange(4)})
    folder.mkdir()
    product = create(folder / "p-0", "p", "p-0", {}, Layout((group,), {"": small}).stored(True, codec))
    values: Value = {
        "v": np.arange(ROWS * 4).reshape(ROWS, 4).astype(dtype),
        "w": np.arange(ROWS * 4).reshape(4, ROWS),
    }
    change(values)
    with Filling(product) as filling:
        filling.commit([written(filling, values, index) for _, index in filling.missing()])
        assert not isinstance(filling.seal(), list)
    return product


def written(filling: Filling, values: Value, index: int) -> Written:
    group = filling.product.groups[0]
    part = group.box(index)["x"]
    blocks = {"v": values["v"][part], "w": np.ascontiguousarray(values["w"][:, part])}
    return Written("", index, write_region(filling.attempts, group, index, blocks), 0.0, "w")


def packed(product: StoredProduct) -> PackedProduct:
    [whole] = pack_product(product, product.folder.parent, "p")
    return PackedProduct(whole.path)


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Count the runs of rows and the shards that are read."""
    read = {"runs": 0, "shards": 0}

    def counting(name: str, true: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            read[name] += 1
            return true(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs.ProvenRows, "_proven", counting("runs", runs.ProvenRows._proven))
        patch.setattr(sharded.ShardedArray, "_read_shard", counting("shards", sharded.ShardedArray._read_shard))
        yield read


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> StoredProduct:
    return made(tmp_path_factory.mktemp("plain") / "a")


def test_equal_products_are_equal_whatever_their_codec_and_nothing_of_them_is_read(
    plain: StoredProduct, tmp_path: Path
) -> None:
    other = made(tmp_path / "b", codec="none")
    with counted() as read:
        assert not compare(plain, other)
    assert read == {"runs": 0, "shards": 0}


def change(values: Value) -> None:
    values["v"][401, 2] += 1.5
    values["v"][400, 3] = -7
    values["w"][0, 401] += 1
    values["w"][1, 599] = 0


def test_what_differs_is_named_and_only_its_digests_and_the_first_two_shards_are_read(
    plain: StoredProduct, tmp_path: Path
) -> None:
    other = made(tmp_path / "b", change)
    with counted() as read:
        found = compare(StoredProduct(plain.folder), other)
    assert found
    assert (found.unlike, found.small) == ("", ())
    assert [(one.index, one.box, one.arrays) for one in found.regions] == [
        (200, {"x": (400, 402)}, ("v", "w")),
        (299, {"x": (598, 600)}, ("w",)),
    ]
    assert found.regions[0].coordinates == {"x": ("410", "411")}
    assert found.element == Element("v", {"x": 400, "t": 3}, (1603.0, -7.0), 2, 1610.0)
    assert read == {"runs": 2 * 2, "shards": 2}, "of 3 runs two differ, in both"


def test_packages_compare_as_their_products_do(plain: StoredProduct, tmp_path: Path) -> None:
    other = made(tmp_path / "b", change, codec="none")
    zipped, same = packed(other), packed(made(tmp_path / "c", codec="lz4-5-shuffle"))
    assert compare(plain, zipped) == compare(plain, other)
    assert compare(zipped, plain).element is not None
    assert not compare(zipped, other)
    assert not compare(same, plain)
    assert compare(same, zipped) == compare(plain, other)


def test_differing_coordinates_and_metadata_are_named(plain: StoredProduct, tmp_path: Path) -> None:
    found = compare(plain, made(tmp_path / "b", first=11))
    assert (found.small, found.regions, found.element) == (("x",), (), None)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"block": 3}, "x of 600 in blocks of 2, and x of 600 in blocks of 3"),
        ({"dtype": "f8"}, r"arrays differ: v f4 \(x 600, t 4\).*, and v f8"),
    ],
)
def test_of_other_grids_and_schemas_it_is_said_and_nothing_is_read(
    plain: StoredProduct, tmp_path: Path, how: dict[str, Any], words: str
) -> None:
    other = made(tmp_path / "b", **({"dtype": "f4"} | how))
    with counted() as read:
        found = compare(plain, other)
    assert re.search(words, found.unlike)
    assert read["shards"] == 0


def shifted(array: str, place: tuple[int, int], value: Any) -> Callable[[Value], None]:
    def change(values: Value) -> None:
        values[array][place] = value

    return change


@pytest.mark.parametrize(
    ("one", "two", "largest"),
    [
        (shifted("w", (0, 0), 2**63 - 1), shifted("w", (0, 0), -(2**63)), 2**64 - 1),
        (shifted("w", (0, 0), 2**60), shifted("w", (0, 0), 2**60 + 1), 1),
        (shifted("v", (0, 0), np.nan), shifted("v", (0, 0), 1), None),
        (shifted("v", (0, 0), np.inf), shifted("v", (0, 0), 1), np.inf),
        (shifted("v", (0, 0), 0.0), shifted("v", (0, 0), -0.0), 0.0),
    ],
)
def test_how_much_values_differ_is_exact(
    tmp_path: Path, one: Callable[[Value], None], two: Callable[[Value], None], largest: float | None
) -> None:
    found = compare(made(tmp_path / "a", one, block=300), made(tmp_path / "b", two, block=300))
    assert found.element is not None
    assert (found.element.count, found.element.largest) == (1, largest)


def test_not_a_number_is_itself(tmp_path: Path) -> None:
    nan = shifted("v", (0, 0), np.nan)
    assert not compare(made(tmp_path / "a", nan, block=300), made(tmp_path / "b", nan, block=300))


def test_what_is_open_damaged_or_without_its_table_is_refused_in_words(plain: StoredProduct, tmp_path: Path) -> None:
    with pytest.raises(BadProduct, match="is not finished"):
        compare(plain, products.new(tmp_path))
    other = made(tmp_path / "b", change)
    zipped = packed(other)
    path = zipped.path.with_name("p.zarr.zip.members.json")
    table = json.loads(path.read_bytes())
    path.write_text(json.dumps(table | {"format": "terp members 1"}))
    with pytest.raises(BadPackage, match=r"of the format 'terp members 1'.*use the terp that made it"):
        PackedProduct(zipped.path)
    next(one for one in table["members"] if one["name"] == "v/c/3/0")["values"] = "00" * 32
    path.write_text(json.dumps(table))
    with pytest.raises(BadProduct, match=r"the package p.zarr.zip do not fit together"):
        compare(plain, PackedProduct(zipped.path))
    path.unlink()
    with pytest.raises(BadPackage, match="restore both from a copy"):
        PackedProduct(zipped.path)
    (other.data / "v/c/200/0").unlink()
    with pytest.raises(Damaged, match="v/c/200/0 of product p is gone"):
        compare(plain, other)
