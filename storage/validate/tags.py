"""The tag files of a bag: declaration, manifests, bag-info and fetch, as texts (RFC 8493 section 2).

Names are read as they are, and only compared with names that were seen in the bag.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from terp.storage.validate.findings import ASK_MAKER, RESTORE, Findings, shown
from terp.storage.validate.reading import hex_length, read_text
from terp.storage.validate.strict import BadText

DECLARATION = "bagit.txt"
_EXACT = re.compile(r"BagIt-Version: [0-9]+\.[0-9]+[ \t]*\nTag-File-Character-Encoding: \S+[ \t]*\n?")
_VERSION = re.compile(r"BagIt-Version[ \t]*:[ \t]*([0-9]+)\.([0-9]+)[ \t]*")
_ENCODING = re.compile(r"Tag-File-Character-Encoding[ \t]*:[ \t]*(\S+)[ \t]*")
_LINE = re.compile(r"([0-9a-fA-F]+)([ \t]+)(\*?)(.+)")
_FETCH = re.compile(r"(\S+)[ \t]+(-|[0-9]+)[ \t]+(.+)")
_KINDS = ("utf-8", "utf-16", "utf-32", "ascii", "iso8859", "cp12")  # no codec that is more than letters


@dataclass(frozen=True)
class Declared:
    """What a bag says of itself: its version of BagIt, and how its tag files are encoded."""

    version: tuple[int, int] = (1, 0)
    encoding: str = "utf-8"


def declaration(home: Path, found: Findings) -> Declared:
    """Read bagit.txt (section 2.1.1); it is always in UTF-8."""
    try:
        text = _lines_alike(_decoded(read_text(home / DECLARATION), "utf-8"))
    except BadText as bad:
        found.error("2.1.1", DECLARATION, str(bad), RESTORE)
        return Declared()
    if text.startswith("\ufeff"):
        found.error("2.1.1", DECLARATION, "begins with a byte order mark, which it may not", ASK_MAKER)
    lines = [line for line in text.lstrip("\ufeff").split("\n") if line.strip()]
    version = _VERSION.fullmatch(lines[0]) if lines else None
    encoding = _ENCODING.fullmatch(lines[1]) if len(lines) == 2 else None
    if not version or not encoding:
        what = "does not say BagIt-Version and Tag-File-Character-Encoding, in two lines"
        found.error("2.1.1", DECLARATION, what, ASK_MAKER)
    made = Declared((int(version[1]), int(version[2])) if version else (1, 0), _codec(encoding, found))
    if version and encoding and made.version >= (1, 0) and not _EXACT.fullmatch(text):
        what = "has white space where none may be: it is `label: value`, with one space"
        found.error("2.1.1", DECLARATION, what, ASK_MAKER)
    if not (0, 93) <= made.version <= (1, 0):
        words = ".".join(map(str, made.version))
        found.error("2.1.1", DECLARATION, f"is of BagIt {words}, where 0.93 to 1.0 are known", ASK_MAKER)
    return made


def _codec(said: "re.Match[str] | None", found: Findings) -> str:
    try:
        name = codecs.lookup(said[1] if said else "utf-8").name
    except (LookupError, ValueError):  # the latter for a zero byte in it
        name = ""
    if name.startswith(_KINDS):
        return name
    found.error("2.1.1", DECLARATION, f"names the encoding {shown(said[1] if said else '')}, not known here", ASK_MAKER)
    return "utf-8"


def read_tag(home: Path, name: str, declared: Declared, found: Findings, section: str) -> str:
    """Return a tag file as text with plain line ends; "" where it cannot be read, which is in `found` then."""
    try:
        text = _lines_alike(_decoded(read_text(home / name), declared.encoding))
    except BadText as bad:
        found.error(section, name, str(bad), RESTORE)
        return ""
    if declared.encoding.startswith("utf-8") and text.startswith("\ufeff"):
        found.error("2.3", name, "begins with a byte order mark, which it may not", ASK_MAKER)
    return text.removeprefix("\ufeff")


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeError:
        raise BadText(f"is not in {encoding.upper()}, as the bag says its tag files are") from None


def _lines_alike(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def manifest(
    text: str, name: str, algorithm: str, declared: Declared, found: Findings, section: str
) -> Iterator[tuple[str, str]]:
    """Yield path and digest, in lower case, of each line of a manifest (section 2.1.3; of tag files 2.2.1)."""
    for number, line in enumerate(text.split("\n"), 1):
        match = _LINE.fullmatch(line)
        if not match or len(match[1]) != hex_length(algorithm):
            if line.strip():
                found.error(section, name, f"has no {algorithm} and path in line {number}", ASK_MAKER)
            continue
        digest, _, star, path = match.groups()
        if star and declared.version < (1, 0):
            found.warn(section, name, f"has a * before the path in line {number}, as md5sum writes it")
        elif star:
            path = f"*{path}"
        if path.startswith("./"):
            found.warn(section, name, f"has a path that begins with ./ in line {number}")
            path = path.removeprefix("./")
        yield _unescaped(path, declared), digest.lower()


def _unescaped(path: str, declared: Declared) -> str:
    """Line ends in names are written as %0A and %0D; since 1.0 the percent sign as %25 (section 2.1.3)."""
    marks = {"%0A": "\n", "%0D": "\r"} | ({"%25": "%"} if declared.version >= (1, 0) else {})
    return re.sub("%(0A|0D|25)", lambda match: marks.get(match[0].upper(), match[0]), path, flags=re.IGNORECASE)


def fetched(text: str, name: str, declared: Declared, found: Findings) -> Iterator[str]:
    """Yield the paths of fetch.txt (section 2.2.3); nothing is ever fetched."""
    for number, line in enumerate(text.split("\n"), 1):
        match = _FETCH.fullmatch(line)
        if match:
            yield _unescaped(match[3], declared).removeprefix("./")
        elif line.strip():
            found.error("2.2.3", name, f"has no URL, length and path in line {number}", ASK_MAKER)


def info(text: str, name: str, declared: Declared, found: Findings) -> dict[str, list[str]]:
    """Return the values of bag-info.txt by label, in lower case (section 2.2.2); check its white space."""
    values: dict[str, list[str]] = {}
    last = ""
    for number, line in enumerate(text.split("\n"), 1):
        label, colon, value = line.partition(":")
        if line.startswith((" ", "\t")) and last:  # a long value goes on
            values[last][-1] += " " + line.strip()
            continue
        if not line.strip():
            continue
        if not colon or not label.strip():
            found.error("2.2.2", name, f"has no label and value in line {number}", ASK_MAKER)
            continue
        exact = label == label.strip() and (not value or (value.startswith((" ", "\t"))))
        if not exact and declared.version >= (1, 0):
            what = f"has white space about the colon in line {number} other than one space after it"
            found.error("2.2.2", name, what, ASK_MAKER)
        last = label.strip().lower()
        values.setdefault(last, []).append(value.strip())
    return values
