"""The keys of a run: by them its scheduler, its client and its workers know each other, and nobody else gets in.

One self-signed certificate for all of them, in files that only the user can read, in a folder of the run's own. Nothing
of them is in a script, an environment or a command line; these name the folder.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_SKEW = timedelta(days=1)  # clocks of nodes may be behind
_VALID = timedelta(days=60)  # a job may wait long, and be put back into the queue


@dataclass(frozen=True)
class Keys:
    """The folder with the key and the certificate of one controller."""

    folder: Path

    @property
    def key(self) -> Path:
        """The private key, PEM."""
        return self.folder / "key.pem"

    @property
    def certificate(self) -> Path:
        """The certificate, which is its own authority, PEM."""
        return self.folder / "certificate.pem"

    @classmethod
    def make(cls, folder: Path) -> "Keys":
        """Make a folder that must not be there yet, and the keys in it; raises OSError."""
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
        keys = cls(folder)
        try:
            private, public = _pair()
            _write(keys.key, private)
            _write(keys.certificate, public)
        except BaseException:
            keys.remove()
            raise
        return keys

    def security(self) -> Any:
        """Return what Dask wants to know of them."""
        from distributed.security import Security

        files = {
            f"tls_{role}_{what}": str(path)
            for role in ("scheduler", "worker", "client")
            for what, path in (("key", self.key), ("cert", self.certificate))
        }
        return Security(require_encryption=True, tls_ca_file=str(self.certificate), **files)

    def remove(self) -> None:
        """Remove them: who has not read them by now never will."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()  # the last one turns off the light


def _pair() -> tuple[bytes, bytes]:
    """Return a new private key and its certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "terp")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes) -> None:
    """Write a file that nobody else could read at any moment, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
