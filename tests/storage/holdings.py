"""An archive with objects that were decided on, and places beside it, for tests of copies."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

import ocfl

from terp.storage.archive import Archive
from terp.storage.archive.bundles import indices
from terp.storage.archive.known import Known
from terp.storage.archive.ocfl import place as where
from terp.storage.home import Home

POLICY = (Path(__file__).parents[1] / "policy.toml").read_text()
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def archived(
    home: Home, name: str, size: int = 5_000_000, policy: str | None = POLICY, more: Path | None = None
) -> str:
    """Archive an object (or its next version) of so many bytes, with the files of a folder; return its identifier."""
    archive, folder = Archive(home.archive), home.root / "made" / name
    archive.create_if_missing()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "p.zarr.zip").write_bytes(os.urandom(size))
    (folder / "README.md").write_text(f"what {name} is")
    if policy is not None:
        (folder / "policy.toml").write_text(policy)
    files = {path.name: path for path in [*folder.iterdir(), *(more.iterdir() if more else ())]}
    about = {"message": "m", "user_name": "A. Maker", "user_address": "mailto:a@example.org"}
    archive.ingest(f"urn:terp:{name}", files, created=NOON, **about)  # type: ignore[arg-type]
    return f"urn:terp:{name}"


def places(home: Home, text: str) -> None:
    home.custody.mkdir(parents=True, exist_ok=True)
    (home.custody / "places.toml").write_text(text)


def folder_place(name: str, root: Path, **more: object) -> str:
    root.mkdir(parents=True, exist_ok=True)
    return said(name=name, kind="folder", path=str(root), audit_every="P30D", **more)


def said(**about: object) -> str:
    def toml(value: object) -> str:
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(toml, value))}]"
        return f'"{value}"' if isinstance(value, str) else str(value)

    return "[[place]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in about.items())


def bundled(home: Home, place: str, identifier: str) -> dict[str, tuple[str, int]]:
    """In which bundle, and from which byte of it, the files of an object are, by their paths in it."""
    prefix = f"{where(identifier).as_posix()}/"
    members = ((one["bundle"], member) for one in indices(Known(home.custody), place) for member in one["members"])
    inside = ((bundle, one) for bundle, one in members if one["name"].startswith(prefix))
    return {one["name"].removeprefix(prefix): (bundle, one["offset"]) for bundle, one in inside}


def complaints(root: Path, objects: int) -> list[str]:
    """What ocfl-py finds wrong with a storage root, warnings included, but for the name of terp's own extension."""
    logs = logging.getLogger()
    before = logs.level
    logs.setLevel(logging.CRITICAL)  # it tells of each object there
    found = ocfl.StorageRoot(root=str(root))
    sound = found.validate(log_warnings=True)
    logs.setLevel(before)
    said_ = [message for _, message in found.errors] + [str(message) for message in found.log.messages]
    said_ = [one for one in said_ if "unregistered extension directory 'extensions/terp-custody'" not in one]
    if not sound or (found.good_objects, found.num_objects) != (objects, objects):
        said_.append(f"{found.good_objects} of {found.num_objects} objects are valid, {objects} should be")
    return said_


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def copied(root: Path) -> dict[str, bytes]:
    """What is in a place, but for custody."""
    return {name: data for name, data in contents(root).items() if not name.startswith("extensions/terp-custody/")}
