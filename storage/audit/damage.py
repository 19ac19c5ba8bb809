"""What an audit finds: which file of which object in which place, what of it, and what that means to a reader."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

ALTERED, LOST, ADDED, UNREADABLE = "altered", "lost", "added", "unreadable"
CONTRADICTED = "contradicted"  # it is what was stored by the inventory, and another file of the object says other
FORKED = "contradicts"  # of what custody and a place tell


@dataclass(frozen=True)
class Spot:
    """A part of a file that is not what was stored: bytes `start` to before `stop`, in a member or between them.

    `array` and `region` (dimension to first and last-but-one index) are there for values of a Zarr array.
    """

    start: int
    stop: int
    what: str
    member: str = ""
    array: str = ""
    region: Mapping[str, tuple[int, int]] | None = None

    def __str__(self) -> str:
        return f"{self.what} (bytes {self.start:,} to {self.stop:,})"


@dataclass(frozen=True)
class Damage:
    """One file that is not as it should be; `path` is relative to the object's folder, digests are SHA-512.

    `rule` and `cure` are there where no bytes are damaged, and no repair mends it.
    """

    place: str
    object: str
    path: str
    kind: str
    what: str
    spots: tuple[Spot, ...] = ()
    expected: str = ""
    found: str = ""
    rule: str = ""
    cure: str = ""

    def __str__(self) -> str:
        which = f"{self.object}: " if self.object else ""
        words = f"{self.place}: {which}{self.path or 'the object'} {self.what}"
        words += f"; {self.cure} ({self.rule})" if self.rule else ""
        return "\n".join([words, *(f"    {spot}" for spot in self.spots)])

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Damage":
        """Read back what `to_json` gave."""
        spots = tuple(Spot(**{**spot, "region": _region(spot["region"])}) for spot in plain["spots"])
        return cls(**{**plain, "spots": spots})


def _region(plain: Mapping[str, Any] | None) -> dict[str, tuple[int, int]] | None:
    return None if plain is None else {dim: (start, stop) for dim, (start, stop) in plain.items()}
