"""Where Prefect's things are: on a disk of this node, or in TERP_HOME for all nodes; for this user's eyes only."""

import hashlib
import os
import socket
import stat
import tempfile
from pathlib import Path

from terp.cluster.jobs import own_job
from terp.workflows.errors import Unavailable

# File systems of one node. Any other (nfs, lustre, gpfs, beegfs, cephfs, fuse, ...) is taken to be shared,
# where neither SQLite nor flock can be trusted.
LOCAL = frozenset(["apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"])


def own_folder(home: Path) -> Path:
    """Where databases and the leases of this node are: on a disk of this node.

    Raises Unavailable if there is no such place.
    """
    home = home.expanduser().resolve()
    if file_system(home) in LOCAL and not _is_a_groups(home) and not own_job():  # a job's home is for many nodes
        return private(home / "prefect")
    for place in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/dev/shm")):  # noqa: S108 - checked by private
        if file_system(place) in LOCAL:
            name = hashlib.sha256(f"{home} {socket.gethostname()}".encode()).hexdigest()[:16]  # nodes may share /tmp
            return private(private(place / f"terp-{os.geteuid()}") / name)
    raise Unavailable("Prefect's server needs a folder on a disk of this node; name one in TMPDIR")


def shared_folder(home: Path) -> Path:
    """Where this user's processes on all nodes find the home's persistent server; it need not be there yet."""
    return home.expanduser().resolve() / f"prefect-server-{os.geteuid()}"


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
