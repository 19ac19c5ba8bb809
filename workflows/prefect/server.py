"""Prefect with nothing set up.

If the user names a server (PREFECT_API_URL, in the environment or the active profile), that one is used.
Else it is one of this user's own (`watch`), with its database on a disk of this node.
"""

import contextlib
import contextvars
import hashlib
import logging
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from terp.workflows.errors import Unavailable
from terp.workflows.prefect import watch as prefect_watch
from terp.workflows.prefect.lease import OWN, Lease, settle

if TYPE_CHECKING:
    import httpx

IDLE = 900.0  # seconds without a user after which our own server ends
START = 90.0  # seconds it may take to come up: the first time, when it makes its database, 16 s were measured

# File systems of one node. Any other (nfs, lustre, gpfs, beegfs, cephfs, fuse, ...) is taken to be shared,
# where neither SQLite nor flock can be trusted.
LOCAL = frozenset(["apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"])

# The leases tell who is alive, so no heartbeats (which would hold up the end of each flow for 1 s as well); and
# what is refused is not tried again and again with growing waits.
OWN_CLIENT: dict[str, object] = {
    "flows.heartbeat_frequency": None,
    "client.max_retries": 0,
    "client.csrf_support_enabled": False,
    "client.server_version_check_enabled": False,
    "server.ephemeral.enabled": False,
}
ANY_CLIENT: dict[str, object] = {"client.max_retries": 2, "logging.to_api.enabled": False}

log = logging.getLogger(__name__)


@dataclass
class Connection:
    """The Prefect server of this run: where it is, whose it is, and whether it had to be started first."""

    api_url: str
    own: bool
    cold: bool
    seconds: float
    lost: bool = False
    lease: Lease = field(kw_only=True, repr=False)
    asks: "httpx.Client" = field(kw_only=True, repr=False)

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
    """A Prefect server for the flows that are run inside.

    `home` is where this user's terp keeps its things. Our own server ends after `idle` seconds without a user.
    Raises Unavailable if the user's server can't be used, or ours does not come up within `start` seconds.
    """
    began = time.monotonic()
    prepare(home)
    folder = own_folder(home)
    url, state = _users_url(), None
    with contextlib.ExitStack() as until:
        lease = Lease(folder / "leases", url or OWN)  # before looking for it: a server with a lease does not end
        until.callback(lease.close)
        if url is None:
            state, cold = prefect_watch.reach(folder, idle, start)
            url = prefect_watch.url(state)
            until.enter_context(_settings(OWN_CLIENT | {"api.url": url, "api.auth_string": state["auth"]}))
        else:
            cold = False
            until.enter_context(_settings({}))
            _check_users(url, folder / "leases")
        _send_events_to(url)
        asks = until.enter_context(prefect_watch.probe(url, own=state is not None))
        seconds = time.monotonic() - began
        connection = Connection(url, state is not None, cold, seconds, lease=lease, asks=asks)
        until.callback(_flush, connection)
        until.callback(CURRENT.reset, CURRENT.set(connection))
        yield connection


def prepare(home: Path) -> None:
    """Import Prefect without a trace: nothing is sent, nothing is printed, ~/.prefect is not made.

    To be called before a file with flows is loaded. A user who has profiles of Prefect's keeps them.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    if any(prefect_watch.is_proxy(name) for name in os.environ):  # our own server is never behind the site's
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1")))
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


def own_folder(home: Path) -> Path:
    """Where our own server and the leases are: on a disk of this node, for this user's eyes only.

    Raises Unavailable if there is no such place.
    """
    home = home.expanduser().resolve()
    if file_system(home) in LOCAL and not _is_a_groups(home):
        return private(home / "prefect")
    for place in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/dev/shm")):  # noqa: S108 - checked by private
        if file_system(place) in LOCAL:
            name = hashlib.sha256(str(home).encode()).hexdigest()[:16]
            return private(private(place / f"terp-{os.geteuid()}") / name)
    raise Unavailable("Prefect's server needs a folder on a disk of this node; name one in TMPDIR")


def _is_a_groups(home: Path) -> bool:
    """Whether a group works here: then each of its people has a server elsewhere, for their own eyes."""
    return home.is_dir() and bool(home.stat().st_mode & stat.S_ISGID)


def private(folder: Path) -> Path:
    """The folder, made if need be, with mode 0700; Unavailable if it is not ours, or a link."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise Unavailable(f"{folder} can't be made ({error.strerror}); name another place in TMPDIR") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Unavailable(f"{folder} is a link or belongs to another user; remove it, or name a place in TMPDIR")
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def file_system(path: Path) -> str:
    """The type of the file system that a path is, or would be, on; empty if not known."""
    import psutil

    holds = [part for part in psutil.disk_partitions(all=True) if path.is_relative_to(part.mountpoint)]
    return max(holds, key=lambda part: len(part.mountpoint), default=holds[-1]).fstype if holds else ""


@contextlib.contextmanager
def _settings(updates: dict[str, object]) -> Iterator[None]:
    """Prefect's settings, here and in every other thread: one without any would start a server of Prefect's."""
    import prefect.context
    from prefect.settings import temporary_settings

    with temporary_settings(updates, set_defaults=ANY_CLIENT):
        here = prefect.context.get_settings_context()
        with prefect.context._temporary_global_settings_context(here):
            yield


def _users_url() -> str | None:
    from prefect.settings import get_current_settings

    url, around = get_current_settings().api.url, CURRENT.get()
    return None if around is not None and around.own and around.api_url == url else url


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
        settle(leases, url, client)


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
