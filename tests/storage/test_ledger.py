"""The ledger tells what is done, and only one controller at a time can add to it."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terp.storage.errors import Busy, DiskTrouble, Fenced
from terp.storage.grid import Array, Group
from terp.storage.ledger import Ledger
from terp.storage.remarks import MOST, OTHERS, remarked
from terp.storage.rows import Record
from terp.storage.shard import Stored

sys.path.insert(0, str(Path(__file__).parent))
from lies import Call, fails, later, lying

REGIONS = 10
GROUPS = (Group("", {"x": (REGIONS, 1)}, (Array("v", ("x",), (REGIONS,), "float32", (1,), (1,)),)),)


def record(index: int, generation: int = 0) -> Record:
    return Record("", index, generation, {"v": stored(index)}, 0.5, "host/1")


def stored(index: int) -> Stored:
    return Stored(100 + index, f"{index:064x}", f"{index + 1:064x}", 7)


def recorded(ledger: Ledger) -> dict[int, Stored]:
    """All that counts."""
    [(numbers, rows)] = ledger.stored(GROUPS[0])
    assert list(numbers) == sorted(set(range(REGIONS)) - {index for _, index in ledger.missing()})
    assert ledger.count == len(numbers)
    return {int(number): Stored.from_row(row[0]) for number, row in zip(numbers, rows, strict=True)}


def test_what_is_recorded_is_there_for_the_next_reader(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, GROUPS)
    ledger.claim()
    ledger.append([record(1), record(2)])
    ledger.void(("", 1), "it was damaged")
    ledger.release()
    again = Ledger(tmp_path, GROUPS)
    assert recorded(again) == {2: stored(2)}
    assert again.generations == {("", 1): 1}
    assert again.holder() is None


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_ledger_torn_or_altered_anywhere_loses_lines_but_never_invents_one(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    ledger = Ledger(folder, GROUPS)
    ledger.claim()
    ledger.append(record(i) for i in range(8))
    ledger.release()
    path = folder / data.draw(st.sampled_from(["000001.log", "000001.rows"]))
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw))) :]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    for index, found in recorded(Ledger(folder, GROUPS)).items():
        assert found == stored(index)


def test_a_second_controller_is_told_who_works_there(tmp_path: Path) -> None:
    first = Ledger(tmp_path, GROUPS)
    first.claim()
    with pytest.raises(Busy, match=f"process {os.getpid()}"):
        Ledger(tmp_path, GROUPS).claim()


def test_a_controller_that_was_killed_is_replaced_without_asking(tmp_path: Path) -> None:
    code = (
        "from terp.storage.ledger import Ledger; from pathlib import Path; import sys, time\n"
        "ledger = Ledger(Path(sys.argv[1])); ledger.claim(); print('claimed', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"claimed\n"
        with pytest.raises(Busy):
            Ledger(tmp_path, GROUPS).claim()
        other.send_signal(signal.SIGKILL)
    ledger = Ledger(tmp_path, GROUPS)
    ledger.claim()
    assert ledger.epoch == 2


def test_a_controller_on_another_host_is_replaced_only_when_a_person_says_so(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, GROUPS)
    ledger.claim()
    path = tmp_path / "000001.log"
    header = orjson.loads(path.read_bytes()[9:])
    header["holder"]["host"] = "n7"
    text = orjson.dumps(header)
    path.write_bytes(b"%08x %b\n" % (google_crc32c.value(text), text))
    other = Ledger(tmp_path, GROUPS)
    with pytest.raises(Busy, match="take-over"):
        other.claim()
    other.claim(take_over=True)
    assert other.epoch == 2


def test_what_a_replaced_controller_adds_later_does_not_count(tmp_path: Path) -> None:
    zombie = Ledger(tmp_path, GROUPS)
    zombie.claim()
    zombie.append([record(1)])
    new = Ledger(tmp_path, GROUPS)
    new.claim(take_over=True)
    with pytest.raises(Fenced):
        zombie.append([record(2)])
    # even were it written between the check and the write:
    late = zombie.folder / "000001.rows"
    row = np.frombuffer(late.read_bytes(), zombie.type).copy()
    row["index"] = 2
    row["crc32c"] = google_crc32c.value(row.tobytes()[:-4])
    with late.open("ab") as file:
        file.write(row.tobytes())
    last = Ledger(tmp_path, GROUPS)
    last.claim(take_over=True)
    assert set(recorded(last)) == {1}


_CLAIM = """
import sys
from pathlib import Path
from terp.storage.errors import Busy
from terp.storage.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
try:
    ledger.claim()
    print(ledger.epoch, flush=True)
except Busy:
    print(0, flush=True)
sys.stdin.readline()  # live on until all have tried
"""


def test_of_many_that_claim_at_once_one_gets_it(tmp_path: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    several = [subprocess.Popen([sys.executable, "-c", _CLAIM, str(tmp_path)], **pipes) for _ in range(5)]  # type: ignore[call-overload]
    for one in several:
        assert one.stdout.readline() == "ready\n"
    for one in several:
        one.stdin.write("go\n")
        one.stdin.flush()
    results = [int(one.stdout.readline()) for one in several]
    for one in several:
        one.communicate("end\n", timeout=60)
    assert sorted(results) == [0, 0, 0, 0, 1]


def test_a_full_disk_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path, GROUPS)
    ledger.claim()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskTrouble, match="the disk is full"):
        ledger.append([record(1)])


def test_rows_behind_one_that_was_torn_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path, GROUPS)
    ledger.claim()
    ledger.append([record(1)])
    true = os.write

    def torn(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", true)
        true(descriptor, bytes(data)[:31])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", torn)
    with pytest.raises(DiskTrouble):
        ledger.append([record(2)])
    ledger.append([record(3)])
    assert set(recorded(Ledger(tmp_path, GROUPS))) == {1, 3}
    assert Ledger(tmp_path, GROUPS).spoilt == 1


def test_what_was_begun_anew_counts_in_its_last_generation_only(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, GROUPS)
    ledger.claim()
    ledger.append([record(1), record(2)])
    ledger.void(("", 1), "it was damaged")
    ledger.append([record(1)])  # a late word of what was given up
    assert set(recorded(Ledger(tmp_path, GROUPS))) == {2}
    ledger.append([record(1, 1)])
    assert set(recorded(Ledger(tmp_path, GROUPS))) == {1, 2}


def test_a_million_regions_are_opened_and_searched_in_a_second(tmp_path: Path) -> None:
    many = 10**6
    groups = (Group("", {"x": (many, 1)}, (Array("v", ("x",), (many,), "float32", (1,), (1,)),)),)
    ledger = Ledger(tmp_path, groups)
    ledger.claim()
    rows = np.zeros(many, ledger.type)
    rows["index"] = np.random.default_rng(1).permutation(many)
    rows["stored"]["size"] = 7
    raw, size = rows.tobytes(), ledger.type.itemsize
    rows["crc32c"] = [google_crc32c.value(raw[at : at + size - 4]) for at in range(0, len(raw), size)]
    (tmp_path / "000001.rows").write_bytes(rows[: many - many // 100].tobytes())
    seconds = []
    for _ in range(3):
        began = time.process_time()
        opened = Ledger(tmp_path, groups)
        missing = list(opened.missing())
        seconds.append(time.process_time() - began)
    assert {index for _, index in missing} == set(rows["index"][many - many // 100 :].tolist())
    assert min(seconds) < 1, "seconds of one core"


@pytest.mark.parametrize("short", [None, 10])
def test_rows_that_a_new_controller_sees_late_are_not_lost(tmp_path: Path, short: int | None) -> None:
    first = Ledger(tmp_path, GROUPS)
    first.claim()
    first.append([record(1), record(2)])
    path, epochs = tmp_path / "000001.rows", 1
    if short is not None:  # a second controller has said how long they are
        Ledger(tmp_path, GROUPS).claim(take_over=True)
        epochs = 2
    raw = path.read_bytes()
    path.unlink()
    if short is not None:
        path.write_bytes(raw[:short])
    timer = later(0.3, lambda: path.write_bytes(raw))
    new = Ledger(tmp_path, GROUPS)
    new.claim(take_over=True)
    timer.join()
    assert new.epoch == epochs + 1
    assert set(recorded(new)) == set(recorded(Ledger(tmp_path, GROUPS))) == {1, 2}


def test_rows_that_are_never_seen_again_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terp.storage.ledger.PATIENCE", 0.2)
    first = Ledger(tmp_path, GROUPS)
    first.claim()
    first.append([record(1)])
    (tmp_path / "000001.rows").unlink()
    new = Ledger(tmp_path, GROUPS)
    new.claim(take_over=True)
    new.append([record(2)])
    began = time.monotonic()
    Ledger(tmp_path, GROUPS).claim(take_over=True)
    assert time.monotonic() - began < 0.2, "they are waited for once"
    assert set(recorded(Ledger(tmp_path, GROUPS))) == {2}


def test_what_counts_of_a_segment_is_what_the_next_controller_saw_whatever_later_ones_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terp.storage.ledger.PATIENCE", 0.1)
    first = Ledger(tmp_path, GROUPS)
    first.claim()
    first.append([record(1), record(2)])
    Ledger(tmp_path, GROUPS).claim(take_over=True)
    path = tmp_path / "000001.rows"
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    Ledger(tmp_path, GROUPS).claim(take_over=True)
    path.write_bytes(raw)
    assert set(recorded(Ledger(tmp_path, GROUPS))) == {1, 2}


def test_each_array_of_a_region_has_its_own_record_in_whatever_order_it_is_told(tmp_path: Path) -> None:
    two = tuple(Array(name, ("x",), (REGIONS,), "float32", (1,), (1,)) for name in "ab")
    groups = (Group("one", {"x": (REGIONS, 1)}, two[:1]), Group("two", {"x": (REGIONS, 1)}, two))
    ledger = Ledger(tmp_path, groups)
    ledger.claim()
    ledger.append([Record("two", 3, 0, {"b": stored(8), "a": stored(7)}, 0.1, "w")])
    ledger.append([Record("one", 4, 0, {"a": stored(5)}, 0.1, "w")])
    again = Ledger(tmp_path, groups)
    for group, index, expected in ((groups[0], 4, [stored(5)]), (groups[1], 3, [stored(7), stored(8)])):
        [(numbers, rows)] = again.stored(group)
        assert list(numbers) == [index]
        assert [Stored.from_row(row) for row in rows[0]] == expected


def test_a_word_of_a_lower_generation_that_comes_later_is_not_the_last(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, GROUPS)
    ledger.claim()
    ledger.void(("", 1), "damaged")
    ledger.void(("", 1), "damaged again")
    ledger.append([record(1, 1)])
    ledger._write([{"void": ["", 1], "generation": 1, "why": "of one who had not seen the others"}])
    again = Ledger(tmp_path, GROUPS)
    assert again.generations == {("", 1): 2}
    assert recorded(again) == {}


def test_a_copy_that_somebody_left_beside_a_segment_is_none(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, GROUPS)
    ledger.claim()
    ledger.append([record(1)])
    (tmp_path / "000001 (copy).log").write_bytes((tmp_path / "000001.log").read_bytes())
    ledger.append([record(2)])
    assert set(recorded(Ledger(tmp_path, GROUPS))) == {1, 2}


EVENTS = st.sampled_from(["record", "void", "torn", "unsynced", "late", "take over", "take over torn"])


@settings(max_examples=150, deadline=None)
@given(events=st.lists(st.tuples(EVENTS, st.integers(0, REGIONS - 1), st.integers(1, 500)), max_size=14))
def test_whatever_happens_what_was_recorded_counts_and_nothing_that_was_not(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    with ExitStack() as files:  # of each controller in turn; a zombie does not close its own
        ledger = Ledger(folder, GROUPS)
        ledger.claim()
        files.callback(ledger.release)
        _live_through(folder, ledger, files, events)


def _live_through(folder: Path, ledger: Ledger, files: ExitStack, events: list[tuple[str, int, int]]) -> None:
    sure, possible, old = set[int](), set[int](), list[Path]()
    for event, index, cut in events:
        generation = ledger.generations.get(("", index), 0)
        if event == "record":
            ledger.append([record(index, generation)])
            sure.add(index)
        elif event == "void":
            ledger.void(("", index), "damaged")
            sure.discard(index)
            possible.discard(index)
        elif event in ("torn", "unsynced"):
            name, lie = ("write", torn(cut)) if event == "torn" else ("fsync", fails(errno.EIO, lambda _: True))
            ledger._introduce([record(0)])
            with lying(name, lie), pytest.raises(DiskTrouble):
                ledger.append([record(index, generation)])
            possible.add(index)
        elif event == "late" and old:
            with old[cut % len(old)].open("ab") as file:
                file.write(row(ledger, index, 9))
        elif event.startswith("take over"):
            old.append(folder / f"{ledger.epoch:06}.rows")
            if event.endswith("torn"):
                with old[-1].open("ab") as file:
                    file.write(row(ledger, index, 9)[: cut % ledger.type.itemsize])
            ledger = Ledger(folder, GROUPS)
            ledger.claim(take_over=True)
            files.callback(ledger.release)
        found = recorded(Ledger(folder, GROUPS))
        assert sure <= set(found) <= sure | possible
        assert all(one == stored(number) for number, one in found.items())


def row(ledger: Ledger, index: int, generation: int) -> bytes:
    """A sound row of a region."""
    one = np.zeros(1, ledger.type)
    one["index"], one["generation"] = index, generation
    one["crc32c"] = google_crc32c.value(one.tobytes()[:-4])
    return one.tobytes()


def torn(cut: int) -> Callable[[Call], Call]:
    """Write a part, then say that there is no more room."""

    def lie(true: Call) -> Call:
        def write(descriptor: int, data: Any) -> int:
            true(descriptor, bytes(data)[:cut])
            raise OSError(errno.ENOSPC, "No space left on device")

        return write

    return lie


def test_a_million_rows_are_read_in_the_memory_of_a_few(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from terp.storage.ledger import Ledger\n"
        "from terp.storage.grid import Array, Group\n"
        "array = Array('v', ('x',), (10**6,), 'float32', (1,), (1,))\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10\n"
        "before = peak(); Ledger(Path(sys.argv[1]), (Group('', {'x': (10**6, 1)}, (array,)),)); print(peak() - before)"
    )
    ledger = Ledger(tmp_path, GROUPS)
    ledger.claim()
    (tmp_path / "000001.rows").write_bytes(row(ledger, 1, 0) * 10**6)
    told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 50, "MiB"


def test_what_was_remarked_on_regions_is_kept_whoever_made_them(tmp_path: Path) -> None:
    for index, said in enumerate([("odd",), ("odd", "cold"), (), ("cold", "odd")]):
        ledger = Ledger(tmp_path, GROUPS)
        ledger.claim(take_over=True)
        ledger.append([replace(record(index), remarks=said)])
    assert ledger.remarks() == Ledger(tmp_path, GROUPS).remarks() == {"odd": 3, "cold": 2}
    ledger.void(("", 0), "lost")
    assert Ledger(tmp_path, GROUPS).remarks() == {"odd": 2, "cold": 2}


def test_remarks_cost_a_line_once_and_regions_without_any_cost_none(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, GROUPS)
    ledger.claim()
    ledger.append([record(0)])
    log, rows = tmp_path / "000001.log", tmp_path / "000001.rows"
    before, row = log.stat().st_size, rows.stat().st_size
    assert not remarked(tmp_path)
    assert ledger.remarks() == {}
    ledger.append([replace(record(index), remarks=("odd",)) for index in range(1, 4)])
    assert log.stat().st_size - before < 64
    assert rows.stat().st_size == 4 * row
    assert remarked(tmp_path)


def test_remarks_of_more_kinds_than_are_told_apart_are_counted_together(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, GROUPS)
    ledger.claim()
    ledger.append([replace(record(0), remarks=tuple(f"{n} odd" for n in range(MOST + 3))), record(1)])
    told = Ledger(tmp_path, GROUPS).remarks()
    assert told == {OTHERS: 1} | {f"{n} odd": 1 for n in range(MOST)}
