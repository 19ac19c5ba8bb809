"""What tells whether somebody has changed what was recorded: journals, checksums and signatures."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from terp.storage import files
from terp.storage.archive import Archive
from terp.storage.archive.policy import POLICY
from terp.storage.crate import CHECKSUMS, METADATA, SIGNATURE, checksums, journal_head
from terp.storage.errors import BadKey, BadPackage
from terp.storage.home import Home
from terp.storage.journal import Chain
from terp.storage.signature import signer
from terp.storage.transfer import IMPORTED
from terp.workflows.errors import BadRecord
from terp.workflows.results.bundle import SOURCES
from terp.workflows.results.itself import ITSELF
from terp.workflows.running.held import FOLDER, digests_of, unlike_held
from terp.workflows.running.record import JOURNAL, RunRecord

_AS_NOTED = {SOURCES: SOURCES, ITSELF: ITSELF, POLICY: f"{FOLDER}/{POLICY}"}  # of an object, as its run had them
IN_CRATE = "crate"  # digests of what a crate says of code and environments, in the event that archives it
_OVER = ("finished", "failed", "cancelled")


def journal_of(home: Home, run: RunRecord) -> Chain:
    """Read the journal of a run, sound or not; empty where there is none."""
    path = run.folder(home) / JOURNAL
    with files.disk(path):
        return Chain.of(path.read_bytes() if path.exists() else b"")


def sound_journal(home: Home, run: RunRecord) -> bytes:
    """Return the bytes of the journal that this process keeps of a run; raises BadRecord where they were altered."""
    chain = journal_of(home, run)
    wrong = chain.damage() or chain.unlike(run.journal["lines"], run.journal["head"], over=True)
    if wrong:
        raise BadRecord(f"the journal of {run.id} is not as it was written: {wrong}; run the same command again")
    return b"".join(chain.lines)


def damage_of_journal(home: Home, run: RunRecord) -> list[str]:
    """Say what is wrong with the journal of a run: with its lines, or beside its record and what is archived."""
    chain = journal_of(home, run)
    if not run.journal and not chain.lines:  # of a terp that kept none
        return []
    lines, head = run.journal.get("lines", 0), run.journal.get("head", "")
    wrong = chain.damage() or chain.unlike(lines, head, over=run.state in _OVER)
    if wrong:
        return [f"the journal of {run.id}: {wrong}"]
    archived = [entry["facts"] for entry in chain.entries() if entry["event"] == "archived"]
    held = [f"{run.id}: {said} since it was noted" for said in unlike_held(home, run, chain)]
    return [*held, *(said for facts in archived for said in _unlike_archived(home, chain, facts))]


def demand_as_noted(home: Home, run: RunRecord) -> None:
    """Raise BadRecord where what is kept of a run is not what its journal says: that is not archived."""
    chain = journal_of(home, run)
    wrong = [chain.damage()] if chain.damage() else unlike_held(home, run, chain)
    if wrong:
        raise BadRecord(
            f"what is kept of {run.id} is not as it was noted: {', '.join(wrong)}. Nothing is archived of it: run the "
            "same command again, which makes a new record of what is there"
        )


def _unlike_archived(home: Home, chain: Chain, facts: Mapping[str, str]) -> list[str]:
    """Hold what a journal says of an object against the object."""
    name = f"{facts['identifier']} {facts['version']}"
    try:
        found = Archive(home.archive).files(facts["identifier"], facts["version"])
        sums, there = found[CHECKSUMS].read_bytes(), Chain.of(found[JOURNAL].read_bytes())
    except (BadPackage, OSError, KeyError) as error:
        return [f"{name}: what the journal of its run was archived with is gone: {error}"]
    wrong = chain.unlike(len(there.lines), there.head, over=False)
    said = [f"{name}: its journal is not the one of its run: {wrong}"] if wrong else []
    if hashlib.sha512(sums).hexdigest() != facts["sha512"]:
        said.append(f"{name}: its {CHECKSUMS} is not the one that its run archived")
    return said


def signed_by(home: Home, identifier: str) -> str:
    """Return the fingerprint of the key that signed an object; "" where none did, or not what is there."""
    with suppress(BadKey, BadPackage, OSError, KeyError):
        found = Archive(home.archive).files(identifier)
        return signer(found[CHECKSUMS].read_bytes(), found[SIGNATURE].read_bytes())
    return ""


def damage_of_evidence(home: Home, identifier: str) -> list[str]:
    """Say what an object's own journal, checksums and signature tell of changes that its inventory does not show."""
    try:
        found = Archive(home.archive).files(identifier)
        wrong = [unlike_journal(found), _unsummed(home, identifier, found), _unsigned(found)]
    except (BadPackage, OSError, ValueError, KeyError) as error:
        return [f"{identifier}: its evidence cannot be read: {error!r}"]
    return [f"{identifier}: {one}" for one in wrong if one]


def unlike_journal(found: Mapping[str, Path]) -> str:
    """Say what is wrong with the journal in an object or crate, or with the code and decision that it has digests of.

    Of what is not among the files nothing is said. Raises OSError, ValueError, KeyError for what is none.
    """
    wrong = _unchained(found)
    if wrong or JOURNAL not in found:
        return wrong
    for name, digest in _noted(Chain.of(found[JOURNAL].read_bytes())).items():
        if name in found and blake3(found[name].read_bytes()).hexdigest() != digest:
            return f"{name} is not the one whose digest {JOURNAL} has: it was altered since it was noted"
    return ""


def _noted(chain: Chain) -> dict[str, str]:
    """Return what a journal says of the files of the crate that it lies in: digests by name."""
    kept: dict[str, str] = {}
    for digests in digests_of(chain):
        kept |= digests
    archiving = [entry["facts"] for entry in chain.entries() if entry["event"] == "archiving"]
    made: dict[str, str] = archiving[-1].get(IN_CRATE, {}) if archiving else {}
    return {name: kept[was] for name, was in _AS_NOTED.items() if was in kept} | made


def _unchained(found: Mapping[str, Path]) -> str:
    """Say what is wrong with an object's journal, which its crate knows the end of."""
    if METADATA not in found and IMPORTED in found:
        return ""  # others made it, and have no such journal
    head = journal_head(found[METADATA].read_bytes())
    if not head and JOURNAL not in found:
        return ""
    chain = Chain.of(found[JOURNAL].read_bytes())
    lines = chain.digests.index(head) + 1 if head in chain.digests else len(chain.lines)
    wrong = chain.damage() or chain.unlike(lines, head, over=True)
    return f"{JOURNAL}: {wrong}" if wrong else ""


def _unsummed(home: Home, identifier: str, found: Mapping[str, Path]) -> str:
    """Say which file is another by the checksums than by the inventory, which somebody may have made anew."""
    there, told = Archive(home.archive).digests(identifier), checksums(found[CHECKSUMS].read_text())
    differ = sorted(name for name in {*told, *there} - {CHECKSUMS, SIGNATURE} if told.get(name) != there.get(name))
    return f"by {CHECKSUMS} {', '.join(differ)} should be otherwise: it was altered, or put in" if differ else ""


def _unsigned(found: Mapping[str, Path]) -> str:
    if SIGNATURE not in found:
        return ""
    try:
        signer(found[CHECKSUMS].read_bytes(), found[SIGNATURE].read_bytes())
    except BadKey as bad:
        return f"{SIGNATURE}: {bad}"
    return ""
