"""A real SLURM of four nodes for the tests that use `bed`: slurm/testbed, brought up only where that is allowed."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
sys.path.insert(0, str(Path(__file__).parent))
import runs
from disturbed import FLOWS, PACE, TERP

SCRIPT = Path(__file__).resolve().parents[2] / "slurm/testbed/testbed.sh"
WHY_NOT = "needs a SLURM, and root: `make slurm-up`, or set TERP_SLURM=up where this machine may be changed"
NODES = ("n1", "n2", "n3", "n4")
ITS_OWN = {"node.sh", "lying.py", "slurmd"}  # what runs on a node without any job


@dataclass(frozen=True)
class Job:
    """A job that is not over: its number, name, state and node, and why it waits."""

    number: int
    name: str
    state: str
    node: str
    reason: str


class Bed:
    """The cluster, and what may befall it. Every call has a time limit."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.folder = Path(environment["SLURM_TESTBED"])
        self.host = self.environment["SLURM_TESTBED_HOST"]
        """The address at which nodes reach this machine."""
        self.shared = Path(self.environment["SLURM_TESTBED_SHARED"])
        """A folder that this machine and the nodes share, and that can lie."""
        self.scratch = Path(self.environment["SLURM_TESTBED_SCRATCH"])
        """Another, of 64 MB, that never lies."""

    def ask(self, *words: str | Path, check: bool = True, timeout: float = 30) -> str:
        """What a command prints, without the last line break; with `check`, its failure fails the test."""
        done = subprocess.run(
            words, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=timeout
        )
        assert not check or done.returncode == 0, f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def command(self, *words: str, timeout: float = 60) -> str:
        """What testbed.sh prints."""
        return self.ask(SCRIPT, *words, timeout=timeout)

    def kill_node(self, node: str) -> None:
        """Cut a node's power."""
        self.command("kill-node", node)

    def start_node(self, node: str) -> None:
        """Switch a node on; its jobs are lost by then."""
        self.command("start-node", node)

    def partition(self, node: str) -> None:
        """Cut a node's network."""
        self.command("partition", node)

    def heal(self, node: str) -> None:
        """Put a node's cable back."""
        self.command("heal", node)

    def lost(self, node: str) -> None:
        """Tell slurmctld that a node is lost, which it finds out by itself in half a minute."""
        self.command("lost", node)

    def ctld_down(self) -> None:
        """Stop slurmctld; jobs go on."""
        self.command("ctld-down")

    def ctld_up(self) -> None:
        """Start slurmctld."""
        self.command("ctld-up")

    def lie(self, *words: str) -> None:
        """Make the shared folder lie: `late=5` (seconds), `sync=0.1`, `names=0.1` (rates); "off" ends it."""
        self.command("lie", *words)

    def fill(self) -> None:
        """Leave no byte free in the scratch folder."""
        self.command("fill")

    def empty(self) -> None:
        """Remove all that is in the scratch folder."""
        self.command("empty")

    def mend(self) -> None:
        """End all faults, and wait until all nodes may be used."""
        self.command("mend", timeout=120)

    def on(self, node: str, *words: str | Path, check: bool = True, timeout: float = 30) -> str:
        """What a command prints that is run on a node, as by ssh."""
        return self.ask(SCRIPT, "on", node, *words, check=check, timeout=timeout)

    def sbatch(self, *words: str | Path) -> int:
        """The number of the job that is submitted."""
        return int(self.ask("sbatch", "--parsable", "--output=/dev/null", *words))

    def out_of_time(self, job: int, seconds: int = 1) -> None:
        """Let a job's time be over soon: it ends when slurmctld looks next, which is each 30 s, as TIMEOUT."""
        self.ask("scontrol", "update", f"jobid={job}", f"EndTime=now+{seconds}")

    def jobs(self) -> list[Job]:
        """All jobs that are not over."""
        lines = self.ask("squeue", "-h", "-r", "-o", "%A|%j|%T|%N|%r").splitlines()
        return [Job(int(number), *rest) for number, *rest in (line.split("|") for line in lines)]

    def state(self, job: int) -> str:
        """The state of a job, which slurmctld remembers for minutes after its end."""
        shown = self.ask("scontrol", "show", "job", "--oneliner", str(job))
        return next(word for word in shown.split() if word.startswith("JobState=")).removeprefix("JobState=")

    def wait(self, job: int, *states: str, seconds: float = 20) -> str:
        """Wait until a job is in one of some states."""
        end = time.monotonic() + seconds
        while (state := self.state(job)) not in states:
            assert time.monotonic() < end, f"job {job} is {state} after {seconds} s, not {' or '.join(states)}"
            time.sleep(0.05)
        return state

    def processes(self) -> dict[int, str]:
        """What runs on the nodes for jobs: number (as outside the nodes) and command line."""
        spaces = {space for node in NODES if (space := self.space(self.first(node)))}
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            if self.space(folder.name) in spaces:
                words = read(folder / "cmdline").split("\0")
                if not ITS_OWN & {Path(word).name for word in words[:2]}:
                    found[int(folder.name)] = " ".join(words).strip()
        return {number: line for number, line in found.items() if line}

    def first(self, node: str) -> int | None:
        """The number, outside, of a node's first process, if it is on."""
        text = read(self.folder / f"run/{node}.pid")
        return int(text) if text else None

    def space(self, number: str | int | None) -> str:
        """The name space of process numbers that a process is in, if it still runs."""
        try:
            return os.readlink(f"/proc/{number}/ns/pid")
        except OSError:
            return ""

    def leftovers(self) -> list[str]:
        """Jobs that are not over, and processes of jobs."""
        jobs = [f"job {job.number} {job.name}: {job.state}" for job in self.jobs()]
        return jobs + [f"process {number}: {line}" for number, line in self.processes().items()]

    def tidy(self, before: set[int]) -> None:
        """End the faults, cancel all jobs but those that were there before, and end what they left."""
        self.mend()
        mine = {str(job.number) for job in self.jobs()} - {str(number) for number in before}
        if mine:
            self.ask("scancel", *mine)
        end = time.monotonic() + 20
        while not before and (left := self.leftovers()):
            assert time.monotonic() < end, f"these do not end: {left}"
            for number, line in self.processes().items():
                if not line.startswith("slurmstepd"):
                    kill(number)
            time.sleep(0.1)
        for folder in (self.folder / "truth").glob("test-*"):
            shutil.rmtree(folder)


def read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def kill(number: int) -> None:
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the bed: tests of two sessions would cut each other's nodes off."""
    with (folder / "run/tests.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def running_bed() -> Iterator[Bed]:
    """The cluster, brought up and taken down if it was not there and TERP_SLURM=up allows that."""
    up = subprocess.run([SCRIPT, "status"], capture_output=True, timeout=60).returncode == 0
    if os.geteuid() != 0 or (not up and os.environ.get("TERP_SLURM") != "up"):
        pytest.skip(WHY_NOT)
    if not up:
        done = subprocess.run([SCRIPT, "up"], capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
    shown = subprocess.run([SCRIPT, "env"], capture_output=True, text=True, timeout=10, check=True).stdout
    bed = Bed(dict(word.split("=", 1) for word in shown.split() if "=" in word))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bed.environment.items():
            patch.setenv(name, value)
        yield bed
    if not up:
        with alone(bed.folder):
            subprocess.run([SCRIPT, "down"], check=True, capture_output=True, timeout=120)


@pytest.fixture
def bed(running_bed: Bed) -> Iterator[Bed]:
    """The cluster, whole and for this test alone; afterwards its jobs are cancelled and its faults ended."""
    with alone(running_bed.folder):
        before = {job.number for job in running_bed.jobs()}
        yield running_bed
        running_bed.tidy(before)


@pytest.fixture
def common_path(bed: Bed) -> Path:
    """A folder of the test's own that this machine and all nodes see, below `bed.shared`."""
    return Path(tempfile.mkdtemp(prefix="test-", dir=bed.shared))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect: dict[str, str]) -> dict[str, bytes]:
    """The bytes of a run on this machine alone, that nothing disturbs."""
    home = tmp_path_factory.mktemp("undisturbed")
    done = subprocess.run(
        [TERP, "run", f"{FLOWS}:departures", "--set", f"seconds={PACE}", "--no-archive", "--workers", "8"],
        env=runs.environment(home, prefect),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return runs.products(home)
