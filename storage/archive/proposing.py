"""Propose to destroy an archived object, and sign that: nothing is touched, and two people have seen what would go.

A proposal counts for what was there when it was made: any change voids it, and the signatures with it. They are over
its very bytes, so who has a key elsewhere may sign with OpenSSH itself.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from terp.storage.archive import tombstone
from terp.storage.archive.custody import Events, slug
from terp.storage.archive.people import People, Person
from terp.storage.archive.proposal import Scope, Survey, changes, specification, survey, unmet
from terp.storage.canonical import canonical
from terp.storage.errors import BadKey, BadPackage, BadPolicy, MustStay
from terp.storage.files import disk, make_folders, replace
from terp.storage.home import Home
from terp.storage.signature import SigningKey, signer

PROPOSED, SIGNED = "destruction proposed", "destruction signed"


@dataclass(frozen=True)
class Signature:
    """A signature that counts: of a person who is registered, over the proposal as it is."""

    person: Person
    armored: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        one = self.person
        about = {"person": one.name, "roles": list(one.roles), "registered": one.added}
        return {**about, "key": one.key, "fingerprint": one.fingerprint, "signature": self.armored}


@dataclass(frozen=True)
class Proposal:
    """A proposal as it was written: where, its bytes, and what they say."""

    path: Path
    data: bytes
    plain: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The SHA-512 of its bytes."""
        return hashlib.sha512(self.data).hexdigest()


def propose(home: Home, identifier: str, scope: Scope, by: str, on: date) -> tuple[Survey, list[str], Proposal | None]:
    """Look at all that would go, and write it down as a proposal where nothing forbids it.

    Returns what was found, the conditions that are not met, and the proposal. One that says the same stays, with its
    signatures. Raises Destroyed, BadPackage and PlaceTrouble where a place does not answer.
    """
    tombstone.demand_none(home.custody, identifier)
    found = survey(home, identifier, scope)
    wrong = unmet(home, identifier, scope, found, on)
    wrong += [f"all has to be seen once: {why}" for why in found.away.values()]
    if wrong:
        return found, wrong, None
    plain = specification(home, identifier, scope, found, by, _now())
    with suppress(MustStay, BadPackage):
        there = load(home, identifier)
        if not changes(there.plain, plain, {}):
            return found, [], there
    path = path_of(home, identifier)
    with disk(path):
        make_folders(path.parent)
        forget(path)
        replace(path.with_suffix(".files"), b"".join(line for part in found.parts for line in part.lines()))
        replace(path, canonical(plain))
    made = load(home, identifier)
    Events(home.custody).append(identifier, PROPOSED, {"sha512": made.digest, "by": by})
    return found, [], made


def load(home: Home, identifier: str) -> Proposal:
    """Return the proposal to destroy an object; raises MustStay where there is none, BadPackage where it is damaged."""
    path = path_of(home, identifier)
    with disk(path):
        data = path.read_bytes() if path.exists() else b""
    if not data:
        raise MustStay(
            f"nobody has proposed to destroy {identifier}: `terp destroy {identifier} --propose` comes first"
        )
    try:
        plain = json.loads(data)
        sound = plain["object"] == identifier and canonical(plain) == data
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise BadPackage(f"the proposal {path} was altered: propose again")
    return Proposal(path, data, plain)


def sign(home: Home, identifier: str, scope: Scope, key: Path, on: date) -> list[Signature]:
    """Sign the proposal with a person's key, or take in a signature that `ssh-keygen -Y sign -n file` made of it.

    Returns all signatures that count by now. Raises BadKey for a key that is nobody's or has signed already, MustStay
    where what is there is not what was proposed, or a condition is not met.
    """
    tombstone.demand_none(home.custody, identifier)
    proposal = load(home, identifier)
    armored = _signature(key, proposal.data)
    person = People(home.custody).with_key(signer(proposal.data, armored))
    demand(identifier, checked_now(home, identifier, scope, proposal, on)[1])
    if person.name in {one.person.name for one in signatures(home, proposal)}:
        raise BadKey(f"{person.name} has signed already: another person has to be the second")
    name = hashlib.sha256(person.fingerprint.encode()).hexdigest()[:16]
    replace(proposal.path.with_suffix(f".{name}.sig"), armored)
    facts = {"sha512": proposal.digest, "person": person.name, "fingerprint": person.fingerprint}
    Events(home.custody).append(identifier, SIGNED, facts)
    return signatures(home, proposal)


def signatures(home: Home, proposal: Proposal) -> list[Signature]:
    """Return the signatures over a proposal that count: of different people, registered and not revoked."""
    people, found = People(home.custody), dict[str, Signature]()
    with disk(proposal.path):
        written = sorted(proposal.path.parent.glob(f"{proposal.path.stem}.{'[0-9a-f]' * 16}.sig"))
        for armored in [path.read_bytes() for path in written]:
            with suppress(BadKey):  # over another proposal, or of somebody who was revoked
                person = people.with_key(signer(proposal.data, armored))
                found[person.name] = Signature(person, armored.decode())
    return [found[name] for name in sorted(found)]


def checked_now(home: Home, identifier: str, scope: Scope, proposal: Proposal, on: date) -> tuple[Survey, list[str]]:
    """Return what is there, and which conditions are not met now, or what is not as it was proposed."""
    found = survey(home, identifier, scope)
    wrong = unmet(home, identifier, scope, found, on)
    with suppress(BadPolicy):  # told of by now
        now = specification(home, identifier, scope, found, "", _now())
        wrong += [f"{one}; propose again" for one in changes(proposal.plain, now, found.away)]
    return found, wrong


def path_of(home: Home, identifier: str) -> Path:
    """Return where the proposal to destroy an object is, if there is one."""
    return home.custody / "destructions" / f"{slug(identifier)}.json"


def forget(path: Path) -> None:
    """Remove a proposal, its list of files and its signatures; those that count are in the tombstone."""
    with disk(path):
        for old in [path, *path.parent.glob(f"{path.stem}.*")]:
            old.unlink(missing_ok=True)


def _signature(path: Path, data: bytes) -> bytes:
    with suppress(OSError):
        text = path.read_bytes()
        if text.startswith(b"-----BEGIN SSH SIGNATURE-----"):
            return text
    return SigningKey.load(path).sign(data)


def demand(identifier: str, wrong: Sequence[str]) -> None:
    """Raise MustStay that names all that is wrong, where something is."""
    if wrong:
        raise MustStay("\n".join([f"{identifier} may not be destroyed:", *(f"  {one}" for one in wrong)]))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
