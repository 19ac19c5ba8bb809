"""Import: what somebody else made becomes an archived object, with all that it brings, under a decision of our own.

original/...                    every file as it came, byte for byte
NAME.zarr.zip and its table     packages of terp in it, a second time by name (the archive stores them once)
import.json                     what it was: kind, name, identifier, digests; what of it no file can hold
mdto.xml                        the object as it tells of itself, kept under the decision here, with the event Import
policy.toml, README.md, LEESMIJ.md, SHA512SUMS

It is copied first, the copy is proven, and then moved into the archive in one step. The same again finds it there.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from terp.storage import files
from terp.storage.archive import Archive
from terp.storage.archive.custody import Events
from terp.storage.archive.ocfl import newest, place
from terp.storage.archive.policy import POLICY, Organisation, Policy
from terp.storage.archive.terms import First, Terms, known_since, made_by
from terp.storage.archive.tombstone import demand_none
from terp.storage.canonical import canonical
from terp.storage.errors import BadInput, BadPackage, BadPolicy
from terp.storage.files import disk, make_folders
from terp.storage.home import Home
from terp.storage.metadata import mdto
from terp.storage.metadata.mdto.lists import EVENTS
from terp.storage.transfer import IMPORTED as RECORD
from terp.storage.transfer.arriving import Arrived, Limits, arrive
from terp.storage.transfer.building import hidden
from terp.storage.transfer.proving import Proven, packages_in, prove
from terp.storage.transfer.records import BRON, object_of, organisation

EVENT = "imported"
ORIGINAL = "original"
_SUMS = "SHA512SUMS"
_LONGEST = 1000  # letters of an identifier that a stranger gives


@dataclass(frozen=True)
class Incoming:
    """What is to be imported: where it is, the decision over it, by whom and on which day, and the name it shall have.

    Without a name it keeps the identifier that it gives itself.
    """

    source: Path
    policy: bytes
    by: str
    on: date
    identifier: str = ""
    limits: Limits = field(default_factory=Limits)


def bring(home: Home, incoming: Incoming, say: Callable[[str], None]) -> dict[str, Any]:
    """Import what is at a path; return what was recorded, with `created` telling whether it was new.

    Raises BadPolicy where the decision lacks something, BadPackage where it does not hold together or another object
    has its name, Destroyed, BadMetadata, DiskTrouble; nothing of it stays then.
    """
    policy = decided(incoming.policy, incoming.on)
    source = incoming.source.expanduser().absolute()
    archive = Archive(home.archive)
    archive.create_if_missing()
    with disk(home.cache):
        make_folders(home.cache)
        with hidden(home.cache, ".import") as folder:
            whole = folder / ORIGINAL
            whole.mkdir()
            arrived = arrive(source, whole, incoming.limits, say)
            proven = prove(arrived, str(source))
            say(f"{source.name} is a sound {proven.kind}")
            identifier = incoming.identifier or _identifier(proven, source)
            demand_none(home.custody, identifier)
            now = datetime.now(UTC).replace(microsecond=0)
            terms = _terms(archive, identifier, policy, proven, now.date())
            demand_in_force(terms, incoming.on)
            arriving = _Arriving(source, arrived, proven, identifier, terms, incoming.policy)
            brought = arriving.files(folder)
            known = _known(archive, identifier, brought)
            event = {**arriving.about(), "from": str(source), "policy": policy.version, "by": incoming.by}
            if known:
                return _noted(home, identifier, event | known, created=False)
            demand_none(home.custody, identifier)  # reading and proving it may have taken hours
            receipt = archive.ingest(
                identifier,
                {name: path for name, (path, _) in brought.items()},
                message=f"Imported: {source.name}, a {proven.kind}",
                user_name=incoming.by,
                created=now,
                digests={name: digest for name, (_, digest) in brought.items()},
                move=True,
            )
    event |= {"version": receipt.version, "inventory": receipt.inventory}
    return _noted(home, identifier, event, created=receipt.created_new)


def _noted(home: Home, identifier: str, event: dict[str, Any], created: bool) -> dict[str, Any]:
    """Record an import, unless that was done: one that was cut short after the object was there is finished by this."""
    events = Events(home.custody)
    if created or not any(one["event"] == EVENT for one in events.of(identifier)):
        events.append(identifier, EVENT, event)
    return {"identifier": identifier, "created": created, **event}


def decided(data: bytes, on: date) -> Policy:
    """Return the decision under which something may be imported; raises BadPolicy with all that is in its way."""
    policy = Policy.parse(data)
    _demand(policy.objections(on))
    return policy


def demand_in_force(terms: Terms, on: date) -> None:
    """Raise BadPolicy where a restriction would close nothing from the first day on."""
    _demand(terms.over(on))


def _demand(against: list[str]) -> None:
    if against:
        raise BadPolicy("nothing can be imported under this policy:\n" + "\n".join(f"  {one}" for one in against))


def _terms(archive: Archive, identifier: str, policy: Policy, proven: Proven, today: date) -> Terms:
    """Return the terms of the decision: an object that came before keeps its days, and so its metadata."""
    if known := known_since(archive.root, identifier):
        return Terms(policy, known)
    told = _own(proven)
    made = (made_by(told) if told else None) or today
    return Terms(policy, First(min(made, today), today))


def _own(proven: Proven) -> mdto.Informatieobject | None:
    """Return what it tells of itself, where that is whole."""
    told = proven.told
    return None if told is None or mdto.complaints(told) else told


def _identifier(proven: Proven, source: Path) -> str:
    found = proven.identifier
    if not found.strip():
        raise BadInput(f"{source} does not say what it is known as: give it a name with --identifier, as urn:...")
    if len(found) > _LONGEST or not found.isprintable():
        raise BadInput(
            f"{source} says no name for itself that can be written: give it one with --identifier, as urn:..."
        )
    return found if found.startswith("urn:") else f"urn:terp:import:{quote(found, safe='')}"


def _known(archive: Archive, identifier: str, brought: Mapping[str, tuple[Path, str]]) -> dict[str, str]:
    """Return version and inventory with the same files where they are in the archive already, {} if none is so named.

    Raises BadPackage where an object of that name has other files.
    """
    home = archive.root / place(identifier)
    if not home.is_dir():
        return {}
    if archive.digests(identifier) == {name: digest for name, (_, digest) in brought.items()}:
        inventory, data = newest(home)
        return {"version": str(inventory["head"]), "inventory": hashlib.sha512(data).hexdigest()}
    raise BadPackage(
        f"{identifier} is in the archive already, with other files: two objects cannot have one identifier; if this is "
        "another one, give it a name of its own with --identifier"
    )


@dataclass(frozen=True)
class _Arriving:
    """Something proven on its way into the archive."""

    source: Path
    arrived: Arrived
    proven: Proven
    identifier: str
    terms: Terms
    decision: bytes

    def about(self) -> dict[str, Any]:
        """Return what is told of it, without when and by whom: the same thing again tells the same."""
        listed = "".join(f"{one.sha512}  {path}\n" for path, one in sorted(self.arrived.files.items()))
        return {
            "kind": self.proven.kind,
            "name": self.source.name,
            "known_as": self.proven.identifier,
            "files": len(self.arrived.files),
            "bytes": self.arrived.bytes,
            "sha512": hashlib.sha512(listed.encode()).hexdigest(),
        }

    def files(self, folder: Path) -> dict[str, tuple[Path, str]]:
        """Return all files of the object, by name, with their SHA-512; what tells of it is written beside it."""
        came = self.arrived.files
        brought = {f"{ORIGINAL}/{path}": (self.arrived.folder / path, one.sha512) for path, one in came.items()}
        for name, path in packages_in(self.arrived, self.proven).items():
            brought[name] = brought[f"{ORIGINAL}/{path}"]
        written = {
            POLICY: self.decision,
            RECORD: canonical(self._record()) + b"\n",
            "mdto.xml": mdto.write(self._mdto()),
            "README.md": _README.format(**self._words()).encode(),
            "LEESMIJ.md": _LEESMIJ.format(**self._words()).encode(),
        }
        digests = {name: hashlib.sha512(data).hexdigest() for name, data in written.items()}
        all_ = {**{name: digest for name, (_, digest) in brought.items()}, **digests}
        written[_SUMS] = "".join(f"{digest}  {name}\n" for name, digest in sorted(all_.items())).encode()
        digests[_SUMS] = hashlib.sha512(written[_SUMS]).hexdigest()
        for name, data in written.items():
            files.write_new(folder / name, data)
        return brought | {name: (folder / name, digests[name]) for name in written}

    def _record(self) -> dict[str, Any]:
        sizes = {path: [one.size, one.sha256] for path, one in self.arrived.files.items()}
        return {"format": "terp import 1", **self.about(), "empty": list(self.arrived.empty), "sha256": sizes}

    def _mdto(self) -> mdto.Informatieobject:
        """Return what it tells of itself, under the decision that holds here."""
        own = mdto.Identificatie(self.identifier, BRON)
        base = object_of(self.terms, [own], self.source.name, "Archiefstuk")
        came = mdto.Event(
            eventType=mdto.begrip("Import", EVENTS),
            eventVerantwoordelijkeActor=organisation(self._keeper),
            eventResultaat=f"{self.proven.kind} {self.source.name}, {len(self.arrived.files)} bestanden",
        )
        told = _own(self.proven)
        if told is None:
            return replace(base, event=(came,))
        return replace(
            told,
            identificatie=(own, *(mark for mark in told.identificatie if mark != own)),
            event=(*told.event, came),
            waardering=base.waardering,
            bewaartermijn=base.bewaartermijn,
            informatiecategorie=base.informatiecategorie,
            beperkingGebruik=base.beperkingGebruik,
        )

    @property
    def _keeper(self) -> Organisation:
        return self.terms.policy.zorgdrager or self.terms.policy.archiefvormer

    def _words(self) -> dict[str, Any]:
        named = f" It called itself `{self.proven.identifier}`." if self.proven.identifier else ""
        heet = f" Het noemde zich `{self.proven.identifier}`." if self.proven.identifier else ""
        return {
            **self.about(),
            "identifier": self.identifier,
            "named": named,
            "heet": heet,
            "keeper": self._keeper.naam,
        }


_README = """# {name}

Somebody else made this: a {kind} of {files} files ({bytes} bytes).{named} It was taken into the archive of
{keeper} as it was, as `{identifier}`.

Everything that came is in `original/`, byte for byte, with its own metadata and checksums: begin there. What was added:

- `import.json`: what came, with the SHA-256 and the size of every file
- `mdto.xml`: the object in MDTO, as it tells of itself, kept under the decision that holds here
- `policy.toml`: that decision
- `SHA512SUMS`: for `sha512sum -c SHA512SUMS`, all of it
"""

_LEESMIJ = """# {name}

Dit is door een ander gemaakt: een {kind} van {files} bestanden ({bytes} bytes).{heet} Het is in het archief van
{keeper} opgenomen zoals het was, als `{identifier}`.

Alles wat kwam staat in `original/`, byte voor byte, met zijn eigen metagegevens en controlegetallen: begin daar. Wat
erbij is gezet:

- `import.json`: wat er kwam, met van elk bestand de SHA-256 en de grootte
- `mdto.xml`: het object in MDTO, zoals het over zichzelf vertelt, bewaard onder het besluit dat hier geldt
- `policy.toml`: dat besluit
- `SHA512SUMS`: voor `sha512sum -c SHA512SUMS`, alles
"""
