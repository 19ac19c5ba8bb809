"""Who runs a flow, for whom: as the environment says, as git knows them, or by their login."""

import os
import re
import subprocess
from pathlib import Path

from terp.storage.provenance import Agent
from terp.workflows.errors import Usage
from terp.workflows.running.repository import git

SETTINGS = (
    "TERP_AGENT",
    "TERP_ORCID",
    "TERP_AFFILIATION",
    "TERP_AFFILIATION_ROR",
    "TERP_PROJECT",
    "TERP_GRANT",
)

_ORCID = re.compile(r"(?:https?://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])/?")
_ROR = re.compile(r"(?:https?://)?(?:ror\.org/)?(0[0-9a-hjkmnp-tv-z]{6})(\d\d)/?", re.IGNORECASE)
_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's, without i, l, o and u
_NOWHERE = "https://terp.invalid/no-organisation"


def who() -> Agent:
    """Return who runs this. Raises Usage for an ORCID or ROR that is none."""
    said = {name: os.environ.get(name, "").strip() for name in SETTINGS}
    return Agent(
        said["TERP_AGENT"] or _known_to_git() or _login(),
        orcid(said["TERP_ORCID"]) if said["TERP_ORCID"] else None,
        said["TERP_AFFILIATION"] or "No organisation stated",
        ror(said["TERP_AFFILIATION_ROR"]) if said["TERP_AFFILIATION_ROR"] else _NOWHERE,
        said["TERP_PROJECT"],
        said["TERP_GRANT"],
    )


def orcid(said: str) -> str:
    """Return an ORCID as the URI that it is; its last character is a checksum (ISO 7064, MOD 11-2)."""
    found = _ORCID.fullmatch(said)
    if found is None:
        raise Usage(f"TERP_ORCID is {said!r}, which is no ORCID: write it as https://orcid.org/0000-0002-1825-0097")
    total = 0
    for digit in found[1].replace("-", "")[:-1]:
        total = (total + int(digit)) * 2
    check = (12 - total % 11) % 11
    if found[1][-1] != ("X" if check == 10 else str(check)):
        raise Usage(f"TERP_ORCID is {said!r}, whose checksum is wrong: look for a digit that was mistyped")
    return f"https://orcid.org/{found[1]}"


def ror(said: str) -> str:
    """Return a ROR as the URI that it is; its last two digits are a checksum (ISO 7064, MOD 97-10)."""
    found = _ROR.fullmatch(said)
    if found is None:
        raise Usage(f"TERP_AFFILIATION_ROR is {said!r}, which is no ROR: write it as https://ror.org/04dkp9463")
    number = 0
    for letter in found[1].lower():
        number = number * 32 + _BASE32.index(letter)
    if int(found[2]) != 98 - number * 100 % 97:
        raise Usage(f"TERP_AFFILIATION_ROR is {said!r}, whose checksum is wrong: look it up at https://ror.org")
    return f"https://ror.org/{found[1].lower()}{found[2]}"


def _known_to_git() -> str:
    try:
        return git(Path.home(), "config", "--global", "user.name").strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _login() -> str:
    import getpass

    return getpass.getuser()
