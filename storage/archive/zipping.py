"""How a bundle is written and proven: a ZIP64 that only stores, of members whose SHA-512 is known beforehand."""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from terp.storage.errors import Damaged, PlaceTrouble
from terp.storage.files import write_all
from terp.storage.package.zip64 import Entry, central, local, tail
from terp.storage.places import Tape
from terp.storage.places.folder import Folder


@dataclass(frozen=True)
class Member:
    """A file that goes into a bundle: `read` yields its bytes."""

    name: str
    size: int
    sha512: str
    read: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, name: str, data: bytes) -> "Member":
        """Return a small file."""
        return cls(name, len(data), hashlib.sha512(data).hexdigest(), lambda: iter([data]))


def write_bundle(descriptor: int, members: Sequence[Member], told: Callable[[int], object]) -> list[dict[str, Any]]:
    """Write a bundle into an empty file; return name, offset, size and digests of each member, in order.

    Raises Damaged where a member is not what it should be; what is written is no bundle then.
    """
    os.ftruncate(descriptor, 0)
    at, done, records = 0, list[dict[str, Any]](), list[bytes]()
    for member in members:
        offset = at + len(local(member.name, 0, member.size, at))
        os.lseek(descriptor, offset, os.SEEK_SET)
        crc32 = _write(descriptor, member, told)
        os.lseek(descriptor, at, os.SEEK_SET)
        write_all(descriptor, local(member.name, crc32, member.size, at))
        records.append(central(Entry(member.name, offset, member.size, crc32), at))
        done.append(
            {"name": member.name, "offset": offset, "size": member.size, "sha512": member.sha512, "crc32": crc32}
        )
        at = offset + member.size
    os.lseek(descriptor, at, os.SEEK_SET)
    directory = b"".join(records)
    write_all(descriptor, directory + tail(len(done), len(directory), at))
    return done


def _write(descriptor: int, member: Member, told: Callable[[int], object]) -> int:
    crc32, digest, size = 0, hashlib.sha512(), 0
    for block in member.read():
        write_all(descriptor, block)
        digest.update(block)
        crc32, size = zlib.crc32(block, crc32), size + len(block)
        told(len(block))
    if (size, digest.hexdigest()) != (member.size, member.sha512):
        raise Damaged(f"{member.name} is not what was stored: its SHA-512 is another; mend it first (`terp verify`)")
    return crc32


def proven(place: Tape, name: str, members: Sequence[dict[str, Any]]) -> tuple[int, str]:
    """Read a bundle that was just written, while it is still on disk; return its size and SHA-512.

    Raises PlaceTrouble where the place did not keep what was written.
    """
    whole, at = hashlib.sha512(), 0
    for member in members:
        part = hashlib.sha512()
        for block in Folder.read(place, name, at, member["offset"] - at):
            whole.update(block)
        for block in Folder.read(place, name, member["offset"], member["size"]):
            whole.update(block)
            part.update(block)
        if part.hexdigest() != member["sha512"]:
            raise PlaceTrouble(f"the place {place.name} did not keep {member['name']} in {name} as it was written")
        at = member["offset"] + member["size"]
    for block in Folder.read(place, name, at):
        whole.update(block)
        at += len(block)
    return at, whole.hexdigest()
