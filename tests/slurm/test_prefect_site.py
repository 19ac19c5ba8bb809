"""The home's persistent Prefect server, used from real nodes: other hosts, networks and process numbers."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from terp.storage.holder import Holder
from terp.workflows.prefect import persistent
from terp.workflows.prefect.persistent import Persistent

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "slurm/testbed/testbed.sh"
TERP = Path(sys.executable).with_name("terp")

FLOW = """
import sys, time
from pathlib import Path
home, flag = map(Path, sys.argv[1:])
from terp.workflows.prefect import server
from terp.workflows.prefect.flow import record, run_flow
server.prepare(home)
from prefect import flow, runtime

def wait():
    flag.with_suffix(".run").write_text(str(runtime.flow_run.id))
    while not flag.exists():
        time.sleep(0.05)

@flow
def waits():
    record("wait", wait)
    return [record(f"stage {number}", lambda: number) for number in range(3)]

with server.connect(home) as connection:
    print(connection.whose, run_flow(waits, {}, connection), connection.lost)
"""


def until[T](what: Callable[[], T], seconds: float = 60) -> T:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"{what} has not come true in {seconds} s"
        time.sleep(0.1)
    return found


@pytest.fixture
def server(bed: Any, common_path: Path) -> Iterator[Persistent]:
    """A server on this machine, at the address that nodes reach, of a home in the folder that they share."""
    home = common_path / "home"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = kept | {"TERP_HOME": str(home)}
    subprocess.run([TERP, "prefect", "start", "--host", bed.host], env=environment, check=True, capture_output=True)
    found = persistent.find(home)
    assert found is not None
    yield found
    persistent.stop(home)


def home_of(server: Persistent) -> Path:
    return server.folder.parent


def flow_run(server: Persistent, run: str) -> dict[str, Any]:
    trust, auth = ssl.create_default_context(cafile=server.certificate), httpx.BasicAuth(*server.word.split(":", 1))
    with httpx.Client(verify=trust, auth=auth) as client:
        found: dict[str, Any] = client.get(f"{server.sign.url}/flow_runs/{run}").raise_for_status().json()
    return found


def test_a_job_with_nothing_in_its_script_and_environment_uses_it(bed: Any, server: Persistent) -> None:
    home = home_of(server)
    flow, flag = home.parent / "flow.py", home.parent / "flag"
    flow.write_text(FLOW)
    flag.touch()
    out = home.parent / "out"
    job = bed.sbatch(
        "--mem=1500M", "--export=NONE", f"--output={out}", "--wrap", f"{sys.executable} {flow} {home} {flag}"
    )
    bed.wait(job, "COMPLETED", seconds=90)
    until(lambda: "persistent [0, 1, 2] False" in out.read_text())
    assert flow_run(server, flag.with_suffix(".run").read_text())["state_type"] == "COMPLETED"
    assert list(server.leases.glob("*.lease")) == []


@pytest.mark.campaign
def test_a_flow_on_a_node_that_is_cut_off_is_done_all_the_same_and_told_afterwards(
    bed: Any, server: Persistent
) -> None:
    home = home_of(server)
    flow, flag = home.parent / "flow.py", home.parent / "flag"
    flow.write_text(FLOW)
    command = [SCRIPT, "on", "n2", sys.executable, flow, home, flag]
    environment = {**os.environ, **bed.environment}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        run = until(lambda: flag.with_suffix(".run").exists() and flag.with_suffix(".run").read_text())
        bed.partition("n2")
        began = time.monotonic()
        flag.touch()
        said, _ = process.communicate(timeout=90)
    assert said.strip() == "persistent [0, 1, 2] True"
    assert time.monotonic() - began < 60
    bed.heal("n2")
    told = until(lambda: (seen := flow_run(server, run))["state_type"] == "COMPLETED" and seen)
    assert "told afterwards" in told["state"]["message"]


@pytest.mark.campaign
def test_a_node_needs_the_token_and_its_user_may_end_it_from_there(bed: Any, server: Persistent) -> None:
    ask = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", "-d", "{}"]
    url = f"{server.sign.url}/flow_runs/filter"
    assert bed.on("n1", *ask, url, check=False) == "000", "a certificate that nobody else vouches for"
    assert bed.on("n1", *ask, "--cacert", str(server.certificate), url) == "401"

    words = [TERP, "--home", home_of(server), "prefect"]
    assert json.loads(bed.on("n3", *words, "status", "--json"))["state"] == "answers"
    process = psutil.Process(Holder.from_json(server.sign.holder).pid)
    assert bed.on("n3", *words, "stop", timeout=60) == "stopped"
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_a_flow_that_was_deployed_is_done_in_jobs_of_its_site(server: Persistent, bed: Any) -> None:
    home = home_of(server)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    often = kept | bed.environment | {"TERP_HOME": str(home), "PREFECT_WORKER_QUERY_SECONDS": "1"}

    def call(*words: str | Path) -> str:
        done = subprocess.run([TERP, *words], env=often, cwd=home.parent, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call("deploy", f"{ROOT / 'tests/faults/flows.py'}:branching", "--pool", "jobs", "--site", "testbed")
    said = home.parent / "worker.log"
    with said.open("w") as log:
        words = [TERP, "prefect", "call", "worker", "start", "--pool", "jobs"]
        worker = subprocess.Popen(words, env=often, cwd=home.parent, stdout=log, stderr=log, start_new_session=True)
    try:
        call("prefect", "call", "deployment", "run", "branching/default", "--watch")
        [record] = [json.loads(path.read_bytes()) for path in home.glob("runs/*/run.json")]
        assert (record["state"], record["site"]) == ("finished", "testbed"), said.read_text()
        assert record["cluster"]["jobs"], "by SLURM's accounting"
        assert record["results"]
    finally:
        worker.send_signal(signal.SIGINT)
        worker.wait(30)
