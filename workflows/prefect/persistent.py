"""The home's persistent Prefect server: one for all nodes, started and stopped by a person.

Where it is stands in its **sign**, a file of mode 0600 in a folder of TERP_HOME, beside its certificate and its token
(`identity`): whatever this user starts anywhere with this TERP_HOME finds it there and needs nothing else. It speaks
TLS only, on one address. Nothing but an answer shows that it lives, as neither locks nor process numbers tell on
another node. It settles what killed runs leave behind, and ends when its sign is taken down.
"""

import contextlib
import functools
import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from terp.storage import files
from terp.storage.holder import Holder
from terp.workflows.errors import Unavailable
from terp.workflows.prefect import folders, identity, watch
from terp.workflows.prefect.lease import PERSISTENT, lock, settle, silent

if TYPE_CHECKING:
    import httpx
    import uvicorn

BEAT = 2.0  # seconds between two looks at the sign and the leases
START = (
    120.0  # seconds it may take to come up: the first time, when it makes its tables in PostgreSQL, 22 s were measured
)
STOP = 20.0  # seconds it may take to end

SIGN, LEASES = "server.json", "leases"


@dataclass(frozen=True)
class Sign:
    """What the persistent server says of itself; `database` is without a password, `log` is on its own node."""

    url: str
    database: str
    log: str
    holder: dict[str, Any]


@dataclass(frozen=True)
class Persistent:
    """The persistent server as its sign tells: where it is, and what it takes to use it."""

    sign: Sign
    folder: Path

    @property
    def settings(self) -> dict[str, object]:
        """Prefect's settings for clients of this server, whatever a user has set for others."""
        return {
            "api.url": self.sign.url,
            "api.auth_string": self.word,
            "api.key": None,
            "api.ssl_cert_file": str(self.certificate),
            "api.tls_insecure_skip_verify": False,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The same for a process that is started with it: Prefect's own command."""
        named = {f"PREFECT_{name.upper().replace('.', '_')}": value for name, value in self.settings.items()}
        environment = {name: value for name, value in os.environ.items() if name not in named}
        environment |= {name: str(value) for name, value in named.items() if value is not None}
        environment |= {"DO_NOT_TRACK": "1", "PREFECT_HOME": str(folders.own_folder(self.folder.parent))}
        watch.past_proxies(environment, self.host)
        return environment

    @property
    def host(self) -> str:
        """The address it listens on."""
        return urlsplit(self.sign.url).hostname or ""

    @property
    def certificate(self) -> Path:
        """The certificate by which it is known."""
        return self.folder / identity.CERTIFICATE

    @property
    def leases(self) -> Path:
        """Where who uses it leaves a lease."""
        return self.folder / LEASES

    @property
    def word(self) -> str:
        """The token, as `name:secret`."""
        return identity.token(self.folder)

    def probe(self) -> "httpx.Client":
        """What asks this server, and no other, for a sign of life."""
        return watch.probe(self.sign.url, self._trust)

    def answers(self) -> bool:
        """Whether it is there: false too if another answers in its place."""
        try:
            with self.probe() as asks:
                return watch.healthy(asks)
        except OSError:  # its certificate is gone, or damaged
            return False

    @functools.cached_property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate)


def find(home: Path) -> Persistent | None:
    """The persistent server of this home by its sign, whether it answers or not; None if there is no sign.

    Raises Unavailable if the sign is damaged or its folder belongs to another user.
    """
    folder = folders.shared_folder(home)
    if not (folder / SIGN).exists():
        return None
    folders.private(folder)
    try:
        return Persistent(Sign(**json.loads((folder / SIGN).read_text())), folder)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise Unavailable(f"{folder / SIGN} can't be read ({error}); remove it, then `terp prefect start`") from error


def needed(home: Path) -> Persistent:
    """The persistent server of this home, which answers; raises Unavailable otherwise, with what to do."""
    found = find(home)
    if found is None:
        raise Unavailable(f"{home} has no persistent Prefect server; start one with `terp prefect start`")
    if not found.answers():
        raise Unavailable(f"the Prefect server at {found.sign.url} does not answer; `terp prefect start` starts it")
    return found


def start(home: Path, listening: socket.socket, database: str, patience: float = START) -> tuple[Persistent, bool]:
    """The persistent server of this home, up and healthy, and whether it was started now.

    It takes the bound socket `listening`, at an address that nodes can reach, and keeps its records in `database`, a
    URL of SQLAlchemy's, or in SQLite on a disk of this node if that is empty. Raises Unavailable, with the end of its
    log, if it isn't up in `patience` seconds.
    """
    folder, local = folders.private(folders.shared_folder(home)), folders.private(folders.own_folder(home) / "server")
    started, deadline = False, time.monotonic() + patience
    while time.monotonic() < deadline:
        found = find(home)
        if found is not None and found.answers():
            return found, started
        fd = lock(local / "server.lock")
        if fd is not None:  # no server runs on this node, nor is one being started or ended
            if started:
                os.close(fd)
                break
            _start(folder, local, listening, database, fd)
            started = True
        time.sleep(0.05)
    raise Unavailable(f"Prefect's server did not come up within {patience:.0f} s; {watch.last_words(local)}")


def stop(home: Path) -> bool:
    """End the persistent server of this home, wherever it runs; False if there was none.

    Runs that use it go on without it. Raises Unavailable if it still answers after a while.
    """
    found = find(home)
    if found is None:
        return False
    answered, holder = found.answers(), Holder.from_json(found.sign.holder)
    (found.folder / SIGN).unlink(missing_ok=True)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if holder.is_here() and not holder.is_gone():
            os.kill(holder.pid, sign)
        if _until(lambda: holder.is_gone() or not (holder.is_here() or found.answers()), STOP):
            return answered
    raise Unavailable(f"the server at {found.sign.url} still answers: it is {holder}; end it there")


def _until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def port(home: Path) -> int:
    """The port that the server had when it was last started on this node, or 0: who knows it may go on using it."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((folders.own_folder(home) / "server" / "port").read_text())
    return 0


def _start(folder: Path, local: Path, listening: socket.socket, database: str, fd: int) -> None:
    (folder / SIGN).unlink(missing_ok=True)
    address, port_ = listening.getsockname()[:2]
    identity.make_identity(folder, address)
    files.replace(local / "port", str(port_).encode(), 0o600)
    (folder / LEASES).mkdir(mode=0o700, exist_ok=True)
    environment = watch.QUIET | {"PREFECT_SERVER_API_AUTH_STRING": identity.token(folder)}
    if database:
        environment["PREFECT_API_DATABASE_CONNECTION_URL"] = database
    watch.spawn(__name__, local, [str(folder)], environment, [fd, os.dup(listening.fileno())])


def main(folder: Path, fd: int, listening: int) -> None:
    """Serve Prefect's API until the sign in `folder` is taken down."""
    os.umask(0o077)
    os.set_inheritable(fd, False)
    os.set_inheritable(listening, False)
    end = socket.socket(fileno=listening)
    server = watch.make_server(folder / identity.CERTIFICATE, folder / identity.KEY)
    address, port_ = end.getsockname()[:2]
    url = f"https://[{address}]:{port_}/api" if ":" in address else f"https://{address}:{port_}/api"
    sign = Sign(url, _database(), f"{Path.cwd() / 'server.log'}", Holder.me().to_json())
    threading.Thread(target=_watch, args=(server, folder, sign), daemon=True).start()
    try:
        server.run(sockets=[end])
    finally:
        if _stands(folder, sign):
            (folder / SIGN).unlink(missing_ok=True)


def _database() -> str:
    from sqlalchemy import make_url

    url = make_url(os.environ["PREFECT_API_DATABASE_CONNECTION_URL"])
    return f"SQLite, {Path.cwd() / 'prefect.db'}" if "sqlite" in url.drivername else url.render_as_string()


def _watch(server: "uvicorn.Server", folder: Path, sign: Sign) -> None:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.settings import temporary_settings

    while not server.started:
        time.sleep(0.02)
    files.replace(folder / SIGN, json.dumps(asdict(sign)).encode(), 0o600)
    found = Persistent(sign, folder)
    with temporary_settings(found.settings), SyncPrefectClient(sign.url, auth_string=found.word) as client:
        while _stands(folder, sign):
            try:
                settle(silent(folder / LEASES), PERSISTENT, client)
            except Exception as error:  # noqa: BLE001 - one bad beat must not end the watch
                print(f"could not settle what was left behind: {error!r}", file=sys.stderr, flush=True)
            time.sleep(BEAT)
    server.should_exit = True


def _stands(folder: Path, sign: Sign) -> bool:
    """Whether our sign is still there, and no other's; a disk that does not answer has not taken it down."""
    try:
        return bool(json.loads((folder / SIGN).read_text()) == asdict(sign))
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
