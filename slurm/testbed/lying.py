#!/usr/bin/python3
"""A FUSE file system that shows a folder as one client of NFS would: lying.py FOLDER MOUNTPOINT LIES.

The file LIES holds words, read anew for each operation: `late=5`: names, attributes, absences and listings are
remembered for so many seconds, whatever others do meanwhile; what this client does it sees at once, and opening a
file looks at it anew. `sync=0.1`: so many of the fsyncs fail with EIO. `names=0.1`: so many of the renames, links,
removals and new folders are done and yet answered with the error of a repeated request. Nothing there: honest.

As with NFS, locks hold among the processes of one client only, and appending from two clients loses data.
It runs on Debian's own Python (python3-pyfuse3), one process for each client.
"""

# ruff: noqa: D102 - the methods are named and used as libfuse wants them

import errno
import functools
import os
import random
import stat
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pyfuse3
import trio

HERE = "/proc/self/fd"
DROPPED = os.O_APPEND | os.O_DIRECT | os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL  # the kernel has seen to them
COPIED = ("ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks", "atime_ns", "mtime_ns", "ctime_ns")


def answered(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Answer with the error that the operating system gave."""

    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return await method(*args, **kwargs)
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno) from None

    return call


class Lies:
    """What is to be answered wrongly now, by the file that says so."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.stamp: tuple[int, int] | None = None
        self.words: dict[str, float] = {}

    def __getitem__(self, word: str) -> float:
        found = os.stat(self.path)
        if (found.st_ino, found.st_mtime_ns) != self.stamp:
            with open(self.path, encoding="ascii") as file:
                pairs = (part.split("=") for part in file.read().split())
                self.words = {key: float(value) for key, value in pairs}
            self.stamp = found.st_ino, found.st_mtime_ns
        return self.words.get(word, 0.0)

    def tell(self, word: str) -> bool:
        """Say whether to lie this time."""
        return random.random() < self[word]  # noqa: S311 - a fault, no secret


class Client(pyfuse3.Operations):
    """One client's view; each inode that the kernel knows is held by a descriptor."""

    def __init__(self, folder: str, lies: Lies) -> None:
        super().__init__()
        self.lies = lies
        self.held = {pyfuse3.ROOT_INODE: os.open(folder, os.O_PATH | os.O_DIRECTORY)}
        self.lookups = {pyfuse3.ROOT_INODE: 1}
        self.listings: dict[int, tuple[float, list[bytes]]] = {}  # of a folder: when it was read, what was there
        self.opened: dict[int, tuple[int, list[bytes]]] = {}  # open folders

    def attributes(self, inode: int) -> pyfuse3.EntryAttributes:
        """Give the attributes of an inode, to be remembered for as long as the lie says."""
        found = os.fstat(self.held[inode])
        entry = pyfuse3.EntryAttributes()
        for name in COPIED:
            setattr(entry, f"st_{name}", getattr(found, f"st_{name}"))
        entry.st_ino = inode
        entry.entry_timeout = entry.attr_timeout = self.lies["late"]
        return entry

    def find(self, parent: int, name: bytes) -> pyfuse3.EntryAttributes:
        """Look a name up, and count that the kernel knows its inode once more."""
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self.held[parent])
        inode = os.fstat(descriptor).st_ino
        if inode in self.held:
            os.close(descriptor)
        else:
            self.held[inode] = descriptor
        self.lookups[inode] = self.lookups.get(inode, 0) + 1
        return self.attributes(inode)

    def made(self, parent: int, name: bytes, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """Give what was just made to who made it."""
        self.listings.pop(parent, None)
        inherits = os.fstat(self.held[parent]).st_mode & stat.S_ISGID  # the group of the folder it is in
        group = -1 if inherits else ctx.gid
        os.chown(name, ctx.uid, group, dir_fd=self.held[parent], follow_symlinks=False)
        return self.find(parent, name)

    def repeated(self, code: int, *names: tuple[int, bytes]) -> None:
        """Answer as to a request that came twice, if this is to be a lie."""
        for parent, _ in names:
            self.listings.pop(parent, None)
        if self.lies.tell("names"):
            for parent, name in names:
                pyfuse3.invalidate_entry_async(parent, name, ignore_enoent=True)
            raise OSError(code, os.strerror(code))

    @answered
    async def lookup(self, parent: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        try:
            return self.find(parent, name)
        except FileNotFoundError:
            absent = pyfuse3.EntryAttributes()
            absent.st_ino = 0
            absent.entry_timeout = self.lies["late"]
            return absent

    async def forget(self, inode_list: list[tuple[int, int]]) -> None:
        for inode, count in inode_list:
            self.lookups[inode] -= count
            if self.lookups[inode] == 0:
                del self.lookups[inode]
                self.listings.pop(inode, None)
                os.close(self.held.pop(inode))

    @answered
    async def getattr(self, inode: int, ctx: Any = None) -> pyfuse3.EntryAttributes:
        return self.attributes(inode)

    @answered
    async def setattr(self, inode: int, attr: Any, fields: Any, fh: Any, ctx: Any) -> pyfuse3.EntryAttributes:
        path = f"{HERE}/{self.held[inode]}"
        if fields.update_size:
            os.truncate(path, attr.st_size)
        if fields.update_mode:
            os.chmod(path, stat.S_IMODE(attr.st_mode))
        if fields.update_uid or fields.update_gid:
            os.chown(path, attr.st_uid if fields.update_uid else -1, attr.st_gid if fields.update_gid else -1)
        if fields.update_atime or fields.update_mtime:
            old = os.fstat(self.held[inode])
            accessed = attr.st_atime_ns if fields.update_atime else old.st_atime_ns
            os.utime(path, ns=(accessed, attr.st_mtime_ns if fields.update_mtime else old.st_mtime_ns))
        return self.attributes(inode)

    @answered
    async def readlink(self, inode: int, ctx: Any) -> bytes:
        return os.fsencode(os.readlink("", dir_fd=self.held[inode]))

    @answered
    async def mkdir(self, parent: int, name: bytes, mode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        os.mkdir(name, mode & ~ctx.umask, dir_fd=self.held[parent])
        self.repeated(errno.EEXIST, (parent, name))
        return self.made(parent, name, ctx)

    @answered
    async def mknod(self, parent: int, name: bytes, mode: int, rdev: int, ctx: Any) -> pyfuse3.EntryAttributes:
        os.mknod(name, mode & ~ctx.umask, rdev, dir_fd=self.held[parent])
        return self.made(parent, name, ctx)

    @answered
    async def symlink(self, parent: int, name: bytes, target: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        os.symlink(target, name, dir_fd=self.held[parent])
        return self.made(parent, name, ctx)

    @answered
    async def link(self, inode: int, parent: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        os.link(f"{HERE}/{self.held[inode]}", name, dst_dir_fd=self.held[parent], follow_symlinks=True)
        self.repeated(errno.EEXIST, (parent, name))
        return self.find(parent, name)

    @answered
    async def rename(self, old: int, old_name: bytes, new: int, new_name: bytes, flags: int, ctx: Any) -> None:
        if flags:
            raise OSError(errno.EINVAL, "no client of NFS can exchange")
        os.rename(old_name, new_name, src_dir_fd=self.held[old], dst_dir_fd=self.held[new])
        self.repeated(errno.ENOENT, (old, old_name), (new, new_name))

    @answered
    async def unlink(self, parent: int, name: bytes, ctx: Any) -> None:
        os.unlink(name, dir_fd=self.held[parent])
        self.repeated(errno.ENOENT, (parent, name))

    @answered
    async def rmdir(self, parent: int, name: bytes, ctx: Any) -> None:
        os.rmdir(name, dir_fd=self.held[parent])
        self.repeated(errno.ENOENT, (parent, name))

    @answered
    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        handle = os.open(f"{HERE}/{self.held[inode]}", flags & ~DROPPED)
        if self.lies["late"]:
            pyfuse3.invalidate_inode(inode, attr_only=True)  # who opens a file sees what is there now
        return pyfuse3.FileInfo(fh=handle)

    @answered
    async def create(self, parent: int, name: bytes, mode: int, flags: int, ctx: Any) -> tuple[Any, Any]:
        flags = flags & ~DROPPED | os.O_CREAT | flags & os.O_EXCL
        handle = os.open(name, flags, mode & ~ctx.umask, dir_fd=self.held[parent])
        return pyfuse3.FileInfo(fh=handle), self.made(parent, name, ctx)

    @answered
    async def read(self, fh: int, off: int, size: int) -> bytes:
        return os.pread(fh, size, off)

    @answered
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return os.pwrite(fh, buf, off)

    @answered
    async def fsync(self, fh: int, datasync: bool) -> None:
        if self.lies.tell("sync"):
            raise OSError(errno.EIO, "lost")
        os.fsync(fh)

    async def flush(self, fh: int) -> None:
        """Do nothing, as nothing is kept back."""

    @answered
    async def release(self, fh: int) -> None:
        os.close(fh)

    @answered
    async def opendir(self, inode: int, ctx: Any) -> int:
        read, names = self.listings.get(inode, (0.0, []))
        if time.monotonic() - read >= self.lies["late"] or not read:
            folder = os.open(f"{HERE}/{self.held[inode]}", os.O_RDONLY | os.O_DIRECTORY)
            try:
                read, names = time.monotonic(), sorted(map(os.fsencode, os.listdir(folder)))
            finally:
                os.close(folder)
            self.listings[inode] = read, names
        handle = os.dup(self.held[inode])  # a number that is not in use
        self.opened[handle] = inode, names
        return handle

    @answered
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        parent, names = self.opened[fh]
        for number, name in enumerate(names[start_id:], start_id + 1):
            try:
                entry = self.find(parent, name)
            except FileNotFoundError:
                continue
            if not pyfuse3.readdir_reply(token, name, entry, number):
                await self.forget([(entry.st_ino, 1)])
                return

    @answered
    async def releasedir(self, fh: int) -> None:
        del self.opened[fh]
        os.close(fh)

    @answered
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        if self.lies.tell("sync"):
            raise OSError(errno.EIO, "lost")
        folder = os.open(f"{HERE}/{fh}", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @answered
    async def statfs(self, ctx: Any) -> pyfuse3.StatvfsData:
        found = os.fstatvfs(self.held[pyfuse3.ROOT_INODE])
        data = pyfuse3.StatvfsData()
        for name in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail"):
            setattr(data, f"f_{name}", getattr(found, f"f_{name}"))
        return data


def main() -> None:
    """Mount, and serve until killed or unmounted."""
    folder, mountpoint, lies = sys.argv[1:]
    os.umask(0)
    options = {*pyfuse3.default_options, "allow_other", f"fsname={folder}", "subtype=lying"}
    pyfuse3.init(Client(folder, Lies(lies)), mountpoint, options)
    trio.run(pyfuse3.main)


main()
