"""Fill a product: the controller's side, which makes what workers have written visible, durable and recorded."""

import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import compress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from terp.storage import files, lineage
from terp.storage.errors import DiskTrouble
from terp.storage.grid import Group
from terp.storage.ledger import Gone, Place
from terp.storage.looking import Sizes, check_file, sizes_found
from terp.storage.manifest import NAMES
from terp.storage.product import Seal, StoredProduct
from terp.storage.rows import Record
from terp.storage.scrub import without_secrets
from terp.storage.sealing import Look, bad_shards, closed, glance, whole
from terp.storage.writing import Written

_LONGEST = 1_000  # characters of a remark


class Filling:
    """The controller's hold on an open product: `with Filling(product) as filling: ...`.

    Raises Busy when another controller has it, Fenced as soon as a newer one took it over.
    """

    def __init__(self, product: StoredProduct, take_over: "bool | Gone" = False) -> None:
        self.product = product
        self.ledger = product.ledger
        self.ledger.claim(take_over, self._make_room)
        try:
            with files.disk(product.folder):
                for old in self.attempts.parent.iterdir():
                    if not (old.name.isdecimal() and int(old.name) >= self.ledger.epoch):  # not those of a newer one
                        _clear(old)
                if self.left:
                    self._unseal()
                self.found_bad = self._sweep_shards()
        except BaseException:
            self.ledger.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with suppress(OSError):
                _clear(self.attempts)
        finally:
            self.ledger.release()

    def _make_room(self, epoch: int) -> None:
        """Make a folder for attempts, before the work is ours and never again: who takes over clears it for good."""
        self.attempts = self.product.folder / "attempts" / f"{epoch:06}"
        files.make_folders(self.attempts)

    def missing(self) -> Iterator[Place]:
        """Walk the regions that are not recorded."""
        return self.ledger.missing()

    @property
    def left(self) -> int:
        """How many regions are not recorded."""
        return self.product.regions - self.ledger.count

    def generation(self, place: Place) -> int:
        """Return how often the region had to be begun anew."""
        return self.ledger.generations.get(place, 0)

    def fresh(self, batch: Sequence[Written]) -> list[Written]:
        """Return what was written of regions that are not recorded yet, the first of each; remove all else."""
        kept: dict[Place, Written] = {}
        for one in batch:
            if self.ledger.has(one.place) or kept.setdefault(one.place, one) is not one:
                files.forget(self.attempts / name for name, _ in one.attempts.values())
        return list(kept.values())

    def commit(self, batch: Sequence[Written]) -> list[Written]:
        """Make written regions visible, then durable, then recorded; return those whose files never showed up.

        What is recorded already stays as it is: a second attempt at it is thrown away.
        """
        self.ledger.check()
        batch = self.fresh(batch)
        with files.disk(self.product.folder):
            deadline = time.monotonic() + files.PATIENCE
            seen = [self._arrived(one, deadline) for one in batch]
            good = list(compress(batch, seen))
            folders = {folder for one in good for folder in self._publish(one)}
            for folder in folders:
                files.sync_folder(folder)
        self.ledger.append(self._record(one) for one in good)
        return [one for one, here in zip(batch, seen, strict=True) if not here]

    def _arrived(self, one: Written, deadline: float) -> bool:
        return all(_seen(self.attempts / name, stored.size, deadline) for name, stored in one.attempts.values())

    def _publish(self, one: Written) -> Iterator[Path]:
        group = self.product.group(one.group)
        for array in group.arrays:
            final = self.product.data / group.shard_key(array, one.index)
            files.make_folders(final.parent)
            files.publish(self.attempts / one.attempts[array.name][0], final, self.ledger.check)
            yield final.parent

    def _record(self, one: Written) -> Record:
        stored = {name: digests for name, (_, digests) in one.attempts.items()}
        made = one.seconds, one.worker, one.reads, _told(one.remarks)
        return Record(one.group, one.index, self.generation(one.place), stored, *made)

    def void(self, place: Place, why: str) -> None:
        """Say that a recorded region does not count, remove its files and the seal: it will be done again."""
        self.ledger.check()
        with files.disk(self.product.folder):
            self._unseal()
        self.ledger.void(place, why)
        group = self.product.group(place[0])
        for array in group.arrays:
            with files.disk(self.product.folder):
                self._take_away(self.product.data / group.shard_key(array, place[1]))

    def _unseal(self) -> None:
        for name in ("seal.json", *NAMES, *lineage.NAMES):
            self._take_away(self.product.folder / name)
        files.sync_folder(self.product.folder)

    def _take_away(self, path: Path) -> None:
        """Remove a file by way of our own attempts: where a newer controller has cleared these, it can't be done.

        What is asked of the disk after a pause (a cut network, a request that is sent again) comes too late then.
        """
        away = self.attempts / f"gone-{secrets.token_hex(8)}"
        try:
            files.rename(path, away)
        except FileNotFoundError:
            self.ledger.check()
            if path.exists():
                raise
            return
        with suppress(FileNotFoundError):
            away.unlink()

    def _put[T](self, name: str, write: Callable[[int], T], /) -> T:
        """Put a whole file into the product's folder by way of our own attempts, as above."""
        path = self.product.folder / name
        fresh = self.attempts / f"fresh-{secrets.token_hex(8)}"
        with files.disk(path):
            made = files.write_file(fresh, write)
            self.ledger.check()
            files.rename(fresh, path)
            files.sync_folder(path.parent)
        return made

    def _sweep_shards(self) -> list[Place]:
        """Hold the sizes of the files against the ledger: void what differs, remove what was never recorded."""
        expected, (found, others) = self.product.sizes(self.ledger), sizes_found(self.product.data, self.product.groups)
        stray = others.keys() - {entry.key for entry in self.product.small_files}
        for group in self.product.groups:
            regions, arrays = ((expected[group.path] == 0) & (found[group.path] >= 0)).nonzero()
            stray |= {group.shard_key(group.arrays[a], int(r)) for r, a in zip(regions, arrays, strict=True)}
        for key in sorted(stray):
            self.ledger.check()
            self._take_away(self.product.data / key)
        deadline = time.monotonic() + files.GLANCE
        return [
            place
            for group in self.product.groups
            for place in self._give_up(group, expected[group.path], found[group.path], deadline)
        ]

    def _give_up(self, group: Group, expected: Sizes, found: Sizes, deadline: float) -> Iterator[Place]:
        """Void the regions of a group whose files are not as recorded."""
        wrong = (expected != found) & (expected > 0)
        for index in map(int, np.flatnonzero(wrong.any(axis=1))):
            why = self._unlike(group, index, expected[index], found[index], deadline)
            if why:
                self.void((group.path, index), why)
                yield group.path, index

    def _unlike(self, group: Group, index: int, sizes: Sizes, found: Sizes, deadline: float) -> str:
        """Say what of a region is not there as recorded, at a second look; "" where all is."""
        for array, size, seen in zip(group.arrays, sizes, found, strict=True):
            key = group.shard_key(array, index)
            if size != seen and not _seen(self.product.data / key, int(size), deadline):
                return f"{key} had {seen if seen >= 0 else 'no'} bytes, not {size}"
        return ""

    def seal(self) -> Seal | list[Place]:
        """Look at all files; when all is there as recorded, close the product. Else return what has to be made (again).

        Of a shard size, tag and index are looked at: who reads it proves the rest, a stage by CRC32C, the archive by
        BLAKE3. To read all here would take one controller longer than all workers took to write it.
        Raises DiskTrouble when a small file is damaged that cannot be made again here.
        """
        self._give_up_bad(glance)
        return list(self.missing()) or self._close()

    def read_all(self) -> None:
        """Read every byte, and give up the regions of which a shard is not as recorded; raises as `seal` does."""
        self._give_up_bad(whole)

    def _give_up_bad(self, look: Look) -> None:
        self.ledger.check()
        self.ledger.reload()  # what counts is what can be read, not what is remembered
        for place, why in dict(bad_shards(self.product, self.ledger, look)).items():
            self.void(place, why)
        for entry in self.product.small_files:
            wrong = check_file(self.product.data / entry.key, entry.size, entry.blake3)
            if wrong:
                raise DiskTrouble(
                    f"{entry.key} of {self.product.name} {wrong}: run the same command again to put it back"
                )

    def _close(self) -> Seal:
        seal = closed(self.product, self.ledger, self._put)
        for name in ("manifest", "lineage"):
            self.product.__dict__.pop(name, None)
        return seal


def _clear(folder: Path) -> None:
    """Take the ground from under late writers, in one step: what they write or link later has no place."""
    gone = folder.with_name(f".gone-{secrets.token_hex(4)}")
    with suppress(FileNotFoundError):  # somebody else has just cleared it
        files.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


@lru_cache(maxsize=256)  # regions share them
def _told(remarks: tuple[str, ...]) -> tuple[str, ...]:
    """Return remarks as they are kept: without secrets, and not too long, as they may show the data."""
    return tuple(one[:_LONGEST] for one in without_secrets(remarks))


def _seen(path: Path, size: int, deadline: float) -> bool:
    try:
        files.await_file(path, size, deadline - time.monotonic())
    except FileNotFoundError:
        return False
    return True


def sizes_are_those(product: StoredProduct) -> bool:
    """Say whether the files of a sealed product are just those of its manifest, by name and size."""
    found, others = sizes_found(product.data, product.groups)
    alike = (np.array_equal(found[path], sizes) for path, sizes in product.sizes().items())
    return others == {entry.key: entry.size for entry in product.small_files} and all(alike)
