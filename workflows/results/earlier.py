"""The archived object of which results become the next version: what has not changed of it is not stored again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from terp.storage.archive import Archive
from terp.storage.archive.ocfl import sha512_of
from terp.storage.errors import Damaged
from terp.storage.files import disk
from terp.storage.home import Home
from terp.storage.package.bands import BAND_BYTES
from terp.storage.package.packed import PackedProduct, tables
from terp.storage.package.table import MEMBERS
from terp.workflows.errors import Usage
from terp.workflows.results.show import packed_results


@dataclass(frozen=True)
class Earlier:
    """An object's identifier ("" where there is none) and its results, by name."""

    identifier: str = ""
    results: Mapping[str, PackedProduct] = field(default_factory=dict)

    def band_bytes(self, name: str) -> int:
        """Return the bytes that a package of a result may have: as then, or bands would be others."""
        return int(self.results[name].told["most"]) if name in self.results else BAND_BYTES


def earlier(home: Home, identifier: str, names: Collection[str]) -> Earlier:
    """Return the newest version of an object; raises Usage where it does not have results of these names."""
    results = packed_results(home, identifier)
    _demand_tables(home, identifier)
    if results.keys() != set(names):
        raise Usage(
            f"{identifier} has {', '.join(results)}, and this run {', '.join(names)}: it is no version of that object; "
            "archive it as one of its own"
        )
    return Earlier(identifier, results)


def _demand_tables(home: Home, identifier: str) -> None:
    """Raise Damaged where a table is not what was stored: what it says of packages goes into the next version."""
    archive = Archive(home.archive)
    digests = archive.digests(identifier)
    for name, path in tables(archive.files(identifier)).items():
        with disk(path):
            found = sha512_of(path)
        if found != digests[f"{name}{MEMBERS}"]:
            raise Damaged(f"{path} is not what was stored: mend {identifier} first (`terp repair`)")
