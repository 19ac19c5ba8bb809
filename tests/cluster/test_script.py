"""The batch scripts: what the site asks for is in them, and nothing that is not SLURM's business."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from terp.cluster.errors import BadSite
from terp.cluster.jobs import clean_environment
from terp.cluster.script import Order, controller_script, memory_of, worker_script
from terp.cluster.site import load_site


def script(keys: Mapping[str, str]) -> str:
    site = load_site("testbed", keys)
    folder = Path("/home/r")
    return worker_script(Order(site, "r", folder, folder / "k", "tls://h:1", memory_of(site), "python3"))


def directives(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]


@pytest.mark.parametrize(
    ("flag", "there", "not_there"),
    [("mem", "--mem=2048M", "--mem-per-cpu"), ("mem-per-cpu", "--mem-per-cpu=1024M", "--mem="), ("none", "", "--mem")],
)
def test_memory_is_asked_for_as_the_site_wants_it(flag: str, there: str, not_there: str) -> None:
    found = directives(script({"memory_flag": flag}))
    assert not there or there in found
    assert not [one for one in found if one.startswith(not_there)]


def test_what_the_users_own_files_for_dask_jobqueue_say_is_not_in_it() -> None:
    import dask

    with dask.config.set({"jobqueue.slurm.job-extra-directives": ["--evil"], "jobqueue.slurm.interface": "ib9"}):
        text = script({})
    assert "evil" not in text
    assert "ib9" not in text


def test_folders_of_any_name_are_named_as_sbatch_reads_them() -> None:
    site, folder = load_site("testbed", {}), Path('/data/my runs/100%jobs "a"')
    text = worker_script(Order(site, "r", folder, folder / "k", "tls://h:1", memory_of(site), "python3"))
    assert '--output="/data/my runs/100%%jobs \\"a\\"/jobs/%x-%j.log"' in directives(text)


@pytest.mark.parametrize("end", ["\n", "\r"])
def test_a_folder_with_a_line_break_would_be_run_as_shell_and_is_refused(end: str) -> None:
    folder = Path(f"/home/me/runs{end}touch /tmp/harm")
    with pytest.raises(BadSite, match="has a line break in it"):
        worker_script(Order(load_site("testbed", {}), "r", folder, folder / "k", "tls://h:1", 1 << 30, "python3"))


def test_workers_look_for_modules_where_their_controller_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/scratch/my replay")
    assert "export PYTHONPATH='/scratch/my replay'" in script({"directives": '["--export=NONE"]'})
    monkeypatch.delenv("PYTHONPATH")
    assert "PYTHONPATH" not in script({})


def test_modules_prologue_account_and_flags_are_in_it() -> None:
    keys = {"modules": '["2023", "Python"]', "prologue": '["umask 077"]', "account": "farm", "directives": '["-x n9"]'}
    text = script(keys)
    assert "module load 2023\nmodule load Python\numask 077" in text
    assert {"-A farm", "-x n9", "--requeue", "--open-mode=append"} <= set(directives(text))


def test_a_job_of_a_run_that_is_over_does_nothing(tmp_path: Path) -> None:
    text = script({}).replace("seq 30", "seq 1").replace("python3 -m", "echo STARTED; exit 9 #")
    path = tmp_path / "job.sh"
    path.write_text(text)
    done = subprocess.run(["bash", path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert "the run that this job belongs to is over" in done.stderr
    assert "STARTED" not in done.stdout


def test_the_controllers_job_is_put_back_by_slurm_when_its_node_fails() -> None:
    site = load_site("testbed", {"controller.walltime": "10:00"})
    text = controller_script(site, "r", Path("/home/r"), ["terp", "run", "a b"], {"TERP_AGENT": "A. N. Other"})
    assert {"-J terp-r-controller", "--requeue", "-t 00:10:00"} <= set(directives(text))
    assert "\nterp run 'a b'\n" in text
    assert "export TERP_AGENT='A. N. Other'" in text


@pytest.mark.parametrize(("code", "asked"), [(75, 1), (0, 0), (69, 0)])
def test_a_controller_whose_time_was_up_is_put_back_by_its_script_and_no_other_is(
    tmp_path: Path, code: int, asked: int
) -> None:
    words = ["bash", "-c", f"exit {code}"]
    text = controller_script(load_site("testbed", {}), "r", tmp_path, words, {}).replace("sleep", ": sleep")
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho $* >> $0.log\nexit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash", "-c", text], env=environment, timeout=60)
    assert done.returncode == code
    log = tmp_path / "scontrol.log"
    assert (log.read_text().splitlines() if log.exists() else []) == ["requeue 7"] * 20 * asked


def test_jobs_are_not_told_what_an_outer_job_was_told_nor_any_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "1", "SBATCH_PARTITION": "x", "MY_API_TOKEN": "s", "MINE": "yes"}
    for name, value in {**given, "SLURM_CONF": "/etc/slurm.conf", "PREFECT_API_URL": "http://h"}.items():
        monkeypatch.setenv(name, value)
    found = clean_environment()
    assert found.keys() & {*given, "PREFECT_API_URL"} == {"MINE"}
    assert found["SLURM_CONF"] == "/etc/slurm.conf"
    assert found["PATH"] == os.environ["PATH"]


def test_importing_dask_jobqueue_does_not_take_the_users_interrupt() -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    script({})
    assert signal.getsignal(signal.SIGINT) is before
