"""Where products, runs and the archive of a person or a group are: one folder, TERP_HOME.

products/   products, each a folder named by its key
runs/       a folder a run: its record, log and what it reports
archive/    the OCFL storage root
custody/    what is known of archived objects beside them: copies, audits, holds, people, tombstones
cache/      what can be lost at any time
prefect-server-UID/   where that user's Prefect server for all nodes is, and its secrets
keys/       keys of runs whose workers are in jobs, while they run; for the user's eyes only
"""

import os
from dataclasses import dataclass
from pathlib import Path

from terp.storage import files
from terp.storage.errors import DiskTrouble


@dataclass(frozen=True)
class Home:
    """The paths below one TERP_HOME.

    Shared by a group where its folder has the set-group-id bit: what is made there then is the group's to write too.
    """

    root: Path

    @classmethod
    def here(cls) -> "Home":
        """Return the home that the environment names, or the user's own."""
        named = os.environ.get("TERP_HOME")
        data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return cls(Path(named or f"{data}/terp").expanduser().absolute())

    def __post_init__(self) -> None:
        """Raise DiskTrouble where a file stands in the place of the folder."""
        if self.root.exists() and not self.root.is_dir():
            raise DiskTrouble(f"{self.root} is a file: TERP_HOME (or --home) has to name a folder")

    @property
    def products(self) -> Path:
        """Folder of products."""
        return self.root / "products"

    @property
    def runs(self) -> Path:
        """Folder of runs."""
        return self.root / "runs"

    @property
    def archive(self) -> Path:
        """The OCFL storage root."""
        return self.root / "archive"

    @property
    def custody(self) -> Path:
        """Folder of what is known of archived objects beside them."""
        return self.root / "custody"

    @property
    def cache(self) -> Path:
        """Folder of what can be lost."""
        return self.root / "cache"

    @property
    def keys(self) -> Path:
        """Folder of keys."""
        return self.root / "keys"

    def product(self, key: str) -> Path:
        """Folder of one product."""
        return self.products / key

    def holds(self, key: str) -> bool:
        """Say whether there is a product, whole or not, of this key; never of a path that leads elsewhere."""
        return bool(key) and not key.startswith(".") and Path(key).name == key and self.product(key).is_dir()

    def open(self) -> "Home":
        """Make the folders; raises DiskTrouble where they cannot be made or written to."""
        with files.disk(self.root):
            files.make_folders(self.root)
            if self.root.stat().st_mode & 0o2000:
                os.umask(os.umask(0) & ~0o070)
            for folder in (self.products, self.runs, self.cache):
                files.make_folders(folder)
        if not os.access(self.products, os.W_OK):
            raise DiskTrouble(f"{self.root}: you may not write there: choose another TERP_HOME or ask its owner")
        return self
