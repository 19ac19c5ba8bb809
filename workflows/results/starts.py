"""How often a run was begun, and what became of each start, as journals tell: they are in a chain, and name no host.

What a killed run had recorded is not made again by the same command, which is another run then; so the starts of runs
whose products this one went on with are told before its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from terp.storage.environment import Environment, lock_name
from terp.storage.errors import StorageError
from terp.storage.home import Home
from terp.storage.provenance import Start
from terp.workflows.results.evidence import journal_of
from terp.workflows.running.record import RunRecord, all_runs
from terp.workflows.running.software import kept_in, known

_SILENT = "it ended without a word: it was killed, or its machine or job went down"
_ENDED = {"finished": "it finished", "to go on": "its time was up, and it was to go on later"}


def starts_of(home: Home, run: RunRecord) -> list[Start]:
    """Return all starts that made what a run has made, the first first; none where there was only one."""
    gone_on = {one.key for one in run.stages if one.done_before and not one.reused}
    makers = {one.made_by for one in run.stages if one.reused}
    machines: dict[str, int] = {}
    found: list[Start] = []
    for one in (*_before(home, run, bool(gone_on or makers)), run):
        entries = _entries(home, one)
        begun = {entry["facts"].get("key") for entry in entries if entry["event"] == "stage begun"}
        if one is run or begun & gone_on or (one.id in makers and one.state != "finished"):
            found += _starts(one, entries, machines, _environments(home, one))
    if found and run.state == "running":  # it is the last of them that archives it
        ended = max(found[-1].started, datetime.fromisoformat(run.ended or run.started))
        found[-1] = replace(found[-1], ended=ended, well=True, ending=_ENDED["finished"])
    return found if len(found) > 1 else []


def with_locks(starts: Sequence[Start], environments: Sequence[Environment]) -> list[Start]:
    """Return starts that tell which lock of a crate is that of their controller, by all its environments in order."""
    locks = {one.digest: lock_name(number) for number, one in enumerate(environments, 1)}
    told = [[("environment", locks[one.digest]) for one in start.environments[:1]] for start in starts]
    return [replace(start, facts=(*start.facts, *fact)) for start, fact in zip(starts, told, strict=True)]


def _before(home: Home, run: RunRecord, wanted: bool) -> list[RunRecord]:
    return [one for one in all_runs(home) if one.id != run.id and one.started <= run.started] if wanted else []


def _entries(home: Home, run: RunRecord) -> list[dict[str, Any]]:
    """Return what the journal of a run says; nothing where it is not sound: then it proves nothing."""
    chain = journal_of(home, run)
    return [] if chain.damage() else chain.entries()


def _environments(home: Home, run: RunRecord) -> dict[str, Environment]:
    """Return what is kept of a run, by digest; nothing where it can't be read, which must not stop another run."""
    with suppress(StorageError, ValueError, KeyError, TypeError):
        return known(home, run)
    return {}


def _met(entries: Sequence[Mapping[str, Any]], there: Mapping[str, Environment]) -> list[Environment]:
    """Return the environments that the events of a start name."""
    facts = [entry["facts"] for entry in entries]
    named = [facts[0].get("environment", ""), *(one for fact in facts for one in kept_in(fact.get("digests", {})))]
    return [there[digest] for digest in dict.fromkeys(named) if digest in there]


def _starts(
    run: RunRecord, entries: list[dict[str, Any]], machines: dict[str, int], there: Mapping[str, Environment]
) -> Iterator[Start]:
    begins = [number for number, entry in enumerate(entries) if entry["event"] == "started"]
    for number, (begin, end) in enumerate(pairwise([*begins, len(entries)])):
        of_it = entries[begin:end]
        stopped = next((one for one in of_it if one["event"] == "stopped"), None)
        last = stopped or of_it[-1]
        state = stopped["facts"].get("state", "") if stopped else ""
        attempt = run.attempts[number] if number < len(run.attempts) else {}
        yield Start(
            run.id,
            datetime.fromisoformat(of_it[0]["time"]),
            datetime.fromisoformat(last["time"]),
            state in _ENDED,
            _ending(state, stopped),
            int(of_it[0]["facts"].get("left", 0)),
            tuple(_facts(run, attempt, machines)),
            _met(of_it, there),
        )


def _ending(state: str, stopped: Mapping[str, Any] | None) -> str:
    if stopped is None:
        return _SILENT
    why = str(stopped["facts"].get("why", ""))
    return _ENDED.get(state) or (f"it was {state}: {why}" if state == "cancelled" else f"it {state}: {why}")


def _facts(run: RunRecord, attempt: Mapping[str, Any], machines: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yield where and by whom: a machine by a number, as its name is nobody else's."""
    holder = attempt.get("holder", {})
    if host := holder.get("host"):
        yield "machine", str(machines.setdefault(host, len(machines) + 1))
    if job := str(holder.get("job", "")):
        yield "SLURM job", job.partition(".")[0]
    if run.site:
        yield "site", run.site
    if name := run.agent.get("name"):
        yield "by", str(name)
