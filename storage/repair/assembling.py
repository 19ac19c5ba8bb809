"""Sound bytes of a file, put together from copies of which none need be sound as a whole."""

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from terp.storage import files
from terp.storage.audit.checking import Task
from terp.storage.audit.damage import Spot
from terp.storage.audit.layout import Layout
from terp.storage.audit.reading import Sum, sum_of
from terp.storage.errors import PlaceTrouble
from terp.storage.places import Place

_SMALL = 16 << 20  # bytes of a file that is put together byte by byte
_MOST_DIFFERENCES = 12  # between two copies: each may be right in one or the other, so 4,096 files are tried


@dataclass(frozen=True)
class Made:
    """A file that was made, what of it came from which place, and what is sound nowhere; `path` is of the file."""

    path: Path
    sources: tuple[str, ...]
    lost: tuple[Spot, ...] = ()


def whole(task: Task, sources: Iterable[Place], path: Path) -> Made | None:
    """Fetch a file from the first place that has it sound; None where none has."""
    for place in sources:
        with suppress(PlaceTrouble, FileNotFoundError):
            if files.write_file(path, lambda out, place=place: _fetched(place, task.name, out)) == task.digest:  # type: ignore[misc]
                return Made(path, (place.name,))
        path.unlink(missing_ok=True)
    return None


def _fetched(place: Place, name: str, out: int) -> str:
    digest = hashlib.sha512()
    for block in place.read(name):
        digest.update(block)
        files.write_all(out, block)
    return digest.hexdigest()


def by_parts(task: Task, layout: Layout, sources: Sequence[Place], path: Path) -> Made:
    """Put a package together: each member from the first place that has it sound, what is between from the table."""
    used: dict[str, None] = {}

    def write(out: int) -> list[Spot]:
        return list(_parts(task, layout, sources, out, used))

    lost = files.write_file(path, write)
    return Made(path, tuple(used), tuple(lost))


def _parts(task: Task, layout: Layout, sources: Sequence[Place], out: int, used: dict[str, None]) -> Iterator[Spot]:
    for number, part in enumerate(layout.parts):
        known = layout.written(number)
        if known is not None:
            os.lseek(out, part.start, os.SEEK_SET)
            files.write_all(out, known)
            continue
        source = next((one for one in sources if _fetch(task, layout, number, one, out)), None)
        if source is None:
            yield layout.spot(number, part.start, part.stop)
        else:
            used[source.name] = None


def _fetch(task: Task, layout: Layout, number: int, place: Place, out: int) -> bool:
    """Write a part as a place has it; return whether it is sound."""
    part = layout.parts[number]
    found: Sum = sum_of(part)
    os.lseek(out, part.start, os.SEEK_SET)
    size = 0
    with suppress(PlaceTrouble, FileNotFoundError):
        for block in place.read(task.name, part.start, part.stop - part.start):
            found.update(memoryview(block))
            files.write_all(out, block)
            size += len(block)
        return size == part.stop - part.start and found.sound(part)
    return False


def by_bytes(task: Task, sources: Sequence[Place], path: Path) -> Made | None:
    """Put a small file together from two copies that are damaged in different places; None where that cannot be."""
    texts = [(place.name, text) for place in sources if (text := _text(place, task.name))]
    for (first, one), (second, other) in itertools.combinations(texts, 2):
        found = _combined(one, other, task.digest)
        if found is not None:
            files.write_new(path, found)
            return Made(path, (first, second))
    return None


def _text(place: Place, name: str) -> bytes:
    with suppress(PlaceTrouble, FileNotFoundError):
        text = b"".join(place.read(name, 0, _SMALL + 1))
        return text if len(text) <= _SMALL else b""
    return b""


def _combined(one: bytes, other: bytes, digest: str) -> bytes | None:
    if len(one) != len(other):
        return None
    differ = _differences(one, other)
    if len(differ) > _MOST_DIFFERENCES:
        return None
    for picked in itertools.product((False, True), repeat=len(differ)):
        mixed = bytearray(one)
        for at, theirs in zip(differ, picked, strict=True):
            mixed[at] = other[at] if theirs else one[at]
        if hashlib.sha512(mixed).hexdigest() == digest:
            return bytes(mixed)
    return None


def _differences(one: bytes, other: bytes) -> list[int]:
    """Return which bytes differ; more than can be tried are not all counted."""
    step, found = 4096, list[int]()
    for at in range(0, len(one), step):
        if one[at : at + step] != other[at : at + step]:
            found += [byte for byte in range(at, min(at + step, len(one))) if one[byte] != other[byte]]
        if len(found) > _MOST_DIFFERENCES:
            break
    return found
