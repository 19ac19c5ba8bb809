"""The record of an audit: a folder of files of lines, so that it goes on where it was stopped, however that was.

`custody/audits/MOMENT-SCOPE/000001.jsonl`, ... : one file for each process that ever worked on it, made once and
appended to. Each line is the CRC-32 of its JSON in eight hexadecimal digits, a space, the JSON; a line that does not
fit was torn, and what it tells is looked at again. `report.json` is there when all was looked at.
"""

import hashlib
import json
import os
import re
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from terp.storage import files
from terp.storage.audit.damage import Damage
from terp.storage.canonical import canonical

_SYNCED = 1.0  # seconds between two syncs: a cut of the power costs as much work
REPORT = "report.json"
_VALID = 30 * 24 * 3600  # seconds that what was read counts for an audit that goes on
_FOLDER = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{12}")

type Line = dict[str, Any]


def now() -> str:
    """Return the moment, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Record:
    """An audit of a scope that is under way: the one that was begun and not ended, or a new one."""

    def __init__(self, audits: Path, scope: Mapping[str, Any]) -> None:
        name = hashlib.sha256(canonical(dict(scope))).hexdigest()[:12]
        begun = [one for one in folders(audits) if one.name.endswith(name) and not (one / REPORT).exists()]
        fresh = audits / f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{name}"
        self.folder = begun[-1] if begun else fresh
        self.began = _moment(self.folder.name)
        lines = [line for line in lines_of(self.folder, time.time() - _VALID) if not line["damage"]]
        self.ended = {(line["place"], line["folder"]): line for line in lines if "object" in line}
        self.checked = {tuple(line["checked"]): line["bytes"] for line in lines if "checked" in line}
        self._descriptor = self._own_file()
        self._synced = time.monotonic()

    def _own_file(self) -> int:
        with files.disk(self.folder):
            files.make_folders(self.folder)
            while True:
                number = len(list(self.folder.glob("*.jsonl"))) + 1
                with suppress(FileExistsError):
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
                    return os.open(self.folder / f"{number:06}.jsonl", flags, 0o666)

    def add(self, *lines: Line) -> None:
        """Append lines; they are durable a second later at most."""
        texts = (orjson.dumps(line, option=orjson.OPT_SORT_KEYS) for line in lines)
        with files.disk(self.folder):
            files.write_all(self._descriptor, b"".join(b"%08x %s\n" % (zlib.crc32(text), text) for text in texts))
            if time.monotonic() - self._synced > _SYNCED:
                os.fsync(self._descriptor)
                self._synced = time.monotonic()

    def read_anew(self) -> None:
        """Hold nothing for read of objects that were looked at whole: whoever asks for them now means it."""
        self.checked = {key: size for key, size in self.checked.items() if not self._is_of_ended(key)}
        self.ended = {}

    def _is_of_ended(self, key: tuple[str, ...]) -> bool:
        return (key[0], "/".join(key[1].split("/")[:4])) in self.ended

    def close(self) -> None:
        """Stop here; the audit goes on another time."""
        with suppress(OSError):
            if not (self.folder / REPORT).exists():
                os.fsync(self._descriptor)
        os.close(self._descriptor)

    def end(self, report: Line) -> None:
        """Write what came of it; the lines are not needed any more."""
        with files.disk(self.folder):
            files.replace(self.folder / REPORT, canonical(report))
            files.forget(self.folder.glob("*.jsonl"))


def folders(audits: Path) -> list[Path]:
    """Return the folders of all audits, the oldest first."""
    with files.disk(audits):
        return sorted(one for one in audits.iterdir() if _FOLDER.fullmatch(one.name)) if audits.is_dir() else []


def lines_of(folder: Path, since: float = 0) -> Iterator[Line]:
    """Yield what was written of an audit that was not ended, but for what was torn and what is older."""
    for path in sorted(one for one in folder.glob("*.jsonl") if one.stat().st_mtime >= since):
        for line in path.read_bytes().split(b"\n"):
            crc32, _, text = line.partition(b" ")
            with suppress(ValueError):
                if int(crc32, 16) == zlib.crc32(text):
                    yield json.loads(text)


def looked_at(audits: Path) -> Iterator[Line]:
    """Yield the line of each object in each place that was ever looked at whole, the oldest audit first."""
    for folder in folders(audits):
        path = folder / REPORT
        if path.exists():
            with files.disk(path):
                yield from json.loads(path.read_bytes())["objects"]
        else:
            yield from (line for line in lines_of(folder) if "object" in line)


def damages(line: Mapping[str, Any]) -> Sequence[Damage]:
    """Return the damage that a line tells of."""
    return [Damage.from_json(one) for one in line["damage"]]


def _moment(name: str) -> str:
    moment = datetime.strptime(name.partition("-")[0], "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
