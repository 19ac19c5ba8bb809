"""One pass over a file: the SHA-512 of the whole, and of each part whether it is what it should be."""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from blake3 import blake3

from terp.storage.audit.damage import Spot
from terp.storage.audit.layout import DATA, END, Layout, Part

ASIDE = 1 << 20  # bytes of a block from which its SHA-512 is worth another thread
_STEP = 4096


@dataclass(frozen=True)
class Bad:
    """A part of a package that is not what it should be: its number, which bytes, and of data the digest found."""

    number: int
    start: int
    stop: int
    found: str = ""


@dataclass(frozen=True)
class Read:
    """A file as it was read: its SHA-512, its size, and its bad parts where it was held against a layout."""

    sha512: str
    size: int
    bad: tuple[Bad, ...] = ()


def read_through(
    blocks: Iterable[bytes], layout: Layout | None, aside: Executor | None, count: Callable[[int], object]
) -> Read:
    """Read a file once. `aside` hashes large blocks while the next are read; `count` is told of each, and may raise."""
    whole, size = hashlib.sha512(), 0
    parts = _Parts(layout) if layout else None
    hashing: list[Future[None]] = []
    for block in blocks:
        if hashing:
            hashing.pop().result()
        if aside and len(block) >= ASIDE:
            hashing.append(aside.submit(whole.update, block))
        else:
            whole.update(block)
        size += len(block)
        if parts:
            parts.feed(block)
        count(len(block))
    for one in hashing:
        one.result()
    return Read(whole.hexdigest(), size, tuple(parts.ended()) if parts else ())


class Sum(Protocol):
    """A checksum that is being reckoned."""

    def update(self, data: memoryview, /) -> object:
        """Take in what follows."""

    def found(self) -> str:
        """Return it, "" where it tells nothing of whose it is."""

    def sound(self, part: Part) -> bool:
        """Say whether it is that of a part."""


def sum_of(part: Part) -> Sum:
    """Return what tells whether data are those of a part."""
    return _Blake3() if part.blake3 else _Crc32(part.deflated)


class _Blake3:
    def __init__(self) -> None:
        self._sum = blake3()

    def update(self, data: memoryview) -> None:
        self._sum.update(data)

    def found(self) -> str:
        return self._sum.hexdigest()

    def sound(self, part: Part) -> bool:
        return self.found() == part.blake3


class _Crc32:
    """CRC-32 of a member, as it is stored or of what is deflated in it."""

    def __init__(self, deflated: bool) -> None:
        self._sum, self._inflate, self._broken = 0, zlib.decompressobj(-15) if deflated else None, False

    def update(self, data: memoryview) -> None:
        if self._inflate is None:
            self._sum = zlib.crc32(data, self._sum)
            return
        left: bytes | memoryview = data
        with suppress(zlib.error):
            while left:
                self._sum = zlib.crc32(self._inflate.decompress(left, 1 << 20), self._sum)
                left = self._inflate.unconsumed_tail
            return
        self._broken = True

    def found(self) -> str:
        return ""

    def sound(self, part: Part) -> bool:
        return not self._broken and self._sum in (part.crc32, part.crc32_again)


class _Parts:
    """A stream that is held against a layout as it comes."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.bad = layout, list[Bad]()
        self._number, self._at = 0, 0
        self._begin()

    def _begin(self) -> None:
        part = self.layout.parts[self._number]
        self._sum: Sum | None = None
        self._between = bytearray()
        if part.kind == DATA:
            self._sum = sum_of(part)

    def feed(self, block: bytes) -> None:
        """Take in what follows."""
        view = memoryview(block)
        while view and self._number < len(self.layout.parts):
            part = self.layout.parts[self._number]
            here = view[: part.stop - self._at]
            if self._sum:
                self._sum.update(here)
            else:
                self._between += here
            self._at += len(here)
            view = view[len(here) :]
            self._pass()
        self._at += len(view)

    def _pass(self) -> None:
        while self._number < len(self.layout.parts) and self._at == self.layout.parts[self._number].stop:
            self._close(self.layout.parts[self._number])
            self._number += 1
            if self._number < len(self.layout.parts):
                self._begin()

    def _close(self, part: Part) -> None:
        if self._sum:
            if not self._sum.sound(part):
                self.bad.append(Bad(self._number, part.start, part.stop, self._sum.found()))
            return
        wanted = self.layout.written(self._number)
        if wanted is None or wanted == self._between:
            return
        first, last = unlike(wanted, bytes(self._between))
        self.bad.append(Bad(self._number, part.start + first, part.start + last))

    def ended(self) -> Iterator[Bad]:
        """Yield what was bad, and what never came."""
        yield from self.bad
        for number in range(self._number, len(self.layout.parts)):
            part = self.layout.parts[number]
            yield Bad(number, max(part.start, min(self._at, part.stop)), part.stop)


def unlike(one: bytes, other: bytes) -> tuple[int, int]:
    """Return from where to before where two texts differ, in the first of them; they do differ."""
    first = _same(one, other)
    if len(one) != len(other):
        return first, max(len(one), first + 1)
    return first, len(one) - _same(one[::-1], other[::-1])


def _same(one: bytes, other: bytes) -> int:
    """Return how many bytes are the same from the start."""
    short = min(len(one), len(other))
    at = next((at for at in range(0, short, _STEP) if one[at : at + _STEP] != other[at : at + _STEP]), short)
    return next((byte for byte in range(at, short) if one[byte] != other[byte]), short)


def spots(read: Read, layout: Layout) -> tuple[Spot, ...]:
    """Return what is bad of a package, as a reader sees it."""
    homes = {part.blake3: part.member for part in layout.parts if part.blake3}
    found = []
    for bad in read.bad:
        part, also = layout.parts[bad.number], ""
        if read.size < bad.stop:
            also = ", which is cut off" if bad.start < read.size else ", which is gone"
        elif homes.get(bad.found, part.member) != part.member:
            also = f": it holds what belongs to {homes[bad.found]}"
        found.append(layout.spot(bad.number, bad.start, bad.stop, also))
    if read.size > layout.size:
        found.append(Spot(layout.size, read.size, "there is more behind the end of the package"))
    if not found:
        between = next(part for part in layout.parts if part.kind == END)
        found.append(Spot(0, between.stop, "between the members"))
    return tuple(found)
