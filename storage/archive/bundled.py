"""A tape as those see it who look for objects: each file of an object by its own name, in whichever bundle it is.

So it is audited and searched as any other place is. Its names come from what is kept of bundles beside the archive,
and from tape comes only what is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from terp.storage.archive import bundles
from terp.storage.archive.claim import claimed
from terp.storage.archive.known import Known
from terp.storage.errors import PlaceTrouble
from terp.storage.meter import silent
from terp.storage.places import Stored, Tape
from terp.storage.places.place import Told, checked, prefix_of

type Member = tuple[str, Mapping[str, Any]]
"""A bundle, and what its index tells of one file in it."""


class Bundled:
    """The files in the bundles of a tape, and what else lies there. Nothing is put there but by `terp copy`."""

    kind = "tape"

    def __init__(self, tape: Tape, known: Known, archive: Path) -> None:
        self.name, self.tape, self._known, self._archive = tape.name, tape, known, archive

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield the files whose names begin with a prefix, by name; those of a bundle that is gone are gone."""
        prefix = prefix_of(prefix)
        inside, others = self._inside()
        found = {name: Stored(name, member["size"]) for name, (_, member) in inside.items()}
        found |= {one.name: one for one in others}
        yield from (found[name] for name in sorted(found) if name.startswith(prefix))

    def read(self, name: str, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a file from an offset; raises NotStaged where its bundle is on tape only."""
        found = self._inside()[0].get(checked(name))
        if found is None:
            yield from self.tape.read(name, offset, size)
            return
        bundle, member = found
        left = max(member["size"] - offset, 0)
        yield from self.tape.read(bundle, member["offset"] + offset, left if size is None else min(size, left))

    def put(self, name: str, source: Path, sha512: str | None = None, told: Told = int) -> None:
        """Refuse: a bundle is written as a whole."""
        raise self._refusal(name)

    def write(self, name: str, data: bytes) -> None:
        """Refuse: a bundle is written as a whole."""
        raise self._refusal(name)

    def delete(self, name: str) -> None:
        """Remove what is in no bundle; refuse for what is."""
        if checked(name) in self._inside()[0]:
            raise self._refusal(name)
        self.tape.delete(name)

    def clear(self, prefix: str) -> int:
        """Remove an object by its folder: each bundle that it is in is written anew without it."""
        with claimed(self._known.claims(self.name), f"the place {self.name}"):
            gone = 0
            for identifier in sorted({*self._objects(prefix)}):
                gone += bundles.remove(self._known, self.tape, identifier, self._archive, silent)
        return gone

    def sweep(self, prefix: str = "") -> None:
        """Remove what was cut short; nobody else may put there meanwhile."""
        self.tape.sweep()

    def stage(self, names: Sequence[str]) -> Sequence[str]:
        """Ask for the bundles of some files to be brought; return those files that are not there yet."""
        inside = self._inside()[0]
        bundle = {name: inside[name][0] if name in inside else name for name in names}
        away = set(self.tape.stage(sorted(set(bundle.values()))))
        return [name for name in names if bundle[name] in away]

    def _objects(self, prefix: str) -> Iterator[str]:
        for index in bundles.indices(self._known, self.name):
            yield from (name for name, about in index["objects"].items() if about["prefix"] == prefix)

    def _inside(self) -> tuple[dict[str, Member], Sequence[Stored]]:
        """Return the files in bundles that are whole by their size, and what else lies there."""
        there = {one.name: one for one in self.tape.list()}
        inside = dict[str, Member]()
        for index in bundles.indices(self._known, self.name):
            if there.pop(index["bundle"], None) == Stored(index["bundle"], index["size"]):
                inside |= {one["name"]: (index["bundle"], one) for one in index["members"]}
        return inside, list(there.values())

    def _refusal(self, name: str) -> PlaceTrouble:
        return PlaceTrouble(
            f"{name} is in a bundle of the place {self.name}, which is written as a whole: remove that copy "
            "(`terp uncopy`) and make it anew (`terp copy`)"
        )
