"""The ledger tells what is done, and only one controller at a time can add to it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terp.storage.errors import Busy, DiskTrouble, Fenced
from terp.storage.ledger import Ledger, Record
from terp.storage.shard import Stored


def record(index: int) -> Record:
    return Record("", index, 0, {"v": Stored(100 + index, "b", "v", "tag", 7)}, 0.5, "host/1")


def test_what_is_recorded_is_there_for_the_next_reader(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.claim()
    ledger.append([record(1), record(2)])
    ledger.void(("", 1), "it was damaged")
    ledger.release()
    again = Ledger(tmp_path)
    assert again.records == {("", 2): record(2)}
    assert again.generations == {("", 1): 1}
    assert again.holder() is None


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_ledger_torn_or_altered_anywhere_loses_lines_but_never_invents_one(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    ledger = Ledger(folder)
    ledger.claim()
    ledger.append(record(i) for i in range(8))
    ledger.release()
    path = folder / "000001.log"
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw))) :]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    for (_, index), found in Ledger(folder).records.items():
        assert found == record(index)


def test_a_second_controller_is_told_who_works_there(tmp_path: Path) -> None:
    first = Ledger(tmp_path)
    first.claim()
    with pytest.raises(Busy, match=f"process {os.getpid()}"):
        Ledger(tmp_path).claim()


def test_a_controller_that_was_killed_is_replaced_without_asking(tmp_path: Path) -> None:
    code = (
        "from terp.storage.ledger import Ledger; from pathlib import Path; import sys, time\n"
        "ledger = Ledger(Path(sys.argv[1])); ledger.claim(); print('claimed', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"claimed\n"
        with pytest.raises(Busy):
            Ledger(tmp_path).claim()
        other.send_signal(signal.SIGKILL)
    ledger = Ledger(tmp_path)
    ledger.claim()
    assert ledger.epoch == 2


def test_a_controller_on_another_host_is_replaced_only_when_a_person_says_so(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.claim()
    path = tmp_path / "000001.log"
    import google_crc32c
    import orjson

    header = orjson.loads(path.read_bytes()[9:])
    header["holder"]["host"] = "n7"
    text = orjson.dumps(header)
    path.write_bytes(b"%08x %b\n" % (google_crc32c.value(text), text))
    other = Ledger(tmp_path)
    with pytest.raises(Busy, match="take-over"):
        other.claim()
    other.claim(take_over=True)
    assert other.epoch == 2


def test_what_a_replaced_controller_adds_later_does_not_count(tmp_path: Path) -> None:
    zombie = Ledger(tmp_path)
    zombie.claim()
    zombie.append([record(1)])
    new = Ledger(tmp_path)
    new.claim(take_over=True)
    with pytest.raises(Fenced):
        zombie.append([record(2)])
    # even were it written between the check and the write:
    third = zombie.folder / "000001.log"
    with third.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in third.read_bytes().splitlines()[1:]))
    last = Ledger(tmp_path)
    last.claim(take_over=True)
    assert set(last.records) == {("", 1)}


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
    import errno

    ledger = Ledger(tmp_path)
    ledger.claim()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskTrouble, match="the disk is full"):
        ledger.append([record(1)])
