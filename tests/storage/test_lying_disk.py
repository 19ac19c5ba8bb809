"""Whatever the file system says or hides: a product ends whole, or a sentence says why not; never a wrong byte."""

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from terp.storage import files
from terp.storage.errors import BadInput, Damaged, DiskTrouble
from terp.storage.filling import Filling, sizes_are_those
from terp.storage.product import StoredProduct
from terp.storage.source import identify

sys.path.insert(0, str(Path(__file__).parent))
import products
from lies import Call, denies, fails, later, lying


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of the product on a disk that tells the truth."""
    return whole(tmp_path_factory.mktemp("honest"))


def whole(folder: Path) -> dict[str, bytes]:
    """Fill and seal the product; return all its bytes that count."""
    product = products.new(folder)
    products.fill(product)
    assert list(product.verify()) == []
    seal = {name: (product.folder / name).read_bytes() for name in ("manifest.rows", "manifest.sums", "seal.json")}
    return {**products.tree(product.folder), **seal}


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


@pytest.mark.parametrize("tries", [12, pytest.param(10**6, marks=pytest.mark.campaign)])
@pytest.mark.parametrize(("name", "code"), [("fsync", errno.EIO), ("write", errno.ENOSPC), ("close", errno.EIO)])
def test_after_any_one_failure_of_the_disk_the_same_work_ends_in_the_same_bytes(
    tmp_path: Path, honest: dict[str, bytes], name: str, code: int, tries: int
) -> None:
    (tmp_path / "counted").mkdir()
    number = calls(name, tmp_path / "counted")
    for n in range(0, number, max(number // tries, 1)):
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


def test_a_disk_that_takes_nothing_and_says_nothing_is_told_in_words(tmp_path: Path) -> None:
    with lying("write", lambda _: lambda *_: 0), pytest.raises(DiskTrouble, match="input/output error"):
        products.new(tmp_path)


def test_a_disk_that_gives_little_at_a_time_is_read_all_the_same(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    products.fill(product)

    def few(true: Call) -> Call:
        return lambda descriptor, length, start: true(descriptor, min(length, 7), start)

    def few_into(true: Call) -> Call:
        return lambda descriptor, buffers, start: true(descriptor, [one[:7] for one in buffers], start)

    with lying("pread", few), lying("preadv", few_into):
        data = StoredProduct(product.folder).open().load()
    assert (data["v"] == products.expected()).all()
    assert int(data["t"][3]) == 3


def test_trouble_in_looking_at_sizes_is_told_in_words(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    products.fill(product)
    with lying("scandir", fails(errno.EIO, lambda _: True)), pytest.raises(DiskTrouble, match="input/output error"):
        sizes_are_those(product)


def test_a_folder_where_a_shard_should_be_is_named(tmp_path: Path) -> None:
    product = products.new(tmp_path)
    (product.data / "v/c/2/0").mkdir(parents=True)
    with pytest.raises(DiskTrouble, match=r"v/c/2/0: a folder stands where a file should be"):
        products.fill(product)


def test_a_file_that_goes_while_sizes_are_looked_at_hides_no_other(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / str(number)).write_bytes(b"x")
    walk = files.sizes_below(tmp_path)
    seen = {next(walk)[0]}
    gone = {str(number) for number in range(10)} - seen
    for name in sorted(gone)[:4]:
        (tmp_path / name).unlink()
    assert {*seen, *(name for name, _ in walk)} >= seen | set(sorted(gone)[4:])


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


def test_the_last_word_of_a_controller_may_fail(tmp_path: Path, honest: dict[str, bytes]) -> None:
    product = products.new(tmp_path)
    filling = Filling(product)
    with lying("fsync", fails(errno.EIO, lambda _: True)):
        filling.__exit__(None, None, None)
    assert whole(tmp_path) == honest


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
    assert found[0].sha256 != found[1].sha256
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
