"""A process that kills itself before one of its operations on files, and who waits for it.

Processes are forked, so it is done in one that has no threads: in a script of its own, see `told`.
"""

import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OPERATIONS = ("open", "write", "fsync", "link", "rename", "replace", "unlink", "mkdir", "rmdir", "chmod")
NEVER = 10**6  # the number of an operation that does not come
Tell = Callable[[str], Any]

_write = os.write


def armed(point: int) -> list[int]:
    """Die before the operation with the number `point`, a write half done; return where they are counted."""
    count = [0]
    for name in OPERATIONS:
        _wrap(name, count, point)
    return count


def _wrap(name: str, count: list[int], point: int) -> None:
    true = getattr(os, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        number, count[0] = count[0], count[0] + 1
        if number == point:
            if name == "write":
                _write(args[0], bytes(args[1])[: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return true(*args, **kwargs)

    setattr(os, name, call)


def killed(point: int, act: Callable[[Tell], Any]) -> tuple[bool, str, int]:
    """Act in a child that dies at a point; return whether it did, what it told, how many operations there were."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        _end(point, act, lambda text: _write(theirs, text.encode()))
    os.close(theirs)
    with os.fdopen(ours) as said:
        text, _, count = said.read().rpartition("\n")
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True, text + count, point
    assert status == 0, "the child failed by itself"
    return False, text, int(count)


def _end(point: int, act: Callable[[Tell], Any], tell: Tell) -> None:
    try:
        count = armed(point)
        act(tell)
        tell(f"\n{count[0]}")
        os._exit(0)
    except BaseException:  # noqa: BLE001 (the child of a fork must not go on as its parent)
        traceback.print_exc()
    os._exit(70)


def dies(point: int, act: Callable[[], Any]) -> bool:
    """Return whether a child was killed at a point of an act."""
    return killed(point, lambda _: act())[0]


def everywhere(
    template: str, folder: str, tries: int, act: Callable[[Path, Tell], Any], settle: Callable[[Path], Any] = Path
) -> Iterator[tuple[str, bool, str, int]]:
    """Act in copies of a folder: unharmed in FOLDER/whole, then killed at so many points (0: at each), named by them.

    Yield the name of each, whether it was killed, what it told and how many operations there were; `settle` makes a
    copy ready.
    """
    names = ["whole"]
    for name in names:
        place = Path(shutil.copytree(template, Path(folder) / name))
        settle(place)
        point = NEVER if name == "whole" else int(name)
        dead, said, count = killed(point, lambda tell, place=place: act(place, tell))
        yield name, dead, said, count
        if name == "whole":
            names += map(str, range(0, count, count // tries if tries else 1))


def told(script: str | Path, *words: object) -> list[str]:
    """Return the lines that a script prints, or a text of one; it may import what tests of faults and of storage do."""
    found = os.pathsep.join(map(str, (HERE, HERE.parent / "storage", os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, *([script] if isinstance(script, Path) else ["-c", script]), *map(str, words)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": found}, capture_output=True, text=True, timeout=3600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
