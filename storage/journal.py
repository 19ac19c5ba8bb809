"""A journal: what happened, a line each, each behind the BLAKE3 of the line before.

A line is canonical JSON (RFC 8785) of `number` (from 1: that of the line in the file), `time` (UTC, never before that
of the line above), `event`, `facts`, and `before`, the BLAKE3 of the line above with its line end; zeros in the first.
`clock` is there where the clock had gone back, and is what it said; `torn` where so many bytes of a line that was
never written whole were left out above. The digest of the last line is the head: who keeps it holds the whole
journal by it.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blake3 import blake3

from terp.storage.canonical import canonical
from terp.storage.errors import Fenced
from terp.storage.files import disk, replace, write_all

NOTHING = "0" * 64  # before the first line
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_KEYS = {"number", "time", "event", "facts", "before"}
_MORE = {"clock", "torn"}


def _digest(line: bytes) -> str:
    return blake3(line).hexdigest()


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Chain:
    """A journal as it was read: its whole lines, how many bytes of a torn one follow, and the digest of each line."""

    lines: tuple[bytes, ...]
    torn: int
    digests: tuple[str, ...]

    @classmethod
    def of(cls, data: bytes) -> "Chain":
        """Take in the bytes of a journal, sound or not."""
        whole, _, rest = data.rpartition(b"\n")
        lines = tuple(line + b"\n" for line in whole.split(b"\n")) if whole or len(rest) < len(data) else ()
        return cls(lines, len(rest), tuple(map(_digest, lines)))

    @property
    def head(self) -> str:
        """The digest of the last line."""
        return self.digests[-1] if self.digests else NOTHING

    def entry(self, number: int) -> dict[str, Any]:
        """Return what a line says; raises ValueError where it is none that a journal has."""
        line = self.lines[number - 1]
        found = json.loads(line)
        sound = (
            isinstance(found, dict)
            and _KEYS <= found.keys() <= _KEYS | _MORE
            and canonical(found) + b"\n" == line
            and isinstance(found["event"], str)
            and isinstance(found["facts"], dict)
            and isinstance(found["time"], str)
            and _MOMENT.fullmatch(found["time"]) is not None
        )
        if not sound:
            raise ValueError("not as a journal has it")
        return dict(found)

    def entries(self) -> list[dict[str, Any]]:
        """Return what all lines say; raises ValueError where one is none."""
        return [self.entry(number) for number in range(1, len(self.lines) + 1)]

    def damage(self) -> str:
        """Say what is wrong first with the lines themselves; "" where each follows from the one before."""
        time = ""
        for number, before in enumerate((NOTHING, *self.digests[:-1])[: len(self.lines)], 1):
            try:
                entry = self.entry(number)
            except (ValueError, TypeError, RecursionError):
                return f"line {number} was altered: it is no line of a journal"
            if entry["number"] != number:
                return f"line {number} says that it is number {entry['number']}: lines were removed, moved or put in"
            if entry["before"] != before:
                return _unlinked(number)
            if entry["time"] < time:
                return f"line {number} was altered: its time is before that of line {number - 1}"
            time = entry["time"]
        return ""

    def unlike(self, lines: int, head: str, over: bool) -> str:
        """Say how it differs from one that had so many lines and this head; "" where it is that one.

        It may have grown since, unless it was `over`.
        """
        if len(self.lines) < lines:
            return f"line {len(self.lines) + 1} is gone: it ends after {len(self.lines)} of {lines} lines"
        if lines and self.digests[lines - 1] != head:
            return f"line {lines} was altered: it is not the last one that was recorded"
        if over and len(self.lines) > lines:
            return f"line {lines + 1} was put in: it was over after {lines} lines"
        if over and self.torn:
            return f"line {lines + 1} was put in, in part: it was over after {lines} lines"
        return ""


def _unlinked(number: int) -> str:
    if number == 1:
        return "line 1 was altered: it says that another was before it"
    return f"line {number - 1} was altered: it is not the one that line {number} was written behind"


class Journal:
    """The writer of a journal; the first line that it adds makes it the only one.

    It then has the file written anew, with all whole lines that can be seen. So an older writer, which has the file
    that was, can add nothing any more and is Fenced; what it adds in that very moment is lost.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime] = _utc) -> None:
        self.path, self._clock = path, clock
        self.lines, self.head = 0, NOTHING
        self._time = ""
        self._size = 0
        self._file: tuple[int, int] | None = None  # device and inode of what we have written
        self._torn = False  # whether nothing is known of what of our last line reached the disk

    def append(self, event: str, facts: Mapping[str, Any]) -> None:
        """Add a line; returns when it is durable. Raises Fenced where the journal is another's by now, DiskTrouble."""
        with disk(self.path):
            if self._file is None:
                self._begin(event, facts)
                return
            line = self._line(event, facts, 0)
            if not self._torn:
                try:
                    self._write(line)
                except OSError:
                    self._torn = True
                else:
                    self._added(line)
                    return
            self._demand_mine()
            self._anew(Chain.of(self.path.read_bytes()[: self._size]), line)

    def _begin(self, event: str, facts: Mapping[str, Any]) -> None:
        """Take over what is there, torn or altered as it may be: a line is never taken out."""
        seen = Chain.of(self.path.read_bytes() if self.path.exists() else b"")
        self.lines, self.head = len(seen.lines), seen.head
        with suppress(ValueError, TypeError, RecursionError):
            self._time = str(seen.entry(self.lines)["time"]) if self.lines else ""
        self._anew(seen, self._line(event, facts, seen.torn))

    def _line(self, event: str, facts: Mapping[str, Any], torn: int) -> bytes:
        says = self._clock().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {"number": self.lines + 1, "time": max(says, self._time), "event": event, "before": self.head}
        entry |= {"facts": _plain(facts)}
        entry |= ({"clock": says} if says < self._time else {}) | ({"torn": torn} if torn else {})
        return canonical(entry) + b"\n"

    def _write(self, line: bytes) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            self._demand_mine()
            write_all(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _anew(self, seen: Chain, line: bytes) -> None:
        """Write the whole file anew, so that who has the one that was is out."""
        replace(self.path, b"".join((*seen.lines, line)))
        self._size = sum(map(len, seen.lines))
        self._added(line)
        self._file, self._torn = self._looked()[0], False

    def _added(self, line: bytes) -> None:
        self.lines, self.head = self.lines + 1, _digest(line)
        self._time, self._size = json.loads(line)["time"], self._size + len(line)

    def _looked(self) -> tuple[tuple[int, int], int]:
        with self.path.open("rb") as file:  # opening makes a network file system look again
            found = os.fstat(file.fileno())
        return (found.st_dev, found.st_ino), found.st_size

    def _demand_mine(self) -> None:
        """Raise Fenced unless the file is as this writer left it; a number of a file may be used again, a size not."""
        with suppress(FileNotFoundError):
            file, size = self._looked()
            if file == self._file and (size == self._size or (self._torn and size > self._size)):
                return
        raise Fenced(
            f"{self.path} is another's by now: a newer start of this run goes on with it, or something has changed it; "
            "nothing is lost, look with `terp status` and `terp verify`"
        )


def _plain(facts: Mapping[str, Any]) -> Any:
    """Return values as JSON can hold them: no NaN, and no text that is no Unicode."""
    text = json.dumps(facts, ensure_ascii=False, default=str).encode(errors="replace").decode()
    return json.loads(text, parse_constant=str)
