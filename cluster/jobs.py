"""SLURM's commands: typed in, typed out, each with a time limit, and counted, as slurmctld serves everybody.

Jobs are looked at with `squeue`, all of a run in one call; what it has forgotten is asked of `sacct`. Fields are named
one by one: `squeue --json` of SLURM 22.05 ignores every filter and sends all jobs of a site, and changes its
shape from release to release (docs/decisions/009).
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from terp.cluster.errors import NoSlurm, SlurmAway, SlurmRefused
from terp.cluster.words import refusal

TIME_LIMIT = 30.0  # seconds for any one command
_KILLED = 1.0  # seconds for what was killed to be gone; a file system that hangs may hold it for longer
PATIENCE = 600.0  # seconds that a SLURM which does not answer is waited for by what cannot begin without
_FIELDS = ("%A", "%i", "%j", "%T", "%S", "%e", "%C", "%N", "%u", "%k", "%r")  # the reason last: it is free text
_BAR = "\x1f"  # between fields: names and comments of jobs may hold anything that can be typed
_PAST = ("JobID", "JobIDRaw", "State", "ExitCode", "Start", "End", "AllocCPUS", "NodeList")

WAITING = frozenset(["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"])
THERE = frozenset(["RUNNING", "SIGNALING", "STAGE_OUT", "STOPPED", "RESIZING", "SUSPENDED"])
HELD = frozenset(["REQUEUE_HOLD", "SPECIAL_EXIT"])
LEAVING = frozenset(["COMPLETING"])

_AWAY = re.compile(
    r"Unable to contact slurm controller|Socket timed out|Connection refused|Zero Bytes|backup controller|"
    r"Connection timed out|No route to host|Unexpected message received|Transport endpoint|Unable to contact",
    re.IGNORECASE,
)
# Limits that others, or other jobs of the same user, may use up for now; a limit of time is not one of them.
_MAY_PASS = re.compile(
    r"job submit limit|Max(Submit)?Jobs|(QOS|Assoc)\w*Limit|temporarily|try again|busy", re.IGNORECASE
)
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|AUTH_STRING|API_KEY|ACCESS_KEY|PRIVATE", re.IGNORECASE)


@dataclass(frozen=True)
class Job:
    """A job, or one task of a job array, as SLURM told of it last.

    `id` is what people type ("12" or "12_3"), `raw` the number that its own files and processes carry; times are
    seconds since the epoch, or None where they are not known.
    """

    id: str
    raw: str
    name: str
    state: str
    start: float | None = None
    end: float | None = None
    cores: int = 0
    nodes: str = ""
    user: str = ""
    reason: str = ""
    exit_code: str = ""
    comment: str = ""

    @property
    def held(self) -> bool:
        """Whether SLURM could not start it and will not try again."""
        return self.waits and (self.state in HELD or self.reason.startswith("launch failed"))

    @property
    def waits(self) -> bool:
        """Whether it has yet to start, for the first time or again."""
        return self.state in WAITING

    @property
    def runs(self) -> bool:
        """Whether it has its nodes."""
        return self.state in THERE

    @property
    def over(self) -> bool:
        """Whether it has ended for good."""
        return not (self.waits or self.runs or self.state in LEAVING)


def clean_environment() -> dict[str, str]:
    """Return this environment for SLURM's commands and what they start.

    Without what SLURM told a job that we may be in, which would change what a nested sbatch asks for; without what
    looks like a secret, as SLURM keeps the environment of jobs; and without Prefect's, of which workers know nothing.
    """
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH_", "SALLOC_", "SRUN_", "PREFECT_"))
    }
    kept = {
        k: v
        for k, v in kept.items()
        if not k.startswith(("SQUEUE_", "SACCT_", "SCANCEL_", "PMI_")) and not _SECRET.search(k)
    }
    return kept | {k: os.environ[k] for k in ("SLURM_CONF",) if k in os.environ}


class Slurm:
    """The commands of one SLURM; `calls` counts how often each was used."""

    def __init__(self, time_limit: float = TIME_LIMIT) -> None:
        self.time_limit = time_limit
        self.calls: dict[str, int] = {}

    def submit(self, script: Path, tasks: int = 1, hold_at: Sequence[str] = ()) -> list[str]:
        """Submit a batch script, more than once as one job array; return the ids of the jobs.

        Raises SlurmRefused with the reason in words, or SlurmAway: then jobs may or may not have been made.
        """
        array = [f"--array=0-{tasks - 1}"] if tasks > 1 else []
        told = self._call("sbatch", "--parsable", *array, *hold_at, str(script))
        numbers = re.findall(r"^(\d+)(?:;.*)?$", told, re.MULTILINE)  # sites have sbatch say more than that
        if not numbers:
            raise SlurmAway(f"SLURM's sbatch did not say which job it made, but {told.strip()[:80]!r}")
        number = numbers[-1]
        return [f"{number}_{task}" for task in range(tasks)] if tasks > 1 else [number]

    def would_accept(self, script: Path) -> str:
        """Ask whether a script would be accepted; return what is wrong with it, in words, or ""."""
        try:
            self._call("sbatch", "--test-only", str(script))
        except SlurmRefused as refused:
            return str(refused)
        return ""

    def look(self, names: Iterable[str] = (), everybody: bool = False) -> dict[str, Job]:
        """Return the jobs of these names (default: all) by id, as `squeue` knows them; jobs long over are not there."""
        named = [f"--name={','.join(names)}"] if names else []
        whose = [] if everybody else [f"--user={os.geteuid()}"]
        fields = f"--format={_BAR.join(_FIELDS)}"
        try:
            told = self._call("squeue", "--noheader", "--array", "--states=all", *whose, *named, fields)
        except NoSlurm:
            raise
        except SlurmRefused as odd:  # a look asks for nothing that could be refused
            raise SlurmAway(str(odd)) from odd
        return {job.id: job for line in told.splitlines() if (job := _queued(line))}

    def past(self, ids: Iterable[str]) -> dict[str, Job]:
        """Return what the accounting knows of jobs, each as it ended last; nothing where there is no accounting."""
        wanted = ",".join(ids)
        try:
            told = self._call("sacct", "-X", "-n", "-P", "-D", f"--format={','.join(_PAST)}", "-j", wanted)
        except (SlurmRefused, SlurmAway):
            return {}
        return {job.id: job for line in told.splitlines() if (job := _ended(line))}

    def exit_codes(self, ids: Iterable[str]) -> dict[str, str]:
        """Return how jobs that ended lately have ended, as "code:signal"; the accounting learns of that later."""
        asked = (f"--jobs={','.join(ids)}", "--Format=JobArrayID:64,exit_code:16")
        try:
            told = self._call("squeue", "--noheader", "--array", "--states=all", *asked)
        except (SlurmRefused, SlurmAway):
            return {}
        pairs = (line.split() for line in told.splitlines())
        return {pair[0]: _code(int(pair[1])) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}

    def usage(self, ids: Iterable[str], fields: Sequence[str]) -> list[dict[str, str]]:
        """Return rows of the accounting, of jobs, their steps and all their restarts; raises when there is none."""
        told = self._call("sacct", "-n", "-P", "-D", f"--format={','.join(fields)}", "-j", ",".join(ids))
        return [dict(zip(fields, line.split("|"), strict=False)) for line in told.splitlines()]

    def cancel(self, ids: Iterable[str]) -> None:
        """End jobs; that one has ended already, or cannot be ended now, is no matter: who asked looks again."""
        wanted = list(ids)
        for start in range(0, len(wanted), 500):
            try:
                self._call("scancel", "--quiet", *wanted[start : start + 500])
            except NoSlurm:
                raise
            except SlurmRefused:
                pass

    def patiently[T](self, asked: Callable[[], T], tell: Callable[[str], None], patience: float = PATIENCE) -> T:
        """Return what SLURM answers, asking again for a while where it does not answer; raises SlurmAway then."""
        deadline, pause, told = time.monotonic() + patience, 1.0, False
        while True:
            try:
                return asked()
            except SlurmAway as away:
                if time.monotonic() + pause > deadline:
                    raise
                if not told:
                    tell(f"{away}; it is asked again for {patience:.0f} s")
                    told = True
            time.sleep(pause)
            pause = min(2 * pause, 30.0)

    def requeue(self, job: str) -> None:
        """Have a running job start anew later; it is ended for that."""
        self._call("scontrol", "requeue", job)

    def nodes(self, partition: str) -> set[str]:
        """Return the nodes of a partition that can run jobs; none where SLURM does not tell."""
        usable = "--states=idle,mixed,allocated"
        try:
            return set(self._call("sinfo", "-h", "-N", "-r", usable, f"--partition={partition}", "--format=%N").split())
        except (SlurmRefused, SlurmAway):
            return set()

    def config(self) -> Mapping[str, str]:
        """Return the settings of this SLURM, by name."""
        pairs = (line.partition("=") for line in self._call("scontrol", "show", "config").splitlines())
        return {name.strip(): value.strip() for name, equals, value in pairs if equals}

    def ask(self, *command: str) -> str:
        """Run another of SLURM's commands."""
        return self._call(*command)

    def _call(self, *command: str) -> str:
        self.calls[command[0]] = self.calls.get(command[0], 0) + 1
        try:
            code, told, said = _run(command, self.time_limit)
        except FileNotFoundError:
            raise NoSlurm(
                f"there is no `{command[0]}` here: run this where SLURM's commands are, or without --site"
            ) from None
        except OSError as error:  # no process more, a stale file handle: this machine, and for now
            raise SlurmAway(f"SLURM's {command[0]} cannot be started ({error.strerror})") from None
        except subprocess.TimeoutExpired:
            raise SlurmAway(f"SLURM's {command[0]} gave no answer in {self.time_limit:.0f} s") from None
        if code:
            said = said.strip() or told.strip() or f"exit code {code}"
            if _AWAY.search(said):
                raise SlurmAway(f"SLURM's controller does not answer ({said.splitlines()[-1]})")
            raise SlurmRefused(refusal(command[0], said), may_pass=bool(_MAY_PASS.search(said)))
        return told or said


def _run(command: Sequence[str], time_limit: float) -> tuple[int, str, str]:
    """Run a command; return its exit code and words. All that it has started ends with the time limit.

    It is in a session of its own: sites put scripts around SLURM's commands, whose children would go on; and Ctrl-C
    at the terminal is for us, it must not end an sbatch or scancel half way.
    """
    process = subprocess.Popen(
        command,
        env=clean_environment() | {"SLURM_TIME_FORMAT": "%s", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        told, said = process.communicate(timeout=time_limit)
    except BaseException:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_KILLED)
        raise
    return process.returncode, told, said


def own_job() -> str:
    """Return the id of the job that this process runs in, as people type it; "" outside of any."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def _queued(line: str) -> Job | None:
    told = line.split(_BAR)
    if len(told) != len(_FIELDS):
        return None
    raw, shown, name, state, start, end, cores, nodes, user, comment, reason = told
    times, many = (_time(start), _time(end)), int(cores) if cores.isdigit() else 0
    return Job(shown, raw, name, state, *times, many, nodes, user, reason, comment=comment)


def _ended(line: str) -> Job | None:
    told = line.split("|")
    if len(told) < len(_PAST) or "[" in told[0]:
        return None
    shown, raw, state, code, start, end, cores, nodes = told
    return Job(shown, raw, "", state.split(" ")[0], _time(start), _time(end), int(cores or 0), nodes, exit_code=code)


def _code(status: int) -> str:
    """Return the status that `wait` gives of a process as SLURM writes it elsewhere."""
    return f"{status >> 8 & 0xFF}:{status & 0x7F}"


def _time(text: str) -> float | None:
    """Return seconds since the epoch; `squeue` may not know SLURM_TIME_FORMAT and gives local time then."""
    if text.isdigit():
        return float(text)
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        return None
