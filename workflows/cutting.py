"""How a stage lets its work be cut into blocks, and how what it makes is stored and compared."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from terp.workflows.errors import BadStage


@dataclass(frozen=True)
class Cutting:
    """What was said to `terp.workflows.stage`, which explains it; raises BadStage where it makes no sense."""

    cut: tuple[str, ...] | None = None
    whole: tuple[str, ...] | None = None
    over: tuple[str, ...] = ()
    halo: Mapping[str, int] = field(default_factory=dict)
    coarsen: Mapping[str, int] = field(default_factory=dict)
    block: Mapping[str, int] = field(default_factory=dict)
    chunk: Mapping[str, int] = field(default_factory=dict)
    copies: float = 0.0
    codec: str = ""
    tolerance: tuple[float, ...] = ()  # relative and absolute; none: the same bits each time
    overhead: float = 0.0
    reads: bool = False  # whether reading is most of the work: then regions of the same chunks are made in a row

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.cut is not None and self.whole is not None:
            raise BadStage("say cut=... or whole=..., not both: each says the other")
        if self.cut is None and self.whole is None and not self.over:
            raise BadStage("say along which dimensions blocks may be cut: cut=(...), whole=(...) or over=(...)")
        for name in ("block", "chunk", "halo", "coarsen"):
            for dim, length in getattr(self, name).items():
                if not isinstance(length, int) or length < 1:
                    raise BadStage(f"{name}={{{dim!r}: {length!r}}}: lengths are whole numbers of elements, 1 or more")
        if self.over and (self.halo or self.chunk or self.coarsen):
            raise BadStage("over=... gives small results in a tree: it takes none of halo=, chunk= and coarsen=")
        for dim in self.halo.keys() & self.coarsen.keys():
            raise BadStage(f"{dim} has a halo and is coarsened: let a stage of its own do one of these")
        if self.overhead and (not self.over or self.overhead < 0):
            raise BadStage(f"overhead={self.overhead}: a positive number, for what is reduced over=...")
        if self.codec:
            _demand_codec(self.codec)

    def read_for(self, lengths: Mapping[str, int]) -> dict[str, int]:
        """Return how much of the inputs so much of a result is made of."""
        return {dim: length * self.coarsen.get(dim, 1) for dim, length in lengths.items()}

    def ingredients(self) -> dict[str, Any]:
        """Return what of it belongs to the key of a product."""
        extras = {name: given for name in _LATER if (given := getattr(self, name))}
        extras |= {"tolerance": list(self.tolerance)} if self.tolerance else {}
        return {"cut": [list(self.cut or ()), list(self.whole or ()), list(self.over), dict(self.block)], **extras}


_LATER = ("halo", "coarsen", "chunk", "codec", "overhead")  # in a key only where said: older keys stay as they are


def names(what: str, given: Any) -> tuple[str, ...] | None:
    """Return names that were given as a sequence; raises BadStage for mere text."""
    if isinstance(given, str):
        raise BadStage(f'{what}="{given}" is text: write {what}=("{given}",)')
    return None if given is None else tuple(given)


def tolerated(given: float | Sequence[float] | None) -> tuple[float, ...]:
    """Return a relative and an absolute tolerance that were given, or () for none; raises BadStage for no tolerance."""
    if given is None:
        return ()
    pair = (given, 0.0) if isinstance(given, int | float) else tuple(given)
    if len(pair) != 2 or not all(isinstance(one, int | float) and 0 <= one < math.inf for one in pair):
        raise BadStage(f"tolerance={given!r}: say a relative tolerance, such as 1e-6, or (relative, absolute)")
    return tuple(map(float, pair)) if any(pair) else ()


def _demand_codec(name: str) -> None:
    from terp.storage.codec import Codec
    from terp.storage.errors import BadProduct

    try:
        Codec.named(name)
    except BadProduct as unknown:
        raise BadStage(f"codec={name!r}: {unknown}") from None
