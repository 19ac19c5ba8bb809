"""Archive: an OCFL 1.1 storage root in which packages rest (https://ocfl.io/1.1/spec/).

A new object is built whole in a staging folder inside the root, synced, and made visible by one rename. A new version
of an object likewise; then its inventory is copied to the top of the object. So the newest sound inventory is the
truth, wherever it lies, and whoever comes next finishes what a crash left half done.
Content is stored once for each digest, so a content folder is not what was put in: ask `files` where things are.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terp.storage.archive.ocfl import (
    MARK,
    OBJECT,
    ROOT,
    Raced,
    as_json,
    copy,
    identifier_of,
    is_kept,
    link,
    make_read_only,
    make_ready,
    newest,
    number_of,
    place,
    placed,
    reveal,
    settle,
    sha512_of,
    sync_folders,
    write_inventory,
)
from terp.storage.errors import BadPackage, Damaged
from terp.storage.files import disk, make_folders, replace, write_new
from terp.storage.holder import Holder

if TYPE_CHECKING:
    from terp.storage.validate import Finding

_LAYOUT = "0003-hash-and-id-n-tuple-storage-layout"
_STAGING = Path("extensions", "terp-staging")


@dataclass(frozen=True)
class Receipt:
    """Where an object rests: its newest version ("v1", ...), its folder, and whether this ingest made that version.

    `inventory` is the SHA-512 of its inventory.
    """

    identifier: str
    version: str
    path: Path
    created_new: bool
    inventory: str


class Archive:
    """A folder of OCFL objects, laid out by extension 0003 (hash tree, then the percent-encoded identifier)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create_if_missing(self) -> None:
        """Make an empty archive unless there is one; raise BadPackage where something else stands."""
        with disk(self.root):
            make_folders(self.root)
            if (self.root / MARK).exists():
                return self._check_layout()
            there = {path.name for path in self.root.iterdir() if not path.name.startswith(".")}
            if strangers := there - {"extensions", "ocfl_layout.json"}:
                raise BadPackage(f"{self.root} is no archive and holds {min(strangers)}; choose an empty folder")
            config = {"extensionName": _LAYOUT, "digestAlgorithm": "sha256", "tupleSize": 3, "numberOfTuples": 3}
            make_folders(self.root / "extensions" / _LAYOUT)
            replace(self.root / "extensions" / _LAYOUT / "config.json", as_json(config))
            about = "first nine digits of the SHA-256 of the identifier in threes, then the identifier itself"
            replace(self.root / "ocfl_layout.json", as_json({"extension": _LAYOUT, "description": about}))
            replace(self.root / MARK, f"{ROOT}\n".encode())  # last: from here on it is an archive
        return None

    def ingest(
        self,
        identifier: str,
        files: Mapping[str, Path],
        *,
        message: str,
        user_name: str,
        user_address: str | None = None,
        created: datetime,
        digests: Mapping[str, str] | None = None,
        move: bool = False,
    ) -> Receipt:
        """Put files, by logical name, into the archive as an object or as the next version of one.

        The same content again makes no new version. `digests` gives known SHA-512s by logical name, so that those
        files need not be read to be compared. `move` hard-links files that are new to the object where the file
        system can, and removes them from where they were once the object is visible. Stored files are read-only.
        Raises BadPackage, Damaged where a file has not the digest given, DiskTrouble; nothing is half visible then.
        """
        from terp.storage.package.packing import check_names  # imports numpy, which who only looks has no use for

        check_names(files)
        if not identifier or not files or created.tzinfo is None:
            raise BadPackage("an object needs an identifier, files, and a moment with its time zone")
        known = {name: digest.lower() for name, digest in (digests or {}).items()}
        if strangers := known.keys() - files.keys():
            raise BadPackage(f"a digest was given for {min(strangers)}, which is not among {', '.join(files)}")
        with disk(self.root):
            found = {name: known.get(name) or sha512_of(path) for name, path in sorted(files.items())}
            user = {"name": user_name} | ({"address": user_address} if user_address else {})
            about = {"created": _utc(created), "message": message, "user": user}
            job = _Ingest(self, identifier, files, found, about, move)
            while True:
                with suppress(Raced), self._staging() as staging:
                    return job.attempt(staging)

    def files(self, identifier: str, version: str | None = None) -> dict[str, Path]:
        """Return where the content of each logical name of a version (default: the newest) is stored."""
        home = self._home(identifier)
        with disk(home):
            inventory = newest(home)[0]
        version = version or inventory["head"]
        if version not in inventory["versions"]:
            raise BadPackage(f"{identifier} has no version {version}; it has {', '.join(inventory['versions'])}")
        return placed(home, inventory, version)

    def head(self, identifier: str) -> str:
        """Return the newest version of an object; where a file of it lies does not tell: it may be of an older one."""
        return self.versions(identifier)[-1]

    def versions(self, identifier: str) -> Sequence[str]:
        """Return the versions of an object, the oldest first."""
        home = self._home(identifier)
        with disk(home):
            return sorted(newest(home)[0]["versions"], key=lambda version: int(version[1:]))

    def digests(self, identifier: str) -> dict[str, str]:
        """Return the SHA-512 of each logical name of the newest version, as the inventory tells it."""
        home = self._home(identifier)
        with disk(home):
            told = newest(home)[0]
        return {name: digest for digest, names in told["versions"][told["head"]]["state"].items() for name in names}

    def newest(self, identifier: str) -> int:
        """Return the number of the newest version of an object; 0 where there is none."""
        home = self.root / place(identifier)
        with disk(home):
            return number_of(newest(home)[0]) if home.is_dir() else 0

    def list(self) -> Sequence[str]:
        """Return the identifiers of all objects, sorted."""
        with disk(self.root):
            return sorted(identifier_of(mark.parent) for mark in self.root.glob(f"*/*/*/*/0={OBJECT}"))

    def verify(self, identifier: str) -> "Sequence[Finding]":
        """Read all of an object and return what is wrong with it; nothing when it is as it was stored."""
        from terp.storage.validate import ERROR, validate_object

        found = validate_object(self._home(identifier), identifier)
        ours = ("OCFL W010", "OCFL E061")  # others may write no inventory of a version, and digests in any letters
        return [one for one in found if one.level == ERROR or one.rule in ours]

    def _check_layout(self) -> None:
        path = self.root / "ocfl_layout.json"
        found = json.loads(path.read_bytes()).get("extension") if path.exists() else None
        if found != _LAYOUT:
            raise BadPackage(f"{self.root} is laid out by {found or 'no rule'}, terp needs {_LAYOUT}; choose another")

    def _home(self, identifier: str) -> Path:
        home = self.root / place(identifier)
        if not home.is_dir():
            raise BadPackage(f"{self.root} holds no object {identifier!r}; `list` says what it holds")
        return home

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """Give a folder of our own inside the root; what dead processes left is thrown away with it."""
        folder = self.root / _STAGING / Holder.me().new_name()
        while not folder.exists():
            with suppress(FileNotFoundError, FileExistsError):  # another has just taken the empty parent away
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.mkdir()
        try:
            for other in folder.parent.iterdir():
                with suppress(FileNotFoundError, ValueError):  # gone by now, or not of our making
                    if Holder.of_name(other.name).is_gone():
                        other.rename(folder / other.name)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                folder.parent.rmdir()


@dataclass(frozen=True)
class _Ingest:
    """One object or version being made; may be attempted again when another process was first."""

    archive: Archive
    identifier: str
    files: Mapping[str, Path]
    digests: Mapping[str, str]
    about: Mapping[str, Any]
    move: bool

    def attempt(self, staging: Path) -> Receipt:
        rest = place(self.identifier)
        home = self.archive.root / rest
        before: dict[str, Any] = {"head": "v0", "manifest": {}, "versions": {}}
        if home.exists():
            settle(home, staging)
            before = newest(home)[0]
        state = self._state()
        self._demand_kept(home, before["manifest"])
        if before["versions"].get(before["head"], {}).get("state") == state:
            return self._receipt(before["head"], home, created_new=False)
        version = f"v{number_of(before) + 1}"
        placed = self._fill(staging / rest, version, before["manifest"])
        self._describe(staging / rest, version, before, placed, state)
        if version != "v1":
            make_ready(staging, (staging / rest / version / "inventory.json").read_bytes())
        sync_folders(staging / rest.parts[0])
        reveal(staging, self.archive.root, rest if version == "v1" else rest / version)
        settle(home, staging)
        self._let_go(placed)
        return self._receipt(version, home, created_new=True)

    def _receipt(self, version: str, home: Path, created_new: bool) -> Receipt:
        inventory = sha512_of(home / version / "inventory.json")
        return Receipt(self.identifier, version, home, created_new, inventory)

    def _state(self) -> dict[str, list[str]]:
        state: dict[str, list[str]] = {}
        for name, digest in sorted(self.digests.items()):
            state.setdefault(digest, []).append(name)
        return state

    def _fill(self, base: Path, version: str, stored: Mapping[str, Any]) -> dict[str, list[str]]:
        """Stage the content that the object does not have yet; return where, by digest."""
        placed: dict[str, list[str]] = {}
        for name, digest in self.digests.items():
            if digest in stored or digest in placed:
                continue
            target = base / version / "content" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            source = self.files[name].resolve()
            if not (self._may_take(name) and link(source, target)) and copy(source, target) != digest:
                raise Damaged(f"{self.files[name]} has not the SHA-512 it should have; make {name} again")
            make_read_only(target)
            placed[digest] = [f"{version}/content/{name}"]
        return placed

    def _may_take(self, name: str) -> bool:
        """Whether a file may be moved: what is in an archived object already stays there, whatever is said of it."""
        return self.move and not is_kept(self.files[name])

    def _demand_kept(self, home: Path, stored: Mapping[str, Any]) -> None:
        """Raise BadPackage where content that is not stored again, as the object has it, is gone or cut off there."""
        for name, digest in self.digests.items():
            for path in stored.get(digest, ()):
                size = (home / path).stat().st_size if (home / path).is_file() else -1
                if size != self.files[name].stat().st_size:
                    raise BadPackage(
                        f"{home / path} is {'gone' if size < 0 else 'cut off'}, so {name} is not kept there: mend "
                        f"{self.identifier} first (`terp repair`), then do the same again"
                    )

    def _describe(
        self, base: Path, version: str, before: Mapping[str, Any], placed: Mapping[str, Any], state: object
    ) -> None:
        inventory = {
            "id": self.identifier,
            "type": "https://ocfl.io/1.1/spec/#inventory",
            "digestAlgorithm": "sha512",
            "head": version,
            "manifest": {**before["manifest"], **placed},
            "versions": {**before["versions"], version: {**self.about, "state": state}},
        }
        (base / version).mkdir(parents=True, exist_ok=True)  # there may be no new content
        write_inventory(base / version, as_json(inventory))
        if version == "v1":
            write_inventory(base, as_json(inventory))
            write_new(base / f"0={OBJECT}", f"{OBJECT}\n".encode())

    def _let_go(self, placed: Mapping[str, Any]) -> None:
        for name, digest in self.digests.items():
            if digest in placed and self._may_take(name):
                with suppress(OSError):  # the object is there; what remains is only in the way
                    self.files[name].unlink()


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
