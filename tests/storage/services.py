"""Real servers on this machine for places of copies: Debian's sshd, and Ceph's gateway for S3, with own keys."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

PACKAGES = {"sshd": ("openssh-server",), "radosgw": ("ceph-mon", "ceph-osd", "ceph-common", "radosgw")}


# As slurm/testbed/setup.sh does it, which may do it now: one after the other, and Debian's own services do not start.
INSTALL = """
guard=/usr/sbin/policy-rc.d
if [ ! -e $guard ]; then
    printf '#!/bin/sh\\nexit 101\\n' >$guard && chmod 755 $guard
    trap "rm -f $guard" EXIT
fi
apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
"""


def needed(program: str) -> str:
    """The path of a server; installed where this machine may be changed, else the test is skipped."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    found = shutil.which(program, path=path)
    if not found and os.environ.get("TERP_SLURM") == "up" and os.geteuid() == 0 and shutil.which("apt-get"):
        install = ["flock", "/run/terp-apt.lock", "sh", "-c", INSTALL, "sh", *PACKAGES[program]]
        done = subprocess.run(install, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, f"{program} could not be installed: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        found = shutil.which(program, path=path)
    if not found:
        pytest.skip(f"needs {program} (Debian: {' '.join(PACKAGES[program])}); TERP_SLURM=up gets it")
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def answers(port: int, process: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until somebody listens."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process(), "the server ended"
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.02)
        else:
            return


@dataclass(frozen=True)
class Ssh:
    """An SSH server: its port, who may come in with which key, and what it says of itself in known_hosts."""

    port: int
    user: str
    key: Path
    known_hosts: Path
    process: int

    def hang_up(self) -> None:
        """End all connections, but not the server."""
        for child in psutil.Process(self.process).children(recursive=True):
            child.kill()


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""


@contextmanager
def sshd(folder: Path) -> Iterator[Ssh]:
    """Start an SSH server, as whoever runs the test."""
    program = needed("sshd")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where its children that may do nothing live
    folder.mkdir(parents=True, exist_ok=True)
    port, host, user = free_port(), make_key(folder / "host"), make_key(folder / "user")
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {host.with_suffix('.pub').read_text()}")
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([program, "-D", "-e", "-f", folder / "config"], stderr=log)
    try:
        answers(port, lambda: server.poll() is None)
        yield Ssh(port, getpass.getuser(), user, known, server.pid)
    finally:
        for child in psutil.Process(server.pid).children(recursive=True):
            child.kill()
        server.terminate()
        server.wait()


CEPH = """\
[global]
fsid = 5f1b4c1e-0c0a-4d57-9b4e-000000000001
mon host = v2:127.0.0.1:{mon}
mon initial members = a
keyring = {folder}/keyring
auth allow insecure global id reclaim = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd objectstore = memstore
memstore device bytes = 1073741824
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
paxos propose interval = 0.02
paxos min wait = 0.01
mon data = {folder}/mon
mon data avail crit = 0
mon data avail warn = 0
osd data = {folder}/osd
run dir = {folder}/run
admin socket = {folder}/run/$name.$pid.asok
log file = {folder}/$name.log
pid file =
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 16
"""


@dataclass(frozen=True)
class Gateway:
    """A store that speaks S3: its URL, and the keys of its one user."""

    url: str
    access: str = "terp"
    secret: str = "not-a-secret"


@contextmanager
def radosgw(folder: Path) -> Iterator[Gateway]:
    """Start a whole Ceph: a monitor, one store in memory, and the gateway. It takes about three seconds."""
    program = needed("radosgw")
    for name in ("mon", "osd", "run"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    mon, port, conf = free_port(), free_port(), folder / "ceph.conf"
    conf.write_text(CEPH.format(mon=mon, port=port, folder=folder))

    def call(*words: str | Path) -> str:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    keyring, osd = folder / "keyring", "5f1b4c1e-0c0a-4d57-9b4e-000000000002"
    caps = ("--gen-key", *("--cap", "mon", "allow *"), *("--cap", "osd", "allow *"))
    call("ceph-authtool", "--create-keyring", keyring, "-n", "mon.", *caps)
    for who in ("client.admin", "client.rgw.a", "osd.0"):
        call("ceph-authtool", keyring, "-n", who, *caps)
    names = ("--addv", "a", f"[v2:127.0.0.1:{mon}]", "--fsid", "5f1b4c1e-0c0a-4d57-9b4e-000000000001")
    call("monmaptool", "--create", *names, folder / "monmap")
    call("ceph-mon", "-c", conf, "--mkfs", "-i", "a", "--monmap", folder / "monmap", "--keyring", keyring)
    with ExitStack() as ending:

        def start(*words: str | Path) -> Callable[[], bool]:
            with (folder / f"{Path(words[0]).name}.out").open("w") as out:
                server = subprocess.Popen(words, stdout=out, stderr=out)
            ending.callback(server.wait)
            ending.callback(server.kill)
            return lambda: server.poll() is None

        start("ceph-mon", "-f", "-c", conf, "-i", "a")
        call("ceph", "-c", conf, "osd", "new", osd)
        call("ceph-osd", "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", osd)
        start("ceph-osd", "-f", "-c", conf, "-i", "0")
        lives = start(program, "-f", "-c", conf, "-n", "client.rgw.a")
        store = Gateway(f"http://127.0.0.1:{port}")
        user = ("--uid", "terp", "--display-name", "terp", "--access-key", store.access, "--secret", store.secret)
        call("radosgw-admin", "-c", conf, "-n", "client.rgw.a", "user", "create", *user)
        answers(port, lives)
        yield store
