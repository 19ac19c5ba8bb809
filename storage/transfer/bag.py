"""A bag (BagIt 1.0, RFC 8493) of an archived object: for those who keep it on, checked with coreutils alone.

bagit.txt, bag-info.txt, manifest-sha512.txt, manifest-sha256.txt, tagmanifest-sha512.txt, tagmanifest-sha256.txt and,
below data/, the files of the object by their names, byte for byte; each is read once, and held against the archive.
metadata/premis-custody.xml is its PREMIS with what happened to it since it was archived, where that is known.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path

from terp.storage import files
from terp.storage.transfer.copying import Copied, copy
from terp.storage.transfer.outgoing import HISTORY, Outgoing

ALGORITHMS = ("sha512", "sha256")
_DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def write_bag(aip: Outgoing, folder: Path, on: date, *, linked: bool = False, contact: str = "") -> str:
    """Fill an empty folder with the bag of an object; return the SHA-512 of its tagmanifest-sha512.txt.

    `linked`: its files are hard links to those of the archive where the file system can, which cost no room; whoever
    writes into one of them writes into the archive.
    """
    copied = dict[str, Copied]()
    for name, source in aip.files.items():
        target = folder / "data" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copied[f"data/{name}"] = copy(source, target, linked=linked, sha512=aip.sha512[name])
    tags = {"bagit.txt": _DECLARATION, "bag-info.txt": _info(aip, copied, on, contact)}
    if history := aip.history():
        tags[f"metadata/{HISTORY}"] = history
    tags |= {f"manifest-{a}.txt": _manifest({n: c.digests[a] for n, c in copied.items()}) for a in ALGORITHMS}
    above = {
        f"tagmanifest-{a}.txt": _manifest({n: hashlib.new(a, data).hexdigest() for n, data in tags.items()})
        for a in ALGORITHMS
    }
    for name, data in (tags | above).items():
        (folder / name).parent.mkdir(exist_ok=True)
        files.write_new(folder / name, data)
    return hashlib.sha512(above["tagmanifest-sha512.txt"]).hexdigest()


def _manifest(digests: Mapping[str, str]) -> bytes:
    return "".join(f"{digest}  {encoded(name)}\n" for name, digest in sorted(digests.items())).encode()


def encoded(name: str) -> str:
    """Return a path as a manifest has it (RFC 8493, section 2.1.3)."""
    return name.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")


def _info(aip: Outgoing, copied: Mapping[str, Copied], on: date, contact: str) -> bytes:
    size = sum(one.size for one in copied.values())
    keeper = aip.policy.zorgdrager or aip.policy.archiefvormer
    closed = "; ".join(str(one) for one in aip.closed(on))
    told = {
        "Source-Organization": keeper.naam,
        "Organization-Identifier": keeper.identificatie,
        "Contact-Name": contact,
        "External-Identifier": aip.identifier,
        "Internal-Sender-Identifier": f"{aip.identifier} {aip.version}",
        "Internal-Sender-Description": f"Version {aip.version} of {aip.identifier}, all its files as they are archived",
        "Rights-Statement": f"{aip.policy.rights.licence_name}, {aip.policy.rights.licence}",
        "Restrictions": closed,
        "Bagging-Date": on.isoformat(),
        "Bag-Size": _readable(size),
        "Payload-Oxum": f"{size}.{len(copied)}",
        "Bag-Software-Agent": f"terp {version('terp')}",
    }
    return "".join(f"{label}: {_line(value)}\n" for label, value in told.items() if value).encode()


def _line(value: str) -> str:
    """Return a value that stays on its line."""
    return re.sub(r"\s+", " ", value).strip()


def _readable(size: float) -> str:
    """Return a size for people, as the standard's own example has it."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {_UNITS[unit]}"
