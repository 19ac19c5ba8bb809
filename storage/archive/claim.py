"""One at a time: a folder in which whoever works on something says so, as a ledger's controllers do.

`000001.json` and on: the newest tells who works, or that nobody does. A newer one is made exclusively, and only where
the last is over or its process is known to be gone; so two who come at once are told apart on network file systems too.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from terp.storage.canonical import canonical
from terp.storage.errors import Busy
from terp.storage.files import create_once, disk, forget, make_folders, replace, sync_folder
from terp.storage.holder import Holder

_OVER = canonical({"over": True})
_held = set[Path]()  # what this very process works on
_claiming = Lock()


@contextmanager
def claimed(folder: Path, what: str, take_over: bool = False) -> Iterator[None]:
    """Be the only one who works on `what` within; raises Busy where another does.

    With `take_over`, the other is held to be gone: a person says so who knows.
    """
    mine = _claim(folder, what, take_over)
    try:
        yield
    finally:
        _held.discard(mine.resolve())
        if mine.exists():  # else it was taken over
            replace(mine, _OVER)


def _claim(folder: Path, what: str, take_over: bool) -> Path:
    with _claiming, disk(folder):
        make_folders(folder)
        while True:
            there = _there(folder)
            if there and not take_over:
                _ask(there[-1], what)
            mine = folder / f"{int(there[-1].stem) + 1 if there else 1:06}.json"
            with suppress(FileExistsError):  # somebody else was first
                create_once(mine, canonical(Holder.me().to_json()))
                sync_folder(folder)
                now = _there(folder)
                if now[-1] == mine:
                    forget(now[:-1])
                    _held.add(mine.resolve())
                    return mine
                forget([mine])  # what was seen was old: the number was used up, and others went on from there


def _there(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9][0-9][0-9][0-9][0-9][0-9].json"))


def _ask(path: Path, what: str) -> None:
    """Raise Busy unless the work is over, or who did it is gone."""
    with suppress(FileNotFoundError):  # a newer one is there, which whoever goes on from here will see
        data = path.read_bytes()
        if data == _OVER:
            return
        try:
            holder = Holder.from_json(json.loads(data))
        except (ValueError, TypeError):
            raise Busy(f"somebody is just beginning to work on {what}; do the same again") from None
        if holder.is_me() and path.resolve() not in _held:  # whose last word the disk had no room for
            return
        if not holder.is_gone():
            raise Busy(f"{holder} works on {what}: {_advice(holder)}")


def _advice(holder: Holder) -> str:
    return "wait for it, or stop it" if holder.is_here() else holder.advice()
