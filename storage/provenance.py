"""Provenance: the record of a run, the one source from which its crate, PROV, picture and README are written.

Nothing in it tells more than is needed: homes, logins and secrets are taken out by `scrub` on the way to a file, hosts
are named by class, and environment variables are not recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from terp.storage.environment import LOCK, Environment, lock_name
from terp.storage.machine import Machine


@dataclass(frozen=True)
class Licence:
    """On what terms something may be used: an URL, a short name, and a sentence."""

    url: str
    name: str
    description: str


NO_LICENCE = Licence("#licence", "No licence stated", "No licence was stated; ask the maker before using the data.")


@dataclass(frozen=True)
class Agent:
    """Who ran it, for which organisation, project and grant.

    `orcid` with or without https://orcid.org/, `affiliation_url` best a ROR, `grant` a number or the URL of one.
    """

    name: str
    orcid: str | None = None
    affiliation: str | None = None
    affiliation_url: str | None = None
    project: str = ""
    grant: str = ""

    @property
    def orcid_url(self) -> str | None:
        """The ORCID as the URL that it is."""
        return f"https://orcid.org/{self.orcid.rstrip('/').rpartition('/')[2]}" if self.orcid else None


@dataclass(frozen=True)
class Flow:
    """What was run: `source` is its code, `commit` of the repository it lay in, `dirty` when that differed from it.

    `diff` is what differed then, as `git diff` tells it.
    """

    name: str
    description: str
    version: str
    source: str
    commit: str | None = None
    dirty: bool = False
    url: str | None = None
    diff: str = ""


@dataclass(frozen=True)
class Input:
    """Something read: `identifier` a DOI or other URL where there is one, `size` in bytes, `licence` as stated.

    `parts` are the files of a folder with the SHA-256 of each; then `sha256` is that of these, written as
    `sha256sum --zero` writes them. `parameter` is the one of the flow that named it, where one did; `url` is where it
    was fetched from.
    """

    name: str
    identifier: str
    sha256: str
    size: int
    media_type: str
    licence: str = ""
    description: str = ""
    parts: Sequence[tuple[str, str]] = ()
    parameter: str = ""
    url: str = ""

    @property
    def files(self) -> Sequence[tuple[str, str]]:
        """Name and SHA-256 of each file."""
        return [(f"{self.name}/{name}", digest) for name, digest in self.parts] or [(self.name, self.sha256)]


@dataclass(frozen=True)
class Stage:
    """One step: the key of the product it made, in how many regions, when, and the digest of its code.

    `reads` are keys of products and the SHA-256 of inputs; `seconds` the work of all workers, `memory` the most bytes
    that one held. What an earlier run made is `reused`, and when is not told. `tolerance` is what the code declares of
    floating-point values: relative and absolute; nothing: the same bits.
    """

    name: str
    key: str
    regions: int
    started: datetime
    ended: datetime
    code: str
    reads: Sequence[str] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    memory: int = 0
    reused: bool = False
    tolerance: tuple[float, ...] = ()


@dataclass(frozen=True)
class Output:
    """A file of the crate: `file` is its name relative to the crate, `size` in bytes.

    `result` is the flow's name for it and `key` that of the product it holds; both "" for what lies beside the results.
    """

    file: str
    sha256: str
    sha512: str
    size: int
    title: str
    description: str
    media_type: str
    result: str = ""
    key: str = ""


@dataclass(frozen=True)
class Resource:
    """Something of which a run used so much: `quantity` is what `name` is a case of, `unit` its name in QUDT."""

    name: str
    quantity: str
    value: float
    unit: str = "UNITLESS"
    description: str = ""


@dataclass(frozen=True)
class Start:
    """One start of a run that was begun more than once, or of an earlier `run` whose work it went on with.

    `ended` is when it was last heard of, `ending` how it ended, in words, `well` whether as it should; `left` regions
    were to be made. `facts` tell where, by whom and in what, by their names; `environments` are those that were met,
    the controller's first.
    """

    run: str
    started: datetime
    ended: datetime
    well: bool
    ending: str
    left: int
    facts: Sequence[tuple[str, str]] = ()
    environments: Sequence[Environment] = ()


@dataclass(frozen=True)
class Record:
    """One run. `places` are classes of hosts ("snellius, AMD EPYC 9654"); `hosts` names that are never to be told.

    `environment` is that which computed most; `others` are those that were met beside it, each with whose it was.
    `machines` are the kinds of machine that regions were made on, with how many; `program` is terp's own version;
    `journal` the BLAKE3 of the last line of the journal that is among the outputs.
    """

    run: str
    title: str
    flow: Flow
    started: datetime
    ended: datetime
    agent: Agent
    environment: Environment
    others: Sequence[tuple[str, Environment]] = ()
    workers: int = 0
    inputs: Sequence[Input] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stages: Sequence[Stage] = ()
    outputs: Sequence[Output] = ()
    places: Sequence[str] = ()
    machines: Sequence[tuple[Machine, int]] = ()
    warnings: Sequence[str] = ()
    resources: Sequence[Resource] = ()
    hosts: Sequence[str] = ()
    program: str = "unknown"
    licence: Licence = NO_LICENCE
    journal: str = ""
    starts: Sequence[Start] = ()

    @property
    def locks(self) -> dict[str, Environment]:
        """The environments by the names of their locks."""
        return {LOCK: self.environment} | {lock_name(n): one for n, (_, one) in enumerate(self.others, 2)}

    @property
    def steps(self) -> list[Stage]:
        """The stages, each product once, those that are read before those that read."""
        todo, done = {one.key: one for one in reversed(self.stages)}, dict[str, Stage]()
        order = list(dict.fromkeys(one.key for one in self.stages))
        while todo:
            ready = [key for key in order if key in todo and not todo.keys() & set(todo[key].reads) - {key}]
            for key in ready or [next(key for key in order if key in todo)]:
                done[key] = todo.pop(key)
        return list(done.values())
