"""Provenance: the record of a run, the one source from which its crate, PROV, picture and README are written.

Nothing in it tells more than is needed: homes, logins and secrets are taken out by `scrub` on the way to a file, hosts
are named by class, and environment variables are not recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from terp.storage.environment import Environment


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
    workers: int = 0
    inputs: Sequence[Input] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stages: Sequence[Stage] = ()
    outputs: Sequence[Output] = ()
    places: Sequence[str] = ()
    warnings: Sequence[str] = ()
    resources: Sequence[Resource] = ()
    licence: Licence = NO_LICENCE
    journal: str = ""
