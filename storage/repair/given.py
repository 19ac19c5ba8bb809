"""A folder of files that somebody brings, as a source of sound bytes: what a replay made, a disk that was found again.

Each file is known by its SHA-512 alone, whatever its name. It bears no witness of what an object should be, nothing is
written there, and what is not what was stored is told by name.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from terp.storage.errors import BadPackage, PlaceTrouble
from terp.storage.meter import Meter, Tell, silent
from terp.storage.places import Folder


class Given(Folder):
    """The folder; all files in it are read once when it is made. Raises PlaceTrouble where it is none."""

    def __init__(self, root: Path, tell: Tell = silent) -> None:
        super().__init__(f"the folder {root}", root)
        self._digests: dict[str, str] = {}
        self._why: dict[str, str] = {}
        self._offered: dict[str, str] = {}
        self._used: set[str] = set()
        self._wanted: dict[str, str] = {}
        there = list(self.list())
        meter = Meter(tell, f"reading {self.name}", sum(max(one.size, 0) for one in there))
        for one in there:
            self._read_one(one.name, one.size, meter)

    def _read_one(self, name: str, size: int, meter: Meter) -> None:
        if size < 0:
            self._why[name] = "is a link, or no file at all"
            return
        digest = hashlib.sha512()
        try:
            for block in super().read(name):
                digest.update(block)
                meter.add(len(block))
        except (BadPackage, PlaceTrouble, FileNotFoundError) as trouble:
            self._why[name] = f"cannot be read: {trouble}"
            return
        self._digests[name] = digest.hexdigest()

    def told(self, wanted: Mapping[str, str]) -> None:
        """Hear what an object that is mended should be: SHA-512 by path."""
        self._wanted |= wanted

    def offer(self, name: str, digest: str) -> None:
        """Give what has this SHA-512 where a place would have a file of this name; else what is called alike.

        Of a file that is only called alike nothing is taken but parts that are proven by themselves.
        """
        same = [path for path, known in self._digests.items() if known == digest]
        alike = [path for path in self._digests if _last(path) == _last(name)]
        if found := same or alike:
            self._offered[name] = found[0]

    def read(self, name: str, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of what was offered under a name of a place."""
        if name not in self._offered:
            raise FileNotFoundError(f"{self.name} has nothing that is {name}")
        yield from super().read(self._offered[name], offset, size)

    def taken(self, name: str) -> None:
        """Hear that what was offered under a name was put back, or parts of it."""
        self._used.add(self._offered[name])

    def refused(self) -> Iterator[str]:
        """Yield the files of which nothing was put back, each with why."""
        for path, why in sorted({**self._why, **{path: self._reason(path) for path in self._digests}}.items()):
            if path not in self._used:
                yield f"{self.name}: {path} {why}"

    def _reason(self, path: str) -> str:
        digest = self._digests[path]
        if digest in self._wanted.values():
            return "was not needed: what it is the same as is sound"
        alike = sorted(wanted for wanted in self._wanted if _last(wanted) == _last(path))
        if alike:
            return f"is not what was stored as {alike[0]}: its SHA-512 is {digest[:16]}..."
        return "is no file of what is damaged"


def _last(name: str) -> str:
    return name.rpartition("/")[2]
