"""The workers of a run: nobody else can talk to them, they are all alike, and none outlives its controller."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from terp.cluster.crew import Crew
from terp.cluster.launch import PINNED, launch

LOOPBACK = "127.0.0.1"
REFUSED = (OSError, EOFError)  # ssl.SSLError is an OSError
PATIENCE = 30


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with launch(2) as crew:
        yield crew.client


def family() -> list[psutil.Process]:
    """This process and what Dask started, but no server that other tests share."""
    me = psutil.Process()
    return [me, *(one for one in me.children(recursive=True) if "multiprocessing" in " ".join(one.cmdline()))]


def listening() -> list[tuple[str, int]]:
    """Addresses at which this process or one of its children listens."""
    found = {c.laddr for p in family() for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    return sorted((one.ip, one.port) for one in found)


def nannies_and_workers(client: Any) -> list[str]:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return [client.scheduler.address, *workers, *(one["nanny"] for one in workers.values())]


def answer(port: int, said: bytes, host: str = LOOPBACK) -> bytes:
    """What a port says to plain bytes until it hangs up."""
    with socket.create_connection((host, port), timeout=PATIENCE) as plain:
        plain.sendall(said)
        return plain.recv(1000)


def whisper(port: int, context: ssl.SSLContext, host: str = LOOPBACK) -> bytes:
    """What a port says over TLS until it hangs up; a certificate that is refused shows only at the first read."""
    with socket.create_connection((host, port), timeout=PATIENCE) as plain, context.wrap_socket(plain) as secret:
        secret.sendall(b"\0" * 64)
        return secret.recv(1000)


def stranger() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def with_a_certificate_of_its_own() -> ssl.SSLContext:
    """Whoever has a certificate, but not that of the run."""
    from distributed.security import Security

    context: ssl.SSLContext = Security.temporary().get_connection_args("client")["ssl_context"]
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_no_port_but_those_of_dask_itself_is_open_and_these_only_to_this_machine(client: Any) -> None:
    ports = [int(address.rpartition(":")[2]) for address in nannies_and_workers(client)]
    assert listening() == sorted((LOOPBACK, port) for port in ports)
    assert all(address.startswith(f"tls://{LOOPBACK}:") for address in nannies_and_workers(client))


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 64], ids=["http", "dask"])
def test_no_port_answers_who_does_not_speak_tls(client: Any, said: bytes) -> None:
    assert client.status == "running"
    for _, port in listening():
        try:
            heard = answer(port, said)
        except REFUSED:
            continue
        assert b"HTTP" not in heard
        assert len(heard) < 20, "an alert of TLS, or nothing"


@pytest.mark.parametrize("who", [stranger, with_a_certificate_of_its_own])
def test_no_port_lets_in_who_lacks_the_certificate_of_the_run(client: Any, who: Any) -> None:
    for _, port in listening():
        try:
            heard = whisper(port, who())
        except REFUSED:
            continue
        assert heard == b""
    assert client.submit(sum, [1, 2]).result(PATIENCE) == 3, "those who belong there go on undisturbed"


def test_every_worker_computes_with_one_thread_of_every_library(client: Any) -> None:
    seen = client.run(lambda: dict(os.environ))
    assert len(seen) == 2
    assert all(PINNED.items() <= environment.items() for environment in seen.values())
    assert {one["nthreads"] for one in client.scheduler_info(n_workers=-1)["workers"].values()} == {1}


def test_memory_that_is_freed_stays_in_a_worker_until_another_product_begins(client: Any) -> None:
    def kept_and_left() -> tuple[int, int]:
        import numpy as np

        from terp.workflows.running import memory

        process = psutil.Process()
        memory.begin("one")
        before = process.memory_info().rss
        np.ones(256 << 20, "u1")
        kept = process.memory_info().rss
        memory.begin("another")
        return kept - before, process.memory_info().rss - before

    kept, left = client.submit(kept_and_left, pure=False).result()
    assert kept > 200 << 20
    assert left < 50 << 20


def test_the_key_of_a_run_is_in_no_file_environment_or_command_line(client: Any) -> None:
    for one in family()[1:]:
        assert "PRIVATE KEY" not in " ".join([*one.cmdline(), *one.environ().values()])
    scratch = Path(next(iter(client.run(lambda dask_worker: dask_worker.local_directory).values()))).parents[1]
    assert scratch.name.startswith("terp-")
    assert scratch.stat().st_mode & 0o077 == 0
    assert not [path for path in scratch.rglob("*") if path.is_file() and b"PRIVATE" in path.read_bytes()]


def test_workers_that_did_all_of_climatology_never_imported_prefect(client: Any, home: Path) -> None:
    from terp.storage.filling import Filling
    from terp.storage.home import Home
    from terp.storage.making import create
    from terp.workflows.flows.climatology import climatology
    from terp.workflows.planning.load import parameters_of
    from terp.workflows.planning.plan import make_plan
    from terp.workflows.running.fill import fill
    from terp.workflows.running.gather import Input
    from terp.workflows.running.progress import Progress

    house, made = Home(home).open(), {}
    _, planner = make_plan(climatology, parameters_of(climatology, ["ostia"], {}), house)
    for step in planner.steps.values():
        product = create(house.product(step.key), step.name, step.key, step.ingredients, step.layout)
        inputs = tuple(Input(str(made[key].folder), group, made[key].seal.values) for key, group in step.inputs)
        with Filling(product) as filling:
            task, progress = step.bound(inputs, house.runs), Progress(step.name, step.regions, 0)
            fill(task, filling, Crew(client), progress, lambda _: None, home)
            filling.seal()
        made[step.key] = product
    assert len(made) > 2
    loaded = client.run(lambda: sorted(name for name in sys.modules if name.partition(".")[0] == "prefect"))
    assert set(map(tuple, loaded.values())) == {()}


_PARENT = """
import sys
from terp.cluster.launch import launch
if __name__ == "__main__":
    with launch(2) as crew:
        print(*crew.client.run(__import__("os").getpid).values(), flush=True)
        sys.stdin.readline()
"""


@pytest.mark.parametrize("end", ["leaves", "is killed"])
def test_when_a_controller_leaves_or_is_killed_its_workers_end(tmp_path: Path, end: str) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        if end == "leaves":
            parent.communicate("\n", timeout=PATIENCE)
            assert parent.returncode == 0
            assert list(tmp_path.iterdir()) == [script], "nothing is left behind"
        else:
            parent.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(workers, timeout=PATIENCE)[1] == []


def test_two_clusters_start_at_once_on_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's schedulers first listen for HTTP, by default all at the same port, before terp closes that."""
    from distributed.node import HTTPServer

    ports, listen = [], HTTPServer.listen

    def watched(server: Any, port: int, address: str = "", **rest: Any) -> None:
        ports.append((address, port))
        listen(server, port, address, **rest)

    monkeypatch.setattr(HTTPServer, "listen", watched)
    with launch(1):
        assert set(ports) == {(LOOPBACK, 0)}
