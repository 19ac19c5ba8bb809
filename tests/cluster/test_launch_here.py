"""The workers of a run: nobody else can talk to them, they are all alike, and none outlives its controller."""

import ctypes
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from distributed.scheduler import KilledWorker

from terp.cluster.crew import Crew
from terp.cluster.errors import NoWorkers
from terp.cluster.launch import PINNED
from terp.cluster.launch_here import launch_here

sys.path.insert(0, str(Path(__file__).parent))
from waiting import until as waited

LOOPBACK = "127.0.0.1"
REFUSED = (OSError, EOFError)  # ssl.SSLError is an OSError
PATIENCE = 30
until = partial(waited, seconds=PATIENCE)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with launch_here(2) as crew:
        yield crew.client


def family() -> list[psutil.Process]:
    """This process and its workers, but no server that other tests share."""
    me = psutil.Process()
    return [me, *(one for one in me.children(recursive=True) if "terp.cluster.worker" in " ".join(one.cmdline()))]


def listening() -> list[tuple[str, int]]:
    """Addresses at which this process or one of its children listens."""
    found = {c.laddr for p in family() for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    return sorted((one.ip, one.port) for one in found)


def scheduler_and_workers(client: Any) -> list[str]:
    return [client.scheduler.address, *client.scheduler_info(n_workers=-1)["workers"]]


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
    ports = [int(address.rpartition(":")[2]) for address in scheduler_and_workers(client)]
    assert listening() == sorted((LOOPBACK, port) for port in ports)
    assert all(address.startswith(f"tls://{LOOPBACK}:") for address in scheduler_and_workers(client))


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


def test_a_worker_that_holds_more_memory_than_it_may_is_ended_and_it_is_said_and_another_comes() -> None:
    with launch_here(1, memory=500 << 20) as crew:
        [before] = crew.workers().values()
        too_large = crew.client.submit(lambda: len(b"x" * (1 << 30)) and time.sleep(PATIENCE))
        verdict = until(lambda: crew.verdict(before["name"], time.monotonic()))
        assert re.fullmatch(r"process \d+ held \d+ MiB of memory, where it may hold 500", verdict.why)
        with pytest.raises(KilledWorker):
            too_large.result(PATIENCE)
        assert crew.client.submit(sum, [1, 2]).result(PATIENCE) == 3


def test_another_takes_the_place_of_a_worker_whose_successor_ended_before_it_was_at_work() -> None:
    with launch_here(1) as crew:
        [worker] = crew.client.run(os.getpid).values()
        parent = psutil.Process(worker).parent()
        for _ in range(3):
            [place] = until(parent.children)
            place.kill()
            psutil.wait_procs([place], timeout=PATIENCE)
        until(lambda: [one["name"] for one in crew.workers().values()] == ["here.0-3"])


def test_random_numbers_differ_from_worker_to_worker_though_they_part_from_one_process(client: Any) -> None:
    drawn = client.run(lambda: (__import__("numpy").random.random(), __import__("random").random()))
    assert len(set(sum(drawn.values(), ()))) == 4


def test_what_dask_is_set_to_in_a_script_holds_for_its_workers_too() -> None:
    with dask.config.set({"distributed.comm.timeouts.tcp": "77s", "mine": 1}), launch_here(1) as crew:
        [seen] = crew.client.run(
            lambda: [dask.config.get(name) for name in ("distributed.comm.timeouts.tcp", "mine")]
        ).values()
    assert seen == ["77s", 1]


def test_without_the_process_that_workers_part_from_they_end_and_the_controller_is_told(tmp_path: Path) -> None:
    def holds_pythons_lock() -> None:
        (tmp_path / "held").touch()
        ctypes.PyDLL(None).sleep(3600)

    with launch_here(2) as crew:
        workers = [psutil.Process(pid) for pid in crew.client.run(os.getpid).values()]
        crew.client.submit(holds_pythons_lock)
        until((tmp_path / "held").exists)
        workers[0].parent().kill()
        assert psutil.wait_procs(workers, timeout=PATIENCE)[1] == []
        with pytest.raises(NoWorkers, match=r"have ended \(SIGKILL\)"):
            crew.check()


def test_workers_that_would_hold_too_much_before_they_begin_are_no_workers(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoWorkers, match=r"exit code 69\): see above"), launch_here(1, memory=10 << 20):
        pass
    assert "MiB of memory before any data, and may hold 10: take fewer" in capfd.readouterr().err


def test_workers_that_cannot_begin_are_no_workers(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoWorkers, match=r"have ended \(exit code 1\): see above"), launch_here(1, preload=["nowhere"]):
        pass
    assert "No module named 'nowhere'" in capfd.readouterr().err


_PARENT = """
import os, signal, sys
from terp.cluster.launch_here import launch_here
with launch_here(2) as crew:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for _ in range(2):
        print(*crew.client.run(os.getpid).values(), flush=True)
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
            parent.communicate("\n\n", timeout=PATIENCE)
            assert parent.returncode == 0
            assert list(tmp_path.iterdir()) == [script], "nothing is left behind"
        else:
            parent.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(workers, timeout=PATIENCE)[1] == []


def test_ctrl_c_is_for_the_controller_to_hear_and_not_for_its_workers(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(_PARENT)
    words = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        before = parent.stdout.readline()
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.communicate("\n\n", timeout=PATIENCE)[0] == before


def test_two_clusters_start_at_once_on_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's schedulers first listen for HTTP, by default all at the same port, before terp closes that."""
    from distributed.node import HTTPServer

    ports, listen = [], HTTPServer.listen

    def watched(server: Any, port: int, address: str = "", **rest: Any) -> None:
        ports.append((address, port))
        listen(server, port, address, **rest)

    monkeypatch.setattr(HTTPServer, "listen", watched)
    with launch_here(1):
        assert set(ports) == {(LOOPBACK, 0)}
