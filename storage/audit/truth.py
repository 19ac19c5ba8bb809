"""What an object should be, file by file, told by all that bears witness to it: never by one place alone.

Of each version, every inventory in every place is a witness by its SHA-512, and so is every sidecar by the one it
names; what custody noted when the version was ingested or copied stands above them. So one altered file is outvoted,
and an inventory that was altered together with its sidecar is known by the other places or by what was noted.
The layout is that of OCFL 1.1 (https://ocfl.io/1.1/spec/), read apart from what writes objects.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from string import ascii_letters, digits
from typing import Any
from urllib.parse import unquote

from terp.storage.errors import PlaceTrouble
from terp.storage.places import Place

MARK, INVENTORY, SIDECAR = "0=ocfl_object_1.1", "inventory.json", "inventory.json.sha512"
MARKED = b"ocfl_object_1.1\n"
_MOST = 1 << 30  # bytes of an inventory that are read
_NOTED = 1000  # witnesses that a note of custody is worth
_CLAIM = re.compile(rb"([0-9a-f]{128})[ \t]+inventory\.json\n")

type Noted = Mapping[int, set[str]]  # SHA-512 of the inventories that custody noted, by version


@dataclass(frozen=True)
class Truth:
    """An object's folder, and the inventories of its versions that stand, by number: SHA-512 and bytes.

    Where none has that SHA-512 the bytes are those of the next best, or none. `doubts` tells where witnesses of equal
    weight contradict each other, or something that was noted is nowhere.
    """

    identifier: str
    folder: str
    inventories: Mapping[int, tuple[str, bytes]]
    doubts: tuple[str, ...] = ()

    @property
    def head(self) -> int:
        """The newest version of which an inventory can be read; 0 where none is left anywhere."""
        return max((number for number, (_, data) in self.inventories.items() if data), default=0)

    def plain(self, version: int) -> Any:
        """Return an inventory as it reads."""
        return json.loads(self.inventories[version][1])

    def files(self, version: int) -> dict[str, str]:
        """Return the SHA-512 of each file that the object has at a version, by its path in the object."""
        wanted = {MARK: hashlib.sha512(MARKED).hexdigest()}
        for number, (digest, _) in self.inventories.items():
            if number <= version:
                tops = ["", f"v{number}/"] if number == version else [f"v{number}/"]
                side = hashlib.sha512(sidecar(digest)).hexdigest()
                wanted |= {f"{top}{INVENTORY}": digest for top in tops} | {f"{top}{SIDECAR}": side for top in tops}
        manifest = self.plain(version)["manifest"]
        return wanted | {path: digest.lower() for digest, paths in manifest.items() for path in paths}

    def small(self, version: int) -> dict[str, bytes]:
        """Return the bytes of those files that follow from the inventories."""
        known = {MARK: MARKED}
        for number, (digest, data) in self.inventories.items():
            tops = ["", f"v{number}/"] if number == version else [f"v{number}/"]
            known |= {f"{top}{SIDECAR}": sidecar(digest) for top in tops}
            if hashlib.sha512(data).hexdigest() == digest:
                known |= {f"{top}{INVENTORY}": data for top in tops}
        return known


def sidecar(digest: str) -> bytes:
    """Return what stands beside an inventory of this SHA-512."""
    return f"{digest}  {INVENTORY}\n".encode()


def folder_of(identifier: str) -> str:
    """Return where an object is in a storage root (OCFL extension 0003, hash and identifier n-tuple)."""
    digest = hashlib.sha256(identifier.encode()).hexdigest()
    name = "".join(c if c in ascii_letters + digits + "-_" else _escaped(c) for c in identifier)
    return "/".join([digest[:3], digest[3:6], digest[6:9], name if len(name) <= 100 else f"{name[:100]}-{digest}"])


def _escaped(letter: str) -> str:
    return "".join(f"%{byte:02x}" for byte in letter.encode())


def identifier_in(folder: str, heard: "Sequence[Witness]") -> str:
    """Return the identifier of the object in a folder: the one that its inventories name and that belongs there."""
    named = [*_named(heard), unquote(folder.rpartition("/")[2])]
    return next((one for one in named if folder_of(one) == folder), folder)


def _named(heard: "Sequence[Witness]") -> Iterator[str]:
    for one in heard:
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            yield str(one.plain["id"])


def head_in(place: str, truth: Truth, heard: "Sequence[Witness]") -> int:
    """Return the newest version that a place has by an inventory that stands; 0 where it has none."""
    standing = {digest: number for number, (digest, _) in truth.inventories.items()}
    return max((standing[one.digest] for one in heard if one.place == place and one.digest in standing), default=0)


@dataclass(frozen=True)
class Witness:
    """An inventory in a place, as it was found: where, its bytes, and the SHA-512 that its sidecar names."""

    place: str
    path: str
    data: bytes
    claim: str

    @cached_property
    def digest(self) -> str:
        """The SHA-512 of its bytes."""
        return hashlib.sha512(self.data).hexdigest()

    @cached_property
    def plain(self) -> Any:
        """It as it reads; None where it is no JSON."""
        with suppress(ValueError, RecursionError):
            return json.loads(self.data)
        return None

    @property
    def sound(self) -> bool:
        """Whether its sidecar agrees, and it is one."""
        return self.digest == self.claim and self.version > 0

    @property
    def version(self) -> int:
        """The version that it is of: its folder tells, at the top its own word."""
        if self.path:
            return int(self.path[1:-1])
        try:
            head = self.plain["head"]
            return int(head[1:]) if re.fullmatch(r"v[1-9]\d*", head) else 0
        except (ValueError, KeyError, TypeError):
            return 0


def witnesses(place: Place, folder: str, names: Iterable[str]) -> list[Witness]:
    """Read the inventories of an object in a place, and their sidecars."""
    found = set(names)
    tops = [""] + [f"{top}/" for name in found if re.fullmatch(r"v[1-9]\d*", top := name.partition("/")[0])]
    heard = []
    for top in dict.fromkeys(tops):
        text = small(place, f"{folder}/{top}{INVENTORY}") if f"{top}{INVENTORY}" in found else b""
        beside = small(place, f"{folder}/{top}{SIDECAR}") if f"{top}{SIDECAR}" in found else b""
        claim = _CLAIM.fullmatch(beside)
        if text or beside:
            heard.append(Witness(place.name, top, text, claim[1].decode() if claim else ""))
    return heard


def small(place: Place, name: str) -> bytes:
    """Return the bytes of a small file; b"" where there is none."""
    try:
        return b"".join(place.read(name, 0, _MOST))
    except FileNotFoundError:
        return b""


def sound_bytes(places: Iterable[Place], name: str, digest: str) -> bytes | None:
    """Return the bytes of a small file from the first place where they have a SHA-512."""
    for place in places:
        with suppress(PlaceTrouble):
            data = small(place, name)
            if hashlib.sha512(data).hexdigest() == digest:
                return data
    return None


def truth_of(identifier: str, folder: str, heard: Sequence[Witness], noted: Noted) -> Truth:
    """Return what stands of an object after hearing all witnesses."""
    standing, doubts = dict[int, tuple[str, bytes]](), list[str]()
    newest = max({one.version for one in heard if one.sound} or {one.version for one in heard} | set(noted), default=0)
    for number in sorted(({one.version for one in heard if one.version <= newest} | set(noted)) - {0}):
        texts = {one.digest: one.data for one in heard if _is_inventory(one.plain, identifier, number)}
        votes = _votes(number, heard, noted, texts)
        best = sorted(votes, key=lambda digest: (votes[digest], digest in texts), reverse=True)
        if best:
            standing[number] = best[0], next((texts[digest] for digest in best if digest in texts), b"")
        if len(best) > 1 and votes[best[0]] == votes[best[1]] and best[1] in texts:
            doubts.append(f"the places hold different inventories of v{number}, and nothing noted says which is true")
        if number in noted and best[0] not in texts:
            doubts.append(f"no place holds the inventory of v{number} that was noted when it was stored")
    truth = Truth(identifier, folder, standing, tuple(doubts))
    if truth.head < max(standing, default=0):
        lost = f"no inventory of v{max(standing)} can be read in any place"
        return Truth(identifier, folder, standing, (*doubts, lost))
    return truth


def _votes(number: int, heard: Sequence[Witness], noted: Noted, texts: dict[str, bytes]) -> Counter[str]:
    """Count the witnesses of a version by the SHA-512 that they tell; adds to `texts` what can be made again."""
    votes = Counter(dict.fromkeys(noted.get(number, ()), _NOTED))
    for one in heard:
        if one.version == number or (not one.path and one.version == 0):  # what can no longer be read is heard too
            votes.update([one.digest, *([one.claim] if one.claim else [])])
    for later in heard:  # a later inventory repeats what an earlier one says
        if later.sound and later.version > number:
            text = _earlier(later.plain, number)
            digest = hashlib.sha512(text).hexdigest()
            if digest in votes:  # else it was not terp that wrote them
                votes[digest] += 1
                texts[digest] = text
    return votes


def _earlier(plain: Any, number: int) -> bytes:
    """Return the inventory of an earlier version as it is if it was written as terp writes it."""
    try:
        versions = {name: one for name, one in plain["versions"].items() if int(name[1:]) <= number}
        manifest = {
            digest: kept
            for digest, paths in plain["manifest"].items()
            if (kept := [path for path in paths if int(path.partition("/")[0][1:]) <= number])
        }
        then = {**plain, "head": f"v{number}", "manifest": manifest, "versions": versions}
    except (ValueError, KeyError, TypeError, AttributeError):
        return b""
    text = json.dumps(then, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return text.encode()


def _is_inventory(plain: Any, identifier: str, version: int) -> bool:
    """Say whether this is an inventory of this object at a version, naming nothing outside of its folder."""
    try:
        if (plain["id"], plain["head"]) != (identifier, f"v{version}"):
            return False
        paths = [path for paths in plain["manifest"].values() for path in paths]
        inside = all(re.fullmatch(r"v[1-9]\d*/content(/[^/\0\\]+)+", path) for path in paths)
        return inside and not any({".", ".."} & set(path.split("/")) for path in paths)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
