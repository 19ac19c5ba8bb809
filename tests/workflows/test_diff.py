"""`terp diff`: one line where two results are equal, and else what differs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from terp.storage.filling import Filling
from terp.storage.product import StoredProduct
from terp.storage.writing import Written, write_region

sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
import products

TERP = str(Path(sys.executable).with_name("terp"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a product, a copy of it, one with another value in two regions, and one that is not finished."""
    root = tmp_path_factory.mktemp("house")
    (root / "products").mkdir()
    one = products.new(root / "products")
    products.fill(one)
    for name in ("same-0", "other-0"):
        shutil.copytree(one.folder, root / "products" / name)
    other = StoredProduct(root / "products/other-0")
    with Filling(other) as filling:
        for index in (1, 4):
            filling.void(("", index), "it is to be another")
            block = products.values(index)
            block[0, 7] += index
            stored = write_region(filling.attempts, other.groups[0], index, {"v": block})
            assert filling.commit([Written("", index, stored, 0.0, "w")]) == []
        assert not isinstance(filling.seal(), list)
    shutil.copytree(one.folder, root / "products/open-0")
    (root / "products/open-0/seal.json").unlink()
    return root


def diff(house: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run([TERP, "--home", str(house), "diff", *words], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_equal_products_are_told_in_a_line(house: Path) -> None:
    code, said, _ = diff(house, "rows-0", "same-0")
    seal = StoredProduct(house / "products/rows-0").seal
    assert seal is not None
    assert (code, said) == (0, f"equal: rows-0, values {seal.values}\n")


def test_differing_regions_are_named_with_their_coordinates_and_the_first_element(house: Path) -> None:
    code, said, _ = diff(house, "rows-0", "other-0")
    assert code == 1
    assert "2 regions differ:\n  region 1: x 1:2 (1 to 1); in v\n  region 4: x 4:5 (4 to 4); in v\n" in said
    assert "first: v at x 1, t 7 is 2.0 and 3.0; of region 1 1 differ, by 1.0 at most\n" in said


def test_the_same_as_json(house: Path) -> None:
    code, said, _ = diff(house, "rows-0", "other-0", "--json")
    [found] = json.loads(said).values()
    assert code == 1
    assert [region["index"] for region in found["regions"]] == [1, 4]
    assert found["element"] == {"array": "v", "place": {"x": 1, "t": 7}, "values": [2, 3], "count": 1, "largest": 1}


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("rows-0", "open-0"), 65, "is not finished"),
        (("rows-0", "none"), 64, "there is no run 'none'"),
        (("rows-0/v", "same-0"), 64, "rows-0 has no result 'v'; it has rows-0"),
    ],
)
def test_what_cannot_be_compared_is_told_in_words(house: Path, words: Any, code: int, why: str) -> None:
    found, _, said = diff(house, *words)
    assert found == code
    assert why in said


def test_numbers_that_json_does_not_have_are_words() -> None:
    from terp.storage.compare import Differences, Element
    from terp.workflows.results.diff import plain

    element = Element("v", {"x": 0}, (float("nan"), 1 + 2j), 1, np.inf)
    made = plain(Differences(("a", "b"), element=element))
    assert json.loads(json.dumps(made, allow_nan=False))["element"]["values"] == ["nan", "(1+2j)"]
