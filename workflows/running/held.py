"""Held: what is kept of a run beside its journal, which has the digests of all that before it is written.

A digest is the BLAKE3 of a file in the run's folder, or of a member of run.json in canonical JSON; that goes by
`run.json#/MEMBER` (RFC 6901).
"""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3

from terp.storage import files
from terp.storage.canonical import canonical
from terp.storage.home import Home
from terp.storage.journal import Chain
from terp.workflows.running.record import RunRecord

FOLDER, EVENT = "captured", "captured"
_DIGESTS, _MEMBER = "digests", "run.json#/"


def hold(
    home: Home,
    run: RunRecord,
    texts: Mapping[str, bytes],
    members: Collection[str] = (),
    event: str = EVENT,
    **facts: Any,
) -> None:
    """Write files into a run's folder and members of its record, once an event of the journal has their digests.

    Killed before all is written, what is there is as that event or those before it say. Raises Fenced, DiskTrouble.
    """
    digests = {name: blake3(data).hexdigest() for name, data in texts.items()} | _members(run, members)
    run.note(home, event, **{_DIGESTS: digests}, **facts)
    for name, data in texts.items():
        path = run.folder(home) / name
        with files.disk(path):
            files.make_folders(path.parent)
        files.replace(path, data)
    if members:
        run.save(home)


def unlike_held(home: Home, run: RunRecord, chain: Chain) -> list[str]:
    """Say what of a run is not as its sound journal says: altered, gone or put in; nothing where it says nothing.

    While it has not finished, what the last such event tells may not have been written yet.
    """
    told = digests_of(chain)
    wanted, before = dict[str, str](), dict[str, str]()
    for one in told:
        before, wanted = wanted, wanted | one
    there = _there(run.folder(home), wanted) | _members(run, [name.removeprefix(_MEMBER) for name in wanted])
    open_ = told[-1] if told and run.state != "finished" else {}
    names = sorted(wanted.keys() | there.keys()) if told else []
    return [
        f"{name} {_how(wanted.get(name), there.get(name))}"
        for name in names
        if there.get(name) != wanted.get(name) and not (name in open_ and there.get(name) == before.get(name))
    ]


def digests_of(chain: Chain) -> list[dict[str, str]]:
    """Return the digests that each event of a sound journal has, which has any."""
    return [entry["facts"][_DIGESTS] for entry in chain.entries() if _DIGESTS in entry["facts"]]


def _how(wanted: str | None, there: str | None) -> str:
    if there is None:
        return "is gone"
    return "was altered" if wanted else "was put in"


def _there(folder: Path, wanted: Collection[str]) -> dict[str, str]:
    """Return the digests of the files that are there: those that are wanted, and all others beside them."""
    names = {name for name in wanted if not name.startswith(_MEMBER)} | set(_in(folder / FOLDER))
    found = {}
    for name in names:
        with files.disk(folder / name):
            if (folder / name).is_file():
                found[name] = blake3((folder / name).read_bytes()).hexdigest()
    return found


def _in(folder: Path) -> Iterator[str]:
    with files.disk(folder):
        for path in folder.iterdir() if folder.is_dir() else ():
            if not path.name.startswith("."):  # what a write left that was killed
                yield f"{FOLDER}/{path.name}"


def _members(run: RunRecord, names: Collection[str]) -> dict[str, str]:
    """Return the digests of members of a record, as JSON has them; none of what is empty."""
    plain = {name: json.loads(json.dumps(getattr(run, name, None))) for name in names}
    return {f"{_MEMBER}{name}": blake3(canonical(value)).hexdigest() for name, value in plain.items() if value}
