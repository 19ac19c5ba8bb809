"""Whether an object's own checksums say what its inventory says: both tell the SHA-512 of each file of a version.

While they agree nothing is read for that: what SHA512SUMS has to be follows from the inventory, and with it its digest.
The signature beside it (SSHSIG, https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig) is one of that
digest. Written apart from what writes checksums and signs them.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from terp.storage.audit.truth import INVENTORY, Truth, sound_bytes
from terp.storage.places import Place

SUMS, SIGNATURE = "SHA512SUMS", "SHA512SUMS.sig"
CURE = "they were not made together: keep both, find out who wrote there, restore the object from a copy of before"
_LISTED, _SIGNED, _READ = "terp S1", "terp S2", "OCFL 3.5"
_LINE = re.compile(r"([0-9a-fA-F]{128}) [ *](?:\./)?(.+)")  # as sha512sum(1) writes and reads it
_MOST = 5  # names that are told of
_ARMOR = re.compile(rb"-----BEGIN SSH SIGNATURE-----\s(.+)-----END SSH SIGNATURE-----\s*", re.DOTALL)
_MAGIC, _KIND = b"SSHSIG", b"ssh-ed25519"
_ABOUT = [b"file", b"", b"sha512"]  # namespace, reserved, hash


@dataclass(frozen=True)
class Contradiction:
    """What a version of an object says against itself: in which file, by which rule."""

    version: int
    path: str
    what: str
    rule: str


def contradictions(places: Sequence[Place], truth: Truth) -> list[Contradiction]:
    """Return where the checksums of versions, or signatures of them, differ from the inventory that stands."""
    if not truth.head:
        return []
    try:
        plain = truth.plain(truth.head)
        paths = {digest.lower(): min(paths) for digest, paths in plain["manifest"].items()}
        states = {int(name[1:]): _by_name(version["state"]) for name, version in plain["versions"].items()}
        versions = [_Version(places, truth.folder, number, states[number], paths) for number in sorted(states)]
        return [*_dropped(states), *(one for version in versions for one in version.contradictions())]
    except (ValueError, KeyError, TypeError, AttributeError):
        what = "does not tell which files its versions have"
        return [Contradiction(1, INVENTORY, what, _READ)]


def _by_name(state: Mapping[str, Any]) -> dict[str, str]:
    return {name: digest.lower() for digest, names in state.items() for name in names}


def _dropped(states: Mapping[int, Mapping[str, str]]) -> Iterator[Contradiction]:
    """Yield the versions without checksums where an earlier one has some."""
    first = min((number for number, state in states.items() if SUMS in state), default=0)
    for number, state in states.items():
        if 0 < first < number and SUMS not in state:
            what = f"has no {SUMS} in v{number}, where v{first} has it"
            yield Contradiction(number, INVENTORY, what, _LISTED)


@dataclass(frozen=True)
class _Version:
    """A version by its inventory: SHA-512 by name, and where content is by SHA-512."""

    places: Sequence[Place]
    folder: str
    number: int
    state: Mapping[str, str]
    paths: Mapping[str, str]

    def contradictions(self) -> Iterator[Contradiction]:
        if SUMS in self.state:
            yield from self._unlike_listed()
        if SIGNATURE in self.state:
            yield from self._unsigned()

    def _unlike_listed(self) -> Iterator[Contradiction]:
        told = sorted((name, digest) for name, digest in self.state.items() if name not in (SUMS, SIGNATURE))
        text = "".join(f"{digest}  {name}\n" for name, digest in told)
        if hashlib.sha512(text.encode()).hexdigest() == self.state[SUMS]:
            return
        data = self._bytes(SUMS)  # in another order, or of others
        wrong = _unlike(data, self.state) if data is not None else []
        if wrong:
            more = [f"{len(wrong) - _MOST:,} more"] if len(wrong) > _MOST else []
            said = "; ".join([*wrong[:_MOST], *more])
            yield self._contradiction(SUMS, f"says other than the inventory of v{self.number}: {said}", _LISTED)

    def _unsigned(self) -> Iterator[Contradiction]:
        data = self._bytes(SIGNATURE)
        if data is not None and not is_signed(data, bytes.fromhex(self.state.get(SUMS, ""))):
            what = f"is no Ed25519 signature, as OpenSSH makes it, of the {SUMS} of v{self.number}"
            yield self._contradiction(SIGNATURE, what, _SIGNED)

    def _contradiction(self, name: str, what: str, rule: str) -> Contradiction:
        return Contradiction(self.number, self.paths[self.state[name]], what, rule)

    def _bytes(self, name: str) -> bytes | None:
        """Return the bytes of a small file; None where no place has it sound, which is told of elsewhere."""
        digest = self.state[name]
        return sound_bytes(self.places, f"{self.folder}/{self.paths[digest]}", digest)


def _unlike(data: bytes, state: Mapping[str, str]) -> list[str]:
    """Return what some checksums say other than a version has, a few words for each file."""
    lines = [line.removesuffix("\r") for line in data.decode(errors="replace").split("\n") if line]
    parsed = [one for line in lines if (one := _LINE.fullmatch(line))]
    listed = {(one[2], one[1].lower()) for one in parsed}
    named = {name for name, _ in listed}
    wrong = dict.fromkeys(named - state.keys(), "is in it, and not in the version")
    wrong |= {name: "has another SHA-512 in it" for name, digest in listed if name in state and digest != state[name]}
    wrong |= dict.fromkeys(state.keys() - named - {SUMS, SIGNATURE}, "is not in it")
    strange = len(lines) - len(parsed)
    told = [f"{name if name.isprintable() else ascii(name)} {wrong[name]}" for name in sorted(wrong)]
    return told + ([f"{strange:,} of its lines are no checksums"] if strange else [])


def is_signed(signature: bytes, digest: bytes) -> bool:
    """Say whether a signature (SSHSIG, armored) is one of bytes with a SHA-512, by the Ed25519 key that it names."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    armored = _ARMOR.fullmatch(signature)
    try:
        blob = base64.b64decode(b"".join(armored[1].split()) if armored else b"", validate=True)
        public, *about, signed = _strings(blob.removeprefix(_MAGIC + b"\0\0\0\1"))
        (kind, key), (same, made) = _strings(public), _strings(signed)
        if (kind, same, about) != (_KIND, _KIND, _ABOUT):
            return False
        said = _MAGIC + b"".join(len(one).to_bytes(4) + one for one in (*_ABOUT, digest))
        Ed25519PublicKey.from_public_bytes(key).verify(made, said)
    except (ValueError, InvalidSignature):
        return False
    return True


def _strings(data: bytes) -> list[bytes]:
    """Return the strings that some bytes are made of (RFC 4251, section 5); raises ValueError."""
    found = []
    while data:
        size = int.from_bytes(data[:4])
        if len(data) < 4 + size:
            raise ValueError("a string is cut off")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found
