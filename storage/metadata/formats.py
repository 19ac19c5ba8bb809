"""What formats the files of an archived object have, by their names.

Identifiers are those of PRONOM (The National Archives), as siegfried 1.11 with its signatures tells them of such files.
What PRONOM has no identifier for is described in FORMATS.md, which every object holds, or has a media type of IANA's.
"""

from dataclasses import dataclass

PRONOM, OWN, IANA = "PRONOM-register", "Begrippenlijst terp (FORMATS.md in hetzelfde object)", "IANA Media Types"


@dataclass(frozen=True)
class FileFormat:
    """A format: its name, its key in a register, the register, and which version of it."""

    label: str
    key: str | None
    register: str
    version: str | None = None


ZARR = FileFormat("Zarr v3 in ZIP64 (opgeslagen)", None, OWN, "3")
_UNKNOWN = FileFormat("application/octet-stream", "application/octet-stream", IANA)
_TEXT = FileFormat("Plain Text File", "x-fmt/111", PRONOM)
_ENDINGS = {
    ".zarr.zip": ZARR,
    ".zip": FileFormat("ZIP Format", "x-fmt/263", PRONOM),
    ".json": FileFormat("JSON Data Interchange Format", "fmt/817", PRONOM),
    ".jsonl": FileFormat("JSON Lines Text Format", "fmt/2054", PRONOM),
    ".md": FileFormat("Markdown", "fmt/1149", PRONOM),
    ".nc": FileFormat("NetCDF-4", "fmt/807", PRONOM, "4"),
    ".png": FileFormat("Portable Network Graphics", "fmt/11", PRONOM, "1.0"),
    ".py": FileFormat("Python Source Code File", "fmt/938", PRONOM),
    ".sha256": FileFormat("SHA256 File", "fmt/991", PRONOM),
    ".svg": FileFormat("Scalable Vector Graphics", "image/svg+xml", IANA),
    ".toml": FileFormat("TOML", "fmt/2065", PRONOM),
    ".ttl": FileFormat("Turtle", "fmt/874", PRONOM),
    ".xml": FileFormat("Extensible Markup Language", "fmt/101", PRONOM, "1.0"),
    ".diff": _TEXT,
    ".lock": _TEXT,
    ".txt": _TEXT,
    "SHA512SUMS": _TEXT,
    "SHA512SUMS.sig": FileFormat("OpenSSH signature", None, OWN),
}

_BY_LENGTH = sorted(_ENDINGS.items(), key=lambda one: len(one[0]), reverse=True)  # .zarr.zip before .zip


def format_of(name: str) -> FileFormat:
    """Return the format that a file of an archived object has, by its name; octets where the name tells nothing."""
    return next((known for ending, known in _BY_LENGTH if name.endswith(ending)), _UNKNOWN)
