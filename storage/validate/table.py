"""The table of members beside a package (NAME.zarr.zip.members.json), as docs/archivists.md and architecture.md tell.

Its root `stored` is made anew from its digests, so a table that was altered shows without the package.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from blake3 import blake3

from terp.storage.validate.findings import RESTORE, Findings
from terp.storage.validate.reading import read_text
from terp.storage.validate.strict import BadText, is_text, parse

_FORMAT = "terp members 2"
_FAN = 256


@dataclass(frozen=True)
class Row:
    """What the table says of a member."""

    name: str
    offset: int
    size: int
    crc32: int
    blake3: str


@dataclass
class Table:
    """A table as it was read: its rows by name, what it says of the whole file, which region each shard is."""

    rows: dict[str, Row] = field(default_factory=dict)
    package: Mapping[str, Any] = field(default_factory=dict)
    regions: dict[str, str] = field(default_factory=dict)  # shard to words
    stored: str = ""


def read_table(path: Path, found: Findings) -> Table | None:
    """Return a table that can be used, or None; what is wrong with it is in `found`."""
    try:
        table = _table(parse(read_text(path)))
    except BadText as bad:
        found.error("P8", "", str(bad), RESTORE)
        return None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as error:
        found.error("P8", "", f"is not a table of members: {type(error).__name__} {error}", RESTORE)
        return None
    if table.stored != _root(table):
        found.error("P12", "", "has digests that do not make its root `stored`", RESTORE)
    return table


def _table(said: Any) -> Table:
    if not isinstance(said, dict) or said.get("format") != _FORMAT:
        words = str(said.get("format"))[:40] if isinstance(said, dict) else "no JSON object"
        raise BadText(f"is of the format {words!r}, where {_FORMAT!r} is known")
    table = Table({row.name: row for row in map(_row, said["members"])}, _whole(said["package"]))
    if len(table.rows) < len(said["members"]):
        raise BadText("has a member twice")
    table.regions = _regions(said["groups"], len(table.rows))
    table.stored = said["stored"]
    return table


def _row(said: Any) -> Row:
    row = Row(said["name"], said["offset"], said["size"], int(said["crc32"], 16), said["blake3"])
    numbers = all(type(each) is int and each >= 0 for each in (row.offset, row.size))
    if not is_text(row.name) or not numbers or len(said["crc32"]) != 8 or len(bytes.fromhex(row.blake3)) != 32:
        raise BadText(f"has a row that is none: {str(said['name'])[:80]!r}")
    return row


def _whole(said: Any) -> Mapping[str, Any]:
    if not all(isinstance(said[key], kind) for key, kind in (("size", int), ("sha256", str), ("sha512", str))):
        raise BadText("does not say size and digests of the package")
    return dict(said)


def _regions(groups: Any, most: int) -> dict[str, str]:
    """Return the shards in the order of the manifest: group by group, region by region, array by array."""
    made: dict[str, str] = {}
    for group in groups:
        counts = [-(-group["cut"][dim][0] // group["cut"][dim][1]) for dim in group["order"]]
        if prod(counts) * len(group["arrays"]) > most - len(made):
            raise BadText("is cut into more shards than it has members")
        for number, place in enumerate(product(*map(range, counts)) if group["arrays"] else ()):
            at = dict(zip(group["order"], place, strict=True))
            for array in group["arrays"]:
                home = f"{group['path']}/{array['name']}" if group["path"] else array["name"]
                key = "/".join([home, "c", *(str(at.get(dim, 0)) for dim in array["dims"])])
                made[key] = f"region {number} of array {home}"
    return made


def _root(table: Table) -> str:
    small = sorted(table.rows.keys() - table.regions.keys())
    shards = [key for key in table.regions if key in table.rows]
    return _node([_top(_leaves(table, small)), _top(_leaves(table, shards))]).hex()


def _leaves(table: Table, keys: list[str]) -> Iterator[bytes]:
    for key in keys:
        label = key.encode()
        digest = bytes.fromhex(table.rows[key].blake3)
        yield blake3(b"\0" + len(label).to_bytes(8, "little") + label + digest).digest()


def _node(children: list[bytes]) -> bytes:
    return blake3(b"\1" + b"".join(children)).digest()


def _top(leaves: Iterator[bytes]) -> bytes:
    level = list(leaves)
    while True:
        level = [_node(level[at : at + _FAN]) for at in range(0, len(level) or 1, _FAN)]
        if len(level) == 1:
            return level[0]
