"""A journal tells whether any of its lines was changed, and which was the first; only its newest writer adds to it."""

import errno
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rfc8785
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from lies import fails, lying

from terp.storage.errors import DiskTrouble, Fenced
from terp.storage.journal import NOTHING, Chain, Journal

BEGIN = datetime(2026, 11, 22, 3, 7, 55, tzinfo=UTC)


def clock(*seconds: float) -> Iterator[datetime]:
    return (BEGIN + timedelta(seconds=one) for one in seconds)


def written(folder: Path, count: int = 6) -> Path:
    path = folder / "journal.jsonl"
    journal = Journal(path)
    for number in range(count):
        journal.append("made", {"what": number})
    return path


def read(path: Path) -> Chain:
    return Chain.of(path.read_bytes())


def test_each_line_is_canonical_and_behind_the_digest_of_the_line_before(tmp_path: Path) -> None:
    """Told with nothing of terp's."""
    before = NOTHING
    for number, line in enumerate(written(tmp_path).read_bytes().splitlines(keepends=True), 1):
        entry = json.loads(line)
        assert rfc8785.dumps(entry) + b"\n" == line
        assert (entry["number"], entry["before"]) == (number, before)
        before = blake3(line).hexdigest()
    assert read(tmp_path / "journal.jsonl").head == before


EDITS = {
    "edited": (lambda lines: [*lines[:2], lines[2].replace(b'"what":2', b'"what":7'), *lines[3:]], 3),
    "edited into no JSON": (lambda lines: [*lines[:2], b"{" + lines[2], *lines[3:]], 3),
    "edited into no canonical JSON": (lambda lines: [*lines[:2], lines[2].replace(b":", b": "), *lines[3:]], 3),
    "deleted": (lambda lines: [*lines[:2], *lines[3:]], 3),
    "deleted at the beginning": (lambda lines: lines[1:], 1),
    "swapped": (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], 3),
    "duplicated": (lambda lines: [*lines[:3], lines[2], *lines[3:]], 4),
    "put in": (lambda lines: [*lines[:2], b'{"number":3}\n', *lines[2:]], 3),
    "emptied": (lambda lines: [*lines[:2], b"\n", *lines[3:]], 3),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_was_done_to_a_line_is_found_and_the_first_is_named(tmp_path: Path, edit: str) -> None:
    lines = list(read(written(tmp_path)).lines)
    change, first = EDITS[edit]
    assert Chain.of(b"".join(lines)).damage() == ""
    assert Chain.of(b"".join(change(lines))).damage().startswith(f"line {first} ")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_change_to_any_byte_is_found_by_the_chain_or_by_its_head(data: st.DataObject) -> None:
    whole = _made(data.draw(st.lists(st.text(), min_size=1, max_size=6)))
    chain = Chain.of(whole)
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    altered = Chain.of(whole[:at] + bytes([other]) + whole[at + 1 :])
    assert altered.damage() or altered.unlike(len(chain.lines), chain.head, over=True)
    named = altered.damage() or altered.unlike(len(chain.lines), chain.head, over=True)
    assert int(named.split()[1]) <= whole[:at].count(b"\n") + 2


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(), min_size=2, max_size=6), st.data())
def test_no_other_order_or_choice_of_lines_is_the_same_journal(words: list[str], data: st.DataObject) -> None:
    chain = Chain.of(_made(words))
    order = data.draw(st.lists(st.sampled_from(range(len(chain.lines))), max_size=8))
    other = Chain.of(b"".join(chain.lines[at] for at in order))
    same = order == list(range(len(chain.lines)))
    told = other.damage() or other.unlike(len(chain.lines), chain.head, over=True)
    assert bool(told) != same


def _made(words: list[str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.jsonl")
        for word in words:
            journal.append("said", {"word": word})
        chain = Chain.of(journal.path.read_bytes())
        assert chain.damage() == ""
        assert (journal.lines, journal.head) == (len(words), chain.head)
        return journal.path.read_bytes()


def test_a_journal_that_is_cut_short_or_goes_on_is_another(tmp_path: Path) -> None:
    path = written(tmp_path)
    chain = read(path)
    short = Chain.of(b"".join(chain.lines[:4]))
    assert short.damage() == ""
    assert short.unlike(6, chain.head, over=False).startswith("line 5 is gone")
    Journal(path).append("made", {"by": "a stranger"})  # which follows from all that is there
    longer = read(path)
    assert longer.damage() == ""
    assert longer.unlike(6, chain.head, over=False) == ""
    assert longer.unlike(6, chain.head, over=True).startswith("line 7 was put in")


def test_an_edit_of_all_lines_from_one_on_is_found_by_the_head(tmp_path: Path) -> None:
    chain = read(written(tmp_path))
    (tmp_path / "other").mkdir()
    forged = written(tmp_path / "other")
    assert read(forged).damage() == ""
    assert read(forged).unlike(6, chain.head, over=True).startswith("line 6 was altered")


def test_a_clock_that_jumps_back_is_told_and_time_does_not_go_back(tmp_path: Path) -> None:
    moments = clock(0, 5, 2, 4, 6)
    journal = Journal(tmp_path / "journal.jsonl", lambda: next(moments))
    for number in range(5):
        journal.append("made", {"what": number})
    entries = read(journal.path).entries()
    assert [one["time"][17:19] for one in entries] == ["55", "00", "00", "00", "01"]
    assert [one.get("clock", "")[17:19] for one in entries] == ["", "", "57", "59", ""]
    assert read(journal.path).damage() == ""


def test_a_line_whose_time_goes_back_is_found_though_the_chain_holds(tmp_path: Path) -> None:
    moments = clock(9, 5)
    first, second = Journal(tmp_path / "a", lambda: next(moments)), Journal(tmp_path / "b", lambda: next(moments))
    first.append("made", {})
    second.append("made", {})
    early = json.loads((tmp_path / "b").read_bytes()) | {"number": 2, "before": first.head}
    told = Chain.of((tmp_path / "a").read_bytes() + rfc8785.dumps(early) + b"\n").damage()
    assert told.startswith("line 2 was altered: its time is before")


def test_a_torn_line_is_left_out_and_told_by_who_comes_next(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"before":"0')
    assert read(path).torn == 12
    assert read(path).damage() == ""
    Journal(path).append("started", {})
    assert path.read_bytes().startswith(whole)
    assert read(path).entry(7)["torn"] == 12
    assert read(path).damage() == ""


def test_who_comes_next_takes_no_altered_line_out_and_it_is_still_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    altered = path.read_bytes().replace(b'"what":2', b'"what":9').replace(b'"what":5}', b'"what":5')
    path.write_bytes(altered)
    Journal(path).append("started", {})
    assert path.read_bytes().startswith(altered)
    assert read(path).damage().startswith("line 3 ")


def test_an_older_writer_can_add_nothing_once_a_newer_has_begun(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    older, newer, newest = Journal(path), Journal(path), Journal(path)
    older.append("made", {"by": "older"})
    newer.append("made", {"by": "newer"})
    with pytest.raises(Fenced, match="a newer start"):
        older.append("made", {"by": "older"})
    newest.append("made", {"by": "newest"})
    for writer in (older, newer):
        with pytest.raises(Fenced):
            writer.append("made", {"by": "one that was replaced"})
    newest.append("made", {"by": "newest"})
    assert [one["facts"]["by"] for one in read(path).entries()] == ["older", "newer", "newest", "newest"]
    assert read(path).damage() == ""


def test_what_an_older_writer_writes_while_it_is_replaced_reaches_nobody(tmp_path: Path) -> None:
    """It has looked, and is about to write, when the newer one begins."""
    path = tmp_path / "journal.jsonl"
    older = Journal(path)
    older.append("made", {"by": "older"})
    true = os.write

    def late(descriptor: int, data: bytes) -> int:
        os.write = true
        Journal(path).append("made", {"by": "newer"})
        return true(descriptor, data)

    os.write = late
    try:
        older.append("made", {"by": "older, too late"})
    finally:
        os.write = true
    with pytest.raises(Fenced):
        older.append("made", {})
    assert [one["facts"]["by"] for one in read(path).entries()] == ["older", "newer"]


def test_who_finds_other_bytes_than_it_wrote_adds_nothing_to_them(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("made", {})
    with journal.path.open("a") as stranger:
        stranger.write("{}\n")
    with pytest.raises(Fenced, match="something has changed it"):
        journal.append("made", {})
    journal.path.unlink()
    with pytest.raises(Fenced):
        journal.append("made", {})


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_refuses_once_costs_no_line_and_doubles_none(tmp_path: Path, name: str, code: int) -> None:
    path = written(tmp_path, 2)
    journal = Journal(path)
    with lying(name, fails(code, lambda count: count == 0)), suppress(DiskTrouble):
        journal.append("made", {"what": "first"})
    with lying(name, fails(code, lambda count: count == 0)), suppress(DiskTrouble):
        journal.append("made", {"what": "second"})
    journal.append("made", {"what": "third"})
    chain = read(path)
    assert chain.damage() == ""
    assert [one["facts"]["what"] for one in chain.entries()][-1] == "third"
    assert len(set(chain.lines)) == len(chain.lines) == journal.lines


def test_a_disk_that_stays_full_is_told_and_the_journal_goes_on_when_there_is_room(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("made", {"what": 1})
    true = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "full")
        return true(descriptor, data[: len(data) // 2])

    os.write = half
    try:
        with pytest.raises(DiskTrouble, match="the disk is full"):
            journal.append("made", {"what": 2})
    finally:
        os.write = true
    assert read(journal.path).torn
    journal.append("made", {"what": 3})
    assert [one["facts"]["what"] for one in read(journal.path).entries()] == [1, 3]
    assert read(journal.path).damage() == ""


def test_values_that_json_cannot_hold_are_told_in_words(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("made", {"nan": float("nan"), "big": 2**60, "path": tmp_path, "odd": "\udc80", "pair": (1, 2)})
    [entry] = read(journal.path).entries()
    assert entry["facts"] == {"nan": "NaN", "big": 2**60, "path": str(tmp_path), "odd": "?", "pair": [1, 2]}
