"""Read the cards of many objects: in this process where they are few, by several of them at once where they are many.

`python -m terp.storage.archive.catalog.reading ARCHIVE` is such a process: it reads folders of objects, a line each,
and writes their cards, a line each (JSON; `null` for an object that went away), in the same order.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import batched
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from terp.storage import files
from terp.storage.archive.catalog.card import DAMAGED, Card
from terp.storage.archive.catalog.reader import card_of
from terp.storage.machine import cores

_MANY = 1000  # objects for which it is worth while to start processes
_PROCESSES = 8  # at most: one process puts in what they read
_THREADS, _AT_ONCE = 8, 64  # in each: on a network file system reading is mostly waiting


def card_now(archive: Path, path: str) -> Card | None:
    """Return the card of the object in a folder, which may say that it cannot be read; None where there is none."""
    try:
        return card_of(archive, path)
    except FileNotFoundError:
        return None
    except OSError as error:
        why = f"it cannot be read: {files.trouble(error) or error.strerror}"
        return Card(path, unquote(Path(path).name), DAMAGED, why)


def cards_now(archive: Path, paths: Sequence[str]) -> Iterator[Card | None]:
    """Yield the cards of objects, in order; None for one that went away meanwhile."""
    processes = min(cores(), _PROCESSES) if len(paths) > _MANY else 1
    return _by_threads(archive, paths) if processes == 1 else _by_processes(archive, paths, processes)


def _by_threads(archive: Path, paths: Iterable[str]) -> Iterator[Card | None]:
    with ThreadPoolExecutor(_THREADS) as threads:
        for some in batched(paths, _AT_ONCE):
            yield from threads.map(lambda path: card_now(archive, path), some)


def _by_processes(archive: Path, paths: Sequence[str], processes: int) -> Iterator[Card | None]:
    """Yield what processes read, each an object in turn; what one leaves unread, as it was killed, is read here."""
    with ExitStack() as stack:
        readers = [_started(stack, archive, paths[number::processes]) for number in range(processes)]
        for number, path in enumerate(paths):
            line = readers[number % processes].readline()
            if line.endswith(b"\n"):
                yield None if line == b"null\n" else Card.loads(line)
            else:
                yield card_now(archive, path)


def _started(stack: ExitStack, archive: Path, paths: Sequence[str]) -> IO[bytes]:
    """Start a process that reads; return what it writes. It ends when its reader closes that."""
    asked = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
    asked.write(b"".join(os.fsencode(path) + b"\n" for path in paths))
    asked.seek(0)
    words = [sys.executable, "-P", "-m", __name__, os.fspath(archive.absolute())]
    process = subprocess.Popen(words, stdin=asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
    assert process.stdout is not None
    return stack.enter_context(process.stdout)


def main() -> None:
    """Read what is asked for."""
    paths = (os.fsdecode(line.removesuffix(b"\n")) for line in sys.stdin.buffer)
    with suppress(BrokenPipeError, KeyboardInterrupt):
        for card in _by_threads(Path(sys.argv[1]), paths):
            sys.stdout.buffer.write((card.dumps() if card else b"null") + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
