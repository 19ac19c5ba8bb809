"""A folder at the end of SSH: any server with SFTP, whose key is known beforehand."""

import hashlib
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import paramiko

from terp.storage.errors import BadPackage, PlaceTrouble
from terp.storage.places.place import (
    BLOCK,
    PART,
    Stored,
    Told,
    blocks,
    checked,
    cleared,
    listed,
    prefix_of,
    refusal,
    swept,
)
from terp.storage.places.ssh import PATIENCE, Login, connect

_TRIES = 4  # of what a lost connection cut short
_DEPTH = 64  # folders within each other, past which a listing is not believed


class Sftp:
    """Files below one folder of an SSH server, which has to be there.

    A file is sent under a hidden name, synced by OpenSSH's fsync (or else read back and compared), and renamed.
    """

    kind = "sftp"

    def __init__(self, name: str, login: Login, root: str) -> None:
        self.name, self.login, self.root = name, login, root.rstrip("/")
        self._client: Any = None
        self._channel: Any = None
        self._plain = set[str]()  # folders that were found to be no links
        self._lock = threading.RLock()  # answers on one channel are told apart by order, so one asks at a time

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield the files whose names begin with a prefix, by name; links and what is no file too, of size -1."""
        prefix = prefix_of(prefix)
        for one in self._below(prefix.rpartition("/")[0], 0):
            if one.name.startswith(prefix):
                yield one

    def _below(self, folder: str, depth: int) -> Iterator[Stored]:
        if depth > _DEPTH:
            raise PlaceTrouble(f"the place {self.name} lists folders without end: {folder}; look at it")
        try:
            found = self._do(lambda sftp: sftp.listdir_attr(self._path(folder)))
        except FileNotFoundError:
            return
        for item in sorted(found, key=lambda one: one.filename + "/" * stat.S_ISDIR(one.st_mode or 0)):
            if "/" in item.filename:
                listed(self.name, f"../{item.filename}")
            name = listed(self.name, f"{folder}/{item.filename}".lstrip("/"))
            if stat.S_ISDIR(item.st_mode or 0):
                yield from self._below(name, depth + 1)
            else:
                yield Stored(name, item.st_size if stat.S_ISREG(item.st_mode or 0) else -1)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a file from an offset, in blocks; a lost connection is made anew, and it goes on."""
        there = self._do(lambda sftp: self._regular(sftp, checked(name)))
        end = there if size is None else min(there, offset + size)
        while offset < end:
            block = self._do(partial(_part, path=self._path(name), offset=offset, size=min(BLOCK, end - offset)))
            if not block:
                raise PlaceTrouble(f"the place {self.name} ends {name} at byte {offset} of {end}: do the same again")
            offset += len(block)
            yield block

    def put(self, name: str, source: Path, sha512: str | None = None, told: Told = int) -> None:
        """Send a file, and make it seen in one step."""
        self._do(lambda sftp: self._send(sftp, checked(name), lambda: blocks(source, sha512, told)))

    def write(self, name: str, data: bytes) -> None:
        """Store some bytes under a name."""
        self._do(lambda sftp: self._send(sftp, checked(name), lambda: iter([data])))

    def delete(self, name: str) -> None:
        """Remove a file, and the folders that it leaves empty."""

        def remove(sftp: Any) -> None:
            above = checked(name).split("/")[:-1]
            self._folders(sftp, above, make=False)
            with suppress(FileNotFoundError):
                sftp.remove(self._path(name))
            for depth in range(len(above), 0, -1):
                self._plain.discard("/".join(above[:depth]))
                try:
                    sftp.rmdir(self._path("/".join(above[:depth])))
                except OSError:
                    return

        with suppress(FileNotFoundError):  # a folder above it is gone
            self._do(remove)

    def clear(self, prefix: str) -> int:
        """Remove all below a prefix, and prove it; return how many bytes went."""
        return cleared(self, prefix)

    def sweep(self, prefix: str = "") -> None:
        """Remove the parts of files below a prefix."""
        swept(self, prefix)

    def stage(self, names: Sequence[str]) -> Sequence[str]:
        """Return nothing: all can be read at once."""
        return []

    def close(self) -> None:
        """Hang up; the next call connects anew."""
        if self._client is not None:
            with suppress(Exception):
                self._client.close()
        self._client = self._channel = None
        self._plain.clear()

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}".rstrip("/")

    # what is done at the other end

    def _send(self, sftp: Any, name: str, data: Callable[[], Iterator[bytes]]) -> None:
        above = name.split("/")[:-1]
        self._folders(sftp, above, make=True)
        fresh = self._path("/".join([*above, f"{PART}{secrets.token_hex(6)}"]))
        try:
            self._fill(sftp, fresh, data())
            _rename(sftp, fresh, self._path(name))
        except BaseException:
            with suppress(Exception):
                sftp.remove(fresh)
            raise

    def _fill(self, sftp: Any, path: str, data: Iterator[bytes]) -> None:
        digest, size = hashlib.sha512(), 0
        with sftp.open(path, "wx") as file:
            for block in data:
                file.set_pipelined(True)
                file.write(block[:-1])
                file.set_pipelined(False)  # the answers to all that was sent are looked at with the last byte
                file.write(block[-1:])
                digest.update(block)
                size += len(block)
            synced = _synced(sftp, file)
        found = sftp.lstat(path).st_size
        if found != size:
            raise PlaceTrouble(f"the place {self.name} kept {found} of {size} bytes of {path}: is it full?")
        if not synced and _digest(sftp, path, size) != digest.digest():
            raise PlaceTrouble(f"the place {self.name} did not keep what was sent to {path}: have it checked")

    def _folders(self, sftp: Any, parts: Sequence[str], make: bool) -> None:
        """See that folders are no links, which might lead out of the place; make those that are not there."""
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder in self._plain:
                continue
            try:
                mode = sftp.lstat(self._path(folder)).st_mode
            except FileNotFoundError:
                if not make:
                    raise
                with suppress(OSError):  # somebody else may just have made it; lstat tells
                    sftp.mkdir(self._path(folder))
                mode = sftp.lstat(self._path(folder)).st_mode
            if not stat.S_ISDIR(mode):
                raise BadPackage(
                    f"{self._path(folder)} of the place {self.name} is no folder: remove it if it is a link"
                )
            self._plain.add(folder)

    def _regular(self, sftp: Any, name: str) -> int:
        """Return the size of a file that is no link and behind none."""
        self._folders(sftp, name.split("/")[:-1], make=False)
        found = sftp.lstat(self._path(name))
        if not stat.S_ISREG(found.st_mode):
            raise PlaceTrouble(f"{name} of the place {self.name} is no file: remove it if it is a link")
        return int(found.st_size)

    # the connection

    def _do[T](self, act: Callable[[Any], T]) -> T:
        """Do something, again where the connection is lost meanwhile; one at a time."""
        with self._lock:
            return self._tried(act)

    def _tried[T](self, act: Callable[[Any], T]) -> T:
        for left in reversed(range(_TRIES)):
            try:
                return act(self._connected())
            except FileNotFoundError:
                raise
            except (EOFError, OSError, paramiko.SSHException) as error:
                if isinstance(error, OSError) and not self._is_lost(error):
                    raise PlaceTrouble(f"the place {self.name} refused: {refusal(error)}") from error
                self.close()
                if not left:
                    said = f"{error}" or type(error).__name__
                    raise PlaceTrouble(f"the place {self.name} hung up, and again: {said}; try later") from error
                time.sleep(0.2 * (_TRIES - 1 - left) ** 2)
        raise AssertionError("unreachable")

    def _is_lost(self, error: OSError) -> bool:
        if isinstance(error, ConnectionError | TimeoutError):
            return True
        transport = self._client.get_transport() if self._client else None
        return transport is None or not transport.is_active() or self._channel.get_channel().closed

    def _connected(self) -> Any:
        if self._channel is None:
            self._client = connect(self.name, self.login)
            self._channel = self._client.open_sftp()
            self._channel.get_channel().settimeout(PATIENCE)
            self._client.get_transport().set_keepalive(15)
            try:
                there = stat.S_ISDIR(self._channel.stat(self.root or "/").st_mode)
            except FileNotFoundError:
                there = False
            if not there:
                self.close()
                raise PlaceTrouble(f"the place {self.name} has no folder {self.root}: make it, or correct its path")
        return self._channel


def _rename(sftp: Any, fresh: str, final: str) -> None:
    try:
        sftp.posix_rename(fresh, final)
    except FileNotFoundError:
        raise
    except OSError:  # a server without OpenSSH's extension: its rename does not replace
        sftp.rename(fresh, final)


def _synced(sftp: Any, file: Any) -> bool:
    """Have the server sync a file (OpenSSH's PROTOCOL, section 4.4); return False where it does not know how to."""
    try:
        sftp._request(paramiko.sftp.CMD_EXTENDED, "fsync@openssh.com", file.handle)
    except OSError:
        return False
    return True


def _part(sftp: Any, path: str, offset: int, size: int) -> bytes:
    with sftp.open(path, "rb") as file:
        return b"".join(file.readv([(offset, size)]))


def _digest(sftp: Any, path: str, size: int) -> bytes:
    digest = hashlib.sha512()
    for offset in range(0, size, BLOCK):
        digest.update(_part(sftp, path=path, offset=offset, size=min(BLOCK, size - offset)))
    return digest.digest()
