"""Read the card of an object, or of a tombstone, out of small files; nothing large is read."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from terp.storage.archive.catalog import described
from terp.storage.archive.catalog.card import DAMAGED, DESTROYED, Card, Draft, Result, text
from terp.storage.archive.catalog.contents import Contents
from terp.storage.archive.ocfl import identifier_of, newest, place
from terp.storage.errors import BadPackage, StorageError
from terp.storage.metadata.coverage import LATITUDE, LONGITUDE, TIME, Span, box, times

_LARGEST = 64 << 20  # bytes of a metadata file that is read
_VALUES = "values.json"
_SLUG = 32  # letters of the name of a tombstone; other files beside it have more
_TABLE = ".zarr.zip.members.json"
_OF_RESULT = re.compile(r"(\.(\d{4,}|whole))?\.zarr\.zip")  # behind the name of a result: its package, or one of them

# in the order in which they are believed
_TOLD: tuple[tuple[str, Callable[[bytes, Draft], None]], ...] = (
    ("policy.toml", described.policy),
    ("mdto.xml", described.mdto),
    ("ro-crate-metadata.json", described.crate),
    ("replay.json", described.recipe),
    ("inputs.sha256", described.inputs),
)


def card_of(root: Path, path: str) -> Card:
    """Return the card of the object in the folder `path` of an archive; one that is damaged has a card that says so.

    Raises OSError where the file system refuses, FileNotFoundError where there is no such object.
    """
    home = root / path
    if not home.is_dir():
        raise FileNotFoundError(home)
    try:
        inventory, data = newest(home)
        one = _Object(home, inventory, inventory["versions"][inventory["head"]])
        digest = hashlib.sha512(data).hexdigest()
        return one.card(path, digest)
    except BadPackage:
        why = "it has no inventory that fits its checksum; restore it from another copy"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"its inventory cannot be read ({type(error).__name__}); restore it from another copy"
    return Card(path, text(identifier_of(home)), DAMAGED, why)


def is_as_told(home: Path, digest: str) -> bool:
    """Say whether an object still has the inventory of this SHA-512, and none of its files is missing."""
    try:
        inventory, data = newest(home)
        listed = (f"{home}/{path}" for paths in inventory["manifest"].values() for path in paths)
        return hashlib.sha512(data).hexdigest() == digest and all(map(os.path.exists, listed))
    except (BadPackage, OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


class _Object:
    """One object by its newest inventory."""

    def __init__(self, home: Path, inventory: Mapping[str, Any], version: Mapping[str, Any]) -> None:
        self.home, self.inventory, self.version = home, inventory, version
        self.digests = {str(name): digest for digest, names in version["state"].items() for name in names}
        self.wrong, self._folder = list[str](), f"{home}/"  # text: a Path for each file takes longer than to read it
        self.sizes = dict(self._sizes())

    def _sizes(self) -> Iterator[tuple[str, int]]:
        gone = list[str]()
        for name in sorted(self.digests):
            try:
                yield name, os.stat(self._where(name)).st_size
            except FileNotFoundError:
                gone.append(text(name))
        if gone:
            self.wrong.append(f"it lacks {', '.join(gone[:5])}{' and more' if len(gone) > 5 else ''}")

    def _where(self, name: str) -> str:
        """Return where a file is; raises ValueError for a path that leads out of the object."""
        rest = str(self.inventory["manifest"][self.digests[name]][0])
        if rest.startswith("/") or ".." in rest.split("/"):
            raise ValueError(f"a path leads out of the object: {rest}")
        return self._folder + rest

    def card(self, path: str, digest: str) -> Card:
        draft, versions = Draft(), self.inventory["versions"]
        for name, told in _TOLD:
            self._tell(name, told, draft)
        self._results(draft)
        why = "; ".join(self.wrong)
        if why:
            draft.say(state=DAMAGED, why=f"{why}; restore it from another copy")
        draft.say(
            version=text(self.inventory["head"]),
            created=text(versions[min(versions, key=lambda one: int(one[1:]))]["created"]),
            updated=text(self.version["created"]),
            size=sum(self.sizes.values()),
            files=len(self.digests),
            inventory=digest,
        )
        return Card(path, text(self.inventory["id"]), **draft.facts)

    def _tell(self, name: str, told: Callable[[bytes, Draft], None], draft: Draft) -> None:
        data = self._read(name)
        if data is not None:
            with suppress(ValueError):  # made by someone else, or of another form: it is as it was stored
                told(data, draft)

    def _read(self, name: str) -> bytes | None:
        """Return a small file if it is there and what was stored."""
        if self.sizes.get(name, _LARGEST + 1) > _LARGEST:
            return None
        with open(self._where(name), "rb", buffering=0) as file:
            data = file.read()
        if hashlib.sha512(data).hexdigest() != self.digests[name].lower():
            self.wrong.append(f"{text(name)} is not what was stored")
            return None
        return data

    def _results(self, draft: Draft) -> None:
        """Add results, their variables and coverage; of a package that cannot be read these are not known."""
        values, spans = self._values(), list[tuple[str, Span]]()
        for name in sorted(self.sizes):
            own = name.endswith(_TABLE) and "/" not in name  # below a folder is what came from elsewhere
            if own and (table := self._read(name)) is not None:
                result = name.removesuffix(_TABLE)
                packages = self._packages(result)
                sizes, digests = (
                    sum(self.sizes.get(one, 0) for one in packages),
                    [self.digests[one] for one in packages],
                )
                one = Result(text(result), tuple(map(text, packages)), tuple(digests), sizes, text(values.get(result)))
                draft.add("results", [one])
                with suppress(ValueError, OSError, StorageError), Contents(table, self._package) as contents:
                    draft.add("variables", contents.variables(text(result)))
                    spans += contents.spans()
        of = {kind: [span for one, span in spans if one == kind] for kind in (TIME, LATITUDE, LONGITUDE)}
        draft.facts |= times(of[TIME])  # what the data say is more exact than what was said of them
        draft.facts |= box(of[LATITUDE], of[LONGITUDE])

    def _values(self) -> dict[str, Any]:
        """Return the digest of each result's values."""
        with suppress(ValueError, AttributeError, TypeError):
            return dict(orjson.loads(self._read(_VALUES) or b"{}").get("values", {}))
        return {}

    def _packages(self, result: str) -> list[str]:
        """Return the names of the packages of a result: one, or bands and what is in none."""
        parts = ((name, name[len(result) :]) for name in self.digests if name.startswith(result))
        return sorted(name for name, rest in parts if _OF_RESULT.fullmatch(rest))

    def _package(self, name: str) -> str:
        if name not in self.sizes:
            raise ValueError(f"a table tells of {name!r}, which is not in the object")
        return self._where(name)


def tombstone_card(path: Path) -> Card | None:
    """Return the card of an object that was destroyed, by its tombstone; None where that is not one that can be read.

    Its form is that of terp.storage.archive.tombstone, as far as it is looked at here.
    """
    if len(path.stem) != _SLUG:
        return None
    try:
        plain = orjson.loads(path.read_bytes())
        identifier, when, since = (text(plain.get(one)) for one in ("identifier", "destroyed", "since"))
        ground, title = text(plain.get("ground")), text(plain.get("title"))
    except (OSError, ValueError, AttributeError):
        return None
    why = f"destroyed on {when[:10]}" if when else f"being destroyed since {since[:10]}"
    path_there = place(identifier).as_posix()
    return Card(path_there, identifier, DESTROYED, f"{why}, ground: {ground}", title=title) if identifier else None
