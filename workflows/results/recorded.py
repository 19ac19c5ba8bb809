"""A crate as somebody who would repeat its run finds it: in the archive, or its files taken elsewhere."""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from terp.storage.archive import Archive
from terp.storage.crate import CHECKSUMS, METADATA, checksums
from terp.storage.environment import LOCK
from terp.storage.errors import BadPackage
from terp.storage.files import disk
from terp.storage.home import Home
from terp.storage.package.table import MEMBERS, PACKAGE
from terp.workflows.errors import Usage
from terp.workflows.results.bundle import SOURCES
from terp.workflows.results.evidence import unlike_journal
from terp.workflows.results.itself import ITSELF
from terp.workflows.results.recipe import FORMAT, RECIPE
from terp.workflows.results.show import find
from terp.workflows.running.record import JOURNAL


@dataclass(frozen=True)
class Stood:
    """What a crate says a run's environment was."""

    python: str
    distributions: Mapping[str, str]

    def without_terp(self) -> "Stood":
        """Return the same but for terp itself, where that comes with the crate."""
        return Stood(self.python, {name: one for name, one in self.distributions.items() if name != "terp"})


@dataclass(frozen=True)
class Recorded:
    """A crate: what people call it, and its files by their names."""

    name: str
    files: Mapping[str, Path]

    def file(self, name: str) -> Path:
        """Return where a file is; raises BadPackage where the crate lacks it."""
        if name not in self.files or not self.files[name].is_file():
            raise BadPackage(f"{self.name} lacks {name}, without which its run cannot be repeated: restore it")
        return self.files[name]

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """What it takes to make the results again."""
        plain = self._json(RECIPE)
        if plain.get("format") != FORMAT:
            raise BadPackage(f"{self.name} has a {RECIPE} of format {plain.get('format')}: a newer terp may know it")
        return plain

    @property
    def terp(self) -> str:
        """The digest of the terp that made the run, which is in the crate; "" of a crate from before it was kept."""
        return str(self.recipe["terp"].get("sha256", ""))

    @property
    def needed(self) -> Iterator[str]:
        """The names of the files without which its run cannot be repeated and compared; a table before its packages."""
        yield from (METADATA, RECIPE)
        yield from [LOCK] if LOCK in self.files else []
        yield from [SOURCES] if self.recipe["files"] else []
        yield from [ITSELF] if self.terp else []
        for table in [f"{name}{MEMBERS}" for name in self.recipe["results"]]:
            yield table
            yield from (one["name"] for one in self._json(table)["packages"])

    @cached_property
    def environment(self) -> Stood:
        """What the run stood on."""
        graph = {str(entity["@id"]): entity for entity in self._json(METADATA)["@graph"]}
        found = {e["name"]: str(e["value"]) for name, e in graph.items() if name.startswith("#distribution-")}
        python = str(graph.get("https://www.python.org/", {}).get("softwareVersion", ""))
        return Stood(python, found)

    def prove(self, packages: bool = True) -> None:
        """Read what is needed and compare it with SHA512SUMS; raises BadPackage for what is gone or not as it was.

        Without `packages`, the results may be lost: they are needed to compare with, and not to make them again.
        """
        known = checksums(self.file(CHECKSUMS).read_text())
        for name in self.needed:
            if name.endswith(PACKAGE) and not packages:
                continue
            path = self.file(name)
            with disk(path), path.open("rb") as file:
                if hashlib.file_digest(file, "sha512").hexdigest() != known.get(name):
                    raise BadPackage(f"{name} of {self.name} is not as {CHECKSUMS} says: restore it from a copy")
        if JOURNAL in self.files and (wrong := self._unlike_journal()):
            raise BadPackage(f"{self.name}: {wrong}: restore it from a copy")

    def _unlike_journal(self) -> str:
        try:
            return unlike_journal(self.files)
        except (OSError, ValueError, KeyError) as error:
            return f"{JOURNAL} cannot be read: {error!r}"

    def _json(self, name: str) -> dict[str, Any]:
        try:
            plain: dict[str, Any] = json.loads(self.file(name).read_bytes())
        except ValueError:
            raise BadPackage(f"{name} of {self.name} is damaged: restore it from a copy") from None
        return plain


def recorded(home: Home, reference: str, scratch: Path) -> Recorded:
    """Return the crate that a reference names: a run, an archived object, or a folder or ZIP with a crate's files.

    A ZIP is unpacked below `scratch`. Raises Usage where there is none.
    """
    path = Path(reference).expanduser()
    if path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as held, disk(scratch):
            held.extractall(scratch / "crate")
        return _in_folder(path.name, scratch / "crate")
    if path.is_dir():
        return _in_folder(path.name, path)
    found = find(home, reference)
    if found.product or (found.run and not found.run.archived):
        raise Usage(f"{reference} is not archived, so there is no crate to repeat it from: `terp archive RUN` makes it")
    archived: dict[str, str] = found.run.archived if found.run else {"identifier": found.identifier}
    files = Archive(home.archive).files(archived["identifier"], archived.get("version"))
    return Recorded(archived["identifier"], files)


def _in_folder(name: str, folder: Path) -> Recorded:
    """Return the crate in a folder, or in the one folder below it that holds one, as in a copied OCFL object."""
    folders = sorted(path.parent for path in folder.rglob(METADATA))
    if not folders:
        raise Usage(f"{name} has no {METADATA}, so it is no crate: name a run, an archived object, or a crate's folder")
    if len(folders) > 1:
        where = ", ".join(str(one.relative_to(folder)) for one in folders)
        raise Usage(f"{name} has several crates: name one of {where}")
    return Recorded(name, {str(path.relative_to(folders[0])): path for path in folders[0].rglob("*") if path.is_file()})
