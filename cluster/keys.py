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

from terp.cluster.errors import NoKeys

_SKEW = timedelta(days=1)  # clocks of nodes may be behind
_TRIES = 3  # to write a file that does not sync
_VALID = timedelta(days=60)  # a job may wait long, and be put back into the queue

CERTIFICATE = "certificate.pem"


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
        return self.folder / CERTIFICATE

    @classmethod
    def make(cls, folder: Path) -> "Keys":
        """Make a folder of a name that nobody else has, and the keys in it; raises NoKeys.

        The certificate comes last: where it can be seen, the key can.
        """
        keys = cls(folder)
        try:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(folder)
            private, public = _pair()
            _write(keys.key, private)
            _write(keys.certificate, public)
        except FileExistsError:
            raise NoKeys(f"{folder} is another's: run again") from None
        except OSError as error:
            keys.remove()
            raise NoKeys(f"the keys of the run cannot be written to {folder}: {error.strerror}") from None
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


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:  # a network file system may have sent its own request twice
        if any(folder.iterdir()):
            raise


def _write(path: Path, data: bytes) -> None:
    """Write a file that nobody else could read at any moment, whatever the umask.

    After a failed sync nothing is known of what reached the disk: the file is thrown away and written again.
    """
    for left in reversed(range(_TRIES)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except OSError:
            path.unlink(missing_ok=True)
            if not left:
                raise
        else:
            return
        finally:
            os.close(descriptor)
