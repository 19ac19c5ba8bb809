"""Controllers that come late, go on too long, or could not begin: one counts, and a seal covers all regions or none."""

import errno
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from terp.storage.errors import BadProduct, Busy, DiskTrouble, Fenced
from terp.storage.filling import Filling
from terp.storage.ledger import Ledger
from terp.storage.product import StoredProduct

sys.path.insert(0, str(Path(__file__).parent))
import products
from lies import Call, fails, later, lying


def test_a_product_is_never_sealed_without_all_its_regions(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    with Filling(product) as filling:
        filling.commit([products.written(filling, index) for index in range(5)])
        assert filling.seal() == [("", 5)]
    assert product.seal is None


@pytest.mark.parametrize("cut", [0, 20])
def test_a_sealed_product_that_lost_a_shard_is_not_sealed_over_the_hole(tmp_path: Path, cut: int) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    shard = product.data / "v/c/2/0"
    data = shard.read_bytes()
    shard.unlink()
    if cut:
        shard.write_bytes(data[:cut])
    with Filling(product) as filling:
        assert filling.seal() == [("", 2)]
    assert product.seal is None


def test_a_replaced_controller_leaves_the_seal_of_the_newer_alone(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    old = Filling(product)
    with Filling(product, take_over=True) as new:
        new.commit([products.written(new, index) for index in range(products.REGIONS)])
        seal = new.seal()
    for act in (lambda: old.void(("", 2), "a zombie says so"), old.seal, lambda: old.commit([])):
        with pytest.raises(Fenced):
            act()
    assert product.seal == seal
    old.__exit__(None, None, None)
    assert product.seal == seal
    assert list(product.verify()) == []


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda old: old.void(("", 2), "a zombie says so"), id="as it gives up a region"),
        pytest.param(lambda old: old.seal(), id="as it seals"),
    ],
)
def test_a_controller_replaced_between_its_last_look_and_its_deed_changes_nothing(
    tmp_path: Path, act: Callable[[Filling], Any]
) -> None:
    product = products.new(tmp_path)
    old = Filling(product)
    old.commit([products.written(old, index) for index in range(products.REGIONS)])
    sealed: list[Any] = []

    def take_over_first(true: Call) -> Call:
        def rename(source: Any, target: Any) -> None:
            if not sealed:
                sealed.append(None)
                products.fill_taking_over(product)
                with Filling(product, take_over=True) as new:
                    sealed[0] = (new.seal(), products.tree(product.folder))
            true(source, target)

        return rename

    with lying("replace", take_over_first), pytest.raises((Fenced, DiskTrouble)):
        act(old)
    assert (product.seal, products.tree(product.folder)) == sealed[0]
    assert list(product.verify()) == []


def test_a_controller_replaced_in_the_middle_of_a_commit_makes_nothing_visible(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    old = Filling(product)
    late = products.written(old, 1)
    sealed: list[Any] = []

    def take_over_first(true: Call) -> Call:
        def link(source: Any, target: Any) -> None:
            if not sealed:
                sealed.append(None)
                with Filling(product, take_over=True) as new:
                    new.commit([products.written(new, index) for index in range(products.REGIONS)])
                    sealed[0] = (new.seal(), products.tree(product.folder))
            true(source, target)

        return link

    with lying("link", take_over_first), pytest.raises(Fenced):
        old.commit([late])
    assert (product.seal, products.tree(product.folder)) == sealed[0]


def test_a_controller_that_is_replaced_while_it_begins_leaves_the_attempts_of_the_newer_alone(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    newer: list[Any] = []

    def take_over_then(true: Call) -> Call:
        def link(source: Any, target: Any) -> None:
            true(source, target)
            if not newer:
                newer.append(None)
                newer[0] = Filling(product, take_over=True)

        return link

    with lying("link", take_over_then), pytest.raises(Fenced):
        Filling(product)
    with newer[0] as new:
        assert new.commit([products.written(new, index) for index in range(products.REGIONS)]) == []
        assert new.seal() == product.seal


def test_a_controller_that_is_replaced_while_it_begins_and_does_not_see_it_removes_nothing(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    whole: list[Any] = []

    def take_over_first(true: Call) -> Call:
        def scan(folder: Any) -> Any:
            if not whole and Path(folder).name == "attempts":
                whole.append(None)
                products.fill_taking_over(product)
                whole[0] = products.tree(product.folder), product.seal
                (product.folder / "ledger/000002.log").rename(tmp_path / "not yet seen")
            return true(folder)

        return scan

    with lying("scandir", take_over_first), lying("listdir", take_over_first), pytest.raises(DiskTrouble):
        Filling(product)
    assert (products.tree(product.folder), product.seal) == whole[0]


def test_two_controllers_may_clear_the_same_attempts(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    Filling(product)

    def cleared(true: Call) -> Call:
        def rename(source: Any, target: Any) -> None:
            if Path(source).name == "000001":
                shutil.rmtree(source)
            true(source, target)

        return rename

    with lying("replace", cleared), Filling(product, take_over=True) as filling:
        assert filling.commit([products.written(filling, 0)]) == []


def test_rows_that_were_lost_before_the_seal_are_made_again(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    with Filling(product) as filling:
        filling.commit([products.written(filling, index) for index in range(products.REGIONS)])
        path = product.folder / "ledger/000001.rows"
        raw = bytearray(path.read_bytes())
        raw[filling.ledger.type.itemsize + 5] ^= 1
        path.write_bytes(raw)
        assert filling.seal() == [("", 1)]
        filling.commit([products.written(filling, 1)])
        assert filling.seal() == product.seal
    assert (product.open()["v"] == products.expected()).all()


def test_a_product_whose_ledger_lacks_a_region_is_not_left_sealed_over_the_hole(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    path = product.folder / "ledger/000001.rows"
    path.write_bytes(path.read_bytes()[:-5])
    with Filling(product) as filling:
        assert filling.left == 1
        assert product.seal is None


def test_a_second_attempt_at_a_region_that_is_recorded_changes_nothing(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    with Filling(product) as filling:
        first, second = products.written(filling, 1), products.written(filling, 1)
        filling.commit([first])
        path = product.data / "v/c/1/0"
        before = path.stat().st_ino, product.progress()
        assert filling.commit([second]) == []
        assert (path.stat().st_ino, product.progress()) == before


def test_a_worker_of_a_replaced_controller_that_has_its_file_open_disturbs_nobody(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    old = Filling(product)
    with (old.attempts / "late").open("wb") as file:
        products.fill_taking_over(product)
        file.write(b"a late shard")
    assert not old.attempts.exists()
    assert list(product.verify()) == []


def test_a_controller_that_could_not_begin_is_not_taken_for_a_living_one(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    for n in range(3):
        with lying("fsync", fails(errno.EIO, lambda count, n=n: count >= n)), pytest.raises(DiskTrouble):  # type: ignore[misc]
            Filling(product)
        holder = product.ledger.holder()
        if holder is not None:  # its last word did not reach the disk: what it began is seen, and refused
            with pytest.raises(Busy):
                Filling(product)
            Filling(product, take_over=True).__exit__(None, None, None)


def test_a_ledger_that_does_not_say_who_holds_it_is_taken_only_when_a_person_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terp.storage.ledger.GLANCE", 0.1)
    ledger = Ledger(tmp_path)
    ledger.claim()
    path = tmp_path / "000001.log"
    for seen in (b"", path.read_bytes()[:50], b"x" + path.read_bytes()):
        path.write_bytes(seen)
        with pytest.raises(Busy, match="take-over"):
            Ledger(tmp_path).claim()
    other = Ledger(tmp_path)
    other.claim(take_over=True)
    assert other.epoch == 2


def test_a_ledger_that_is_seen_late_is_waited_for(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.claim()
    ledger.release()
    path = tmp_path / "000001.log"
    data = path.read_bytes()
    path.write_bytes(b"")
    timer = later(0.3, lambda: path.write_bytes(data))
    Ledger(tmp_path).claim()
    timer.join()


def test_a_record_behind_a_torn_one_counts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, products.layout().groups)
    ledger.claim()

    def torn(true: Call) -> Call:
        def write(descriptor: int, data: Any) -> int:
            true(descriptor, bytes(data[:10]))
            raise OSError(errno.ENOSPC, "full")

        return write

    with lying("write", torn), pytest.raises(DiskTrouble):
        ledger.void(("", 1), "the disk is full")
    ledger.void(("", 2), "there is room again")
    ledger.release()
    assert Ledger(tmp_path, products.layout().groups).generations == {("", 2): 1}
    assert Ledger(tmp_path).holder() is None


def test_a_product_removed_under_its_controller_stops_it(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    filling = Filling(product)
    one = products.written(filling, 0)
    shutil.rmtree(product.folder)
    with pytest.raises((Fenced, DiskTrouble)):
        filling.commit([one])
    with pytest.raises(BadProduct):
        StoredProduct(product.folder)
    filling.__exit__(None, None, None)
