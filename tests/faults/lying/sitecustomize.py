"""A file system that lies, for every Python process that has this folder on its PYTHONPATH, below TERP_HOME.

LYING_SYNC and LYING_NAMES are rates: of os.fsync failing with EIO, and of os.link, os.replace and os.rename reporting
EEXIST or ENOENT for what they did. LYING_LATE: seconds for which a file is unseen by processes that did not write it.
LYING_LOG: a file to which a letter is added for each lie.
"""

import builtins
import errno
import io
import os
import random
import sys
import time

HOME = os.environ["TERP_HOME"] + "/"
SYNC, NAMES = float(os.environ["LYING_SYNC"]), float(os.environ["LYING_NAMES"])
LATE = float(os.environ["LYING_LATE"])
chances = {}


def begin(process):
    chances.update({kind: random.Random(f"{os.environ['LYING_SEED']} {process} {kind}") for kind in ("sync", "names")})


begin("controller")  # who lies alike in each test
os.register_at_fork(after_in_child=lambda: begin(os.getpid()))  # a worker
log = os.open(os.environ["LYING_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
ours = set()  # inodes of files that this process writes
true_stat, true_open, true_scandir, true_listdir = os.stat, os.open, os.scandir, os.listdir


def lies(kind, rate):
    if chances[kind].random() >= rate:
        return False
    os.write(log, kind[:1].encode())
    return True


def trouble(code, path):
    return OSError(code, os.strerror(code), str(path))


def fsync(descriptor, true=os.fsync):
    path = os.readlink(f"/proc/self/fd/{descriptor if isinstance(descriptor, int) else descriptor.fileno()}")
    if path.startswith(HOME) and lies("sync", SYNC):
        raise trouble(errno.EIO, path)
    true(descriptor)


def denying(true):
    def operation(old, new, *args, **kwargs):
        true(old, new, *args, **kwargs)
        if os.path.abspath(new).startswith(HOME) and lies("names", NAMES):
            raise trouble(chances["names"].choice([errno.EEXIST, errno.ENOENT]), new)

    return operation


def unseen(path, found=None):
    """Say whether a file is another process's and too young to be seen."""
    try:
        if not os.fspath(path).startswith(HOME):
            return False
        found = found or true_stat(path)
    except (OSError, TypeError, ValueError):
        return False
    young = time.time() - found.st_mtime < LATE and found.st_mode & 0o100000
    if young and not found.st_mode & 0o40000 and found.st_ino not in ours:
        os.write(log, b"l")
        return True
    return False


def stat(path, *args, **kwargs):
    if unseen(path):
        raise trouble(errno.ENOENT, path)
    return true_stat(path, *args, **kwargs)


def opened(path, flags, *args, **kwargs):
    if not flags & os.O_CREAT and unseen(path):
        raise trouble(errno.ENOENT, path)
    descriptor = true_open(path, flags, *args, **kwargs)
    if flags & os.O_CREAT:
        ours.add(os.fstat(descriptor).st_ino)
    return descriptor


def file(path, mode="r", *args, true=io.open, **kwargs):
    if "r" in mode and not isinstance(path, int) and unseen(path):
        raise trouble(errno.ENOENT, path)
    result = true(path, mode, *args, **kwargs)
    if "r" not in mode:
        ours.add(os.fstat(result.fileno()).st_ino)
    return result


class Scan:
    """What os.scandir returns, without the files that are not to be seen."""

    def __init__(self, path):
        self.inner = true_scandir(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.inner.close()

    def __iter__(self):
        return self

    def __next__(self):
        while True:
            entry = next(self.inner)
            if not unseen(entry.path):
                return entry

    def close(self):
        self.inner.close()


def listdir(path="."):
    return [name for name in true_listdir(path) if isinstance(path, int) or not unseen(os.path.join(path, name))]


if "resource_tracker" not in " ".join(sys.argv):
    os.fsync, os.stat, os.open, os.scandir, os.listdir = fsync, stat, opened, Scan, listdir
    io.open = builtins.open = file
    for name in ("link", "replace", "rename"):
        setattr(os, name, denying(getattr(os, name)))
