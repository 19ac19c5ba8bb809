"""Provenance: the record of a run, from which its crate and its README are written.

Nothing in it tells more than is needed: home directories, logins and secrets are taken out by `scrub` on the way
to a file, hosts are named by class, and environment variables are not recorded.
"""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_SECRET = re.compile(r"password|passwd|secret|token|credential|api.?key|private.?key", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")
WITHHELD = "(withheld)"


@dataclass(frozen=True)
class Licence:
    """On what terms something may be used: an URL, a short name, and a sentence."""

    url: str
    name: str
    description: str


NO_LICENCE = Licence("#licence", "No licence stated", "No licence was stated; ask the maker before using the data.")


@dataclass(frozen=True)
class Agent:
    """Who ran it; `orcid` with or without https://orcid.org/, `affiliation_url` best a ROR."""

    name: str
    orcid: str | None = None
    affiliation: str | None = None
    affiliation_url: str | None = None


@dataclass(frozen=True)
class Flow:
    """What was run: `source` is its code, `commit` of the repository it lay in, `dirty` when it differed from that."""

    name: str
    description: str
    version: str
    source: str
    commit: str | None = None
    dirty: bool = False
    url: str | None = None


@dataclass(frozen=True)
class Input:
    """Something read: `identifier` a DOI or other URL where there is one, `size` in bytes, `licence` as stated."""

    name: str
    identifier: str
    sha256: str
    size: int
    media_type: str
    licence: str = ""
    description: str = ""


@dataclass(frozen=True)
class Stage:
    """One step: the key of the product it made, in how many regions, when, and the digest of its code.

    `tolerance` is what the code declares of floating-point values: relative and absolute; nothing: the same bits.
    """

    name: str
    key: str
    regions: int
    started: datetime
    ended: datetime
    code: str
    tolerance: tuple[float, ...] = ()


@dataclass(frozen=True)
class Output:
    """A file of the crate: `file` is its name relative to the crate, `size` in bytes."""

    file: str
    sha256: str
    sha512: str
    size: int
    title: str
    description: str
    media_type: str


@dataclass(frozen=True)
class Resource:
    """Something of which a run used so much: `quantity` is what `name` is a case of, `unit` its name in QUDT, or ""."""

    name: str
    quantity: str
    value: float
    unit: str = ""
    description: str = ""


@dataclass(frozen=True)
class Environment:
    """What it ran on; `distributions` maps Python distributions to versions. Never environment variables."""

    python: str
    os: str
    libc: str
    cpu: str
    threads: int
    distributions: Mapping[str, str]

    @classmethod
    def here(cls, threads: int) -> "Environment":
        """Return what this process runs on, with the number of threads it computes with."""
        found = {d.metadata["Name"]: d.version for d in metadata.distributions()}
        system = f"{platform.system()} {platform.release()}"
        libc = " ".join(platform.libc_ver())
        return cls(platform.python_version(), system, libc, _cpu(), threads, dict(sorted(found.items())))


@dataclass(frozen=True)
class Record:
    """One run. `places` are classes of hosts ("snellius, thin node"); host names only where the user asked for them.

    `journal` is the BLAKE3 of the last line of the journal that is among the outputs.
    """

    run: str
    title: str
    flow: Flow
    started: datetime
    ended: datetime
    agent: Agent
    environment: Environment
    inputs: Sequence[Input] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stages: Sequence[Stage] = ()
    outputs: Sequence[Output] = ()
    places: Sequence[str] = ()
    warnings: Sequence[str] = ()
    resources: Sequence[Resource] = ()
    licence: Licence = NO_LICENCE
    journal: str = ""


def scrub(value: Any) -> Any:
    """Return plain values without home directories ("~"), logins in URLs, and secrets.

    A secret is the value of a key that is named like one, and the value of an environment variable that is.
    """
    if isinstance(value, Mapping):
        return {scrub(key): WITHHELD if _is_secret(key, inner) else scrub(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(inner) for inner in value]
    return _scrub_text(value) if isinstance(value, str) else value


def _is_secret(key: object, value: object) -> bool:
    return isinstance(value, str) and _SECRET.search(str(key)) is not None


def _scrub_text(text: str) -> str:
    for name, secret in os.environ.items():
        if len(secret) >= 8 and _SECRET.search(name):
            text = text.replace(secret, WITHHELD)
    for home in {str(Path.home()), str(Path.home().resolve())} - {"/"}:
        text = re.sub(rf"{re.escape(home)}(?![\w-])", "~", text)
    return _LOGIN.sub("", text)


def _cpu() -> str:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()
