"""Find the inputs of a recorded run again: by their digests, wherever they are now."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from terp.storage.errors import BadInput
from terp.storage.fetching import identified
from terp.storage.files import disk
from terp.storage.ingest import SAMPLES, locate

Source = Mapping[str, Any]  # as a recipe has it: what the flow calls it, its name, and its files


@dataclass
class Inputs:
    """Where to look (`places` that somebody named), a cache of digests, and room to put files together."""

    places: Sequence[Path]
    cache: Path
    room: Path
    _known: dict[Path, str] = field(default_factory=dict)

    def found(self, sources: Iterable[Source]) -> tuple[dict[str, Path], list[dict[str, str]]]:
        """Return where each source is, by what the flow calls it, and in words how it was found.

        The place that the flow names counts where the content there is the recorded one; then what was given; then
        samples. Raises BadInput that names all files that are not found, with their digests.
        """
        where: dict[str, Path] = {}
        told, missing = [], []
        for number, source in enumerate(sources):
            there = self._where_it_was(source)
            pieces = {} if there else {part["name"]: self._piece(part) for part in source["parts"]}
            missing += [part for part in source["parts"] if part["name"] in pieces and not pieces[part["name"]]]
            if not missing:
                where[source["given"]] = there or _put_together(self.room / str(number), source["name"], pieces)
            told.append({"name": source["given"], "found": "where it was" if there else "by its digest"})
        if missing:
            raise BadInput(f"{'; '.join(map(_wanted, missing))}: give the file, or a folder with it, with --input PATH")
        return where, told

    def _where_it_was(self, source: Source) -> Path | None:
        """Return the place that the flow names, if what is there is the source, all of it and nothing else."""
        try:
            there = identified(source["given"], self.cache)
        except BadInput:
            return None
        wanted = {part["name"]: part["sha256"] for part in source["parts"]}
        return Path(there.path) if {part.name: part.sha256 for part in there.parts} == wanted else None

    def _piece(self, part: Mapping[str, Any]) -> Path | None:
        fitting = (path for path in self._by_size.get(part["size"], ()) if self._digest(path) == part["sha256"])
        return next(fitting, None)

    @cached_property
    def _by_size(self) -> dict[int, list[Path]]:
        found: dict[int, list[Path]] = {}
        for path in _files([*self.places, *_samples()]):
            with disk(path):
                found.setdefault(path.stat().st_size, []).append(path)
        return found

    def _digest(self, path: Path) -> str:
        if path not in self._known:
            with disk(path), path.open("rb") as file:
                self._known[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._known[path]


def _put_together(folder: Path, name: str, pieces: Mapping[str, Path | None]) -> Path:
    """Link files so that they stand to each other, and are called, as they did: readers look at names too."""
    base = folder if list(pieces) == [name] else folder / name
    for inside, path in pieces.items():
        link = base / inside
        if ".." in link.parts or not link.is_relative_to(base):
            raise BadInput(f"{inside!r} cannot be the name of a part of an input: the crate is not one that terp wrote")
        with disk(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(str(path)).absolute())
    return folder / name


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from (path for path in sorted(place.rglob("*")) if path.is_file())
        elif place.is_file():
            yield place
        else:
            raise BadInput(f"there is no {place}: --input names a file or a folder")


def _samples() -> Iterator[Path]:
    for name in SAMPLES:
        try:
            yield locate(name)
        except BadInput:  # its package is not installed
            continue


def _wanted(part: Mapping[str, Any]) -> str:
    return f"{part['name']} ({part['size']:,} bytes, SHA-256 {part['sha256']}) is not found"
