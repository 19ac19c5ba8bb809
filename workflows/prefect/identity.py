"""Who the home's persistent server is and who may use it: a certificate of its own, and a token.

Both are made once and kept, so that whoever talks to the server may go on after it was started again. Clients trust
this one certificate and no authority, so nobody else can stand in for the server, and the token is told to it alone.
"""

import datetime as dt
import ipaddress
import secrets
from pathlib import Path

from terp.storage.files import replace

CERTIFICATE, KEY, TOKEN = "certificate.pem", "key.pem", "token"

_YEARS = dt.timedelta(days=5 * 365)
_LEFT = dt.timedelta(days=365)  # a server may be up for long; one that starts has at least this
_SKEW = dt.timedelta(days=1)  # clocks of nodes differ


def make_identity(folder: Path, address: str) -> None:
    """Have a token, and a certificate with its key for the IP address `address`, in `folder`; what fits is kept."""
    if not (folder / TOKEN).exists():
        replace(folder / TOKEN, f"terp:{secrets.token_urlsafe(32)}".encode(), 0o600)
    if not _fits(folder, address):
        certificate, key = _signed_by_itself(address)
        replace(folder / KEY, key, 0o600)
        replace(folder / CERTIFICATE, certificate, 0o600)


def token(folder: Path) -> str:
    """The word that clients must say, as `name:secret`."""
    return (folder / TOKEN).read_text()


def _fits(folder: Path, address: str) -> bool:
    """Whether certificate and key are there, belong together, are for this address, and will be good for a while."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        key = load_pem_private_key((folder / KEY).read_bytes(), None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
        return False
    return (
        certificate.public_key() == key.public_key()
        and ipaddress.ip_address(address) in names.get_values_for_type(x509.IPAddress)
        and certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) > _LEFT
    )


def _signed_by_itself(address: str) -> tuple[bytes, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "terp: Prefect's server")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - _SKEW, now + _YEARS)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), plain
