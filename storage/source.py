"""Where measurements come from: a file or folder, identified by content, read only as it was when it was identified."""

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terp.storage import files
from terp.storage.errors import BadInput

if TYPE_CHECKING:
    import xarray as xr

_SETTLED = 3 * 10**9  # nanoseconds: a file changed again so soon may keep its time, as clocks of disks are coarse


@dataclass(frozen=True)
class Part:
    """One file of a source: name within it, size in bytes, SHA-256, and what shows that it was changed."""

    name: str
    size: int
    sha256: str
    stamp: tuple[int, int, int]  # size, mtime_ns, inode


@dataclass(frozen=True)
class Identity:
    """A source: where it is, which reader reads it, and its files."""

    path: str
    reader: str
    parts: tuple[Part, ...]

    @property
    def content(self) -> dict[str, str]:
        """What it is, wherever it is: SHA-256 by name; a single file goes by no name."""
        if len(self.parts) == 1 and self.parts[0].name == Path(self.path).name:
            return {"": self.parts[0].sha256}
        return {part.name: part.sha256 for part in self.parts}

    @property
    def size(self) -> int:
        """Size in bytes."""
        return sum(part.size for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Identity":
        """Read back what `to_json` gave."""
        parts = (Part(p["name"], p["size"], p["sha256"], tuple(p["stamp"])) for p in plain["parts"])
        return cls(plain["path"], plain["reader"], tuple(parts))

    def check(self) -> None:
        """Raise BadInput when a file is not as it was when it was identified."""
        root = Path(self.path)
        for part in self.parts:
            path = root if root.is_file() else root / part.name
            try:
                now = _stamp(path)
            except OSError:
                raise BadInput(f"{path} is gone since the run was planned: put it back and run again") from None
            if now != part.stamp:
                raise BadInput(f"{path} was changed while it was being read: run again to plan with what it is now")


def identify(path: Path, cache: Path) -> Identity:
    """Identify a source by content; digests are remembered in `cache` for as long as the files stay as they are."""
    from terp.storage.ingest import recognise

    path = path.expanduser().absolute()
    reader = recognise(path)
    return Identity(str(path), reader.name, parts_at(path, cache))


def parts_at(path: Path, cache: Path) -> tuple[Part, ...]:
    """Return the files at a path, whatever they are, with their digests; raises BadInput."""
    known = _Known(cache)
    try:
        found = [path] if path.is_file() else sorted(_files(path))
        parts = [_part(p, p.name if p == path else str(p.relative_to(path)), known) for p in found]
    except OSError as error:
        raise BadInput(f"{error.filename} cannot be read: {error.strerror}") from None
    known.save()
    return tuple(parts)


def _files(root: Path) -> Iterator[Path]:
    """Walk all files below a folder; what may not be looked at is an OSError, not a smaller source."""

    def refuse(error: OSError) -> None:
        raise error

    for folder, _, names in root.walk(on_error=refuse):
        for name in names:
            with suppress(FileNotFoundError):  # a link that leads nowhere
                if stat.S_ISREG(os.stat(folder / name).st_mode):
                    yield folder / name


def sha256_of(path: Path, cache: Path) -> str:
    """Return the SHA-256 of a file, remembered in `cache` for as long as it stays as it is."""
    known = _Known(cache)
    digest = known.digest(path, _stamp(path))
    known.save()
    return digest


class _Known:
    """Digests of files by path and stamp: a convenience that may be lost or deleted at any time."""

    def __init__(self, cache: Path) -> None:
        self.path = cache / "digests.json"
        try:
            self.known: dict[str, Any] = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            self.known = {}
        self.grown = False

    def digest(self, path: Path, stamp: tuple[int, int, int]) -> str:
        entry = self.known.get(str(path))
        with path.open("rb") as file:  # also where it is known: who may not read it may not have what was made of it
            if entry and tuple(entry[0]) == stamp:
                return str(entry[1])
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if _stamp(path) != stamp:
            raise BadInput(f"{path} was changed while it was being read: run again when it stays as it is")
        if time.time_ns() - stamp[1] > _SETTLED:
            self.known[str(path)] = [stamp, digest]
            self.grown = True
        return digest

    def save(self) -> None:
        if self.grown:
            with files.disk(self.path):
                files.make_folders(self.path.parent)
            files.replace(self.path, json.dumps(self.known).encode())


def _stamp(path: Path) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ino


def _part(path: Path, name: str, known: _Known) -> Part:
    stamp = _stamp(path)
    return Part(name, stamp[0], known.digest(path, stamp), stamp)


def opened_source(identity: Identity) -> "Mapping[str, xr.Dataset]":
    """Open a source, once a process; raises BadInput when it is not as it was identified."""
    identity.check()
    return _open(identity)


@lru_cache(maxsize=4)
def _open(identity: Identity) -> "Mapping[str, xr.Dataset]":
    from terp.storage.ingest import recognise

    return recognise(Path(identity.path)).read(Path(identity.path))
