"""A tiny job that tells how a site looks from one of its nodes: can it reach us, what does it see, what time is it.

It connects to a socket that listens at one address for some seconds, and to which only its own random word gets in. It
needs no Python on the node, so that a Python that is lacking there is found out too.
"""

import secrets
import select
import shlex
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from terp.cluster.errors import ClusterError
from terp.cluster.jobs import Slurm
from terp.cluster.script import directives, site_lines
from terp.cluster.site import Site

UNREACHED = 3  # exit code of the job where it could not connect
_ROUNDS = 5  # times that its clock is asked for
_LOOK = 10  # seconds that either side waits for the other's file
_PENDING = 18.0  # seconds that the job may wait in the queue
_COMING = 7.0  # seconds that it may run before it has connected
_GOING = 5.0  # seconds that it may take to end
_BETWEEN = 0.5  # seconds between looks at SLURM
_ASKED = "import sys; sys.stdout.write(sys.version.split()[0])"


@dataclass
class Told:
    """What became of the probe. Times are seconds; None where it was not found out.

    `state` is SLURM's for the job, `reason` why it waits, `exit_code` how it ended. `skew` is what its clock is ahead
    of ours, give or take `unsure`; `seen_here` and `seen_there` how late a new file was seen.
    """

    job: str = ""
    state: str = ""
    reason: str = ""
    exit_code: str = ""
    node: str = ""
    address: str = ""
    requeue: bool | None = None
    connected: bool = False
    skew: float | None = None
    unsure: float = 0.0
    shared: bool | None = None
    seen_here: float | None = None
    seen_there: float | None = None
    words: dict[str, str] = field(default_factory=dict)


def script_of(site: Site, name: str, folder: Path, word: str, address: tuple[str, int], python: str) -> str:
    """Return the batch script of the probe; `python` is how jobs call Python, "" where they bring it with them."""
    host, port = address
    asked = [
        f"-J {name}",
        f"-p {site.partition}",
        *([f"-A {site.account}"] if site.account else []),
        *("-n 1", "--cpus-per-task=1", "-t 00:02:00", "--output=/dev/null", "--chdir=/"),
        *([f"--mem={-(-site.memory_per_core // (1 << 20))}M"] if site.memory_flag == "mem" else []),
        *directives(site, site.memory_per_core, 1),
    ]
    lines = ["#!/usr/bin/env bash", *(f"#SBATCH {one}" for one in asked), *site_lines(site)]
    lines += [f"host={host} port={port} word={word} folder={shlex.quote(str(folder))}"]
    lines += [f"python() {{ {python} -c {shlex.quote(_ASKED)}; }}" if python else "python() { :; }"]
    lines += [f'local="{site.local}"', _BODY.format(unreached=UNREACHED, rounds=_ROUNDS, look=_LOOK)]
    return "\n".join(lines)


_BODY = """\
export LC_ALL=C
timeout 5 bash -c ': <>"/dev/tcp/$0/$1"' "$host" "$port" || exit {unreached}
exec 3<>"/dev/tcp/$host/$port" || exit {unreached}
say() {{ printf '%s\\n' "$*" >&3; }}
say "$word"
say node "$(hostname)"
for _ in $(seq {rounds}); do
    read -r -t 5 -u 3 _ || exit
    say clock "${{EPOCHREALTIME:-$(date +%s.%N)}}"
done
if file=$(mktemp -p "$local" terp-doctor-XXXXXX 2>&1) && echo x >"$file"; then
    say local "$(df -Pk "$local" | awk 'NR == 2 {{ print $4 }}')" "$local"
    rm -f "$file"
else
    say nolocal "$file"
fi
say python "$(timeout 10 bash -c "$(declare -f python); python" 2>&1 | tail -n 1)"
sees() {{ [ "$(cat "$1" 2>/dev/null)" = "$word" ]; }}
end=$((SECONDS + {look}))
until [ -d "$folder" ] || [ "$SECONDS" -ge "$end" ]; do sleep 0.1; done
if [ -d "$folder" ]; then
    say shared yes
    sees "$folder/here" # a look before there is anything: some remember for long that there was nothing
    printf '%s\\n' "$word" >"$folder/.there" && mv "$folder/.there" "$folder/there" && say wrote
    say looks
    end=$((SECONDS + {look}))
    until sees "$folder/here" || [ "$SECONDS" -ge "$end" ]; do sleep 0.02; done
    sees "$folder/here" && say seen
else
    say shared no
fi
say end
"""


def ask_node(site: Site, address: str, cache: Path, python: str, deadline: float) -> Told:
    """Have a probe run on a node of the site, and tell what came of it by `deadline` (monotonic clock).

    `address` is ours, `cache` a folder that nodes should share. Nothing is left behind. Raises SlurmRefused, SlurmAway.
    """
    told, slurm = Told(address=address), Slurm(time_limit=5.0)
    name, word = f"terp-doctor-{secrets.token_hex(4)}", secrets.token_hex(16)
    with _folder(cache / name) as folder, socket.create_server((address, 0)) as server:
        script = folder / "probe.sh"
        script.write_text(script_of(site, name, folder, word, server.getsockname()[:2], python))
        told.job = slurm.submit(script)[0]
        try:
            told.requeue = "Requeue=1" in slurm.ask("scontrol", "show", "job", "--oneliner", told.job).split()
            connection = _awaited(server, word, told, name, slurm, deadline)
            if connection is not None:
                with connection:
                    _Talk(connection, folder, word, told, deadline).hold()
        finally:
            _end(slurm, told.job, name)
    return told


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    path.mkdir(mode=0o700, parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _awaited(
    server: socket.socket, word: str, told: Told, name: str, slurm: Slurm, deadline: float
) -> socket.socket | None:
    """Return the connection of the probe; None where it does not come, and what SLURM says of it is in `told`."""
    began, runs_since, looked = time.monotonic(), 0.0, 0.0
    while (now := time.monotonic()) < deadline:
        if select.select([server], [], [], 0.1)[0]:
            connection, _ = server.accept()
            if _is_ours(connection, word):
                told.connected = True
                return connection
            connection.close()
        if now - looked < _BETWEEN:
            continue
        looked = now
        job = slurm.look([name]).get(told.job)
        if job is None:
            continue
        told.state, told.reason = job.state, job.reason
        told.node = "" if job.waits else job.nodes
        runs_since = (runs_since or now) if job.runs else 0.0
        if job.over or (runs_since and now - runs_since > _COMING) or (job.waits and now - began > _PENDING):
            break
    with suppress(ClusterError):
        shown = slurm.ask("scontrol", "show", "job", "--oneliner", told.job)
        told.exit_code = next((one.partition("=")[2] for one in shown.split() if one.startswith("ExitCode=")), "")
    return None


def _is_ours(connection: socket.socket, word: str) -> bool:
    """Whether who has connected knows the word; a stranger is not waited for long."""
    connection.settimeout(1.0)
    said = b""
    with suppress(OSError):
        while len(said) <= len(word) and not said.endswith(b"\n"):  # what follows is left for later
            if not (more := connection.recv(1)):
                break
            said += more
    return secrets.compare_digest(said, f"{word}\n".encode())


class _Talk:
    """The conversation with the probe."""

    def __init__(self, connection: socket.socket, folder: Path, word: str, told: Told, deadline: float) -> None:
        self.connection, self.folder, self.word, self.told, self.deadline = connection, folder, word, told, deadline
        self._heard, self._asked = b"", 0.0
        self._wrote: float | None = None  # when the probe said that it had written its file
        self._put: float | None = None  # when we had written ours

    def hold(self) -> None:
        """Listen until all is said and seen, or there is no more time."""
        self._there()  # a look before there is anything, as the probe does too
        ended = False
        while time.monotonic() < self.deadline and not (ended and self._saw()):
            for line in self._lines():
                kind, _, rest = line.partition(" ")
                ended = ended or kind == "end"
                self._take(kind, rest)
            if self._wrote is not None and self.told.seen_here is None and self._there():
                self.told.seen_here = time.monotonic() - self._wrote

    def _saw(self) -> bool:
        """Whether nothing is waited for any more: the probe's file is seen here, or there is none to be seen."""
        return self._wrote is None or self.told.seen_here is not None or time.monotonic() - self._wrote > _LOOK

    def _lines(self) -> Sequence[str]:
        if not select.select([self.connection], [], [], 0.02)[0]:
            return ()
        try:
            more = self.connection.recv(4096)
        except OSError:
            more = b""
        if not more:
            time.sleep(0.02)  # it has gone; its file may still come
            return ("end",)
        *lines, self._heard = (self._heard + more).split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def _take(self, kind: str, rest: str) -> None:
        now = time.monotonic()
        if kind == "node":
            self.told.node = rest
            self._ask_clock()
        elif kind == "clock":
            self._clock(rest, now - self._asked)
            self._ask_clock()
        elif kind == "shared":
            self.told.shared = rest == "yes"
        elif kind == "wrote":
            self._wrote = now
        elif kind == "looks":
            self._write()
        elif kind == "seen" and self._put is not None:
            self.told.seen_there = now - self._put
        else:
            self.told.words[kind] = rest

    def _ask_clock(self) -> None:
        self._asked = time.monotonic()
        with suppress(OSError):
            self.connection.sendall(b"clock\n")

    def _clock(self, said: str, round_trip: float) -> None:
        """Take the clock that was told soonest after it was asked for."""
        with suppress(ValueError):
            skew = float(said) - (time.time() - round_trip / 2)
            if self.told.skew is None or round_trip / 2 < self.told.unsure:
                self.told.skew, self.told.unsure = skew, round_trip / 2

    def _write(self) -> None:
        fresh = self.folder / ".here"
        fresh.write_text(f"{self.word}\n")
        fresh.replace(self.folder / "here")
        self._put = time.monotonic()

    def _there(self) -> bool:
        with suppress(OSError):
            return (self.folder / "there").read_text() == f"{self.word}\n"
        return False


def _end(slurm: Slurm, job: str, name: str) -> None:
    """See that the job is over, so that it writes no more."""
    until = time.monotonic() + _GOING
    with suppress(ClusterError):
        while time.monotonic() < until:
            seen = slurm.look([name]).get(job)
            if seen is None or seen.over:
                return
            slurm.cancel([job])
            time.sleep(0.2)
