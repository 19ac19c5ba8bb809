"""The home's persistent Prefect server: real ones, started and stopped by command, used, attacked and killed."""

import asyncio
import json
import os
import socket
import ssl
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

from terp.storage.holder import Holder
from terp.workflows.errors import Unavailable
from terp.workflows.prefect import folders, identity, persistent
from terp.workflows.prefect import lease as prefect_lease
from terp.workflows.prefect import server as prefect_server
from terp.workflows.prefect.flow import record, run_flow
from terp.workflows.prefect.persistent import Persistent

LOCAL = "127.0.0.1"


def until[T](what: Callable[[], T], seconds: float = 60) -> T:
    """The first truthy answer; a test that waits for ever is no test."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"{what} has not come true in {seconds} s"
        time.sleep(0.05)
    return found


def call(home: Path, *words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The command, as a user types it who knows no other server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PG"))}
    return subprocess.run(
        [Path(sys.executable).with_name("terp"), *words],
        env=kept | {"TERP_HOME": str(home), "TERP_AGENT": "A Tester"} | more,
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=240,
    )


def good(home: Path, *words: str | Path, **more: str) -> str:
    done = call(home, *words, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a persistent server."""
    home = tmp_path_factory.mktemp("site") / "home"
    prefect_server.prepare(home)
    assert good(home, "prefect", "start", "--host", LOCAL).startswith("started\n")
    yield home
    persistent.stop(home)
    prefect_server.stop(home)


@pytest.fixture
def server(home: Path) -> Persistent:
    return there(home)


def there(home: Path) -> Persistent:
    found = persistent.find(home)
    assert found is not None
    return found


def process(server: Persistent) -> psutil.Process:
    return psutil.Process(Holder.from_json(server.sign.holder).pid)


def port(server: Persistent) -> int:
    return httpx.URL(server.sign.url).port or 0


def trust(server: Persistent) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=server.certificate)


def ask(server: Persistent, what: str, /, **words: Any) -> Any:
    url, auth = f"{server.sign.url}/{what}", httpx.BasicAuth(*server.word.split(":", 1))
    with httpx.Client(verify=trust(server), auth=auth) as client:
        answer = client.post(url, json=words) if words else client.get(url)
    return answer.raise_for_status().json()


def flow_run(server: Persistent, run: UUID | str) -> dict[str, Any]:
    found: dict[str, Any] = ask(server, f"flow_runs/{run}")
    return found


def test_one_command_starts_it_and_says_where_it_is(home: Path, server: Persistent) -> None:
    facts = json.loads(good(home, "prefect", "status", "--json"))
    assert facts["state"] == "answers"
    assert facts["url"] == server.sign.url
    assert server.sign.url.startswith(f"https://{LOCAL}:")
    assert facts["database"].startswith("SQLite, ")


def test_it_goes_on_when_who_started_it_has_gone(server: Persistent) -> None:
    assert os.getsid(process(server).pid) != os.getsid(0)
    assert process(server).is_running()


def test_a_second_start_finds_the_first(home: Path, server: Persistent) -> None:
    assert good(home, "prefect", "start", "--host", LOCAL).startswith("runs already; to change it, stop it first\n")
    assert there(home).sign == server.sign


def test_it_listens_on_one_address_only(server: Persistent) -> None:
    open_ends = process(server).net_connections(kind="inet")
    listening = {end.laddr for end in open_ends if end.status == psutil.CONN_LISTEN}
    assert [end.ip for end in listening] == [LOCAL]


def test_who_has_not_the_token_is_refused(server: Persistent) -> None:
    url = f"{server.sign.url}/flow_runs/filter"
    assert httpx.post(url, json={}, verify=trust(server)).status_code == 401
    assert httpx.post(url, json={}, verify=trust(server), auth=("terp", "guess")).status_code == 401
    assert ask(server, "flow_runs/filter", limit=1) is not None


def test_who_has_not_the_token_gets_no_events(server: Persistent) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.typing import Subprotocol

    url = server.sign.url.replace("https", "wss") + "/events/out"

    async def listen(word: str, *protocols: Subprotocol) -> None:
        async with connect(url, ssl=trust(server), subprotocols=protocols) as events:
            await events.send(json.dumps({"type": "auth", "token": word}))
            await events.recv()

    with pytest.raises(ConnectionClosed):
        asyncio.run(listen("terp:guess", Subprotocol("prefect")))
    with pytest.raises(InvalidStatus):  # the older way, without the word
        asyncio.run(listen(server.word))
    asyncio.run(listen(server.word, Subprotocol("prefect")))


def test_who_does_not_know_its_certificate_does_not_trust_it(server: Persistent) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{server.sign.url}/health")
    with (
        socket.create_connection((LOCAL, port(server))) as end,
        pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"),
    ):
        trust(server).wrap_socket(end, server_hostname="127.0.0.2")


def test_nothing_is_said_in_clear(server: Persistent) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{server.sign.url}/health".replace("https", "http"))


def test_nobody_else_may_look_into_its_folders(home: Path) -> None:
    for folder in (folders.shared_folder(home), folders.own_folder(home)):
        assert folder.stat().st_mode & 0o777 == 0o700
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert files
        assert [path for path in files if path.stat().st_mode & 0o077] == []


def test_a_folder_of_another_user_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    sign = {"url": "https://127.0.0.1:9/api", "database": "", "log": "", "holder": {}}
    (tmp_path / "elsewhere" / "server.json").write_text(json.dumps(sign))
    folders.shared_folder(tmp_path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="is a link or belongs to another user"):
        persistent.find(tmp_path)


def test_what_a_user_has_set_for_other_servers_is_not_for_this_one(server: Persistent) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_KEY", "of-another")
        patch.setenv("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "true")
        environment = server.environment
    assert "PREFECT_API_KEY" not in environment
    assert environment["PREFECT_API_TLS_INSECURE_SKIP_VERIFY"] == "False"


def test_the_token_is_in_no_command_line(server: Persistent) -> None:
    word = server.word.partition(":")[2]
    assert len(word) >= 32
    assert all(word not in " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))


def test_runs_with_this_home_find_it_by_themselves(home: Path, server: Persistent) -> None:
    from prefect import flow, runtime

    runs = []

    @flow
    def found() -> str:
        runs.append(runtime.flow_run.id)
        return record("stage", lambda: "done")

    with prefect_server.connect(home) as connection, prefect_server.connect(home) as inner:
        assert (connection.api_url, connection.own) == (server.sign.url, False)
        assert inner is connection
        assert run_flow(found, {}, connection) == "done"
        assert connection.seconds < 5  # 0.15 s
    assert flow_run(server, runs[0])["state_type"] == "COMPLETED"
    tasks = {"flow_runs": {"id": {"any_": [str(runs[0])]}}}
    until(lambda: [task["state_type"] for task in ask(server, "task_runs/filter", **tasks)] == ["COMPLETED"])
    assert prefect_server.status(home) is None
    assert list(server.leases.glob("*.lease")) == []


CONNECT = """
import sys
from pathlib import Path
from terp.workflows.prefect.server import connect
with connect(Path(sys.argv[1])) as connection:
    print(connection.whose, connection.api_url, connection.answers())
"""


def connected(home: Path, **environment: str) -> str:
    """Whose server a process uses, where that is, and whether it answers."""
    command = [sys.executable, "-c", CONNECT, home]
    return subprocess.check_output(command, env={**os.environ, **environment}, text=True).strip()


def test_a_server_that_the_user_names_goes_before_it(home: Path, prefect: dict[str, str]) -> None:
    assert connected(home, **prefect) == f"given {prefect['PREFECT_API_URL']} True"


def test_who_names_this_one_gets_it_by_its_certificate(home: Path, server: Persistent, tmp_path: Path) -> None:
    assert connected(tmp_path, **server.environment) == f"given {server.sign.url} True"
    assert connected(home, **server.environment) == f"persistent {server.sign.url} True"


def test_a_proxy_of_the_site_is_not_asked_for_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.org")
    with prefect_server.connect(home) as connection:
        assert connection.answers()
        assert os.environ["NO_PROXY"].split(",") == ["example.org", LOCAL]
    assert there(home).environment["NO_PROXY"].split(",") == ["example.org", LOCAL]


def test_the_run_of_a_process_that_fell_silent_on_any_node_is_marked_as_crashed(server: Persistent) -> None:
    flow_id = ask(server, "flows/", name="left")["id"]
    dead, alive = (ask(server, "flow_runs/", flow_id=flow_id, state={"type": "RUNNING"})["id"] for _ in range(2))
    living = prefect_lease.SharedLease(server.leases)
    living.write(UUID(alive), "CRASHED")
    left = server.leases / "of-a-dead-node.lease"
    left.write_text(f"{prefect_lease.PERSISTENT}\n{dead} CRASHED\n")
    old = time.time() - prefect_lease.SILENCE - 60
    os.utime(left, (old, old))
    crashed = until(lambda: (seen := flow_run(server, dead))["state_type"] == "CRASHED" and seen)
    assert "ended without a word" in crashed["state"]["message"]
    assert not left.exists()
    assert flow_run(server, alive)["state_type"] == "RUNNING"
    living.write(UUID(alive), "")
    living.close()
    assert not living.path.exists()


def test_a_shared_lease_is_touched_as_long_as_its_process_lives(tmp_path: Path) -> None:
    lease = prefect_lease.SharedLease(tmp_path, touch=0.05)
    os.utime(lease.path, (0, 0))
    until(lambda: list(prefect_lease.silent(tmp_path)) == [])
    lease.close()
    assert list(tmp_path.glob("*.lease")) == []


def test_a_flow_is_done_without_it_which_is_told_when_it_is_started_again(
    home: Path, server: Persistent, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect import flow, runtime

    runs = []

    @flow
    def patient() -> int:
        runs.append(runtime.flow_run.id)
        done = record("before", lambda: 1)
        process(server).kill()
        return done + sum(record(f"stage {number}", lambda: 1) for number in range(5))

    with prefect_server.connect(home) as connection:
        began = time.monotonic()
        assert run_flow(patient, {}, connection) == 6
        assert time.monotonic() - began < 60  # 7 s
        assert connection.lost
    assert caplog.text.count("the run goes on without it") == 1

    status = call(home, "prefect", "status")
    assert status.returncode == 69
    assert "does not answer: `terp prefect start` starts it again" in status.stdout
    assert good(home, "prefect", "start", "--host", LOCAL).startswith("started\n")
    again = there(home)
    assert (again.sign.url, again.word) == (server.sign.url, server.word), "who knew it may go on"
    assert again.certificate.read_bytes() == server.certificate.read_bytes()
    told = until(lambda: (seen := flow_run(again, runs[0]))["state_type"] == "COMPLETED" and seen)
    assert "told afterwards" in told["state"]["message"]


class Impostor:
    """A server with a certificate of its own at an address that was another's; keeps what it is told."""

    def __init__(self, folder: Path, address: tuple[str, int]) -> None:
        identity.make_identity(folder, address[0])
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / identity.CERTIFICATE, folder / identity.KEY)
        plain = socket.create_server(address)
        self.listening = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=True)
        self.heard = b""
        self.came = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except ssl.SSLError:
                self.came += 1
                continue
            except OSError:
                return
            with connection:
                self.heard += connection.recv(65536)


def test_another_in_its_place_is_told_nothing_and_the_run_has_its_own(
    home: Path, server: Persistent, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process(server).kill()
    until(lambda: not server.answers())
    impostor = Impostor(tmp_path, (LOCAL, port(server)))
    for _ in range(2):
        with prefect_server.connect(home) as connection:
            assert connection.own
            assert connection.answers()
    assert impostor.came > 0
    assert impostor.heard == b""
    assert caplog.text.count(f"the persistent Prefect server at {server.sign.url} does not answer") == 1
    refused = call(home, "prefect", "call", "work-pool", "ls")
    assert refused.returncode == 69
    assert "does not answer; `terp prefect start` starts it" in refused.stderr
    good(home, "prefect", "start", "--host", LOCAL)
    assert there(home).sign.url != server.sign.url, "its port is taken"
    impostor.listening.close()


def test_stop_ends_it_and_leaves_what_clients_know(home: Path) -> None:
    server = there(home)
    ends = process(server)
    assert good(home, "prefect", "stop") == "stopped\n"
    assert not ends.is_running() or ends.status() == psutil.STATUS_ZOMBIE
    assert call(home, "prefect", "status").returncode == 69
    assert good(home, "prefect", "stop") == "none ran\n"
    assert server.word
    assert connected(home).startswith("own ")


def test_a_sign_that_can_not_be_read_is_named_but_stops_no_run(home: Path) -> None:
    sign = folders.shared_folder(home) / persistent.SIGN
    sign.write_text("{")
    refused = call(home, "prefect", "status")
    assert refused.returncode == 69
    assert "remove it, then `terp prefect start`" in refused.stderr
    assert connected(home).startswith("own ")
    sign.unlink()
