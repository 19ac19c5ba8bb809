"""The table of members beside packages (NAME.zarr.zip.members.json), as docs/archivists.md and architecture.md tell.

Its root `stored` is made anew from its digests, so a table that was altered shows.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import rfc8785
from blake3 import blake3

from terp.storage.validate.findings import RESTORE, Findings
from terp.storage.validate.reading import open_plain, read_text
from terp.storage.validate.strict import BadText, is_text, parse

SUFFIX, TABLE = ".zarr.zip", ".zarr.zip.members.json"
_FORMAT = "terp members 3"
_BAND = re.compile(r"(.+)\.([0-9]{4,}|whole)")
_FAN = 256
_KEYS = {"format", "bands", "most", "groups", "packages", "small", "members", "stored", "values"}
_ROW = {"package", "name", "offset", "size", "crc32", "blake3"}
_SHARD = _ROW | {"key", "values"}
_HEX = "0123456789abcdef"
_LARGEST = 1 << 20  # bytes of the metadata of an array


@dataclass(frozen=True)
class Row:
    """What the table says of a member; of a shard also its key in the whole product and the BLAKE3 of its values."""

    name: str
    offset: int
    size: int
    crc32: int
    blake3: str
    key: str = ""
    values: str = ""


@dataclass(frozen=True)
class Package:
    """What the table says of a package: its name, size and digests, and its members by name."""

    name: str
    size: int
    digests: Mapping[str, str]
    rows: dict[str, Row] = field(default_factory=dict)


@dataclass
class Table:
    """A table as it was read; `regions` tells of each shard which region of which array it is."""

    packages: list[Package]
    small: int = 0
    regions: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, list[int]] = field(default_factory=dict)  # of the large arrays
    stored: str = ""

    def package(self, name: str) -> Package | None:
        """Return the package of a name."""
        return next((one for one in self.packages if one.name == name), None)


def tables_for(name: str) -> list[str]:
    """Return what the table of a package may be called: that of a band is called after the whole."""
    stem = name.removesuffix(SUFFIX)
    band = _BAND.fullmatch(stem)
    return [f"{stem}{TABLE}", *([f"{band[1]}{TABLE}"] if band else [])]


def read_table(path: Path, found: Findings) -> Table | None:
    """Return a table that can be used, or None; what is wrong with it is in `found`."""
    try:
        data = read_text(path)
        said = parse(data)
        table = _table(said)
    except BadText as bad:
        found.error("P8", "", str(bad), RESTORE)
        return None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as error:
        found.error("P8", "", f"is not a table of members: {type(error).__name__} {error}", RESTORE)
        return None
    if not _is_canonical(data, said):
        found.error("P8", "", "is not written as RFC 8785 writes JSON", RESTORE)
    return table


def _table(said: Any) -> Table:
    if not isinstance(said, dict) or said.get("format") != _FORMAT:
        words = str(said.get("format"))[:40] if isinstance(said, dict) else "no JSON object"
        raise BadText(f"is of the format {words!r}, where {_FORMAT!r} is known")
    if said.keys() != _KEYS:
        raise BadText(f"has not just the keys {', '.join(sorted(_KEYS))}")
    packages = [_package(one) for one in said["packages"]]
    for member in said["members"]:
        row, rows = _row(member), packages[_natural(member["package"])].rows
        if row.name in rows:
            raise BadText("has a member twice")
        rows[row.name] = row
    table = Table(packages, _natural(said["small"]), stored=said["stored"])
    packages[table.small]
    _cut(table, said["groups"], len(said["members"]))
    return table


def _is_canonical(data: bytes, said: Any) -> bool:
    """Say whether JSON is as RFC 8785 has it; nearly always what is a hundred times as fast to make is the same."""
    try:
        fast = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        return data == fast or data == rfc8785.dumps(said)
    except (ValueError, RecursionError):  # halves of letters, numbers that are none
        return False


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise BadText(f"has {str(value)[:40]!r} where a number should be")
    return value


def _package(said: Any) -> Package:
    name = said["name"]
    if not is_text(name) or Path(name).name != name or not name.endswith(SUFFIX):
        raise BadText("names a package that is not a file beside it")
    return Package(name, _natural(said["size"]), {key: str(said[key]) for key in ("sha512", "sha256")})


def _row(said: Any) -> Row:
    digests = [(said["crc32"], 8), (said["blake3"], 64), *([(said["values"], 64)] if "key" in said else [])]
    hexes = all(len(word) == length and not set(word) - set(_HEX) for word, length in digests)
    texts = is_text(said["name"]) and is_text(said.get("key", ""))
    if said.keys() != (_SHARD if "key" in said else _ROW) or not hexes or not texts:
        raise BadText(f"has a row that is none: {str(said['name'])[:80]!r}")
    offset, size = _natural(said["offset"]), _natural(said["size"])
    key, values = said.get("key", ""), said.get("values", "")
    return Row(said["name"], offset, size, int(said["crc32"], 16), said["blake3"], key, values)


def _cut(table: Table, groups: Any, most: int) -> None:
    """Note the shards in the order of the manifest: group by group, region by region, array by array."""
    for group in groups:
        counts = [-(-group["cut"][dim][0] // group["cut"][dim][1]) for dim in group["order"]]
        homes = [f"{group['path']}/{one['name']}" if group["path"] else one["name"] for one in group["arrays"]]
        table.shapes |= dict(zip(homes, (one["shape"] for one in group["arrays"]), strict=True))
        if not homes:
            continue
        if prod(counts) * len(homes) > most - len(table.regions):
            raise BadText("is cut into more shards than it has members")
        for number, place in enumerate(product(*map(range, counts))):
            at = dict(zip(group["order"], place, strict=True))
            for home, array in zip(homes, group["arrays"], strict=True):
                key = "/".join([home, "c", *(str(at.get(dim, 0)) for dim in array["dims"])])
                table.regions[key] = f"region {number} of array {home}"


# the root


def check_root(table: Table, folder: Path, found: Findings) -> None:
    """Make the root of the tree `stored` anew; in bands, from the metadata in the first of them, if it is there."""
    extra = {} if len(table.packages) == 1 else _documents(table, folder)
    if extra is not None and _root(table, extra) != table.stored:
        found.error("P12", "", "has digests that do not make its root `stored`", RESTORE)


def _documents(table: Table, folder: Path) -> dict[str, str] | None:
    """Return the digests of the metadata of large arrays in the whole product: a band has another shape in them."""
    made: dict[str, str] = {}
    try:
        with open(open_plain(folder / table.packages[0].name), "rb") as file:
            for home, shape in table.shapes.items():
                name = f"{home}/zarr.json"
                row = table.packages[0].rows[name]
                file.seek(row.offset)
                data = file.read(row.size) if row.size <= _LARGEST else b""
                if blake3(data).hexdigest() != row.blake3:
                    return None  # that is said of the band itself
                made[name] = blake3(rfc8785.dumps({**parse(data), "shape": shape})).hexdigest()
    except (OSError, BadText, KeyError, TypeError, ValueError):
        return None
    return made


def _root(table: Table, extra: Mapping[str, str]) -> str:
    small = {row.name: row.blake3 for row in table.packages[table.small].rows.values() if not row.key} | dict(extra)
    shards = {row.key: row.blake3 for one in table.packages for row in one.rows.values() if row.key}
    leaves = _leaves({key: small[key] for key in sorted(small)})
    return _node([_top(leaves), _top(_leaves({key: shards[key] for key in table.regions if key in shards}))]).hex()


def _leaves(digests: Mapping[str, str]) -> Iterator[bytes]:
    for key, digest in digests.items():
        label = key.encode()
        yield blake3(b"\0" + len(label).to_bytes(8, "little") + label + bytes.fromhex(digest)).digest()


def _node(children: list[bytes]) -> bytes:
    return blake3(b"\1" + b"".join(children)).digest()


def _top(leaves: Iterator[bytes]) -> bytes:
    level = list(leaves)
    while True:
        level = [_node(level[at : at + _FAN]) for at in range(0, len(level) or 1, _FAN)]
        if len(level) == 1:
            return level[0]
