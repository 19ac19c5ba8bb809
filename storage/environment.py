"""Environment: the software that a run was made with, exactly enough to make it be there again.

Standards: PEP 503 (names), PEP 508 (`name @ url`), PEP 610 (what an installer records of where something came from).
"""

import json
import locale
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib import metadata
from typing import Any

from blake3 import blake3

from terp.storage.canonical import canonical
from terp.storage.machine import Machine

LOCK = "environment.lock"
_LOCKS = re.compile(r"environment(-\d+)?\.lock")


def lock_name(number: int) -> str:
    """Return the name of the lock of a run's first environment, or of another one: `environment-2.lock`."""
    return LOCK if number == 1 else f"environment-{number}.lock"


def is_lock(name: str) -> bool:
    """Say whether a file of a crate is the lock of an environment, by its name."""
    return _LOCKS.fullmatch(name) is not None


@dataclass(frozen=True)
class Distribution:
    """A Python distribution; `origin` is what its installer recorded beside name and version, else "".

    That is the URL of an archive with its digest, of a repository with its commit, or "folder" for one that was
    installed from where it was written.
    """

    version: str
    origin: str = ""


@dataclass(frozen=True)
class Environment:
    """What a process stands on: its machine, its software, the image around it. Never variables."""

    python: str
    machine: Machine
    distributions: Mapping[str, Distribution]
    locale: str = ""
    image: str = ""
    image_sha256: str = field(default="")

    @classmethod
    def here(cls) -> "Environment":
        """Return what this process runs in."""
        python = f"{platform.python_implementation()} {platform.python_version()}"
        image = os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER") or ""
        return cls(python, Machine.here(), _distributions(), _locale(), image)

    @cached_property
    def digest(self) -> str:
        """BLAKE3 of what has to be the same on all machines of a run: Python, the distributions, the image."""
        return blake3(canonical(self._software())).hexdigest()

    def instead_of(self, other: "Environment") -> list[str]:
        """Say what is here instead of what is there: image and Python first, then distributions by name.

        An image goes by its name without its place, which is nobody else's.
        """
        here, there = self._software(), other._software()
        differ = [name for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name)]
        for one in (here, there):
            one["Image"] = one["Image"].rpartition("/")[2]
        return [f"{name} {here.get(name) or '(none)'} instead of {there.get(name) or '(none)'}" for name in differ]

    def _software(self) -> dict[str, str]:
        """Return versions by name; a copy of a checkout is the same as the checkout."""
        origins = {name: one.origin for name, one in self.distributions.items() if one.origin not in ("", "folder")}
        named = {name: one.version for name, one in self.distributions.items()}
        named |= {name: f"{named[name]} from {origin}" for name, origin in origins.items()}
        return {"Image": self.image, "Python": self.python, **named}  # which no distribution is called

    def lock(self) -> str:
        """Return the distributions as a list that `uv pip install -r` takes, without where they are fetched from."""
        lines = [_requirement(name, one) for name, one in sorted(self.distributions.items())]
        machine = f"{self.machine.system}, {self.machine.libc}".rstrip(", ")
        head = [f"# {self.python} on {machine}", "# uv pip install --no-deps -r environment.lock"]
        return "\n".join([*head, *lines]) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"machine": self.machine.to_json()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Environment":
        """Read back what `to_json` gave."""
        known = {name: Distribution(**one) for name, one in plain["distributions"].items()}
        return cls(**{**plain, "machine": Machine.from_json(plain["machine"]), "distributions": known})


def _requirement(name: str, one: Distribution) -> str:
    if one.origin == "folder":
        return f"# {name}=={one.version} was installed from a folder"
    return f"{name} @ {one.origin}" if one.origin else f"{name}=={one.version}"


def _distributions() -> dict[str, Distribution]:
    """Return what is installed; of two with one name the first, as Python imports that."""
    found: dict[str, Distribution] = {}
    for one in metadata.distributions():
        head = (one.read_text("METADATA") or one.read_text("PKG-INFO") or "").partition("\n\n")[0]
        told = dict(
            re.findall(r"^(Name|Version):[ \t]*(\S+)", head, re.MULTILINE)
        )  # to parse all takes ten times as long
        if told.keys() == {"Name", "Version"}:
            name = re.sub(r"[-_.]+", "-", told["Name"]).lower()
            found.setdefault(name, Distribution(told["Version"], _origin(one.read_text("direct_url.json"))))
    return dict(sorted(found.items()))


def _origin(recorded: str | None) -> str:
    """Return where a distribution came from by PEP 610; what has no place elsewhere goes by version."""
    try:
        told = json.loads(recorded or "{}")
        url = str(told.get("url", ""))
        if "vcs_info" in told:
            return f"{told['vcs_info']['vcs']}+{_public(url)}@{told['vcs_info']['commit_id']}"
        if "dir_info" in told:
            return "folder"
        if "archive_info" in told and not url.startswith("file:"):
            digests = told["archive_info"].get("hashes", {})
            return _public(url) + (f"#sha256={digests['sha256']}" if "sha256" in digests else "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return ""


def _public(url: str) -> str:
    """Return a URL without login, query and fragment."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", re.split(r"[?#]", url)[0])


def _locale() -> str:
    language, encoding = locale.getlocale()
    return f"{language or 'C'}.{encoding or 'ASCII'}"
