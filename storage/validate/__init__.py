"""Validate what archives hold: OCFL storage roots and objects, BagIt bags, terp packages; whoever made them.

It shares no code with what writes them, reads files in parallel, each once, and changes nothing. What strangers have
made may be anything: no link is followed, no name is believed, nothing is unpacked.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from terp.storage.errors import BadInput
from terp.storage.validate.bag import check_bag
from terp.storage.validate.findings import ERROR, WARNING, Finding, Findings
from terp.storage.validate.ocfl import check_object
from terp.storage.validate.package import STANDARD, check_packages
from terp.storage.validate.reading import Reader, reason
from terp.storage.validate.root import MARK, check_root
from terp.storage.validate.table import SUFFIX, TABLE
from terp.storage.validate.tags import DECLARATION

__all__ = ["ERROR", "WARNING", "Finding", "Report", "validate", "validate_object"]

ROOT, OBJECT, BAG, PACKAGE = "OCFL storage root", "OCFL object", "bag", "terp package"
_BAGIT = "BagIt RFC 8493"


@dataclass(frozen=True)
class Report:
    """What was validated and what was found, errors and warnings, by path; `files` and `bytes` were read to the end."""

    path: Path
    kind: str
    objects: int
    files: int
    bytes: int
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What must be mended."""
        return tuple(one for one in self.findings if one.level == ERROR)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"path": str(self.path), "findings": [asdict(one) for one in self.findings]}


def validate(path: Path) -> Report:
    """Validate what is at a path, by what it is; raises BadInput where it is nothing that can be validated."""
    kind = kind_of(path)
    path = path.resolve()
    found = Findings({BAG: _BAGIT, PACKAGE: STANDARD}.get(kind, "OCFL"))
    with Reader() as reader:
        objects = _CHECKS[kind](path, found, reader)
        files, size = reader.files, reader.bytes
    return Report(path, kind, objects, files, size, _sorted(found))


def validate_object(home: Path, identifier: str = "") -> tuple[Finding, ...]:
    """Validate the OCFL object in a folder, which has to be that of `identifier` where one is given."""
    found = Findings("OCFL")
    with Reader() as reader:
        one = check_object(home, found, reader)
    said = one.believed[0].said if one.believed else None
    if identifier and said and said.id != identifier:
        found.error("E037", "inventory.json", f"is of another object, {said.id!r}")
    return _sorted(found)


def _sorted(found: Findings) -> tuple[Finding, ...]:
    return tuple(sorted(found, key=lambda one: (one.path, one.level, one.rule, one.member, one.message)))


def kind_of(path: Path) -> str:
    """Return what a path is, by the names in it alone; raise BadInput where it is nothing of these."""
    try:
        about = os.stat(path)
        if stat.S_ISREG(about.st_mode) and (path.name.endswith((SUFFIX, TABLE)) or _is_zip(path)):
            return PACKAGE
        names = set(os.listdir(path)) if stat.S_ISDIR(about.st_mode) else set()
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise BadInput(f"{path} cannot be read: {why}; name a folder or a package that is there") from None
    if DECLARATION in names:
        return BAG
    if any(name.startswith("0=ocfl_object_") for name in names) or "inventory.json" in names:
        return OBJECT
    if any(MARK.match(name) for name in names) or "ocfl_layout.json" in names:
        return ROOT
    if "data" in names and any(name.startswith("manifest-") for name in names):
        return BAG
    raise BadInput(
        f"{path} is no OCFL storage root or object, no bag and no terp package: name the folder that holds "
        f"0=ocfl_1.1, 0=ocfl_object_1.1 or {DECLARATION}, or a file NAME{SUFFIX}"
    )


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _object(path: Path, found: Findings, reader: Reader) -> int:
    check_object(path, found, reader)
    return 1


def _bag(path: Path, found: Findings, reader: Reader) -> int:
    check_bag(path, found, reader)
    return 1


_CHECKS: dict[str, Callable[[Path, Findings, Reader], int]] = {
    ROOT: check_root,
    OBJECT: _object,
    BAG: _bag,
    PACKAGE: check_packages,
}
