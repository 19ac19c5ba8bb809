"""Write a region of a product: the worker's side, under the name of an attempt that nobody reads."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from terp.storage import files
from terp.storage.environment import Environment
from terp.storage.errors import BadProduct
from terp.storage.grid import Group
from terp.storage.ledger import Place
from terp.storage.machine import Machine
from terp.storage.shard import Stored, write_shard
from terp.storage.syncing import put_off


@dataclass(frozen=True)
class Written:
    """A region that a worker has written and synced, not yet visible: attempt file and digests for each array.

    `memory` is what the worker held at most meanwhile, in bytes; 0 where nobody knows. `reads` is what was read for
    it, as the product's lineage has it; `machine` the kind of machine that it was made on, `software` the digest of
    the environment there, and `environment` all of that, where the controller did not know it yet.
    """

    group: str
    index: int
    attempts: dict[str, tuple[str, Stored]]
    seconds: float
    worker: str
    remarks: tuple[str, ...] = field(default=())
    memory: int = 0
    reads: tuple[tuple[int, int], ...] = ()
    machine: Machine | None = None
    software: str = ""
    environment: Environment | None = None

    @property
    def place(self) -> Place:
        """Which region."""
        return self.group, self.index


@contextmanager
def written_together(folder: Path) -> Iterator[None]:
    """Sync the regions that this thread writes meanwhile in the end, together, as that is faster where they are small.

    Until then none of them is to be counted on. Raises DiskTrouble, and then none of those that waited is left.
    """
    with put_off() as waiting:
        yield
        with files.disk(folder):
            waiting.sync()


def write_region(
    folder: Path, group: Group, index: int, blocks: Mapping[str, np.ndarray[Any, Any]]
) -> dict[str, tuple[str, Stored]]:
    """Write one region's arrays as shards in the attempts `folder`; return file name and digests of each.

    The name is new each time, so that a second attempt at the same region, or a late one, disturbs nobody. Raises
    BadProduct where a block is not of the type and shape of its part of the region.
    """
    for array in group.arrays:
        found, shape = blocks[array.name], group.block_shape(array, group.box(index))
        if found.shape != shape or found.dtype.name != np.dtype(array.dtype).name:
            raise BadProduct(
                f"the block of {array.name} for region {index} is {found.dtype} of {found.shape}, not {array.dtype} "
                f"of {shape}: mend the stage that made it"
            )
    token = secrets.token_hex(8)
    written: dict[str, tuple[str, Stored]] = {}
    with files.disk(folder):
        files.await_file(folder)
        try:
            for array in group.arrays:
                name = f"{index}-{token}-{len(written)}"
                written[array.name] = name, write_shard(folder / name, array, blocks[array.name])
        except BaseException:
            files.forget(folder / name for name, _ in written.values())
            raise
    return written
