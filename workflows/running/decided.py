"""The decision under which the results of a run are archived: found before anything is computed, kept with the run."""

import os
from datetime import date
from pathlib import Path

from terp.storage import files
from terp.storage.archive.policy import POLICY, Policy
from terp.storage.archive.terms import First, Terms
from terp.storage.errors import BadPolicy
from terp.storage.home import Home
from terp.workflows.running.held import FOLDER, hold
from terp.workflows.running.record import RunRecord

SETTING = "TERP_POLICY"
UNDECIDED = (
    "nobody has decided what may be done with it: write a policy (`terp policy new`), "
    "then `terp archive {} --policy FILE`"
)


def policy_file(home: Home, given: Path | None = None) -> Path | None:
    """Return the file that decides: the one given, else what TERP_POLICY names, else the home's own; None: no such."""
    named = given or (Path(os.environ[SETTING]).expanduser() if os.environ.get(SETTING) else None)
    own = home.root / POLICY
    return named or (own if own.exists() else None)


def decide(home: Home, given: Path | None = None) -> bytes:
    """Return the policy that holds now, whole and without anything against it; b"" where there is none.

    Raises BadPolicy with all that is missing or in its way, DiskTrouble where it cannot be read.
    """
    path = policy_file(home, given)
    if path is None:
        return b""
    with files.disk(path):
        data = path.read_bytes()
    demand(Policy.parse(data, str(path)), str(path))
    return data


def demand(policy: Policy, name: str, more: tuple[str, ...] = ()) -> None:
    """Raise BadPolicy where something is against archiving under a policy today."""
    today = date.today()  # noqa: DTZ011 (a term ends on a day of this place)
    of_today = Terms(policy, First(today, today))  # of what is made now; the archive asks again of what was made before
    if against := dict.fromkeys((*policy.objections(today), *of_today.over(today), *more)):
        raise BadPolicy(f"nothing can be archived under {name}:\n" + "\n".join(f"  {one}" for one in against))


def keep_decision(home: Home, run: RunRecord, policy: bytes, anew: bool = False) -> None:
    """Keep the policy with a run that begins; a run that goes on has its own already, unless it is decided `anew`."""
    if policy and (anew or not decision_of(home, run)):
        facts = Policy.parse(policy).facts()
        hold(home, run, {f"{FOLDER}/{POLICY}": policy}, event="policy chosen", policy=facts)


def decision_of(home: Home, run: RunRecord) -> bytes:
    """Return the policy that was kept with a run; b"" where there was none."""
    path = run.folder(home) / FOLDER / POLICY
    with files.disk(path):
        return path.read_bytes() if path.exists() else b""
