"""People: who may sign for an archive, each with a key of their own. A login is not a person.

What was registered are events (terp.storage.archive.custody), so nothing is taken out of the register, and who
changed it can be seen. `custody/people.toml` is the same for people to read; an entry there that was never registered
is found, and nothing is signed then.
"""

import json
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from terp.storage.archive.custody import Events
from terp.storage.errors import BadKey, BadPackage
from terp.storage.files import disk, make_folders, replace
from terp.storage.signature import fingerprint_of

REGISTER = "urn:terp:people"  # under which custody keeps the events of the register
FILE = "people.toml"
_ADDED, _REVOKED = "person added", "person revoked"  # events; others there tell of the custody of the register itself

type Line = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")]


class Person(BaseModel):
    """A person: name, public key (a line of OpenSSH's), roles, and since when; until when and why, if revoked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Line
    key: Line
    roles: tuple[Line, ...] = ()
    added: Line
    revoked: str = ""
    reason: str = ""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the key, as OpenSSH writes it."""
        return fingerprint_of(self.key)


class _Register(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    people: tuple[Person, ...] = ()


class People:
    """The register of an archive, in its custody."""

    def __init__(self, custody: Path) -> None:
        self.path, self._events = custody / FILE, Events(custody)

    def all(self) -> Sequence[Person]:
        """Return all who were ever registered, in that order; raises BadPackage where the register was altered."""
        found = _after(self._events.of(REGISTER))
        known = {(one.name, one.key) for one in found}
        for one in self._written():
            if (one.name, one.key) not in known:
                raise BadPackage(
                    f"{self.path} has {one.name!r}, whom nobody registered: somebody altered it. Take that out, and "
                    "register people with `terp people add`"
                )
        return found

    def add(self, name: str, key: str, roles: Iterable[str], by: str) -> Person:
        """Register a person; raises BadKey for a name or key that is registered already, or is none."""
        fingerprint = fingerprint_of(key)
        line = " ".join(key.split()[:2])  # what follows is a remark, often a login and host
        self._demand_new(name, fingerprint)
        try:
            Person(name=name, key=line, roles=tuple(roles), added="now")
        except ValidationError:
            raise BadKey(f"{name!r} is no name of a person: give it in one line") from None
        facts = {"name": name, "key": line, "fingerprint": fingerprint, "roles": list(roles), "by": by}
        self._events.append(REGISTER, _ADDED, facts)
        self.write()
        there = next((one for one in self.all() if one.fingerprint == fingerprint), None)
        if there is None or there.name != name:
            raise BadKey(f"{name!r} was registered by somebody else in this moment: look with `terp people list`")
        return there

    def revoke(self, name: str, reason: str, by: str) -> Person:
        """Revoke the key of a person, who stays in the register; raises BadKey where there is none to revoke."""
        if not any(one.name == name and not one.revoked for one in self.all()):
            raise BadKey(f"there is no {name!r} whose key can be revoked: `terp people list` shows who there is")
        self._events.append(REGISTER, _REVOKED, {"name": name, "reason": reason, "by": by})
        self.write()
        return [one for one in self.all() if one.name == name][-1]

    def with_key(self, fingerprint: str) -> Person:
        """Return the person of a key that is not revoked; raises BadKey where there is none."""
        found = next((one for one in self.all() if one.fingerprint == fingerprint), None)
        if found is None:
            raise BadKey(f"the key {fingerprint} is nobody's here: register it with `terp people add NAME --key FILE`")
        if found.revoked:
            raise BadKey(f"the key {fingerprint} of {found.name} was revoked on {found.revoked[:10]}: {found.reason}")
        return found

    def _demand_new(self, name: str, fingerprint: str) -> None:
        for one in self.all():
            if one.fingerprint == fingerprint:
                raise BadKey(f"this key is that of {one.name} already: each person has a key of their own")
            if _folded(one.name) == _folded(name) and not one.revoked:
                raise BadKey(f"{one.name} is registered already: revoke that key first, to give another")

    def _written(self) -> Sequence[Person]:
        try:
            with disk(self.path):
                return _Register.model_validate(tomllib.loads(self.path.read_text())).people if self._there() else ()
        except (ValidationError, ValueError) as error:
            wrong = str(error).partition("\n")[0]
            raise BadPackage(f"{self.path} is no register of people ({wrong}): restore it, or remove it") from None

    def _there(self) -> bool:
        return self.path.exists()

    def write(self) -> None:
        """Write for people who is registered, as the events tell."""
        with disk(self.path):
            make_folders(self.path.parent)
        head = "# Who may sign; written by `terp people`, never by hand: what counts are the events beside it.\n"
        replace(self.path, (head + "".join(map(_table, _after(self._events.of(REGISTER))))).encode())


def _after(events: Sequence[dict[str, Any]]) -> list[Person]:
    """Return who is registered after some events; of two who took the same name or key, the first."""
    found: list[Person] = []
    for event in events:
        facts = event["facts"]
        if event["event"] == _REVOKED:
            about = {"revoked": event["time"], "reason": facts["reason"]}
            found = [
                one.model_copy(update=about) if one.name == facts["name"] and not one.revoked else one for one in found
            ]
        elif event["event"] == _ADDED and not any(_same(one, facts) for one in found):
            found.append(Person(name=facts["name"], key=facts["key"], roles=tuple(facts["roles"]), added=event["time"]))
    return found


def _folded(name: str) -> str:
    """Return a name by which a person is known: spaces and the case or form of letters make nobody another."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _same(one: Person, facts: dict[str, Any]) -> bool:
    same_name = _folded(one.name) == _folded(facts["name"]) and not one.revoked
    return same_name or one.fingerprint == facts["fingerprint"]


def _table(person: Person) -> str:
    """Return a person in TOML, whose strings and lists of strings are those of JSON."""
    plain = person.model_dump(mode="json", exclude_defaults=True)
    return "\n[[people]]\n" + "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in plain.items()
    )
