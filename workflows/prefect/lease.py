"""Leases: who uses which Prefect server, and what became of their flow runs.

A lease is a file that its process holds locked: the lock goes with the process, however that ends, and no
pid is ever compared. In it stand the Prefect server that is used and the flow runs that were started there.
Who finds a lease that nobody holds settles its flow runs, as their process can't any more. Where nodes share a
folder no lock is to be trusted: there a lease is held as long as its process touches the file.
"""

import contextlib
import fcntl
import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from terp.storage import files

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

OWN = "own"  # in a lease: our own server, wherever it listens today
PERSISTENT = "persistent"  # the home's persistent server, likewise

TOUCH = 60.0  # seconds between two touches of a shared lease
SILENCE = 600.0  # seconds without a touch after which its process is taken to be gone; NFS shows a touch 60 s late

KILLED = "The process that ran this flow ended without a word (killed, out of memory, or the machine went down)."
UNTOLD = "The run ended while the Prefect server was away; this was told afterwards."


def lock(path: Path, flags: int = os.O_CREAT) -> int | None:
    """Take the lock of a file, made if need be; the open file descriptor, or None if another holds it.

    Only for node-local disks: flock is not to be trusted on network file systems.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


class Lease:
    """What a process holds as long as it uses the server named `url`, with the flow runs it started."""

    def __init__(self, folder: Path, url: str) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.path = folder / f"{uuid4().hex}.lease"
        fresh = self.path.with_suffix(".new")
        self._fd = self._take(fresh)  # before it has its name, or it would look left behind
        self._open: dict[UUID, str] = {}
        self._append(url)
        files.rename(fresh, self.path)
        _HELD.add(self)

    def write(self, flow_run_id: UUID, state: str) -> None:
        """When this lease is found left behind, settle this flow run as `state`; empty: there is nothing to settle."""
        self._open[flow_run_id] = state
        self._append(f"{flow_run_id} {state}")

    def close(self) -> None:
        """Give the lease back; its file stays if the server has still to be told of a run."""
        if not any(self._open.values()):
            self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Let go of the lock."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None

    def _take(self, path: Path) -> int | None:
        return lock(path)

    def _append(self, line: str) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):  # a full disk: what Prefect is told is not worth a run
                os.write(self._fd, f"{line}\n".encode())


class SharedLease(Lease):
    """A lease in a folder that nodes share, for the persistent server, which settles it when it falls silent."""

    def __init__(self, folder: Path, touch: float = TOUCH) -> None:
        super().__init__(folder, PERSISTENT)
        self._over = threading.Event()
        threading.Thread(target=self._touch, args=(touch,), daemon=True).start()

    def close(self) -> None:
        """Give the lease back; if the server has still to be told of a run, say so at once."""
        self._over.set()
        if any(self._open.values()):
            os.utime(self.path, (0, 0))
        super().close()

    def _touch(self, every: float) -> None:
        while not self._over.wait(every):
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def _take(self, path: Path) -> int | None:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600)


_HELD: weakref.WeakSet[Lease] = weakref.WeakSet()


def _forget() -> None:
    for lease in list(_HELD):
        lease.release()


os.register_at_fork(after_in_child=_forget)  # a forked child would hold the lock beyond our end


def read(path: Path) -> tuple[str, dict[UUID, str]]:
    """The server a lease is for, and the flow runs still to be settled with the state of each."""
    url, *lines = path.read_text().splitlines() or [""]
    runs = {UUID(name): state for name, _, state in (line.partition(" ") for line in lines)}
    return url, {run: state for run, state in runs.items() if state}


def left(folder: Path) -> Iterator[Path]:
    """The leases that nobody holds, each locked while it is looked at."""
    for path, fd in _leases(folder):
        if fd is not None:
            yield path


def silent(folder: Path) -> Iterator[Path]:
    """The shared leases whose process is taken to be gone, by the clock of their file system."""
    leases = list(folder.glob("*.lease"))
    if leases:
        (folder / "now").touch(mode=0o600)
        now = (folder / "now").stat().st_mtime
    for path in leases:
        with contextlib.suppress(FileNotFoundError):  # given back just now
            if now - path.stat().st_mtime > SILENCE:
                yield path


def held(folder: Path, url: str) -> int:
    """How many live processes use the server `url`."""
    return sum(fd is None and read(path)[0] == url for path, fd in _leases(folder))


def _leases(folder: Path) -> Iterator[tuple[Path, int | None]]:
    for path in folder.glob("*.lease"):
        with contextlib.suppress(FileNotFoundError):  # given back just now
            fd = lock(path, flags=0)
            try:
                yield path, fd
            finally:
                if fd is not None:
                    os.close(fd)


def settle(leases: Iterable[Path], url: str, client: "SyncPrefectClient") -> int:
    """Tell the server `url` how the flow runs of leases that were left behind ended; returns how many leases.

    A flow run that is over keeps its state; one that the server does not know any more is passed over.
    """
    count = 0
    for path in leases:
        server, runs = read(path)
        if server == url:
            for run, state in runs.items():
                _end(client, run, state)
            path.unlink(missing_ok=True)
            count += 1
    return count


def _end(client: "SyncPrefectClient", run: UUID, state_type: str) -> None:
    from prefect.exceptions import ObjectNotFound

    try:
        known = client.read_flow_run(run)
    except ObjectNotFound:
        return
    if known.state is not None and known.state.is_final():
        return
    for task in _unfinished_tasks(client, run):
        for part in _parts(client, task):
            _end(client, part, state_type)
        client.set_task_run_state(task, _state(state_type), force=True)
    client.set_flow_run_state(run, _state(state_type), force=True)


def _unfinished_tasks(client: "SyncPrefectClient", run: UUID) -> list[UUID]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
    return [task.id for task in tasks if task.state is None or not task.state.is_final()]


def _parts(client: "SyncPrefectClient", task: UUID) -> list[UUID]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentTaskRunId

    parent = FlowRunFilterParentTaskRunId(any_=[task])
    return [run.id for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_task_run_id=parent))]


def _state(state_type: str) -> Any:
    from prefect.client.schemas.objects import State, StateType

    kind = StateType(state_type)
    return State(type=kind, name=kind.value.title(), message=KILLED if kind == StateType.CRASHED else UNTOLD)
