"""Damage done to stored files, as disks, people and bad copies do it; and whether an audit says just that."""

import hashlib
import io
import json
import random
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terp.storage.audit import Damage

PAYLOAD = ".zarr.zip"


@dataclass(frozen=True)
class Flip:
    """A bit of a stored file: path relative to the object's folder, byte, bit."""

    path: str
    byte: int
    bit: int


def files_of(home: Path) -> dict[str, bytes]:
    """All files of an object's folder."""
    return {p.relative_to(home).as_posix(): p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file()}


@contextmanager
def altered(path: Path, data: bytes) -> Iterator[None]:
    """Let a file be another, then as it was."""
    before, mode = path.read_bytes(), path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(data)
    try:
        yield
    finally:
        path.chmod(0o644)
        path.write_bytes(before)
        path.chmod(mode)


def flipped(data: bytes, byte: int, bit: int) -> bytes:
    """The same but for one bit."""
    found = bytearray(data)
    found[byte] ^= 1 << bit
    return bytes(found)


class Parts:
    """The parts of an object, from which bits are drawn: each part is as likely, however small."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.table: dict[str, Any] = json.loads(
            next(data for path, data in files.items() if path.endswith(".members.json"))
        )
        self.places: dict[str, list[tuple[str, int, int]]] = {}
        for path, data in files.items():
            if path.endswith(PAYLOAD):
                self._package(path, data)
            elif data:
                self.places.setdefault(_kind(path), []).append((path, 0, len(data)))

    def _package(self, path: str, data: bytes) -> None:
        at = 0
        for member in self.table["members"]:
            start, stop = member["offset"], member["offset"] + member["size"]
            label = len(member["name"].encode())
            for name, begin, end in (
                ("payload: headers", at, at + 30 + label + 26),
                ("payload: padding", at + 30 + label + 26, start),
                ("payload: values" if "values" in member else "payload: small arrays, metadata", start, stop),
            ):
                if begin < end:
                    self.places.setdefault(name, []).append((path, begin, end))
            at = stop
        self.places["payload: directory"] = [(path, at, len(data))]

    def draw(self, rng: random.Random) -> tuple[str, Flip]:
        """A bit, and the part it is of."""
        part = rng.choice(sorted(self.places))
        path, start, stop = rng.choice(self.places[part])
        return part, Flip(path, rng.randrange(start, stop), rng.randrange(8))

    def located(self, flip: Flip, found: list[Damage], alone: bool) -> bool:
        """Whether an audit found just this flip, and said where it is.

        Alone, without a copy to compare with, the file is all that can be said of what is no member of a ZIP and no
        inventory; a member that is sound is not to be named.
        """
        in_member = [spot for one in found for spot in one.spots if spot.member and "header" not in spot.what]
        if alone and (_kind(flip.path) in ("other files", "table of members") or _between(self.files, flip)):
            return not in_member and [one.path for one in found] == [flip.path]
        if len(found) != 1 or found[0].path != flip.path or found[0].kind != "altered":
            return False
        [damage] = found
        spots = [spot for spot in damage.spots if spot.start <= flip.byte < spot.stop]
        if len(damage.spots) != 1 or not spots:
            return False
        if not flip.path.endswith(PAYLOAD):
            return spots[0].stop - spots[0].start == 1 or bool(spots[0].member)
        member = next((m for m in self.table["members"] if m["offset"] <= flip.byte < m["offset"] + m["size"]), None)
        if member is None:
            return spots[0].stop - spots[0].start == 1 and "between the members" in spots[0].what
        return spots[0].member == member["name"] and _region(member["name"], spots[0].array, spots[0].region)


def _between(files: Mapping[str, bytes], flip: Flip) -> bool:
    """Whether a flip is in a ZIP without a table, between its members."""
    if _kind(flip.path) != "other ZIPs" or flip.path.endswith(PAYLOAD):
        return False
    with zipfile.ZipFile(io.BytesIO(files[flip.path])) as opened:
        starts = [(one.header_offset + 30 + len(one.filename), one.file_size) for one in opened.infolist()]
    return not any(start <= flip.byte < start + size for start, size in starts)


def _region(member: str, array: str, region: Mapping[str, tuple[int, int]] | None) -> bool:
    """Whether array and region are those of a shard of `kept.product`, reckoned from its name alone."""
    named = re.fullmatch(r"(rain|wind)/c/(\d)/0", member)
    if not named:
        return region is None
    row = int(named[2])
    return array == named[1] and region is not None and dict(region) == {"x": (row, row + 1), "t": (0, 60)}


def _kind(path: str) -> str:
    name = path.rpartition("/")[2]
    if name.startswith("inventory.json"):
        return "sidecars" if name.endswith("sha512") else "inventories"
    if name.endswith(".members.json"):
        return "table of members"
    return "other ZIPs" if name.endswith(".zip") else "the mark of the object" if "=" in name else "other files"


def sha512(data: bytes) -> str:
    """The SHA-512 of some bytes."""
    return hashlib.sha512(data).hexdigest()
