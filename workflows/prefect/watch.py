"""Our own Prefect server: reached, started and stopped from a run; and the process itself.

Of all that come at once one starts it, detached, and the others wait. It is one process that listens on
127.0.0.1 only, behind a random word that is handed on in a file of mode 0600 and in no command line. It settles
what killed runs leave behind (`lease`), and ends when nobody has held a lease for a while, or when its
folder is removed. Its lock is taken by who starts it and goes with the process: what a dead server left in its
folder is never believed.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from terp.workflows.errors import Unavailable
from terp.workflows.prefect.lease import OWN, held, left, lock, settle

if TYPE_CHECKING:
    import httpx
    import uvicorn

BEAT = 1.0  # seconds between two looks at the leases

QUIET = {  # Prefect's statistics would need the network; its pages would be another way in
    "DO_NOT_TRACK": "1",
    "PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///prefect.db",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
}

# Only what records flow and task runs is left on.
_OFF = """
    CANCELLATION_CLEANUP CLEANUP_RECONCILER EVENT_PERSISTER FOREMAN LATE_RUNS
    PAUSE_EXPIRATIONS REPOSSESSOR SCHEDULER TRIGGERS
"""
ENVIRONMENT = QUIET | {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in _OFF.split()}


class State(TypedDict):
    """What the server says of itself, in server.json."""

    port: int
    pid: int
    auth: str


def reach(folder: Path, idle: float, patience: float) -> tuple[State, bool]:
    """Our server in this folder, up and healthy, and whether it was started for us.

    The caller holds a lease. Raises Unavailable, with the end of its log, if it isn't up in `patience` seconds.
    """
    started, deadline = False, time.monotonic() + patience
    while time.monotonic() < deadline:
        fd = lock(folder / "server.lock")
        if fd is not None:  # no server runs, nor is one being started
            if started:
                os.close(fd)
                break
            _start(folder, idle, fd)
            started = True
        state = read(folder)
        if state is not None:
            with probe(url(state)) as asks:
                if healthy(asks):
                    return state, started
        time.sleep(0.02)
    raise Unavailable(f"Prefect's own server did not come up within {patience:.0f} s; {last_words(folder)}")


def last_words(folder: Path) -> str:
    """How the log of a server in this folder ends, for people."""
    log = folder / "server.log"
    end = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
    return "\n".join([f"{log} ends with:", *end])


def read(folder: Path) -> State | None:
    """What the running server says of itself; None if none runs, or it is not up yet."""
    try:
        state: State = json.loads((folder / "server.json").read_text())
    except FileNotFoundError:
        return None
    return None if _free(folder) else state


def url(state: State) -> str:
    """Where a server is."""
    return f"http://127.0.0.1:{state['port']}/api"


def users(folder: Path) -> int:
    """How many processes use our server."""
    return held(folder / "leases", OWN)


def probe(api_url: str, verify: ssl.SSLContext | bool = False, proxies: bool = False) -> "httpx.Client":
    """What asks a server for a sign of life; made once, as reading the certificates takes 40 ms."""
    import httpx

    return httpx.Client(base_url=api_url, timeout=5, trust_env=proxies, verify=verify)


def healthy(asks: "httpx.Client") -> bool:
    """Whether the server answers."""
    import httpx

    with contextlib.suppress(httpx.HTTPError):
        return asks.get("/health").is_success
    return False


def stop(folder: Path, patience: float = 5.0) -> bool:
    """End our server; False if none ran. One that does not end in `patience` seconds is killed."""
    state = read(folder)
    if state is None:
        return False
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(state["pid"], sign)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if _free(folder):
                return True
            time.sleep(0.02)
    raise Unavailable(f"the Prefect server with pid {state['pid']} can't be ended; see {folder / 'server.log'}")


def is_proxy(name: str) -> bool:
    """Whether this environment variable sends requests through a proxy."""
    return name.lower() in {"http_proxy", "https_proxy", "all_proxy"}


def past_proxies(environment: MutableMapping[str, str], host: str) -> None:
    """Have this host reached without the site's proxies, if there are any."""
    if any(map(is_proxy, environment)):
        for name in ("NO_PROXY", "no_proxy"):
            listed = [one for one in environment.get(name, "").split(",") if one]
            environment[name] = ",".join(dict.fromkeys([*listed, host]))


def _free(folder: Path) -> bool:
    fd = lock(folder / "server.lock")
    if fd is not None:
        os.close(fd)
    return fd is not None


def _start(folder: Path, idle: float, fd: int) -> None:
    """Start our server, which from now on holds the lock `fd`."""
    (folder / "server.json").unlink(missing_ok=True)
    word = {"PREFECT_SERVER_API_AUTH_STRING": f"terp:{secrets.token_urlsafe(32)}"}
    spawn("terp.workflows.prefect.watch", folder, [str(folder), str(idle)], ENVIRONMENT | word, [fd])


def spawn(
    module: str, folder: Path, arguments: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int]
) -> None:
    """Start a server as a process of its own that goes on without us: a module, called with arguments and descriptors.

    It works and logs in `folder`, and takes the descriptors from us.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_") and not is_proxy(k)}
    log = os.open(folder / "server.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments, *map(str, descriptors)],
        cwd=folder,  # here Prefect finds no settings of a project of the user's
        env={**kept, "PREFECT_HOME": str(folder), **environment},
        pass_fds=descriptors,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    for descriptor in (log, *descriptors):
        os.close(descriptor)
    threading.Thread(target=server.wait, daemon=True).start()  # or it would stay as a zombie of ours


def main(folder: Path, idle: float, fd: int) -> None:
    """Serve Prefect's API from `folder` until nobody has used it for `idle` seconds."""
    os.umask(0o077)
    os.set_inheritable(fd, False)
    listening = socket.socket(proto=socket.IPPROTO_TCP)  # unsaid, asyncio leaves Nagle on: 40 ms an answer
    listening.bind(("127.0.0.1", 0))
    server = make_server()
    port = listening.getsockname()[1]
    threading.Thread(target=_watch, args=(server, folder, idle, port), daemon=True).start()
    server.run(sockets=[listening])


def make_server(certificate: Path | None = None, key: Path | None = None) -> "uvicorn.Server":
    """A web server with Prefect's API, over TLS if there is a certificate; the environment says the rest."""
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.server.database.configurations import AioSqliteConfiguration
    from prefect.server.database.orm_models import FlowRun

    # With SQLAlchemy 2.1 Prefect 3.8.8 can't schedule: it gives the state of a new run to a bulk insert, and relies on
    # its being passed over there, as it is inserted afterwards. Since 2.1 that has to be said.
    state: Any = FlowRun.__mapper__.all_orm_descriptors["state"]
    state.bulk_dml_setter = lambda *_: None

    begin = AioSqliteConfiguration.begin_transaction

    def begin_to_write(self: Any, session: Any, with_for_update: bool = True) -> Any:  # noqa: ARG001
        return begin(self, session, with_for_update=True)

    # In SQLite a transaction can't begin to write after another wrote since it read: Prefect then answers 503,
    # and its client waits for 2 s. So all that may write take their turn from the start.
    AioSqliteConfiguration.begin_transaction = begin_to_write  # type: ignore[method-assign]
    return uvicorn.Server(
        uvicorn.Config(
            create_app(),
            log_level="warning",
            timeout_graceful_shutdown=2,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
    )


def _watch(server: "uvicorn.Server", folder: Path, idle: float, port: int) -> None:
    from prefect.client.orchestration import SyncPrefectClient

    state = State(port=port, pid=os.getpid(), auth=os.environ["PREFECT_SERVER_API_AUTH_STRING"])
    while not server.started:
        time.sleep(0.02)
    _announce(folder, state)
    used = time.monotonic()
    with SyncPrefectClient(url(state), auth_string=state["auth"]) as client:
        while _stands(folder, state):
            try:
                settle(left(folder / "leases"), OWN, client)
            except Exception as error:  # noqa: BLE001 - one bad beat must not end the watch
                print(f"could not settle what was left behind: {error!r}", file=sys.stderr)
            if users(folder):
                used = time.monotonic()
            elif time.monotonic() - used > idle and _nobody_comes(folder, state):
                break
            time.sleep(min(BEAT, idle))
    server.should_exit = True


def _announce(folder: Path, state: State) -> None:
    fresh = folder / "server.json.new"
    fresh.write_text(json.dumps(state))
    fresh.rename(folder / "server.json")


def _stands(folder: Path, state: State) -> bool:
    """Whether our sign is still there: it goes with the home, when that is removed."""
    try:
        return bool(json.loads((folder / "server.json").read_text()) == state)
    except FileNotFoundError:
        return False


def _nobody_comes(folder: Path, state: State) -> bool:
    """Take the sign down, then look once more: who read it holds a lease since before."""
    (folder / "server.json").unlink(missing_ok=True)
    if not users(folder):
        return True
    _announce(folder, state)
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
