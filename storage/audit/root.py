"""The storage root itself: which objects are in it, and the few files that say what it is and how it is laid out."""

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from terp.storage import files
from terp.storage.archive.keeping import is_kept
from terp.storage.audit.damage import ADDED, ALTERED, LOST, Damage, Spot
from terp.storage.audit.looking import ARCHIVE, STAGED, UNFINISHED, empty_folders
from terp.storage.audit.reading import unlike
from terp.storage.audit.truth import small
from terp.storage.canonical import canonical
from terp.storage.places import Place

_OBJECT = re.compile(r"([0-9a-f]{3}/){3}[^/]+/")
_MARK, _LAYOUT = "0=ocfl_1.1", "ocfl_layout.json"
_RULE = "0003-hash-and-id-n-tuple-storage-layout"
_CONFIG = f"extensions/{_RULE}/config.json"
KNOWN = "root.json"  # what the files of the root were when an audit saw them first


def survey(place: Place, folders: Sequence[str] = ()) -> tuple[dict[str, int], set[str]]:
    """Return the folders of objects in a place (all, or some), with the bytes in each, and what is of no object."""
    found: dict[str, int] = {}
    beside: set[str] = set()
    for prefix in [f"{folder}/" for folder in folders] or [""]:
        for one in place.list(prefix):
            folder = _folder(one.name)
            if folder:
                found[folder] = found.get(folder, 0) + max(one.size, 0)
            elif not one.name.startswith(STAGED) and UNFINISHED not in one.name and not _is_custody(place, one.name):
                beside.add(one.name)
    empty = empty_folders(place) if not folders else ()
    beside |= {name for name in empty if not name.startswith(STAGED) and _folder(name) not in found}
    return found, beside


def _is_custody(place: Place, name: str) -> bool:
    """Whether a file is of what a place of copies keeps of custody, which is held against custody itself."""
    return place.name != ARCHIVE and is_kept(name)


def _folder(name: str) -> str:
    inside = _OBJECT.match(name)
    return inside[0][:-1] if inside else ""


def check_root(place: Place, there: Collection[str], custody: Path) -> list[Damage]:
    """Return what is wrong with the files of a storage root that belong to no object; `there` are their names."""
    known = _known(custody)
    found = [_damage(place, name, ADDED, "was added: it is of no object") for name in {*there} - {*_sound()}]
    texts = {name: small(place, name) for name in _sound() if name in there}
    if not texts and place.name != "archive":
        return found
    for name, is_sound in _sound().items():
        if name not in texts:
            found.append(_damage(place, name, LOST, "is gone"))
        elif known.get(name, texts[name].decode(errors="replace")).encode() != texts[name] or not is_sound(texts[name]):
            found.append(_altered(place, name, texts[name], known.get(name, "").encode()))
    if not found and not known:
        files.make_folders(custody / "audits")
        files.replace(custody / "audits" / KNOWN, canonical({name: text.decode() for name, text in texts.items()}))
    return found


def _sound() -> dict[str, Any]:
    return {
        _MARK: lambda data: data == b"ocfl_1.1\n",
        _LAYOUT: lambda data: _told(data, "extension") == _RULE,
        _CONFIG: lambda data: [_told(data, name) for name in ("extensionName", "digestAlgorithm")] == [_RULE, "sha256"],
    }


def _told(data: bytes, name: str) -> Any:
    with suppress(ValueError, KeyError, TypeError):
        return json.loads(data)[name]
    return None


def expected_root(custody: Path) -> dict[str, bytes]:
    """Return the files of a storage root as they should be, as far as that is known."""
    return {_MARK: b"ocfl_1.1\n"} | {name: text.encode() for name, text in _known(custody).items()}


def _known(custody: Path) -> dict[str, str]:
    with suppress(ValueError, FileNotFoundError):
        plain = json.loads(files.read_file(custody / "audits" / KNOWN))
        if isinstance(plain, dict):
            return plain
    return {}


def _altered(place: Place, name: str, data: bytes, known: bytes) -> Damage:
    spot = (Spot(*unlike(known, data), "other bytes"),) if known and known != data else ()
    known = known or (b"ocfl_1.1\n" if name == _MARK else b"")
    wanted = hashlib.sha512(known).hexdigest() if known else ""
    what = "is not what a storage root has there"
    return Damage(place.name, "", name, ALTERED, what, spot, wanted, hashlib.sha512(data).hexdigest())


def _damage(place: Place, name: str, kind: str, what: str) -> Damage:
    return Damage(place.name, "", name, kind, what)
