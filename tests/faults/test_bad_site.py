"""Bad sites: what the disk, the permissions, the limits, the server and the user's own hand do to a run.

The runs that are killed or limited have a process of their own; they go on while other tests do.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from saying import FLOWS, TERP, Said, Say, command, holds, nothing_half_written, state

PATIENCE = 120  # seconds in which a run has to say that its workers die
NOWHERE = "http://127.0.0.1:9/api"
LIMITS = (400, 900)  # KiB: less than terp.zip has, and more, but less than the largest shard
POWERLESS = "-dac_override,-dac_read_search"


def powerless() -> list[str]:
    """The words before a command that is to be held to permissions, even for root."""
    if os.geteuid() != 0:
        return []
    words = ["setpriv", f"--bounding-set={POWERLESS}", f"--inh-caps={POWERLESS}", "--"]
    if not shutil.which("setpriv") or subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("root may read and write anything here, and setpriv cannot change that")
    return words


def mounted(options: str, script: str, home: Path, prefect: dict[str, str]) -> Said:
    """Run a script of shell where TERP_HOME is a small file system of its own that nobody else sees."""
    home.mkdir()
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", home], capture_output=True).returncode:
        pytest.skip("needs to mount a file system of its own, as root may with unshare(1)")
    text = f"mount -t tmpfs -o {options} tmpfs {home}; {script}"
    return command("unshare", "-m", "bash", "-c", text, home=home, prefect=prefect)


def test_a_home_that_is_a_file_is_called_that(say: Say, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.touch()
    for words in (["plan", "climatology"], ["run", "climatology"], ["ls"], ["status"]):
        holds(say(*words), 74, f"{home} is a file: TERP_HOME (or --home) has to name a folder")
    monkeypatch.setenv("TERP_HOME", str(home / "below"))
    holds(say("plan", "climatology"), 74, str(home), "a file stands where a folder should be", "another TERP_HOME")
    monkeypatch.setenv("TERP_HOME", "/dev/full")
    holds(say("plan", "climatology"), 74, "/dev/full is a file")


def test_a_source_that_may_not_be_read_is_named(home: Path, prefect: dict[str, str], sources: Path) -> None:
    secret = shutil.copy(sources / "sea.nc", home.with_name("secret.nc"))
    secret.chmod(0)
    said = command(*powerless(), TERP, "plan", "climatology", str(secret), home=home, prefect=prefect)
    holds(said, 65, f"{secret} can't be opened (Permission denied)")


def test_a_home_that_may_not_be_written_is_named(home: Path, prefect: dict[str, str]) -> None:
    home.mkdir(mode=0o500)
    said = command(*powerless(), TERP, "plan", "climatology", home=home, prefect=prefect)
    holds(said, 74, str(home), "you may not read or write there", "choose another TERP_HOME")


def test_a_home_on_a_read_only_file_system_is_named(home: Path, prefect: dict[str, str]) -> None:
    said = mounted("ro", f"{TERP} plan climatology", home, prefect)
    holds(said, 74, str(home), "the file system is read-only: choose another TERP_HOME")


def test_a_home_without_room_for_a_folder_is_named(home: Path, prefect: dict[str, str]) -> None:
    said = mounted("nr_inodes=3", f"{TERP} plan climatology", home, prefect)
    holds(said, 74, str(home), "the disk is full: free space or choose another TERP_HOME")


def test_an_output_that_is_full_is_told(home: Path, prefect: dict[str, str]) -> None:
    holds(command("bash", "-c", f"{TERP} ls > /dev/full", home=home, prefect=prefect), 74, "the disk is full")


def interrupted(number: signal.Signals, home: Path, prefect: dict[str, str]) -> Said:
    """Send a signal to a run that is at work; look which of its workers are left."""
    environment = {**os.environ, **prefect, "TERP_HOME": str(home)}
    words = [TERP, "run", f"{FLOWS}:departures", "--no-archive", "--workers", "1"]
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while process.poll() is None and not any(
            path.stat().st_size for path in home.glob("products/slow-*/ledger/*.rows")
        ):
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        out, err = process.communicate(timeout=100)
    return Said(process.returncode, out, err, len(psutil.wait_procs(children, timeout=20)[1]))


@pytest.fixture(scope="module", autouse=True)
def runs(tmp_path_factory: pytest.TempPathFactory, prefect: dict[str, str]) -> Iterator[dict[str, Future[Said]]]:
    """Runs that go on while other tests do, one after the other; each in a home of its own name."""
    base = tmp_path_factory.getbasetemp()
    killing = [TERP, "run", f"{FLOWS}:killing", "--workers", "1"]
    nowhere = [TERP, "run", "climatology", "--workers", "1"]
    limited = {most: ["bash", "-c", f"ulimit -f {most}; exec {TERP} run climatology --workers 1"] for most in LIMITS}
    with ThreadPoolExecutor(1) as pool:
        begun = {
            number.name: pool.submit(interrupted, number, base / number.name, prefect)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        for most, words in limited.items():
            begun[f"limited-{most}"] = pool.submit(command, *words, home=base / f"limited-{most}", prefect=prefect)
        begun["nowhere"] = pool.submit(command, *nowhere, home=base / "nowhere", prefect={"PREFECT_API_URL": NOWHERE})
        begun["killing"] = pool.submit(command, *killing, home=base / "killing", prefect=prefect)
        yield begun
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def ended(
    runs: dict[str, Future[Said]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Said, Path]]:
    """A run that has ended: what it said, and its home."""
    return lambda name: (runs[name].result(), tmp_path_factory.getbasetemp() / name)


Ended = Callable[[str], tuple[Said, Path]]


def test_a_disk_that_fills_up_in_a_run_is_told_and_with_room_the_same_run_goes_on(
    home: Path, prefect: dict[str, str]
) -> None:
    run = f"{TERP} run climatology --workers 1"
    look = f"echo; find {home}/products/*/attempts/* {home}/products/.new-* {home}/runs/*/package 2>/dev/null"
    more = f"mount -o remount,size=64m {home}"
    said = mounted("size=1m", f"{run}; echo ended with $?; {look}; {more}; {run}", home, prefect)
    holds(said, 0, "the disk is full: free space or choose another TERP_HOME, then do the same again")
    before, _, after = said.out.partition("archived as")
    assert before.startswith("ended with 74\n\nrun climatology-"), "nothing half-written is found between the two"
    assert "look at it: terp show" in after


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_run_that_is_interrupted_says_how_to_go_on_and_leaves_no_worker(ended: Ended, name: str) -> None:
    said, home = ended(name)
    holds(said, 130, "stopped; what is recorded stays, the same command goes on")
    assert said.left == 0
    assert state(home) == "cancelled"
    nothing_half_written(home)


@pytest.mark.parametrize("most", LIMITS)
def test_a_file_that_may_not_grow_is_told_be_it_of_the_run_or_of_a_product(ended: Ended, most: int) -> None:
    said, home = ended(f"limited-{most}")
    assert bool(list(home.glob("products/*"))) == (most == LIMITS[1])
    holds(said, 74, str(home), "the file would be larger than is allowed here (see `ulimit -f`)")
    assert state(home) == "failed"
    nothing_half_written(home)


def test_a_prefect_server_that_is_not_there_is_named(ended: Ended) -> None:
    said, home = ended("nowhere")
    holds(said, 69, f"the Prefect server at {NOWHERE} (PREFECT_API_URL) can't be used", "unset PREFECT_API_URL")
    assert list(home.glob("products/*")) == []


def test_a_stage_that_kills_its_workers_is_told_in_time(ended: Ended) -> None:
    began = time.monotonic()
    said, home = ended("killing")
    assert time.monotonic() - began < PATIENCE
    holds(said, 70, "of murderous was lost 3 times: the workers that took it died", "--workers")
    assert state(home) == "failed"
    nothing_half_written(home)
