"""What the tests of validators share: an archive, a bag and packages of our own, and a look at all of a folder."""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import banded

from terp.storage.archive import Archive
from terp.storage.package import pack_product
from terp.storage.validate import ERROR, WARNING, Finding

IDENTIFIER = "urn:terp:winds:1"
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def look(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything of a folder that a validator could change: names, inodes, modes, times, links, bytes."""
    seen = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        about = path.lstat()
        inside = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        seen[str(path.relative_to(folder))] = (about.st_ino, about.st_mode, about.st_mtime_ns, about.st_nlink, inside)
    return seen


def codes(found: Iterable[Finding], level: str) -> set[str]:
    """The numbers of the rules that were broken, without the name of the standard."""
    return {one.rule.rpartition(" ")[2] for one in found if one.level == level}


def errors(found: Iterable[Finding]) -> set[str]:
    return codes(found, ERROR)


def warnings(found: Iterable[Finding]) -> set[str]:
    return codes(found, WARNING)


def packages(folder: Path, *, length: int = 60, most: int = banded.MOST) -> Path:
    """Pack a product into a folder; return the table of its packages."""
    folder.mkdir(parents=True)
    pack_product(banded.made(folder.with_name(f"{folder.name}-product"), length), folder, "winds", most)
    return folder / "winds.zarr.zip.members.json"


def archived(folder: Path) -> Path:
    """Make an archive with one object of two versions, a package among its files; return its root."""
    table = packages(folder / "packed", length=12, most=10**9)
    files = {path.name: path for path in table.parent.iterdir()}
    archive = Archive(folder / "archive")
    archive.create_if_missing()
    for number, text in enumerate(["first", "second"]):
        files["README.md"] = folder / f"readme-{number}"
        files["README.md"].write_text(text)
        files[f"notes/{text}.txt"] = files["README.md"]
        put(archive, files)
    return archive.root


def put(archive: Archive, files: dict[str, Path], identifier: str = IDENTIFIER) -> Path:
    """Store files in an archive, as a maker without faults does; return the folder of the object."""
    about = {"message": "m", "user_name": "A. Maker", "user_address": "mailto:a@example.org", "created": NOON}
    return archive.ingest(identifier, files, **about).path  # type: ignore[arg-type]


def writable(folder: Path) -> Path:
    """Let a test break what is in a folder."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o644)
    return folder


def flip(path: Path, bit: int) -> None:
    """Turn one bit of a file over; done twice, nothing was done."""
    with open(path, "r+b") as file:
        byte = os.pread(file.fileno(), 1, bit // 8)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 1 << bit % 8]), bit // 8)
