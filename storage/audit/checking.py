"""One file of one object in one place, held against what it should be; nothing is called damaged at first sight."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

from terp.storage import files
from terp.storage.audit.bundled import Bundled
from terp.storage.audit.damage import ADDED, ALTERED, LOST, UNREADABLE, Damage, Spot
from terp.storage.audit.layout import Layout, from_directory
from terp.storage.audit.looking import Looked
from terp.storage.audit.reading import Read, read_through, spots, unlike
from terp.storage.audit.truth import sound_bytes
from terp.storage.errors import BadPackage, NotStaged, PlaceTrouble
from terp.storage.places import Place

_TRIES = 3  # of a file that cannot be read
_SMALL = 64 << 20  # bytes of a file that may be compared with a sound copy byte by byte


@dataclass(frozen=True)
class Task:
    """A file to read: in which place, of which object, by its path there, and its SHA-512."""

    place: Place
    looked: Looked
    path: str
    digest: str

    @property
    def name(self) -> str:
        """Its name in the place."""
        return f"{self.looked.truth.folder}/{self.path}"

    @property
    def key(self) -> tuple[str, str, str]:
        """What a record of an audit knows it by."""
        return self.place.name, self.name, self.digest[:16]

    @property
    def layout(self) -> Layout | None:
        """How it is laid out, where it is a package."""
        return self.looked.layouts.get(self.digest)

    def damage(self, kind: str, what: str, where: tuple[Spot, ...] = (), found: str = "") -> Damage:
        """Return what is wrong with it."""
        return Damage(self.place.name, self.looked.truth.identifier, self.path, kind, what, where, self.digest, found)


def check(task: Task, others: Sequence[Place], aside: Executor, count: Callable[[int], object]) -> Damage | None:
    """Read a file and return what is wrong with it, None where nothing is.

    What is not as it should be is read once more: a read that went wrong is no damage, and only then is looked where it
    is damaged. Raises PlaceTrouble where the place as a whole does not answer, NotStaged, and what `count` raises.
    """
    try:
        if isinstance(task.place, Bundled) and task.place.is_proven(task.name, count):
            return None
        if _read(task, None, aside, count).sha512 == task.digest:
            return None
        read = _read(task, task.layout, aside, count)
    except FileNotFoundError:
        return task.damage(LOST, "is gone")
    except NotStaged:
        raise
    except BadPackage as leads_out:
        return task.damage(UNREADABLE, f"cannot be read: {leads_out}")
    except PlaceTrouble as trouble:
        _demand_answer(task.place)
        return task.damage(UNREADABLE, f"cannot be read: {trouble}")
    return None if read.sha512 == task.digest else _altered(task, read, others)


def _read(task: Task, layout: Layout | None, aside: Executor, count: Callable[[int], object]) -> Read:
    """Read a file, again where that fails, and patiently where it cannot be seen."""

    def once() -> Read:
        return read_through(task.place.read(task.name), layout, aside, count)

    for _ in range(_TRIES - 1):
        with suppress(PlaceTrouble):
            return files.patiently(once, FileNotFoundError, files.GLANCE)
    return once()


def _demand_answer(place: Place) -> None:
    """Raise PlaceTrouble unless a place answers."""
    next(iter(place.list("0=")), None)


def _altered(task: Task, read: Read, others: Sequence[Place]) -> Damage:
    what = "is not what was stored"
    homes = [path for path, digest in _wanted(task).items() if digest == read.sha512 and path != task.path]
    if homes:
        return task.damage(ALTERED, f"{what}: it holds what belongs to {homes[0]}", (), read.sha512)
    if task.layout:
        if read.size != task.layout.size:
            what += f": it has {read.size:,} bytes where {task.layout.size:,} were stored"
        return task.damage(ALTERED, what, spots(read, task.layout), read.sha512)
    return task.damage(ALTERED, what, _located(task, read, others), read.sha512)


def _wanted(task: Task) -> Mapping[str, str]:
    return task.looked.there[task.place.name].wanted


def _located(task: Task, read: Read, others: Sequence[Place]) -> tuple[Spot, ...]:
    """Return where a file differs that has no table: by a sound copy if it is small, by its own directory if a ZIP."""
    zipped = task.path.endswith(".zip")
    if read.size <= _SMALL:
        sound = task.looked.truth.small(task.looked.there[task.place.name].version).get(task.path)
        sound = sound_bytes(others, task.name, task.digest) if sound is None else sound
        if sound is not None:
            start, stop = unlike(sound, b"".join(task.place.read(task.name)))
            layout = from_directory(lambda at, length: sound[at : at + length], len(sound)) if zipped else None
            number = layout.at(start) if layout else None
            if layout and number is not None:
                return (layout.spot(number, start, stop),)
            return (Spot(start, stop, _beside(len(sound), read.size)),)
    return _in_zip(task, read.size) if zipped else ()


def _in_zip(task: Task, size: int) -> tuple[Spot, ...]:
    layout = from_directory(lambda start, length: b"".join(task.place.read(task.name, start, length)), size)
    if layout is None:
        what = "where in it cannot be told without a copy: its directory is damaged, or not as terp writes it"
        return (Spot(0, size, what),)
    return spots(read_through(task.place.read(task.name), layout, None, lambda _: None), layout)


def _beside(stored: int, there: int) -> str:
    if stored == there:
        return "other bytes"
    return f"it has {there:,} bytes where {stored:,} were stored"


def added(task: Task, size: int) -> Damage:
    """Return that a file is where none should be."""
    what = "was added: it is in no inventory" if size >= 0 else "was added: it is a link, or no file at all"
    return task.damage(ADDED, what)
