"""The lists in an OCFL inventory: digests as keys, paths as values; in manifest, fixity and state alike."""

import re
from collections.abc import Iterator
from typing import Any

from terp.storage.validate.findings import ASK_MAKER, Findings, shown
from terp.storage.validate.reading import hex_length
from terp.storage.validate.strict import is_text

MANIFEST_RULES = {"list": "E092", "slash": "E100", "dots": "E099"}
FIXITY_RULES = {"list": "E057", "slash": "E100", "dots": "E099"}
STATE_RULES = {"list": "E051", "slash": "E053", "dots": "E052"}


def digests_of(block: dict[str, Any], algorithm: str, twice: str, where: str, found: Findings) -> None:
    """Check that the keys of a block are digests, each there once whatever the case of its letters."""
    length, seen = hex_length(algorithm), set[str]()
    for digest in block:
        if length and not re.fullmatch(f"[0-9a-fA-F]{{{length}}}", digest):
            rule = "E057" if twice == "E097" else "E039"
            found.error(rule, where, f"has {shown(digest[:20])}, which is no {algorithm}", ASK_MAKER)
        if digest.lower() in seen:
            found.error(twice, where, f"has the digest {shown(digest[:20])}... twice", ASK_MAKER)
        seen.add(digest.lower())


def paths_of(listed: object, rules: dict[str, str], what: str, where: str, found: Findings) -> Iterator[str]:
    """Yield the paths of a list that are plain and relative."""
    if not isinstance(listed, list) or not all(is_text(path) for path in listed):
        found.error(rules["list"], where, f"{what}has no list of paths where one should be", ASK_MAKER)
        return
    for path in listed:
        broken = [
            *(["slash"] if path.startswith("/") or path.endswith("/") else []),
            *(["dots"] if any(part in ("", ".", "..") for part in path.strip("/").split("/")) else []),
        ]
        for rule in broken:
            found.error(rules[rule], where, f"{what}has the path {shown(path)}, which leads elsewhere", ASK_MAKER)
        if not broken:
            yield path
