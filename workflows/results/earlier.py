"""The archived object of which results become the next version: what has not changed of it is not stored again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from terp.storage.home import Home
from terp.storage.package.bands import BAND_BYTES
from terp.storage.package.packed import PackedProduct
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
    if results.keys() != set(names):
        raise Usage(
            f"{identifier} has {', '.join(results)}, and this run {', '.join(names)}: it is no version of that object; "
            "archive it as one of its own"
        )
    return Earlier(identifier, results)
