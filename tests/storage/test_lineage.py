"""What was read for a region is kept with it, proven, and found by one read."""

import errno
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terp.storage.errors import BadProduct, DiskTrouble
from terp.storage.filling import Filling
from terp.storage.lineage import covered, hull, note, noted
from terp.storage.product import Seal, StoredProduct
from terp.storage.segments import making

sys.path.insert(0, str(Path(__file__).parent))
import products
from lies import fails, lying

EXPECTED = [[[index, index + 1], [0, products.SHAPE[1]]] for index in range(products.REGIONS)]


def rows(product: StoredProduct) -> list[object]:
    found: list[object] = product.lineage.of("", np.arange(products.REGIONS)).tolist()
    return found


def test_the_seal_keeps_what_was_read_for_each_region_in_order(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    assert rows(product) == EXPECTED
    assert product.lineage.of("", np.array([1, 4])).tolist() == [EXPECTED[1], EXPECTED[4]]


def test_a_region_that_was_given_up_and_made_again_has_the_row_of_its_last_making(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    before = (product.folder / "lineage.rows").read_bytes()
    with Filling(product) as filling:
        filling.void(("", 2), "a test")
        assert not (product.folder / "lineage.rows").exists(), (
            "what is not sealed has no lineage that could be believed"
        )
        filling.commit([products.written(filling, 2)])
        assert isinstance(filling.seal(), Seal)
    assert (product.folder / "lineage.rows").read_bytes() == before
    how = making(product.folder / "ledger", 1, product.origins.type, 0, 2)
    assert (how.worker, how.generation) == ("test", 1)
    assert how.when > 0
    with lying("pread", fails(errno.EIO, lambda _: True)), pytest.raises(DiskTrouble):
        making(product.folder / "ledger", 1, product.origins.type, 0, 2)


@pytest.mark.parametrize("name", ["lineage.rows", "lineage.sums"])
def test_a_lineage_that_was_altered_is_an_error_and_the_next_seal_mends_it(tmp_path: Path, name: str) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    path = product.folder / name
    good = path.read_bytes()
    path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    damaged = StoredProduct(product.folder)
    with pytest.raises(BadProduct, match="is damaged: run again to seal the product anew"):
        rows(damaged)
    assert [str(one) for one in damaged.verify()] == [
        f"{name} of rows-0 is damaged: run again to seal the product anew"
    ]
    products.fill(product)
    assert path.read_bytes() == good


def test_a_product_that_is_older_than_its_lineage_says_so(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    product.frozen.pop("lineage")
    with Filling(product) as filling:
        filling.commit([replace(products.written(filling, index), reads=()) for _, index in filling.missing()])
        assert isinstance(filling.seal(), Seal)
    with pytest.raises(BadProduct, match="was made before terp noted what a region is made of"):
        _ = product.lineage


SPAN = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda ends: (min(ends), max(ends)))


@given(st.lists(st.tuples(SPAN, SPAN), max_size=8), st.tuples(st.integers(1, 7), st.integers(1, 7)))
def test_blocks_that_boxes_reach_into_are_those_that_share_an_element_with_one(
    boxes: list[tuple[tuple[int, int], tuple[int, int]]], lengths: tuple[int, int]
) -> None:
    held = np.zeros((20, 20), bool)
    for x, y in boxes:
        held[slice(*x), slice(*y)] = True
    counts = [-(-20 // length) for length in lengths]
    expected = [
        bool(held[i * lengths[0] : (i + 1) * lengths[0], j * lengths[1] : (j + 1) * lengths[1]].any())
        for i, j in np.ndindex(*counts)
    ]
    given_ = np.array(boxes, "<u4").reshape(-1, 2, 2)
    assert covered([given_[:, 0], given_[:, 1]], [(20, length) for length in lengths]).tolist() == expected


def test_a_hull_leaves_out_what_read_nothing() -> None:
    assert hull(np.array([[[3, 5]], [[0, 0]], [[7, 9]]], "<u4")) == [(3, 9)]
    assert hull(np.zeros((2, 1, 2), "<u4")) == [(0, 0)]


def test_what_is_read_by_others_is_not_noted() -> None:
    with noted() as outer:
        note(("a", ""), {"x": (2, 4)})
        with noted() as inner:
            note(("b", ""), {"x": (0, 1)})
        note(("a", ""), {"x": (7, 8)})
        note(("a", ""), {"x": (9, 9)})
    note(("c", ""), {"x": (0, 1)})
    assert (outer.hulls, inner.hulls) == ({("a", ""): {"x": (2, 8)}}, {("b", ""): {"x": (0, 1)}})
