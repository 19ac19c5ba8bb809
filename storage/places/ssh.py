"""A connection by SSH to a server whose key is known beforehand, or none."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from terp.storage.errors import PlaceTrouble

PATIENCE = 30.0  # seconds for an answer


@dataclass(frozen=True)
class Login:
    """Where to go and as whom: the user's key and the file of known host keys are files here."""

    host: str
    port: int
    user: str
    key: Path
    known_hosts: Path

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


def connect(name: str, login: Login) -> Any:
    """Return a client that is connected; raises PlaceTrouble, also where the server is not the one that is known."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(_Stranger(name, login))
    try:
        _connect(client, f"the place {name} ({login})", login)
    except BaseException:
        client.close()
        raise
    return client


def _connect(client: Any, whose: str, login: Login) -> None:
    try:
        client.load_host_keys(str(login.known_hosts))
        client.connect(
            *(login.host, login.port, login.user),
            key_filename=str(login.key),
            allow_agent=False,
            look_for_keys=False,
            compress=False,
            timeout=PATIENCE,
            banner_timeout=PATIENCE,
            auth_timeout=PATIENCE,
        )
    except paramiko.BadHostKeyException as error:
        found, known = _fingerprint(error.key), _fingerprint(error.expected_key)
        raise PlaceTrouble(
            f"{whose} shows another key than the one in {login.known_hosts}: {found}, not {known}; nothing was "
            "sent; ask its keeper whether the key was changed, and only then change it there"
        ) from None
    except paramiko.PasswordRequiredException:
        raise PlaceTrouble(f"{whose}: the key {login.key} has a passphrase; name one without") from None
    except paramiko.AuthenticationException:
        raise PlaceTrouble(f"{whose} does not let in the key {login.key}: have its public part put there") from None
    except FileNotFoundError as error:
        raise PlaceTrouble(f"{whose}: {error.filename} is not there; correct places.toml") from None
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise PlaceTrouble(f"{whose} does not answer: {error}; is the server up, and the key a key?") from error


class _Stranger(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Refuses a server whose key is not known."""

    def __init__(self, name: str, login: Login) -> None:
        self.name, self.login = name, login

    def missing_host_key(self, client: object, hostname: str, key: Any) -> None:
        """Refuse, in words."""
        raise PlaceTrouble(
            f"the place {self.name} ({self.login}) is not known: {self.login.known_hosts} has no key of it; it shows "
            f"{key.get_name()} {_fingerprint(key)}; ask its keeper for its key, and put that line there"
        )


def _fingerprint(key: Any) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
