"""Prefect with nothing set up.

If the user names a server (PREFECT_API_URL, in the environment or the active profile), that one is used. Else it is
the home's persistent server (`persistent`), if there is one and it answers. Else it is one of this user's own
(`watch`), on this node only. The databases of both are on a disk of the node they run on.
"""

import contextlib
import contextvars
import functools
import logging
import os
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from terp.workflows.errors import Unavailable
from terp.workflows.prefect import persistent
from terp.workflows.prefect import watch as prefect_watch
from terp.workflows.prefect.folders import own_folder
from terp.workflows.prefect.lease import OWN, Lease, SharedLease, left, settle

if TYPE_CHECKING:
    import httpx

IDLE = 900.0  # seconds without a user after which our own server ends
START = 90.0  # seconds it may take to come up: the first time, when it makes its database, 16 s were measured

# The leases tell who is alive, so no heartbeats (which would hold up the end of each flow for 1 s as well); and
# what is refused is not tried again and again with growing waits.
OWN_CLIENT: dict[str, object] = {
    "flows.heartbeat_frequency": None,
    "client.max_retries": 0,
    "client.csrf_support_enabled": False,
    "client.server_version_check_enabled": False,
    "server.ephemeral.enabled": False,
}
PERSISTENT_CLIENT = OWN_CLIENT | {"client.max_retries": 2, "api.request_timeout": 20}  # others use it too
ANY_CLIENT: dict[str, object] = {"client.max_retries": 2, "logging.to_api.enabled": False}

log = logging.getLogger(__name__)


@dataclass
class Connection:
    """The Prefect server of this run: where it is, whose it is, and whether it had to be started first."""

    home: Path
    api_url: str
    whose: Literal["own", "persistent", "given"]
    cold: bool = False
    seconds: float = 0.0
    lost: bool = False
    lease: Lease = field(kw_only=True, repr=False)
    asks: "httpx.Client" = field(kw_only=True, repr=False)

    @property
    def own(self) -> bool:
        """Whether it is one of our own, on this node only."""
        return self.whose == "own"

    def watch(self, flow_run_id: UUID) -> None:
        """Should this process be killed, have this flow run marked as Crashed."""
        self.lease.write(flow_run_id, "CRASHED")

    def ended(self, flow_run_id: UUID, state: str) -> None:
        """This flow run ended in `state` (COMPLETED or FAILED); a lost server will be told when it is back."""
        self.lease.write(flow_run_id, state if self.lost else "")

    def answers(self) -> bool:
        """Whether the server is there; once lost it stays lost for this run."""
        if not self.lost and not prefect_watch.healthy(self.asks):
            self.lose("it does not answer")
        return not self.lost

    def lose(self, why: str) -> None:
        """Go on without the server, and say so."""
        self.lost = True
        log.warning("Prefect's server at %s went away (%s); the run goes on without it", self.api_url, why)


@dataclass(frozen=True)
class Status:
    """Our own server as it is now; `users` counts the processes with a lease."""

    api_url: str
    pid: int
    users: int
    log: Path


CURRENT: contextvars.ContextVar[Connection | None] = contextvars.ContextVar("connection", default=None)


@contextlib.contextmanager
def connect(home: Path, *, idle: float = IDLE, start: float = START) -> Iterator[Connection]:
    """A Prefect server for the flows that are run inside; within another connection of this home, that one.

    `home` is where this user's terp keeps its things. A server of our own ends after `idle` seconds without a user.
    Raises Unavailable if the user's server can't be used, or ours does not come up within `start` seconds.
    """
    around = CURRENT.get()
    if around is not None and around.home == home:  # a run within a run
        yield around
        return
    began = time.monotonic()
    prepare(home)
    with contextlib.ExitStack() as until:
        connection = _connected(home, idle, start, until)
        connection.seconds = time.monotonic() - began
        _send_events_to(connection.api_url)
        until.callback(_flush, connection)
        until.callback(CURRENT.reset, CURRENT.set(connection))
        yield connection


def _connected(home: Path, idle: float, start: float, until: contextlib.ExitStack) -> Connection:
    url, shared = users_url(), _found(home)
    if shared is not None and url in (None, shared.sign.url):
        if shared.answers():
            return _to_persistent(home, shared, until)
        _say(
            f"the persistent Prefect server at {shared.sign.url} does not answer; this run uses one of its own on this "
            "node (`terp prefect start` starts it again, `terp prefect stop` forgets it)"
        )
        url = None
    return _to_own(home, idle, start, until) if url is None else _to_users(home, url, until)


def _found(home: Path) -> persistent.Persistent | None:
    try:
        return persistent.find(home)
    except Unavailable as error:  # not worth a run
        _say(f"the home's persistent Prefect server is not used: {error}")
        return None


@functools.cache
def _say(text: str) -> None:
    """Said once in each process."""
    log.warning(text)


def _to_own(home: Path, idle: float, start: float, until: contextlib.ExitStack) -> Connection:
    folder = own_folder(home)
    lease = Lease(folder / "leases", OWN)  # before looking for it: a server with a lease does not end
    until.callback(lease.close)
    state, cold = prefect_watch.reach(folder, idle, start)
    url = prefect_watch.url(state)
    until.enter_context(_settings(OWN_CLIENT | {"api.url": url, "api.auth_string": state["auth"]}))
    return Connection(home, url, "own", cold, lease=lease, asks=until.enter_context(prefect_watch.probe(url)))


def _to_persistent(home: Path, server: persistent.Persistent, until: contextlib.ExitStack) -> Connection:
    url = server.sign.url
    lease = SharedLease(server.leases)
    until.callback(lease.close)
    prefect_watch.past_proxies(os.environ, server.host)
    until.enter_context(_settings(PERSISTENT_CLIENT | server.settings))
    return Connection(home, url, "persistent", lease=lease, asks=until.enter_context(server.probe()))


def _to_users(home: Path, url: str, until: contextlib.ExitStack) -> Connection:
    leases = own_folder(home) / "leases"
    lease = Lease(leases, url)
    until.callback(lease.close)
    until.enter_context(_settings({}))
    _check_users(url, leases)
    asks = until.enter_context(prefect_watch.probe(url, _users_trust(), proxies=True))
    return Connection(home, url, "given", lease=lease, asks=asks)


def prepare(home: Path) -> None:
    """Import Prefect without a trace: nothing is sent, nothing is printed, ~/.prefect is not made.

    To be called before a file with flows is loaded. A user who has profiles of Prefect's keeps them.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    prefect_watch.past_proxies(os.environ, "127.0.0.1")
    if "prefect" not in sys.modules:
        _import(home)
    if "PREFECT_LOGGING_LEVEL" not in os.environ:
        for name in ("prefect", "prefect.client", "prefect._internal"):  # what goes wrong is raised, and said by us
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _import(home: Path) -> None:
    ours = "PREFECT_HOME" not in os.environ and not (Path.home() / ".prefect" / "profiles.toml").exists()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    if ours:
        os.environ["PREFECT_HOME"] = str(own_folder(home))
    try:
        import prefect.flows  # noqa: F401
    finally:
        if ours:
            del os.environ["PREFECT_HOME"]
        root.handlers[:] = handlers  # Prefect would print the warnings of every library, in its own way
        root.setLevel(level)


def status(home: Path) -> Status | None:
    """Our own server for this home, or None if none runs."""
    folder = own_folder(home)
    state = prefect_watch.read(folder)
    return state and Status(prefect_watch.url(state), state["pid"], prefect_watch.users(folder), folder / "server.log")


def stop(home: Path) -> bool:
    """End our own server at once; False if none ran. Runs that use it go on without it."""
    return prefect_watch.stop(own_folder(home))


@contextlib.contextmanager
def _settings(updates: dict[str, object]) -> Iterator[None]:
    """Prefect's settings, here and in every other thread: one without any would start a server of Prefect's."""
    import prefect.context
    from prefect.settings import temporary_settings

    with temporary_settings(updates, set_defaults=ANY_CLIENT):
        here = prefect.context.get_settings_context()
        with prefect.context._temporary_global_settings_context(here):
            yield


def users_url() -> str | None:
    """The server that the user names, if any."""
    from prefect.settings import get_current_settings

    url, around = get_current_settings().api.url, CURRENT.get()
    return None if around is not None and around.whose != "given" and around.api_url == url else url


def _users_trust() -> ssl.SSLContext | bool:
    """Whom to trust to be the user's server: as Prefect's settings say, else the usual authorities."""
    from prefect.settings import get_current_settings

    known = get_current_settings().api
    if known.tls_insecure_skip_verify:
        return False
    return ssl.create_default_context(cafile=known.ssl_cert_file) if known.ssl_cert_file else True


def _check_users(url: str, leases: Path) -> None:
    """Is the user's server there, and does it let us in? If so, settle what was left behind there."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    instead = "or unset PREFECT_API_URL, and terp uses a server of its own"
    with _settings({"client.max_retries": 0, "api.request_timeout": 10}), get_client(sync_client=True) as client:
        if (failure := client.api_healthcheck()) is not None:
            raise Unavailable(
                f"the Prefect server at {url} (PREFECT_API_URL) can't be used: {failure}; start it, {instead}"
            )
        try:
            client.read_flows(limit=1)
        except PrefectHTTPStatusError as error:
            raise Unavailable(
                f"the Prefect server at {url} does not let us in ({error.response.status_code}); "
                f"set PREFECT_API_AUTH_STRING or PREFECT_API_KEY, {instead}"
            ) from None
        settle(left(leases), url, client)


def _send_events_to(url: str) -> None:
    """Task runs are told as events; Prefect would try ten times for each, with waits, when nobody listens."""
    from prefect.events.clients import PrefectEventsClient
    from prefect.events.worker import EventsWorker, emit_events_to_cloud

    if not emit_events_to_cloud():
        EventsWorker.set_client_override(PrefectEventsClient, api_url=url, reconnection_attempts=1)


def _flush(connection: Connection) -> None:
    """Send the last events, but do not hold up the end for them."""
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all(timeout=0 if connection.lost else 5)
    EventsWorker.set_client_override(None)
