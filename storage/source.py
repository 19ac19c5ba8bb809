"""Where measurements come from: a file or folder, identified by content, read only as it was when it was identified.

An identity may be that of 100,000 files. It rests in a file of the run, proven by its digest: workers are sent a
`Reference` to it, and look for each region at just the files that the region is read from.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import batched, chain
from pathlib import Path

import orjson
from blake3 import blake3

from terp.storage import files
from terp.storage.errors import BadInput, DiskTrouble
from terp.storage.meter import Meter, Tell, silent

_SETTLED = 3 * 10**9  # nanoseconds: a file changed again so soon may keep its time, as clocks of disks are coarse
_AT_ONCE = 4  # files that are hashed at once
_BUFFER = 1 << 20  # bytes that are hashed at a time
_SOME = 64  # files that a thread takes at a time

Stamp = tuple[int, int, int]  # size, mtime_ns, inode: what shows that a file was changed
Known = dict[str, tuple[str, Stamp]]  # digests by name


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a source: name within it, size in bytes, SHA-256, and what shows that it was changed."""

    name: str
    size: int
    sha256: str
    stamp: Stamp


@dataclass(frozen=True)
class Reference:
    """Where the identity of a source rests, and the BLAKE3 of that file: all that a worker is sent."""

    file: str
    digest: str

    def to_json(self) -> dict[str, str]:
        """Return plain values."""
        return asdict(self)

    def load(self) -> "Identity":
        """Read the identity; raises DiskTrouble where it is not what was written."""
        with files.disk(self.file):
            data = files.patiently(Path(self.file).read_bytes, FileNotFoundError)
        if blake3(data).hexdigest() != self.digest:
            raise DiskTrouble(f"{self.file} is not what was written there: check the disk, then run again")
        plain = orjson.loads(data)
        parts = (Part(p["name"], p["size"], p["sha256"], tuple(p["stamp"])) for p in plain["parts"])
        return Identity(plain["path"], plain["reader"], tuple(parts), plain.get("url", ""), plain.get("etag", ""))


@dataclass(frozen=True)
class Identity:
    """A source: where it is, which reader reads it, and its files, sorted by name.

    `url` and `etag` are of one that was fetched: from where, and what its server calls this version of it.
    """

    path: str
    reader: str
    parts: tuple[Part, ...]
    url: str = ""
    etag: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is a single file, which goes by no name."""
        return len(self.parts) == 1 and self.parts[0].name == Path(self.path).name

    @property
    def content(self) -> dict[str, str]:
        """What it is, wherever it is: SHA-256 by name; a single file goes by no name."""
        return {"" if self.is_file else part.name: part.sha256 for part in self.parts}

    @cached_property
    def sha256(self) -> str:
        """The same in one: the SHA-256 of the file, or of what `sha256sum --zero` says of all files."""
        if self.is_file:
            return self.parts[0].sha256
        return hashlib.sha256("".join(f"{p.sha256}  {p.name}\0" for p in self.parts).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Size in bytes."""
        return sum(part.size for part in self.parts)

    def keep(self, folder: Path) -> Reference:
        """Put it into a file of a folder, once; return the reference to that."""
        data = orjson.dumps(self)
        digest = blake3(data).hexdigest()
        path = folder / f"source-{digest[:16]}.json"
        with files.disk(path):
            if not path.exists() or path.read_bytes() != data:
                files.replace(path, data)
        return Reference(str(path), digest)

    def check(self) -> None:
        """Raise BadInput that names a file which is not as it was when it was identified, is gone, or is new."""
        now, root = _stamps(Path(self.path)), _root(Path(self.path))
        for part in self.parts:
            _compare(root / part.name, part.stamp, now.pop(part.name, None))
        for name, stamp in now.items():
            _compare(root / name, None, stamp)


class Source:
    """An opened source: its groups, and which of its files a part of them is read from.

    Raises BadInput where it is not as it was identified.
    """

    def __init__(self, identity: Identity) -> None:
        from terp.storage.ingest import recognise

        self.path = path = Path(identity.path)
        self.root, self._then = _root(path), {part.name: part.stamp for part in identity.parts}
        try:
            self._reader = recognise(path)
            self.groups = self._reader.read(path)
            self.pieces = self._reader.pieces(path, self.groups)
        except BadInput:
            identity.check()
            raise
        self.check(self._frame())

    def _frame(self) -> list[str]:
        """Return the files that were read to open it: all but the chunks of large arrays.

        Pieces that have names, and no pattern, are whole files, which their reader has read by now.
        """
        lazy = ((one, self.groups[group].sizes) for group, some in self.pieces.items() for one in some if one.pattern)
        chunks = {name for one, sizes in lazy for name in one.files({}, sizes)}
        return [name for name in self._then if name not in chunks]

    def files(self, group: str, box: Mapping[str, slice]) -> list[str]:
        """Return the names of the files that a box of a group is read from, there or not."""
        if not self.pieces:
            return list(self._then)
        sizes = self.groups[group].sizes
        return [name for one in self.pieces[group] for name in one.files(box, sizes)]

    def check(self, names: Iterable[str]) -> None:
        """Raise BadInput that names a file of these which is not as it was when the source was identified."""
        for name in names:
            path = self.root / name
            try:
                now = _stamp(os.stat(path))
            except (FileNotFoundError, NotADirectoryError):
                now = None
            except OSError as error:
                raise BadInput(f"{path} cannot be read: {error.strerror}") from None
            _compare(path, self._then.get(name), now)

    def lacking(self) -> list[str]:
        """Return a sentence for each array that lacks chunks, which are read as missing values.

        Raises BadInput where they would be read as numbers.
        """
        return self._reader.lacking(self.path, self.groups, self._then.keys())


@lru_cache(maxsize=4)
def opened_source(reference: Reference) -> Source:
    """Open a source, once a process; raises BadInput when it is not as it was identified."""
    return Source(reference.load())


def identify(path: Path, cache: Path, tell: Tell = silent) -> Identity:
    """Identify a source by content; digests are remembered in `cache` for as long as the files stay as they are.

    `tell` is given words on how far that is, where it takes long.
    """
    from terp.storage.ingest import recognise

    path = path.expanduser().absolute()
    reader = recognise(path)
    return Identity(str(path), reader.name, parts_at(path, cache, tell))


def parts_at(path: Path, cache: Path, tell: Tell = silent) -> tuple[Part, ...]:
    """Return the files at a path, whatever they are, with their digests; raises BadInput."""
    began, found = time.time_ns(), _stamps(path)
    memory = cache / "sources" / f"{blake3(os.fsencode(path)).hexdigest()[:20]}.json"
    known, root = _remembered(memory), _root(path)
    new = sum(stamp[0] for name, stamp in found.items() if known.get(name, ("", None))[1] != stamp)
    meter = Meter(tell, f"reading {path.name}, to know it by its content", new)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        some = pool.map(
            lambda some: [_part(root, name, stamp, known, meter) for name, stamp in some], batched(found.items(), _SOME)
        )
        parts = tuple(chain.from_iterable(some))
    if any(known.get(part.name) != (part.sha256, part.stamp) for part in parts):
        _remember(memory, began, parts)
    return parts


def _part(root: Path, name: str, stamp: Stamp, known: Known, meter: Meter) -> Part:
    before = known.get(name, ("", None))
    return Part(name, stamp[0], _digest(root / name, stamp, before[0] if before[1] == stamp else "", meter), stamp)


def _remembered(memory: Path) -> Known:
    """Return digests and stamps by name, of files that had settled: a convenience that may be lost at any time."""
    try:
        plain = orjson.loads(memory.read_bytes())
        settled = plain["when"] - _SETTLED
        return {n: (sha, (size, at, inode)) for n, sha, (size, at, inode) in plain["parts"] if at < settled}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _remember(memory: Path, when: int, parts: Iterable[Part]) -> None:
    with files.disk(memory):
        files.make_folders(memory.parent)
    plain = [(part.name, part.sha256, part.stamp) for part in parts]
    files.replace(memory, orjson.dumps({"when": when, "parts": plain}))


def sha256_of(path: Path, cache: Path) -> str:
    """Return the SHA-256 of a file, remembered in `cache` for as long as it stays as it is."""
    [part] = parts_at(path, cache)
    return part.sha256


def _digest(path: Path, stamp: Stamp, known: str, meter: Meter) -> str:
    try:
        # Also where it is known: who may not read it may not have what was made of it.
        with path.open("rb", buffering=0) as file:
            if known:
                return known
            digest = hashlib.sha256()
            buffer = memoryview(bytearray(min(max(stamp[0], 1), _BUFFER)))
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                meter.add(count)
        changed = _stamp(os.stat(path)) != stamp
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    if changed:
        raise BadInput(f"{path} was changed while it was being read: run again when it stays as it is")
    return digest.hexdigest()


def _stamps(path: Path) -> dict[str, Stamp]:
    """Return the stamps of all files of a source by their names, sorted."""
    try:
        if path.is_file():
            return {path.name: _stamp(os.stat(path))}
        return dict(sorted(_below(str(path), "")))
    except OSError as error:
        raise BadInput(f"{error.filename or path} cannot be read: {error.strerror}") from None


def _below(folder: str, prefix: str) -> Iterator[tuple[str, Stamp]]:
    with os.scandir(folder) as found:
        for item in found:
            if item.is_dir():
                yield from _below(item.path, f"{prefix}{item.name}/")
            elif item.is_file():
                yield prefix + item.name, _stamp(item.stat())


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_mtime_ns, found.st_ino


def _root(path: Path) -> Path:
    """Return the folder that a source's files are named in."""
    return path if path.is_dir() else path.parent


def _compare(path: Path, then: Stamp | None, now: Stamp | None) -> None:
    if then == now:
        return
    if now is None:
        raise BadInput(f"{path} is gone since the run was planned: put it back and run again")
    if then is None:
        raise BadInput(f"{path} was not there when the run was planned: run again to plan with it")
    raise BadInput(f"{path} was changed while it was being read: run again to plan with what it is now")
