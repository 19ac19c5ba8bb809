"""Signatures that OpenSSH checks: `ssh-keygen -Y verify`, with nothing of terp's.

The format is SSHSIG (https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig) with an Ed25519 key, the
namespace `file` and SHA-512. The private key is read when it is needed and goes nowhere.
"""

import base64
import hashlib
import os
import stat
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from terp.storage.errors import BadKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SETTING = "TERP_SIGNING_KEY"
_MAGIC = b"SSHSIG"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_KIND = b"ssh-ed25519"
_ABOUT = (b"file", b"", b"sha512")  # namespace, reserved, hash


class SigningKey:
    """A private key that signs."""

    def __init__(self, private: "Ed25519PrivateKey") -> None:
        self._private = private

    @classmethod
    def here(cls) -> "SigningKey | None":
        """Return the key that the environment names, if it names one; raises BadKey where it cannot be used."""
        named = os.environ.get(SETTING)
        return cls.load(Path(named).expanduser(), f"that {SETTING} names ") if named else None

    @classmethod
    def load(cls, path: Path, whose: str = "") -> "SigningKey":
        """Read an Ed25519 key from an OpenSSH or PEM file that only its owner can read; raises BadKey.

        `whose` says of the key where it was named.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        try:
            key = _parsed(path, _read(path))
            if not isinstance(key, Ed25519PrivateKey):
                raise _bad(path, f"is of another type ({type(key).__name__.strip('_')})")
        except BadKey as bad:
            raise BadKey(str(bad).replace(f"{path} ", f"{path} {whose}", 1)) from None
        return cls(key)

    def sign(self, data: bytes) -> bytes:
        """Return the signature of some bytes, armored as ssh-keygen writes it."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        signed = _packed(_KIND, self._private.sign(_to_sign(data)))
        blob = _MAGIC + (1).to_bytes(4) + _packed(_packed(_KIND, public), *_ABOUT, signed)
        lines = textwrap.wrap(base64.b64encode(blob).decode(), 70)
        return "\n".join([_BEGIN, *lines, _END, ""]).encode()


def signer(data: bytes, signature: bytes) -> str:
    """Return the fingerprint of the key that signed some bytes, as OpenSSH writes it; raises BadKey if none did."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        text = signature.decode().strip().removeprefix(_BEGIN).removesuffix(_END)
        blob = base64.b64decode("".join(text.split()), validate=True)
        public, *about, signed = _unpacked(blob.removeprefix(_MAGIC + (1).to_bytes(4)))
        kind, key = _unpacked(public)
        Ed25519PublicKey.from_public_bytes(key).verify(_unpacked(signed)[1], _to_sign(data))
    except (ValueError, IndexError, InvalidSignature):
        raise BadKey("the signature is not one of these bytes: they, or it, were altered") from None
    if (kind, *about) != (_KIND, *_ABOUT):
        raise BadKey("the signature is of another kind than terp makes: check it with ssh-keygen")
    return _fingerprint(public)


def fingerprint_of(line: str) -> str:
    """Return the fingerprint of a public key, given as OpenSSH writes it in a line; raises BadKey if it is none."""
    kind, _, rest = line.strip().partition(" ")
    try:
        public = base64.b64decode(rest.split()[0], validate=True)
        named, key = _unpacked(public)
    except (ValueError, IndexError):
        raise BadKey(f"{line[:40]!r} is no public key as OpenSSH writes it: give the .pub file") from None
    if (kind.encode(), named, len(key)) != (_KIND, _KIND, 32):
        raise BadKey(f"the key is of the type {kind}, not ssh-ed25519: make one with ssh-keygen -t ed25519")
    return _fingerprint(public)


def _fingerprint(public: bytes) -> str:
    digest = base64.b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


def _to_sign(data: bytes) -> bytes:
    return _MAGIC + _packed(*_ABOUT, hashlib.sha512(data).digest())


def _packed(*parts: bytes) -> bytes:
    """Return parts as SSH strings (RFC 4251, section 5)."""
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def _unpacked(data: bytes) -> list[bytes]:
    parts = []
    while data:
        size = int.from_bytes(data[:4])
        if len(data) < 4 + size:
            raise ValueError
        parts.append(data[4 : 4 + size])
        data = data[4 + size :]
    return parts


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise _bad(path, "is no file")
            if about.st_mode & 0o077:
                raise _bad(path, f"can be read by others (mode {about.st_mode & 0o777:04o}): chmod 600 {path}")
            return file.read()
    except OSError as error:
        raise _bad(path, f"cannot be read ({error.strerror})") from None


def _parsed(path: Path, data: bytes) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    load = load_ssh_private_key if b"BEGIN OPENSSH" in data else load_pem_private_key
    try:
        return load(data, None)
    except TypeError:
        raise _bad(path, "has a passphrase, which nobody can be asked for here") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _bad(path, "is no private key in OpenSSH's format or PEM") from None


def _bad(path: Path, what: str) -> BadKey:
    return BadKey(f"the key {path} {what}; make one with: ssh-keygen -t ed25519 -N '' -f FILE")
