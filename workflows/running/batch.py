"""The controller itself as a job: it is put back into the queue before its time is up, and goes on, unwatched."""

import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from terp.cluster.errors import NoProgress
from terp.cluster.jobs import Slurm
from terp.cluster.script import controller_script
from terp.cluster.site import Site
from terp.storage import files
from terp.storage.home import Home
from terp.workflows.running.record import RunRecord
from terp.workflows.running.where import requeue_this
from terp.workflows.running.who import SETTINGS

_HANDED_ON = (*SETTINGS, "TERP_SIGNING_KEY", "PREFECT_API_URL")
_IN_VAIN = 3  # starts without any region done, before it is given up
_PATIENCE = 120.0  # seconds until SLURM ends a job that was put back


def submit(home: Home, record: RunRecord, site: Site, words: list[str]) -> str:
    """Submit the controller of a run as a job; `words` are those of `terp run` that name flow, inputs and settings.

    Returns the job's id; raises SlurmRefused.
    """
    folder = record.folder(home)
    command = [
        sys.executable,
        "-m",
        "terp.workflows.cli",
        "--home",
        str(home.root),
        "run",
        "--as-run",
        record.id,
        *words,
    ]
    kept = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    script = folder / "jobs" / "controller.sh"
    with files.disk(script):
        script.parent.mkdir(0o700, exist_ok=True)  # parameters stand in it as they were given
        script.write_text(controller_script(site, record.id, folder, command, kept))
    record.submitted, record.state, record.site = True, "submitted", site.name
    record.note(home, "submitted", site=site.name)
    record.save(home)
    record.job = Slurm().submit(script)[0]
    record.save(home)
    return record.job


def demand_progress(record: RunRecord) -> None:
    """Raise NoProgress where start after start came to the end of its time with all still to be made.

    Each would cost as much again, and nobody is watching.
    """
    earlier = record.attempts[-1 - _IN_VAIN : -1]
    if len(earlier) == _IN_VAIN and all(
        one.get("walled") and one.get("left") == record.attempts[-1]["left"] for one in earlier
    ):
        raise NoProgress(
            f"{_IN_VAIN} starts of this controller ended with their time and without one region done: its workers wait "
            "in the queue, or a region takes, longer than that. Set the site's `controller.walltime`, and submit again"
        )


def words_of(
    target: str, inputs: tuple[str, ...], settings: Mapping[str, Any], options: Mapping[str, Any]
) -> list[str]:
    """Return the words of a command line that say the same again."""
    import json

    said = [target, *inputs]
    said += [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    for name, value in options.items():
        if value is True:
            said.append(name)
        elif isinstance(value, tuple | list):
            said += [word for one in value for word in (name, str(one))]
        elif value not in (None, False, ""):
            said += [name, str(value)]
    return said


def go_on_later(run: RunRecord, reporter: Any) -> None:
    """Put the job of a submitted run back into the queue and wait to be ended; return only where that is not done."""
    if not run.submitted:
        return
    trouble = requeue_this(reporter.warn)
    if trouble:
        reporter.warn(f"this job cannot be put back into the queue ({trouble}): submit the same command again")
        return
    reporter.say("this job is put back into the queue; it goes on when SLURM starts it again")
    time.sleep(_PATIENCE)
