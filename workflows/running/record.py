"""The record of a run, in its folder, by which others see it.

run.json is how it stands, one JSON file, whole at any time; journal.jsonl is what happened, a line each, which nobody
can change unseen (see storage/journal.py).
"""

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terp.cluster.jobs import own_job
from terp.storage import files
from terp.storage.environment import Environment
from terp.storage.holder import Holder
from terp.storage.home import Home
from terp.storage.journal import Journal
from terp.storage.scrub import scrub, told_apart, without_secrets
from terp.storage.source import Identity, Reference
from terp.workflows.errors import BadRecord, Usage
from terp.workflows.running.clock import moment, not_before, now

if TYPE_CHECKING:
    from terp.storage.ingest.told import Told

JOURNAL = "journal.jsonl"


@dataclass
class StageRecord:
    """What a run did for one product.

    `memory` is what a worker held at most for a region, in bytes, `blocks` the size of what it held for that, each
    block counted once, and `code` the name of what made it: a later plan knows by these. `made_by` is the run that
    made what was reused, and `made_at` when, as far as records tell.
    """

    name: str
    key: str
    regions: int
    reused: bool = False
    done_before: int = 0
    made: int = 0
    seconds: float = 0.0
    memory: int = 0
    blocks: int = 0
    code: str = ""
    started: str = ""
    ended: str = ""
    values: str = ""
    remarks: list[str] = field(default_factory=list)
    made_by: str = ""
    made_at: str = ""
    inputs: list[str] = field(default_factory=list)
    source: str = ""


@dataclass
class RunRecord:
    """One execution of a flow: what, with what, by which process, how it ended, and what came of it.

    It has no secret: others may read it, and who goes on with a run gives its parameters again.
    A controller that is a job may be started many times for one run: each start is one of the `attempts`. `journal` is
    how many lines the journal had when this was written, and its head.
    """

    id: str
    flow: str
    target: str
    parameters: dict[str, Any]
    state: str = "planned"
    holder: dict[str, Any] = field(default_factory=dict)
    started: str = field(default_factory=now)
    ended: str = ""
    stages: list[StageRecord] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)
    sources: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    warnings: list[str] = field(default_factory=list)
    archived: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    code: dict[str, Any] = field(default_factory=dict)
    agent: dict[str, Any] = field(default_factory=dict)
    machines: list[dict[str, Any]] = field(default_factory=list)
    software: dict[str, int] = field(default_factory=dict)  # regions by the digest of the environment that made them
    workers: int = 0
    site: str = ""
    job: str = ""  # of the controller, where that is a job
    submitted: bool = False  # by terp itself: then the job is put back into the queue before its time is up
    attempts: list[dict[str, Any]] = field(default_factory=list)
    cluster: dict[str, Any] = field(default_factory=dict)
    prefect: dict[str, Any] = field(default_factory=dict)
    journal: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Have no journal open."""
        self._writer: Journal | None = None

    @classmethod
    def begin(cls, home: Home, flow: str, target: str, parameters: dict[str, Any]) -> "RunRecord":
        """Make a run's folder and record."""
        stamp = moment().strftime("%Y%m%d-%H%M%S")
        record = cls(f"{flow}-{stamp}-{secrets.token_hex(2)}", flow, target, without_secrets(parameters))
        record.holder = Holder.me().to_json()
        with files.disk(home.runs):
            files.make_folders(record.folder(home))
        record.note(home, "begun", run=record.id, flow=flow, parameters=record.parameters)
        record.save(home)
        return record

    def go_on(self, home: Home, left: int) -> None:
        """Note that this process is the controller from now on, with so many regions to be made."""
        not_before(max([self.started, *(one.ended or one.started for one in self.stages)]))
        self.holder = Holder.me().to_json()
        self.job = (self.submitted and own_job()) or self.job  # who submitted it may not have been told
        self.attempts.append({"holder": self.holder, "started": now(), "left": left})
        self.state, self.error, self.ended = "running", "", ""
        here = {"environment": Environment.from_json(self.environment).digest} if self.environment else {}
        facts = {"start": len(self.attempts), "left": left, "workers": self.workers, "site": self.site}
        self.note(home, "started", **facts, **here)
        self.save(home)

    def note(self, home: Home, event: str, **facts: Any) -> None:
        """Add what happened to the journal, without what is nobody else's; durable when this returns.

        Raises Fenced where a newer start of this run keeps the journal.
        """
        if self._writer is None:
            self._writer = Journal(self.folder(home) / JOURNAL, moment)
        self._writer.append(event, scrub(_at_home(facts, str(home.root))))
        self.journal = {"lines": self._writer.lines, "head": self._writer.head}

    def folder(self, home: Home) -> Path:
        """Return the run's folder."""
        return home.runs / self.id

    def took_in(self, home: Home, sources: Mapping[str, Identity]) -> None:
        """Note what was read, by what the flow calls it, and its own terms; lists of files rest beside the record."""
        from terp.storage.ingest.told import told_of

        self.sources = []
        for given, source in zip(told_apart(sources), sources.values(), strict=True):
            kept, told = source.keep(self.folder(home)), told_of(Path(source.path), source.reader)
            terms = {term: said for term, said in asdict(told).items() if said}
            self.sources.append({"given": given, "file": Path(kept.file).name, "digest": kept.digest} | terms)

    def told(self) -> "dict[str, Told]":
        """Return what was read tells of its terms, as it did when it was read."""
        from terp.storage.ingest.told import Told

        return {one["given"]: Told(one.get("licence", ""), one.get("closed", "")) for one in self.sources}

    def identities(self, home: Home) -> dict[str, Identity]:
        """Return what was read, by what the flow calls it; raises DiskTrouble where that is not as it was written."""
        folder = self.folder(home)
        return {one["given"]: Reference(str(folder / one["file"]), one["digest"]).load() for one in self.sources}

    def save(self, home: Home) -> bool:
        """Write the record whole, unless a later start of this run writes it by now; return whether it was written."""
        if self._starts_written(home) > len(self.attempts):
            return False
        self._write(home)
        return True

    def _starts_written(self, home: Home) -> int:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return len(json.loads((self.folder(home) / "run.json").read_bytes())["attempts"])
        return 0

    def _write(self, home: Home) -> None:
        files.replace(self.folder(home) / "run.json", json.dumps(asdict(self), indent=1).encode())

    @property
    def alive(self) -> bool:
        """Whether its process is, or may be, there."""
        return self.state == "running" and not Holder.from_json(self.holder).is_gone()

    @property
    def shown_state(self) -> str:
        """The state, as it is now: a run whose process is gone is not running."""
        return "killed" if self.state in ("running", "planned") and not self.alive else self.state


def _at_home(value: Any, root: str) -> Any:
    """Return plain values in which the home has no place."""
    if isinstance(value, dict):
        return type(value)({key: _at_home(inner, root) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return [_at_home(inner, root) for inner in value]
    return value.replace(root, "$TERP_HOME") if isinstance(value, str) else value


def load_run(home: Home, wanted: str) -> RunRecord:
    """Return a run by its id, a beginning of it that is the only one, or "last"; raises Usage when there is none."""
    runs = sorted((p.name for p in home.runs.glob("*") if (p / "run.json").exists()), key=lambda n: _age(home, n))
    if wanted == "last" and runs:
        return _read(home.runs / runs[-1])
    found = [name for name in runs if wanted and name.startswith(wanted)]
    if wanted in found or len(found) == 1:
        return _read(home.runs / (wanted if wanted in found else found[0]))
    if found:
        raise Usage(f"{wanted!r} fits several runs: {', '.join(found[:5])}")
    known = f"the last are {', '.join(runs[-3:])}" if runs else "there is none yet, try `terp run climatology`"
    raise Usage(f"there is no run {wanted!r} in {home.root}: {known}")


def all_runs(home: Home) -> list[RunRecord]:
    """Return all runs whose records can be read, the oldest first."""
    return sorted((run for run in _records(home) if isinstance(run, RunRecord)), key=lambda run: run.started)


def makers(runs: Iterable[RunRecord]) -> dict[str, tuple[str, str]]:
    """Return which of some runs made each product, whole and last, and when, as far as records tell."""
    made = [(stage.ended, run.id, stage.key) for run in runs for stage in run.stages if stage.made]
    return {key: (run, ended) for ended, run, key in sorted(made) if ended}


def damaged_runs(home: Home) -> list[str]:
    """Return a sentence for each run whose record cannot be read."""
    return [str(run) for run in _records(home) if isinstance(run, BadRecord)]


def _records(home: Home) -> Iterator[RunRecord | BadRecord]:
    for path in sorted(home.runs.glob("*/run.json")):
        try:
            yield _read(path.parent)
        except BadRecord as damage:
            yield damage


def _age(home: Home, name: str) -> float:
    return os.stat(home.runs / name).st_mtime if not name[-20:-5].replace("-", "").isdigit() else _stamp(name)


def _stamp(name: str) -> float:
    return float(name[-20:-5].replace("-", ""))


def _read(folder: Path) -> RunRecord:
    try:
        plain = json.loads((folder / "run.json").read_bytes())
        stages = [StageRecord(**one) for one in plain.pop("stages")]
        return RunRecord(**plain, stages=stages)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BadRecord(
            f"the record of the run {folder.name} is damaged: remove {folder} if it is not needed"
        ) from None
