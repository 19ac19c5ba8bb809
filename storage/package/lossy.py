"""What of a product did not keep all that its values were: it is archived only where somebody has decided so.

Archiefregeling, article 26: compression only without loss, for what must be kept. Looked at are the codecs of every
array, attributes that tell of packed or rounded values, and the code of the stage. A function that computes a coarser
result is no loss: its result is what was asked for.
"""

import ast
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from terp.storage.product import StoredProduct
from terp.storage.scrub import WITHHELD
from terp.storage.small import META

_KEEP_ALL = (
    *("bytes", "transpose", "sharding_indexed", "blosc", "gzip", "zstd", "bz2", "lz4", "lzma", "zlib", "shuffle"),
    *("packbits", "pcodec", "vlen-utf8", "vlen-bytes", "string"),
    *("crc32c", "crc32", "adler32", "fletcher32", "jenkins_lookup3"),
)
_LOSE = (
    *("bitround", "granularbitround", "bitgroom", "quantize", "fixedscaleoffset", "scale_offset", "scaleoffset"),
    *("zfp", "zfpy", "sz3", "sperr"),
)
_PACKED = ("scale_factor", "add_offset", "least_significant_digit", "quantization")


def lossy(product: StoredProduct) -> dict[str, str]:
    """Return what loses values of which array, by the array's path in the product; a codec that is not known too."""
    found = dict[str, str]()
    by_code = ", ".join(sorted(_in_code(product.frozen.get("ingredients", {}).get("code", {}))))
    large = {group.home(array) for group in product.groups for array in group.arrays}
    for entry in product.small_files:
        path, _, name = entry.key.rpartition("/")
        said = json.loads(product.document(entry.key)) if name == META else {}
        if said.get("node_type") != "array":
            continue
        what = [*_in_codecs(said["codecs"]), *_in_attributes(said.get("attributes", {}))]
        what += [f"{by_code} in the code of {product.name}"] if by_code and path in large else []
        found |= {path: ", ".join(what)} if what else {}
    return found


def _in_codecs(codecs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the names of codecs that lose something, or may; within shards too."""
    for one in codecs:
        name, how = str(one["name"]), one.get("configuration", {})
        if name.removeprefix("numcodecs.") not in _KEEP_ALL:
            yield f"the codec {name}"
        for inner in ("codecs", "index_codecs"):
            yield from _in_codecs(how.get(inner, ()))


def _in_attributes(attributes: Mapping[str, Any]) -> Iterator[str]:
    """Yield attributes of values that are packed (CF 1.12, section 8.1) or rounded (8.4, and netCDF-C's own)."""
    return (f"its attribute {name}" for name in attributes if name in _PACKED or name.startswith("_Quantize"))


def _in_code(parts: Mapping[str, str]) -> set[str]:
    """Return the names in some code by which codecs that lose something go."""
    found = set[str]()
    for name, code in parts.items():
        try:
            nodes = list(ast.walk(ast.parse(code)))
        except SyntaxError:
            found |= {f"what cannot be read ({name})"} if WITHHELD in code else set()
            continue
        names = [getattr(node, field, None) for node in nodes for field in ("id", "attr", "name", "value")]
        found |= {one for one in names if isinstance(one, str) and one.lower().rpartition(".")[2] in _LOSE}
    return found
