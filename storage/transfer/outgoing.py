"""An archived object as it is when it is exported: which version, its files, and the decision that holds now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from terp.storage.archive import Archive
from terp.storage.archive.ocfl import newest, place
from terp.storage.archive.policy import POLICY, Policy
from terp.storage.archive.retention import stored_policy
from terp.storage.archive.terms import First, Terms, first_version
from terp.storage.errors import BadPackage, BadPolicy
from terp.storage.files import disk
from terp.storage.metadata import premis
from terp.storage.metadata.filling import with_history
from terp.storage.package.packed import PackedProduct, tables
from terp.storage.package.packing import check_names
from terp.storage.transfer.openness import Closed, Openness

EXPORTED = "exported"
HISTORY = "premis-custody.xml"
# what custody noted that may leave, with these of its facts: of the files, and of no person, place, host or reason
_OPEN = {
    "ingested": ("version", "inventory", "policy"),
    "imported": ("kind", "files", "bytes", "sha512", "version", "inventory"),
    "copied": ("version", "sha512", "files", "bytes"),
    "damage found": (),
    "repaired": (),
}


@dataclass(frozen=True)
class Outgoing:
    """A version of an object: its files by logical name, with their SHA-512, and the newest decision over it.

    `first` is since when the object is there. Raises BadPackage where there is no such object or version, BadPolicy
    where nobody decided what may be done with it.
    """

    identifier: str
    version: str
    files: Mapping[str, Path]
    sha512: Mapping[str, str]
    policy: Policy
    first: First
    events: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(
        cls, archive: Archive, identifier: str, version: str | None = None, events: Sequence[Mapping[str, Any]] = ()
    ) -> "Outgoing":
        """Return a version of an object, the newest if none is named."""
        found = archive.files(identifier, version)
        check_names(found)
        now = archive.files(identifier) if version else found
        if POLICY not in now:
            raise BadPolicy(f"{identifier} has no {POLICY}: archive it again under a decision, then export it")
        home = archive.root / place(identifier)
        with disk(home):
            inventory = newest(home)[0]
            if strays := [path for path in found.values() if not path.resolve().is_relative_to(home.resolve())]:
                raise BadPackage(f"{strays[0]} leads out of {home}: `terp verify` it, and restore it from a copy")
        version = version or str(inventory["head"])
        state = inventory["versions"][version]["state"]
        sha512 = {name: digest for digest, names in state.items() for name in names}
        policy = stored_policy(now[POLICY], archive.digests(identifier)[POLICY])
        first = first_version(archive.root, identifier)
        return cls(identifier, version, found, sha512, policy, first, events)

    @property
    def terms(self) -> Terms:
        """The terms of the decision."""
        return Terms(self.policy, self.first)

    def closed(self, on: date) -> list[Closed]:
        """Return the restrictions that are in force on a day."""
        return Openness(self.terms, on).closed

    def demand_recipient(self, on: date, recipient: str, ground: str) -> None:
        """Raise BadPolicy where the whole is to leave, a part of it is closed, and it is not said for whom and why."""
        closed = self.closed(on)
        if closed and not (recipient.strip() and ground.strip()):
            why = "; ".join(str(one) for one in closed)
            raise BadPolicy(
                f"{self.identifier} is not open as a whole ({why}): say for whom it is and on which ground "
                "(--for, --ground), which is recorded; or make a copy without those parts (--to dip)"
            )

    def history(self) -> bytes:
        """Return the object's PREMIS with what happened to its files since its ingest; b"" where either is lacking.

        What was decided of it (holds, exports, destruction), by whom and why, stays with those who keep it.
        """
        open_ = [_told(one) for one in self.events if one["event"] in _OPEN]
        if "premis.xml" not in self.files or not open_:
            return b""
        told = premis.read(self.files["premis.xml"].read_bytes(), f"premis.xml of {self.identifier}")
        return premis.write(with_history(told, self.identifier, open_))

    def products(self) -> dict[str, PackedProduct]:
        """Return the products in it by the names of the results; raises BadPackage where there are none."""
        found = {name: PackedProduct(table, self.files) for name, table in sorted(tables(self.files).items())}
        if not found:
            raise BadPackage(f"{self.identifier} has no package of terp: export it whole (--to bagit)")
        return found


def _told(event: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name: fact for name, fact in event["facts"].items() if name in _OPEN[event["event"]]}
    return {**event, "facts": facts}
