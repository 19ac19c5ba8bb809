"""Look at what a product holds, and close it: its manifest, what was read for it, and the seal over both."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import rfc8785

from terp.storage import lineage, runs
from terp.storage.files import write_all
from terp.storage.ledger import Ledger, Place
from terp.storage.looking import check_file, check_shard
from terp.storage.manifest import Rows, written
from terp.storage.product import Seal, StoredProduct
from terp.storage.runs import Put
from terp.storage.shard import TAG_BYTES
from terp.storage.tree import joined, root

_LOOKERS = 4  # threads that look at files

Look = Callable[[str, Any, int], str | None]  # what is wrong with a shard, by its path, row and number of chunks


def glance(path: str, row: Any, chunks: int) -> str | None:
    """Look at a shard's size, tag and index."""
    return check_shard(path, int(row["size"]), bytes(row["values"])[:TAG_BYTES], chunks)


def whole(path: str, row: Any, _: int) -> str | None:
    """Read all of a shard."""
    return check_file(path, int(row["size"]), bytes(row["blake3"]).hex())


def bad_shards(product: StoredProduct, ledger: Ledger, look: Look) -> Iterator[tuple[Place, str]]:
    """Look at all shards that are recorded; yield the regions of those that are not as recorded, and why."""
    data = str(product.data)
    with ThreadPoolExecutor(_LOOKERS) as pool:
        for group, numbers, rows in product.parts(ledger):
            keys, arrays = group.keys(numbers), len(group.arrays)
            chunks = [math.prod(a.shard) // math.prod(a.chunk) for a in group.arrays] * len(numbers)
            items = list(zip(keys, rows.ravel(), chunks, strict=True))
            for number, said in enumerate(_looked_at(pool, look, data, items)):
                if said:
                    yield (group.path, int(numbers[number // arrays])), f"{keys[number]} {said}"


def _looked_at(pool: ThreadPoolExecutor, look: Look, data: str, items: Sequence[tuple[str, Any, int]]) -> list[str]:
    """Look at shards, given by key, row and chunks, on several threads; return what is wrong with each, or ""."""
    said = [""] * len(items)

    def check(first: int) -> None:
        for number in range(first, len(items), _LOOKERS):
            key, row, chunks = items[number]
            said[number] = look(f"{data}/{key}", row, chunks) or ""

    list(pool.map(check, range(_LOOKERS)))
    return said


def closed(product: StoredProduct, ledger: Ledger, put: Put) -> Seal:
    """Write manifest, lineage and seal of a product of which all regions are recorded; return the seal."""
    manifest, shards = written(
        lambda: ((group.keys(numbers), rows.reshape(-1)) for group, numbers, rows in product.parts(ledger)), put
    )
    small = product.small_files
    seal = Seal(
        product.regions,
        len(small) + shards.shards,
        sum(entry.size for entry in small) + shards.size,
        manifest,
        root(product.small_digests(), joined(shards.values)),
        root({entry.key: bytes.fromhex(entry.blake3) for entry in small}, joined(shards.stored)),
        lineage_written(product, ledger, put),
    )
    told = rfc8785.dumps({**asdict(seal), "product": product.digest}) + b"\n"
    put("seal.json", lambda descriptor: write_all(descriptor, told))
    return seal


def lineage_written(product: StoredProduct, ledger: Ledger, put: Put) -> str:
    """Write what was read for all regions; return the digest that proves it, "" where none is noted."""
    if not product.origins.width:
        return ""

    def rows() -> Iterator[Rows]:
        return (some for group in product.groups for _, some in ledger.reads(group))

    return runs.written(lineage.NAME, product.origins.type.itemsize, rows, put)
