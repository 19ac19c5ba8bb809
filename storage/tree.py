"""Merkle trees over what a product holds: one digest for all of it, and a way down to what differs.

A leaf is a key and a digest, an inner node up to 256 children; each is hashed behind a byte of its own, so that none
passes for the other (as in RFC 6962 section 2.1). docs/architecture.md says which leaves a product has.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from blake3 import blake3

from terp.storage.errors import BadProduct

FAN = 256  # children of an inner node
DIGEST = 32  # bytes of a BLAKE3
_INNER = b"\1"  # what an inner node is hashed behind


def leaves(keys: Iterable[str], *digests: Iterable[bytes]) -> list[bytes]:
    """Return the leaves of some keys, one behind the other: of a tree for each series of digests."""
    made: list[list[bytes]] = [[] for _ in digests]
    for key, *some in zip(keys, *digests, strict=True):
        label = key.encode()
        head = b"\0" + len(label).to_bytes(8, "little") + label
        for tree, digest in zip(made, some, strict=True):
            tree.append(blake3(head + digest).digest())
    return [b"".join(tree) for tree in made]


class Runs:
    """The BLAKE3 of each run of so many bytes, behind a `mark`, of bytes that come some at a time and are not kept."""

    def __init__(self, step: int, mark: bytes = b"") -> None:
        self._step, self._mark = step, mark
        self._digests, self._rest = list[bytes](), b""

    def add(self, some: bytes) -> None:
        """Take the bytes that follow."""
        data = self._rest + some
        whole = len(data) - len(data) % self._step
        self._digests += [self._digest(data[at : at + self._step]) for at in range(0, whole, self._step)]
        self._rest = data[whole:]

    def digests(self) -> list[bytes]:
        """Return the digests of the runs, the last of which may be shorter, after all is taken."""
        return [*self._digests, self._digest(self._rest)] if self._rest else list(self._digests)

    def _digest(self, run: bytes) -> bytes:
        return blake3(self._mark + run).digest()


def above() -> Runs:
    """Return what makes inner nodes, of their children as they come."""
    return Runs(FAN * DIGEST, _INNER)


def joined(inner: Runs) -> bytes:
    """Return inner nodes, one behind the other; there is always one."""
    return b"".join(inner.digests()) or blake3(_INNER).digest()


def nodes(children: bytes) -> bytes:
    """Return the inner nodes above some children, both one behind the other; there is always one."""
    inner = above()
    inner.add(children)
    return joined(inner)


def top(level: bytes) -> bytes:
    """Return the node at the top of the tree above some inner nodes."""
    while len(level) > DIGEST:
        level = nodes(level)
    return level


def root(small: Mapping[str, bytes], above_shards: bytes) -> str:
    """Return the root of a product: of its small leaves, in order of their keys, and the inner nodes above its shards.

    In hex digits.
    """
    keys = sorted(small)
    [made] = leaves(keys, [small[key] for key in keys])
    return nodes(top(nodes(made)) + top(above_shards)).hex()


@dataclass(frozen=True)
class Tree:
    """The tree over the values of a sealed product, read from the root down and no further than is asked for.

    `nodes` are those above the shards, in the order of the manifest; `small` and `run` give digests: of what is small
    by its key, and of the shards below one node.
    """

    root: str
    nodes: bytes
    small: Callable[[], Mapping[str, bytes]]
    run: Callable[[int], list[bytes]]
    owner: str

    def prove(self) -> Mapping[str, bytes]:
        """Return the digests of what is small; raises BadProduct where this is not what the root stands for."""
        small = self.small()
        if root(small, self.nodes) != self.root:
            raise BadProduct(f"the digests of {self.owner} do not fit together: `terp verify` it")
        return small

    def unlike(self, other: "Tree") -> Iterator[int]:
        """Walk the numbers of the shards in which a tree of the same form differs."""
        for at in range(0, len(self.nodes), DIGEST):
            if self.nodes[at : at + DIGEST] != other.nodes[at : at + DIGEST]:
                run = at // DIGEST
                pairs = zip(self.run(run), other.run(run), strict=True)
                yield from (run * FAN + number for number, (one, two) in enumerate(pairs) if one != two)
