"""Walk over an archive and see which objects are new, changed or gone, by the checksum beside each one's inventory."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path

_TUPLES = 3  # folders above an object's own (OCFL extension 0003, default parameters)
_THREADS = 8  # a network file system answers each in its own time


def seen(root: Path) -> dict[str, str]:
    """Return the folder of each object, relative to the archive, sorted, with the SHA-512 its inventory should have.

    That is empty where an object has none: then it has to be looked at each time. Raises OSError.
    """
    try:
        tops = sorted(name for name in os.listdir(root) if len(name) == _TUPLES and (root / name).is_dir())
    except FileNotFoundError:
        return {}
    with ThreadPoolExecutor(_THREADS) as threads:
        return dict(sorted(chain.from_iterable(threads.map(lambda top: list(_below(str(root), top)), tops))))


def _below(root: str, top: str) -> Iterator[tuple[str, str]]:
    for second in _folders(f"{root}/{top}"):
        for third in _folders(f"{root}/{top}/{second}"):
            for last in _folders(f"{root}/{top}/{second}/{third}"):
                path = f"{top}/{second}/{third}/{last}"
                yield path, sidecar(f"{root}/{path}")


def _folders(path: str) -> list[str]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as found:
        return [one.name for one in found if one.is_dir(follow_symlinks=False)]
    return []


def sidecar(home: str) -> str:
    """Return the SHA-512 that the inventory of an object should have; "" where it or the inventory is not there."""
    with suppress(OSError):
        os.stat(f"{home}/inventory.json")
        descriptor = os.open(f"{home}/inventory.json.sha512", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, 1024).split(None, 1)[0].decode(errors="replace")
        except IndexError:
            return ""
        finally:
            os.close(descriptor)
    return ""
