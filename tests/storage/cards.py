"""Small objects for tests of the catalog, of metadata alone."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from terp.storage.archive import Archive, Receipt

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def crate(**root: Any) -> bytes:
    """An RO-Crate of which only the root says anything."""
    about = {"@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": {"@id": "./"}}
    return json.dumps({"@graph": [about, {"@id": "./", "@type": "Dataset"} | root]}).encode()


def put(folder: Path, identifier: str, files: dict[str, bytes] | None = None, title: str = "A title") -> Receipt:
    """Archive an object of some small files as the next version of it."""
    content = {"ro-crate-metadata.json": crate(name=title)} | (files or {})
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (work / name).write_bytes(data)
    archive = Archive(folder / "archive")
    archive.create_if_missing()
    about: dict[str, Any] = {"message": "put", "user_name": "A. Maker", "created": NOON}
    return archive.ingest(identifier, {name: work / name for name in content}, **about)
