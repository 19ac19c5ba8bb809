"""What is to be copied: an archived object as its newest inventory tells it, file by file, in the order of copying."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from terp.storage.archive.ocfl import MARK, OBJECT, ROOT, content, demand_read, newest, place, sound
from terp.storage.archive.policy import Policy
from terp.storage.errors import BadPackage, BadPolicy, Damaged
from terp.storage.files import disk

_INVENTORY, _SIDECAR = "inventory.json", "inventory.json.sha512"
POLICY = "policy.toml"


@dataclass(frozen=True)
class Original:
    """An object in the archive."""

    root: Path
    identifier: str
    inventory: Mapping[str, Any]
    data: bytes

    @classmethod
    def find(cls, root: Path, identifier: str) -> "Original":
        """Find an object; raises BadPackage where there is none, Damaged where only an older version can be told."""
        home = root / place(identifier)
        with disk(home):
            if not home.is_dir():
                raise BadPackage(f"{root} holds no object {identifier!r}; `terp ls` says what it holds")
            demand_read(home)
            inventory, data = newest(home)
        return cls(root, identifier, inventory, data)

    @property
    def home(self) -> Path:
        """Its folder."""
        return self.root / place(self.identifier)

    @property
    def prefix(self) -> str:
        """Its folder, relative to the root of any archive laid out alike, with a slash at the end."""
        return f"{place(self.identifier).as_posix()}/"

    @property
    def version(self) -> str:
        """Its newest version."""
        return str(self.inventory["head"])

    @property
    def digest(self) -> str:
        """The SHA-512 of its inventory."""
        return hashlib.sha512(self.data).hexdigest()

    @cached_property
    def content(self) -> Mapping[str, str]:
        """The SHA-512 of each file of content, by its path in the object."""
        return {path: sha for sha, paths in sorted(self.inventory["manifest"].items()) for path in sorted(paths)}

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """The size of each file, by its path in the object; raises Damaged where one is missing."""
        found = {path: self._size(path) for path in self.content}
        return found | {path: len(data) for path, data in self.around()}

    def around(self) -> Iterator[tuple[str, bytes]]:
        """Yield what is no content, proven: path in the object and bytes. The inventory and its checksum come last.

        So a copy that was cut short has no inventory, or one of an older version, which is whole.
        """
        for version in sorted(self.inventory["versions"], key=lambda name: int(name[1:])):
            with disk(self.home):
                found = sound(self.home / version)
            if found is None or (version == self.version and found[1] != self.data):
                raise Damaged(f"{self.home / version / _INVENTORY} does not fit its checksum: {self._cure}")
            yield f"{version}/{_INVENTORY}", found[1]
            yield f"{version}/{_SIDECAR}", _sidecar(found[1])
        yield f"0={OBJECT}", f"{OBJECT}\n".encode()
        yield _INVENTORY, self.data
        yield _SIDECAR, _sidecar(self.data)

    def policy(self) -> Policy:
        """Return the decision under which it was archived; raises BadPolicy where there is none."""
        state = self.inventory["versions"][self.version]["state"]
        digest = next((sha for sha, names in state.items() if POLICY in names), None)
        if digest is None:
            raise BadPolicy(
                f"there is no decision on {self.identifier}, so none on copies of it: it was archived without a "
                f"{POLICY}; archive it again under a policy (`terp policy new` prints one to fill in)"
            )
        path = self.home / self.inventory["manifest"][digest][0]
        data = content(path, digest)
        if data is None:
            raise Damaged(f"{path} is not what was stored, so nothing is decided by it: {self._cure}")
        return Policy.parse(data, str(path))

    def root_files(self) -> Iterator[tuple[str, bytes]]:
        """Yield what makes a folder an archive laid out as this one, the mark that it is one last."""
        for path in [*sorted(self.root.glob("extensions/0*/config.json")), self.root / "ocfl_layout.json"]:
            with disk(path):
                yield path.relative_to(self.root).as_posix(), path.read_bytes()
        yield MARK, f"{ROOT}\n".encode()

    def _size(self, path: str) -> int:
        with disk(self.home):
            try:
                return (self.home / path).stat().st_size
            except FileNotFoundError:
                raise Damaged(f"{self.home / path} is gone: {self._cure}") from None

    @property
    def _cure(self) -> str:
        return f"mend {self.identifier} first (`terp verify {self.identifier}` says what is wrong with it)"


def _sidecar(data: bytes) -> bytes:
    return f"{hashlib.sha512(data).hexdigest()}  {_INVENTORY}\n".encode()
