"""Who works on something: a process, told apart from any other that had or will have its number."""

import os
import secrets
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote


@dataclass(frozen=True)
class Holder:
    """A process: host, boot and process-number space it lives in, its number and its start time there, and its job."""

    host: str
    boot: str
    space: str
    pid: int
    started: str
    since: str
    job: str = ""  # SLURM's number of the job that it is in, and how often that was started anew

    @classmethod
    def me(cls) -> "Holder":
        """Return this process."""
        return cls(
            socket.gethostname(),
            _boot(),
            _space(),
            os.getpid(),
            _started(os.getpid()) or "",
            datetime.now(UTC).isoformat(timespec="seconds"),
            _job(),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Holder":
        """Read back what `to_json` gave."""
        return cls(**plain)

    def new_name(self) -> str:
        """Return a name for a file or folder of this process, which nobody else has; it tells whose it is."""
        return ",".join([secrets.token_hex(4), *(quote(str(value), safe=":") for value in self.to_json().values())])

    @classmethod
    def of_name(cls, name: str) -> "Holder":
        """Return whose a file or folder is by its `new_name`; raises ValueError for another name."""
        try:
            host, boot, space, pid, started, since, *job = (unquote(part) for part in name.split(",")[1:])
            return cls(host, boot, space, int(pid), started, since, *job)
        except TypeError:
            raise ValueError(name) from None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"

    def is_gone(self) -> bool:
        """Say whether the process is known to be gone; what cannot be known from here is not."""
        if self._was_put_back():
            return True
        if self.host != socket.gethostname():
            return False
        if self.boot != _boot():
            return True
        return self.space == _space() and _started(self.pid) != self.started

    def _was_put_back(self) -> bool:
        """Say whether it was an earlier start of the job that we are in: SLURM starts it again when it has ended."""
        number, _, start = self.job.partition(".")
        own, _, now = _job().partition(".")
        return bool(number) and number == own and int(start) < int(now)

    def is_me(self) -> bool:
        """Say whether it is this very process."""
        return self.is_here() and (self.pid, self.started) == (os.getpid(), _started(os.getpid()) or "")

    def is_here(self) -> bool:
        """Say whether it is a process that this one can see and signal."""
        return (self.host, self.boot, self.space) == (socket.gethostname(), _boot(), _space())

    def advice(self) -> str:
        """Return what a person can do about it."""
        if self.is_here():
            return "wait for it (`terp status`) or stop it (`terp cancel`)"
        return "wait for it; if you know that it is gone, say so with --take-over"


def _job() -> str:
    number = os.environ.get("SLURM_JOB_ID", "")
    return f"{number}.{os.environ.get('SLURM_RESTART_COUNT') or 0}" if number.isdigit() else ""


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _space() -> str:
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _started(pid: int) -> str | None:
    """Return the start time of a live process in clock ticks since boot, or None; a zombie is not alive."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    return None
