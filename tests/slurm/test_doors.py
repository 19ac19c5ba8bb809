"""What a run at a site leaves open to others on the machines: nothing."""

import os
import re
import ssl
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))
from disturbed import Disturbed
from test_launch_here import REFUSED, answer, stranger, whisper, with_a_certificate_of_its_own

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

LOOK_FROM_A_NODE = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as plain:
        with context.wrap_socket(plain) as secret:
            secret.sendall(b"\\0" * 64)
            print(secret.recv(100))
except (OSError, EOFError) as refused:
    print("refused:", type(refused).__name__)
"""


def address(run: Disturbed) -> tuple[str, int]:
    """Where the scheduler of a run listens, as its batch script says."""
    [script] = run.home.glob("runs/*/jobs/workers.sh")
    host, port = re.findall(r"tls://([\d.]+):(\d+)", script.read_text())[0]
    return host, int(port)


def test_nobody_without_the_keys_of_a_run_gets_in(bed: Any, tmp_path: Path, prefect: dict[str, str]) -> None:
    run = Disturbed(tmp_path / "home", prefect).start()
    run.until_recorded(1)
    host, port = address(run)
    assert host == bed.host
    for who in (stranger(), with_a_certificate_of_its_own()):
        assert refused(host, port, who)
    assert answers_nothing(host, port)
    assert "refused" in bed.on("n4", sys.executable, "-c", LOOK_FROM_A_NODE, host, str(port))
    assert listening(run) <= {host, "127.0.0.1"}
    code, said = run.end()
    assert code == 0, said


def refused(host: str, port: int, who: ssl.SSLContext) -> bool:
    try:
        return whisper(port, who, host) == b""
    except REFUSED:
        return True


def answers_nothing(host: str, port: int) -> bool:
    try:
        return b"HTTP" not in answer(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", host)
    except REFUSED:
        return True


def listening(run: Disturbed) -> set[str]:
    """Addresses at which the controller listens."""
    assert run.process is not None
    found = psutil.Process(run.process.pid).net_connections("inet")
    return {one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN}


def test_workers_listen_at_the_address_of_their_node_only(bed: Any, tmp_path: Path, prefect: dict[str, str]) -> None:
    run = Disturbed(tmp_path / "home", prefect).start()
    run.until_recorded(1)
    workers = [number for number, line in bed.processes().items() if str(run.home) in line]
    assert workers
    heard: set[str] = set()
    for number in workers:
        lines = Path(f"/proc/{number}/net/tcp").read_text().splitlines()[1:]
        owned = {os.readlink(one) for one in Path(f"/proc/{number}/fd").iterdir() if one.is_symlink()}
        fields = [line.split() for line in lines]
        heard |= {one[1].split(":")[0] for one in fields if one[3] == "0A" and f"socket:[{one[9]}]" in owned}
    assert heard
    assert "00000000" not in heard, "it would listen everywhere"
    assert "0100007F" not in heard, "whoever is on the node too could ask Dask's pages"
    seen = [psutil.Process(number) for number in workers]
    assert not any("PRIVATE KEY" in " ".join([*one.cmdline(), *one.environ().values()]) for one in seen)
    code, said = run.end()
    assert code == 0, said
