"""Prefect with nothing set up: real servers, real flows, and what becomes of them when either is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import pytest

from terp.workflows.errors import Unavailable, Usage
from terp.workflows.prefect import folders
from terp.workflows.prefect import lease as prefect_lease
from terp.workflows.prefect import server as prefect_server
from terp.workflows.prefect import watch as prefect_watch
from terp.workflows.prefect.flow import record, run_flow


def until[T](what: Callable[[], T], seconds: float = 60) -> T:
    """The first truthy answer; a test that waits for ever is no test."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"{what} has not come true in {seconds} s"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="session")
def starts() -> list[bool]:
    """Of those who came at once for the first server, which had to start it."""
    return []


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, starts: list[bool]) -> Iterator[Path]:
    """A home with a server, where an earlier one died and its pid was given to another process: this one."""
    home = tmp_path_factory.mktemp("home")
    prefect_server.prepare(home)
    folder = prefect_server.own_folder(home)
    stale = prefect_watch.State(port=9, pid=os.getpid(), auth="terp:stale")
    (folder / "server.json").write_text(json.dumps(stale))
    lease = prefect_lease.Lease(folder / "leases", prefect_lease.OWN)
    two = [threading.Thread(target=lambda: starts.append(prefect_watch.reach(folder, 900, 90)[1])) for _ in range(2)]
    for thread in two:
        thread.start()
    for thread in two:
        thread.join()
    lease.close()
    yield home
    prefect_server.stop(home)


@pytest.fixture
def state(home: Path) -> prefect_watch.State:
    return prefect_watch.reach(prefect_server.own_folder(home), 900, 90)[0]


def ask(state: prefect_watch.State, what: str, /, **words: Any) -> Any:
    auth = httpx.BasicAuth(*state["auth"].split(":", 1))
    url = f"{prefect_watch.url(state)}/{what}"
    answer = httpx.post(url, json=words, auth=auth) if words else httpx.get(url, auth=auth)
    return answer.raise_for_status().json()


def task_states(state: prefect_watch.State, run: str) -> list[str]:
    return [task["state_type"] for task in ask(state, "task_runs/filter", flow_runs={"id": {"any_": [run]}})]


def test_of_two_that_come_at_once_one_starts_the_server(home: Path, starts: list[bool]) -> None:
    assert prefect_server.status(home)
    assert sorted(starts) == [False, True]


def test_what_a_dead_server_left_is_replaced_even_if_its_pid_lives(state: prefect_watch.State) -> None:
    assert state["pid"] != os.getpid()
    assert state["auth"] != "terp:stale"


def test_a_run_that_follows_uses_the_same_server_at_once(home: Path, state: prefect_watch.State) -> None:
    with prefect_server.connect(home) as connection:
        assert (connection.own, connection.cold) == (True, False)
        assert connection.api_url == prefect_watch.url(state)
        assert connection.seconds < 5  # 0.1 s; to start one takes 3 to 16


def test_a_run_within_a_run_uses_the_same_server_as_its_own(home: Path) -> None:
    with prefect_server.connect(home) as outer, prefect_server.connect(home) as inner:
        assert inner.own
        assert inner.api_url == outer.api_url


def test_who_has_not_the_word_is_refused(state: prefect_watch.State) -> None:
    url = f"{prefect_watch.url(state)}/flow_runs/filter"
    assert httpx.post(url, json={}).status_code == 401
    assert httpx.post(url, json={}, auth=("terp", "guess")).status_code == 401
    assert ask(state, "flow_runs/filter", limit=1) is not None


def test_the_word_is_in_no_command_line(state: prefect_watch.State) -> None:
    word = state["auth"].partition(":")[2]
    assert len(word) >= 32
    assert all(word not in " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))


def test_the_server_listens_on_the_loopback_only(state: prefect_watch.State) -> None:
    open_ends = psutil.Process(state["pid"]).net_connections(kind="inet")
    listening = {end.laddr for end in open_ends if end.status == psutil.CONN_LISTEN}
    assert listening == {("127.0.0.1", state["port"])}


def test_nobody_else_may_look_into_its_folder(home: Path) -> None:
    folder = prefect_server.own_folder(home)
    assert folder.stat().st_mode & 0o777 == 0o700
    open_to_others = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert open_to_others == []


def test_a_folder_that_is_a_link_or_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(Unavailable, match="is a link or belongs to another user"):
        folders.private(tmp_path / "link")
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="can't be made"):
        folders.private(tmp_path / "file")


def test_a_home_that_nodes_share_gets_its_server_on_a_disk_of_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = prefect_server.own_folder(Path("/proc/shared"))  # not a type of file system known to be local
    assert folder.parent == tmp_path / f"terp-{os.geteuid()}"
    assert folder == prefect_server.own_folder(Path("/proc/shared"))
    assert folder != prefect_server.own_folder(Path("/proc/other"))


def test_values_and_exceptions_come_back_as_they_are_and_nothing_is_printed(
    home: Path, state: prefect_watch.State, capfd: pytest.CaptureFixture[str]
) -> None:
    from prefect import flow, runtime

    thing, runs = object(), []

    class OddError(Exception):
        def __init__(self, a: int, b: int) -> None:  # can't be pickled, nor made again from its words
            super().__init__(a)

    odd = OddError(1, 2)

    def fail() -> None:
        raise odd

    @flow
    def mine(number: int) -> object:
        runs.append(str(runtime.flow_run.id))
        assert number == 7
        return record("make", lambda: thing)

    @flow
    def wrong() -> None:
        runs.append(str(runtime.flow_run.id))
        record("fail", fail)

    with prefect_server.connect(home) as connection:
        assert run_flow(mine, {"number": "7"}, connection) is thing
        with pytest.raises(OddError) as caught:
            run_flow(wrong, {}, connection)
        assert caught.value is odd
    assert capfd.readouterr() == ("", "")
    assert [ask(state, f"flow_runs/{run}")["state_type"] for run in runs] == ["COMPLETED", "FAILED"]
    until(lambda: [task_states(state, run) for run in runs] == [["COMPLETED"], ["FAILED"]])


def test_runs_that_follow_each_other_closely_do_not_wait_for_the_database(home: Path) -> None:
    from prefect import flow

    @flow
    def busy() -> None:
        for number in range(5):
            record(f"stage {number}", lambda: None)

    with prefect_server.connect(home) as connection:
        for _ in range(4):
            run_flow(busy, {}, connection)
        assert not connection.lost  # a 503 would be the end of it; Prefect as it comes has one in every other run


def test_an_async_flow_is_refused_in_words(home: Path) -> None:
    from prefect import flow

    @flow
    async def later() -> None: ...

    with prefect_server.connect(home) as connection, pytest.raises(Usage, match="'later' is async"):
        run_flow(later, {}, connection)


KILLED = """
import sys, time
from pathlib import Path
from terp.workflows.prefect import server as prefect_server
from terp.workflows.prefect.flow import record, run_flow
prefect_server.prepare(Path(sys.argv[1]))
from prefect import flow, runtime

def inner():
    print(runtime.flow_run.id, flush=True)
    time.sleep(600)

@flow
def endless():
    record("inner", inner)

with prefect_server.connect(Path(sys.argv[1])) as connection:
    run_flow(endless, {}, connection)
"""


def test_the_run_of_a_killed_process_is_marked_as_crashed(home: Path, state: prefect_watch.State) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, home], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        run = process.stdout.readline().strip()
        assert ask(state, f"flow_runs/{run}")["state_type"] == "RUNNING"
        until(lambda: task_states(state, run) == ["RUNNING"])
        process.send_signal(signal.SIGKILL)
    crashed = until(lambda: (seen := ask(state, f"flow_runs/{run}"))["state_type"] == "CRASHED" and seen)
    assert "ended without a word" in crashed["state"]["message"]
    assert task_states(state, run) == ["CRASHED"]


def test_a_server_that_the_user_names_is_used_and_told_of_killed_runs(
    state: prefect_watch.State, tmp_path: Path
) -> None:
    from prefect import flow, runtime
    from prefect.settings import temporary_settings

    runs = []

    @flow
    def theirs() -> None:
        runs.append(runtime.flow_run.id)

    url, killed = prefect_watch.url(state), a_run_that_nobody_runs(state)
    with temporary_settings({"api.url": url, "api.auth_string": state["auth"]}):
        leave_behind(tmp_path, url, killed)
        with prefect_server.connect(tmp_path) as connection:
            assert not connection.own
            run_flow(theirs, {}, connection)
    assert ask(state, f"flow_runs/{runs[0]}")["state_type"] == "COMPLETED"
    assert ask(state, f"flow_runs/{killed}")["state_type"] == "CRASHED"
    assert list((prefect_server.own_folder(tmp_path) / "leases").iterdir()) == []
    assert prefect_server.status(tmp_path) is None


def a_run_that_nobody_runs(state: prefect_watch.State) -> str:
    flow_id = ask(state, "flows/", name="left")["id"]
    run: str = ask(state, "flow_runs/", flow_id=flow_id, state={"type": "RUNNING"})["id"]
    return run


def leave_behind(home: Path, url: str, run: str) -> None:
    lease = prefect_lease.Lease(prefect_server.own_folder(home) / "leases", url)
    lease.write(UUID(run), "CRASHED")
    lease.release()


def test_a_server_of_the_users_that_can_not_be_used_is_named_with_what_to_do(
    home: Path, state: prefect_watch.State
) -> None:
    from prefect.settings import temporary_settings

    with (
        temporary_settings({"api.url": "http://127.0.0.1:9/api"}),
        pytest.raises(Unavailable, match=r"http://127.0.0.1:9/api .*; start it, or unset PREFECT_API_URL"),
        prefect_server.connect(home),
    ):
        pass
    with (
        temporary_settings({"api.url": prefect_watch.url(state), "api.auth_string": "terp:guess"}),
        pytest.raises(Unavailable, match=r"does not let us in \(401\); set PREFECT_API_AUTH_STRING"),
        prefect_server.connect(home),
    ):
        pass


def test_a_flow_is_done_without_the_server_which_is_told_later_and_ends_when_idle(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect import flow, runtime

    runs = []

    @flow
    def patient(stages: int) -> int:
        runs.append(runtime.flow_run.id)
        done = record("before", lambda: 1)
        os.kill(pid(home), signal.SIGKILL)
        return done + sum(record(f"stage {number}", lambda: 1) for number in range(stages))

    @flow
    def unseen() -> str:
        return record("alone", lambda: "done")

    with prefect_server.connect(home) as connection:
        began = time.monotonic()
        assert run_flow(patient, {"stages": 5}, connection) == 6
        assert run_flow(unseen, {}, connection) == "done"
        assert time.monotonic() - began < 20  # 0.5 s; Prefect as it comes takes minutes
        assert connection.lost
    assert caplog.text.count("the run goes on without it") == 1

    folder = prefect_server.own_folder(home)
    with prefect_server.connect(home, idle=0.2) as connection:
        assert connection.cold
        state = prefect_watch.read(folder)
        assert state is not None
        told = until(lambda: (seen := ask(state, f"flow_runs/{runs[0]}"))["state_type"] == "COMPLETED" and seen)
        assert "told afterwards" in told["state"]["message"]
    until(lambda: prefect_server.status(home) is None)
    assert list((folder / "leases").iterdir()) == []


def pid(home: Path) -> int:
    status = prefect_server.status(home)
    assert status is not None
    return status.pid


def test_a_server_that_does_not_come_up_is_told_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))  # Python itself can't start
    with pytest.raises(Unavailable, match=r"(?s)server.log ends with:.*encodings"), prefect_server.connect(tmp_path):
        pass
    assert not prefect_server.stop(tmp_path)


def test_a_server_whose_home_is_removed_ends(home: Path, state: prefect_watch.State) -> None:
    server = psutil.Process(state["pid"])
    shutil.rmtree(prefect_server.own_folder(home))
    until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
