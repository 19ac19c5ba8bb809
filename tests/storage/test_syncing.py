"""Regions that are written together count only when all of them are on the disk; else none of them is left."""

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from terp.storage.errors import DiskTrouble
from terp.storage.filling import Filling
from terp.storage.writing import Written, written_together

sys.path.insert(0, str(Path(__file__).parent))
import products
from lies import Call, lying


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    with Filling(products.new(tmp_path)) as begun:
        yield begun


def counted(calls: list[str]) -> Callable[[Call], Call]:
    """Note the name of each file that is synced."""

    def lie(true: Call) -> Call:
        def call(descriptor: int) -> None:
            calls.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
            true(descriptor)

        return call

    return lie


def names(made: list[Written]) -> list[str]:
    return sorted(name for one in made for name, _ in one.attempts.values())


def left(filling: Filling) -> list[str]:
    return sorted(path.name for path in filling.attempts.iterdir())


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_none_is_synced_before_the_end_and_all_are_then(filling: Filling) -> None:
    synced, before = list[str](), open_files()
    with lying("fsync", counted(synced)):
        with written_together(filling.attempts):
            made = [products.written(filling, index) for index in range(products.REGIONS)]
            assert synced == []
        assert sorted(synced) == names(made)
    assert open_files() == before
    assert filling.commit(made) == []
    filling.seal()
    assert list(filling.product.verify()) == []


@pytest.mark.parametrize("call", ["fsync", "close"])
@pytest.mark.parametrize("number", range(products.REGIONS))
def test_where_one_does_not_reach_the_disk_none_is_left_and_the_same_can_be_done_again(
    filling: Filling, call: str, number: int
) -> None:
    before, count = open_files(), iter(range(10**6))

    def does_and_fails(true: Call) -> Call:
        def called(descriptor: int) -> None:
            true(descriptor)
            if next(count) == number:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        return called

    with ExitStack() as lies, pytest.raises(DiskTrouble, match="input/output error"):  # noqa: PT012, SIM117
        with written_together(filling.attempts):
            for index in range(products.REGIONS):
                products.written(filling, index)
            lies.enter_context(lying(call, does_and_fails))  # from the end on
    assert left(filling) == []
    assert open_files() == before
    with written_together(filling.attempts):
        made = [products.written(filling, index) for index in range(products.REGIONS)]
    assert filling.commit(made) == []


def test_where_a_region_cannot_be_made_those_before_it_are_not_left_half_there(filling: Filling) -> None:
    before = open_files()
    with pytest.raises(ZeroDivisionError), written_together(filling.attempts):  # noqa: PT012
        for index in range(3):
            products.written(filling, index)
        _ = 1 / 0
    assert left(filling) == []
    assert open_files() == before


def test_an_error_of_what_makes_a_region_is_not_taken_for_one_of_the_disk(filling: Filling) -> None:
    with pytest.raises(FileNotFoundError, match="a table of the user's"), written_together(filling.attempts):
        raise FileNotFoundError(errno.ENOENT, "no such file", "a table of the user's")


def test_where_many_wait_or_large_ones_the_next_are_synced_at_once(
    filling: Filling, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len((filling.attempts / names([products.written(filling, 0)])[0]).read_bytes())
    for name, most in (("_MOST_BYTES", 2 * size), ("_MOST_FILES", 2)):
        synced = list[str]()
        with monkeypatch.context() as patched, lying("fsync", counted(synced)):
            patched.setattr(f"terp.storage.syncing.{name}", most)
            with written_together(filling.attempts):
                made = [products.written(filling, index) for index in range(4)]
                assert synced == [names([one])[0] for one in made[2:]], name
            assert sorted(synced) == names(made)


def test_what_another_thread_writes_is_synced_at_once(filling: Filling) -> None:
    synced, made = list[str](), list[Any]()
    with lying("fsync", counted(synced)), written_together(filling.attempts):
        thread = threading.Thread(target=lambda: made.append(products.written(filling, 1)))
        thread.start()
        thread.join()
        assert synced == names(made)
