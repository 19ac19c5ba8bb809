"""Whatever the file system says or hides: a product ends whole, or a sentence says why not; never a wrong byte."""

import errno
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from terp.storage import files
from terp.storage.errors import BadInput, BadProduct, Busy, Damaged, DiskTrouble, Fenced
from terp.storage.filling import Filling
from terp.storage.ledger import Ledger
from terp.storage.product import StoredProduct
from terp.storage.source import identify

sys.path.insert(0, str(Path(__file__).parent))
import products

type Call = Callable[..., Any]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of the product on a disk that tells the truth."""
    return whole(tmp_path_factory.mktemp("honest"))


def whole(folder: Path) -> dict[str, bytes]:
    """Fill and seal the product; return all its bytes that count."""
    product = products.new(folder)
    products.fill(product)
    assert list(product.verify()) == []
    seal = {name: (product.folder / name).read_bytes() for name in ("manifest.jsonl", "seal.json")}
    return {**products.tree(product.folder), **seal}


@contextmanager
def lying(name: str, lie: Callable[[Call], Call]) -> Iterator[None]:
    """Let a function of `os` lie."""
    true = getattr(os, name)
    setattr(os, name, lie(true))
    try:
        yield
    finally:
        setattr(os, name, true)


def fails(code: int, when: Callable[[int], bool]) -> Callable[[Call], Call]:
    """Fail those calls, counted from 0, for which `when` says so."""
    count = iter(range(10**6))

    def lie(true: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> Any:
            if when(next(count)):
                raise OSError(code, os.strerror(code))
            return true(*args, **kwargs)

        return call

    return lie


def denies(code: int) -> Callable[[Call], Call]:
    """Do the work, then report an error, as a repeated request on a network file system does."""

    def lie(true: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> None:
            true(*args, **kwargs)
            raise OSError(code, os.strerror(code))

        return call

    return lie


def calls(name: str, folder: Path) -> int:
    """How often making the product calls a function of `os`."""
    made = 0

    def counted(true: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal made
            made += 1
            return true(*args, **kwargs)

        return call

    with lying(name, counted):
        whole(folder)
    return made


def trouble(folder: Path) -> str | None:
    """Fill and seal the product; return what is told of the disk, if anything."""
    try:
        products.fill(products.new(folder))
    except DiskTrouble as error:
        return str(error)
    return None


def once(n: int) -> Callable[[int], bool]:
    return lambda count: count == n


def later(seconds: float, what: Callable[[], Any]) -> threading.Timer:
    timer = threading.Timer(seconds, what)
    timer.start()
    return timer


@pytest.mark.parametrize(("name", "code"), [("fsync", errno.EIO), ("write", errno.ENOSPC), ("close", errno.EIO)])
def test_after_any_one_failure_of_the_disk_the_same_work_ends_in_the_same_bytes(
    tmp_path: Path, honest: dict[str, bytes], name: str, code: int
) -> None:
    (tmp_path / "counted").mkdir()
    number = calls(name, tmp_path / "counted")
    for n in range(0, number, max(number // 40, 1)):
        place = tmp_path / str(n)
        place.mkdir()
        with lying(name, fails(code, once(n))):
            told = trouble(place)
            assert told is None or "again" in told
        assert whole(place) == honest, f"{name} number {n}"


def test_a_disk_that_never_syncs_is_told_in_words_and_nothing_counts(tmp_path: Path, honest: dict[str, bytes]) -> None:
    product = products.new(tmp_path)
    with (
        lying("fsync", fails(errno.EIO, lambda _: True)),
        pytest.raises(DiskTrouble, match="input/output error"),
    ):
        products.fill(product)
    assert product.progress() == (0, products.REGIONS)
    assert whole(tmp_path) == honest


@pytest.mark.parametrize("name", ["link", "replace", "rename"])
@pytest.mark.parametrize("code", [errno.EEXIST, errno.ENOENT, errno.EIO])
def test_what_happened_but_was_reported_as_failed_is_no_failure(
    tmp_path: Path, honest: dict[str, bytes], name: str, code: int
) -> None:
    with lying(name, denies(code)):
        assert whole(tmp_path) == honest


def test_a_disk_without_hard_links_is_as_good(tmp_path: Path, honest: dict[str, bytes]) -> None:
    with lying("link", fails(errno.EPERM, lambda _: True)):
        assert whole(tmp_path) == honest


def test_a_product_whose_name_could_not_be_synced_is_not_begun(tmp_path: Path) -> None:
    failed = []

    def no_sync(true: Call) -> Call:
        def sync(descriptor: int) -> None:
            named = (tmp_path / "rows-0").exists()
            if named and os.readlink(f"/proc/self/fd/{descriptor}") == str(tmp_path):
                failed.append(descriptor)
                raise OSError(errno.EIO, "I/O error")
            true(descriptor)

        return sync

    with lying("fsync", no_sync):
        for _ in range(2):
            with pytest.raises(DiskTrouble):
                products.new(tmp_path)
    assert len(failed) == 2, "the second run, too, has to make the name durable"


def test_a_shard_that_is_seen_late_or_short_is_waited_for(tmp_path: Path) -> None:
    with Filling(products.new(tmp_path)) as filling:
        late, short = products.written(filling, 0), products.written(filling, 1)
        unseen, torn = (filling.attempts / one.attempts["v"][0] for one in (late, short))
        unseen.rename(tmp_path / "unseen")
        data = torn.read_bytes()
        torn.write_bytes(data[:9])
        timers = [
            later(0.3, lambda: (tmp_path / "unseen").rename(unseen)),
            later(0.3, lambda: torn.write_bytes(data)),
        ]
        assert filling.commit([late, short]) == []
        for timer in timers:
            timer.join()


def test_many_shards_that_are_never_seen_cost_one_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.5)
    with Filling(products.new(tmp_path)) as filling:
        batch = [products.written(filling, index) for index in range(products.REGIONS)]
        for one in batch:
            (filling.attempts / one.attempts["v"][0]).unlink()
        started = time.monotonic()
        assert filling.commit(batch) == batch
        assert time.monotonic() - started < 2


def test_a_recorded_shard_that_a_new_controller_sees_late_is_not_given_up(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    shard = product.data / "v/c/2/0"
    shard.rename(tmp_path / "unseen")
    timer = later(0.3, lambda: (tmp_path / "unseen").rename(shard))
    with Filling(product) as filling:
        assert filling.found_bad == []
    timer.join()


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


def test_the_last_word_of_a_controller_may_fail(tmp_path: Path, honest: dict[str, bytes]) -> None:
    product = products.new(tmp_path)
    filling = Filling(product)
    with lying("fsync", fails(errno.EIO, lambda _: True)):
        filling.__exit__(None, None, None)
    assert whole(tmp_path) == honest


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
    ledger = Ledger(tmp_path)
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
    assert Ledger(tmp_path).generations == {("", 2): 1}
    assert Ledger(tmp_path).holder() is None


def test_trouble_in_reading_a_description_is_trouble_of_the_disk_and_no_damage(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    path = product.folder / "product.json"
    path.unlink()
    path.mkdir()  # what stands in for a file that cannot be read, for a superuser too
    with pytest.raises(DiskTrouble):
        StoredProduct(product.folder)


def test_a_lost_coordinate_is_told_and_not_read_as_fill(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    assert int(product.frame("")["t"][3]) == 3
    (product.data / "t/c/0").unlink()
    with pytest.raises(Damaged):
        product.frame("")


def test_a_source_changed_within_a_tick_of_the_clock_is_another_source(tmp_path: Path) -> None:
    import numpy as np
    import xarray as xr

    path, found = tmp_path / "a.nc", []
    for value in (1.0, 2.0):
        xr.Dataset({"v": ("x", np.full(5, value))}).to_netcdf(tmp_path / "new.nc")
        path.write_bytes((tmp_path / "new.nc").read_bytes())  # the same inode and size
        now = time.time_ns()
        os.utime(path, ns=(now, found[0].parts[0].stamp[1] if found else now))
        found.append(identify(path, tmp_path / "cache"))
    assert found[0].parts[0].stamp == found[1].parts[0].stamp
    assert found[0].content != found[1].content
    os.utime(path, ns=(0, 0))
    with pytest.raises(BadInput, match="changed"):
        found[0].check()


def test_what_was_begun_long_ago_and_never_became_a_product_is_removed(tmp_path: Path) -> None:
    old, young = tmp_path / ".new-1", tmp_path / ".new-2"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (0, 0))
    products.new(tmp_path)
    assert not old.exists()
    assert young.exists()


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
