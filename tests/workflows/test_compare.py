"""What was made again is compared with a package to the last bit, or as far as a tolerance allows."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from terp.storage.filling import Filling
from terp.storage.making import create
from terp.storage.package import pack_product
from terp.storage.package.packed import PackedProduct
from terp.storage.product import StoredProduct
from terp.storage.writing import Written, write_region
from terp.workflows.results.compare import Comparison, compared

sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
import products

ROW, PLACE = 4, 7  # of the one value that is another
TRUE = float(ROW + 1)


def made(folder: Path, value: float, units: str = "s", shift: int = 0) -> StoredProduct:
    """Make a product in which one value, the units of an axis, or an axis itself may be others."""
    layout = products.layout()
    axes = layout.schemas[""]
    axes = axes.assign_coords(t=("t", axes["t"].values + shift, {"units": units}))
    product = create(folder / "rows-0", "rows", "rows-0", {"stage": "rows"}, replace(layout, schemas={"": axes}))
    with Filling(product) as filling:
        done = []
        for _, index in filling.missing():
            block = products.values(index)
            if index == ROW:
                block[0, PLACE] = value
            stored = write_region(filling.attempts, product.groups[0], index, {"v": block})
            done.append(Written("", index, stored, 0.01, "test"))
        filling.commit(done)
        filling.seal()
    return product


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """What is archived."""
    product = made(tmp_path / "before", TRUE)
    [packed] = pack_product(product, tmp_path, "rows")
    return packed.path


def compare(package: Path, product: StoredProduct, tolerance: tuple[float, ...] = ()) -> Comparison:
    return compared("rows", PackedProduct(package), product, tolerance)


def test_the_same_work_is_identical_and_none_of_its_regions_is_read(package: Path, tmp_path: Path) -> None:
    product = made(tmp_path / "after", TRUE)
    for path in (product.data / "v" / "c").rglob("*"):
        if path.is_file():
            path.unlink()
    assert compare(package, product).verdict == "identical"


@pytest.mark.parametrize("value", [5.0000005, -5.0, np.nan, np.inf])
def test_the_first_value_that_is_another_is_named_with_both(package: Path, tmp_path: Path, value: float) -> None:
    found = compare(package, made(tmp_path / "after", value))
    assert found.verdict == "differs"
    assert (found.regions, found.other) == (products.REGIONS, 1)
    assert found.first is not None
    assert (found.first.where, found.first.region) == (f"v[x {ROW}, t {PLACE}]", ROW)
    assert (found.first.recorded, found.first.replayed) == ("5.0", str(np.float32(value)))


@pytest.mark.parametrize(
    ("value", "tolerance", "verdict"),
    [
        (5.000001, (1e-6, 0.0), "within"),
        (5.000001, (1e-8, 0.0), "differs"),
        (5.000001, (0.0, 1e-5), "within"),
        (5.000001, (0.0, 1e-7), "differs"),
        (5.1, (1e-6, 1e-6), "differs"),
        (np.nan, (1.0, 1e9), "differs"),
        (np.inf, (1.0, 1e9), "differs"),
    ],
)
def test_a_tolerance_is_relative_to_what_was_recorded_or_absolute(
    package: Path, tmp_path: Path, value: float, tolerance: tuple[float, float], verdict: str
) -> None:
    found = compare(package, made(tmp_path / "after", value), tolerance)
    assert found.verdict == verdict
    if verdict == "within":
        assert found.other == 1
        assert found.most == pytest.approx(abs(np.float32(value) - 5) / 5)


def test_zero_is_not_minus_zero_unless_that_is_tolerated(tmp_path: Path) -> None:
    product = made(tmp_path / "zero", 0.0)
    [packed] = pack_product(product, tmp_path, "zero")
    other = made(tmp_path / "minus", -0.0)
    assert compare(packed.path, other).verdict == "differs"
    assert compare(packed.path, other, (1e-6, 0.0)).verdict == "within"


def test_metadata_and_axes_that_are_others_are_named(package: Path, tmp_path: Path) -> None:
    told = compare(package, made(tmp_path / "after", TRUE, units="h")).first
    assert told is not None
    assert (told.where, told.recorded, told.replayed) == ("t/zarr.json attributes units", "'s'", "'h'")
    moved = compare(package, made(tmp_path / "moved", TRUE, shift=1)).first
    assert moved is not None
    assert (moved.where, moved.recorded, moved.replayed) == ("t[t 0]", "0", "1")
