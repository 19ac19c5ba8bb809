"""SLURM's commands, when what they say is odd: a stand-in on the path says it."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from terp.cluster.errors import NoSlurm, SlurmAway, SlurmRefused
from terp.cluster.jobs import Slurm


class Commands:
    """Commands that a test writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, *lines: str) -> None:
        """Make a command of some lines of shell."""
        path = self.folder / name
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Commands(tmp_path)


def line(*fields: str) -> str:
    return "printf '" + r"\037".join(fields) + r"\n'"


def fields(number: str, name: str, cores: str = "2") -> tuple[str, ...]:
    return number, number, name, "RUNNING", "1000", "2000", cores, "n1", "me", "a comment", "None"


@pytest.mark.parametrize("name", ["a|b|c", "two words", r"\377\376", "ünï"])
def test_a_job_of_any_name_is_seen_and_hides_no_other(commands: Commands, name: str) -> None:
    commands.write("squeue", line(*fields("7", name)), line(*fields("8", "terp-run")))
    assert set(Slurm().look()) == {"7", "8"}


def test_a_line_that_makes_no_sense_is_passed_over(commands: Commands) -> None:
    commands.write("squeue", "echo squeue: some warning", line("9", "9"), line(*fields("8", "x", "N/A")))
    [job] = Slurm().look().values()
    assert (job.id, job.cores) == ("8", 0)


@pytest.mark.parametrize(
    "said",
    [
        "squeue: fatal: Could not establish a configuration source",
        "slurm_load_jobs error: Protocol authentication error",
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
    ],
)
def test_a_look_that_fails_is_one_to_be_had_again(commands: Commands, said: str) -> None:
    commands.write("squeue", f"echo '{said}' >&2; exit 1")
    with pytest.raises(SlurmAway):
        Slurm().look()


def test_a_machine_without_slurm_is_told_so_at_once(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(commands.folder))
    with pytest.raises(NoSlurm, match="there is no `squeue` here"):
        Slurm().patiently(Slurm().look, pytest.fail)


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        ("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)", True),
        ("Resource temporarily unavailable", True),
        ("Requested time limit is invalid (missing or exceeds some limit)", False),
        ("Invalid job array specification", False),
        ("Invalid partition name specified", False),
    ],
)
def test_what_may_pass_is_known_from_what_will_not(commands: Commands, said: str, passes: bool) -> None:
    commands.write("sbatch", f'echo "sbatch: error: Batch job submission failed: {said}" >&2; exit 1')
    with pytest.raises(SlurmRefused) as refused:
        Slurm().submit(commands.folder / "job.sh")
    assert refused.value.may_pass == passes


def test_a_slurm_that_is_away_for_a_moment_is_waited_for_and_that_is_told(commands: Commands) -> None:
    count = commands.folder / "count"
    answered = f"[ -e {count} ] && exit 0; touch {count}; echo 'Unable to contact slurm controller' >&2; exit 1"
    commands.write("squeue", answered)
    told: list[str] = []
    slurm = Slurm()
    assert slurm.patiently(slurm.look, told.append) == {}
    assert "does not answer" in told[0]
    with pytest.raises(SlurmAway):
        slurm.patiently(lambda: commands.write("squeue", "exit 1") or slurm.look(), told.append, patience=0.5)


def test_nothing_is_left_of_a_command_that_gave_no_answer_nor_of_what_it_started(commands: Commands) -> None:
    commands.write("squeue", f"sleep 300 & echo $! >{commands.folder}/child; wait")
    with pytest.raises(SlurmAway, match="gave no answer in 1 s"):
        Slurm(time_limit=1.0).look()
    with suppress(psutil.NoSuchProcess):
        left = psutil.Process(int((commands.folder / "child").read_text()))
        assert left.status() == psutil.STATUS_ZOMBIE


def test_an_interrupt_at_the_terminal_does_not_end_what_slurm_is_being_told(commands: Commands) -> None:
    commands.write("scancel", f"ps -o pgid= -p $$ >{commands.folder}/group")
    Slurm().cancel(["7"])
    group = int((commands.folder / "group").read_text())
    assert group != os.getpgrp(), f"which the terminal sends {signal.SIGINT.name}"


@pytest.mark.parametrize(
    ("said", "number"), [("12", "12"), ("12;cluster", "12"), ("Welcome to the 3 clusters\n12\nYour budget: 7 h", "12")]
)
def test_the_number_of_a_job_is_found_among_what_a_site_says_beside(commands: Commands, said: str, number: str) -> None:
    commands.write("sbatch", f"printf '{said}'")
    assert Slurm().submit(commands.folder / "job.sh") == [number]


def test_an_sbatch_that_does_not_say_which_job_it_made_is_like_one_without_an_answer(commands: Commands) -> None:
    commands.write("sbatch", "true")
    with pytest.raises(SlurmAway, match="did not say which job"):
        Slurm().submit(commands.folder / "job.sh")
