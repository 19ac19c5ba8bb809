"""What a person chooses for the persistent Prefect server, and flows that it runs by itself: a real pool and worker."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from terp.storage.holder import Holder
from terp.workflows.prefect import choices, persistent
from terp.workflows.prefect.persistent import Persistent

FLOW = '''
"""Flows for tests."""
import os
import time
from pathlib import Path
import xarray as xr
from prefect import flow
from terp.workflows import Product, ingest, stage

@stage(cut=("latitude", "longitude"))
def doubled(block: xr.Dataset, *, times: int) -> xr.Dataset:
    """So many times as much."""
    if "PREFECT_API_AUTH_STRING" in os.environ:
        raise ValueError("the token is where it is not needed")
    return block * times

@flow
def twice(source: str, times: int = 2, flag: str = "") -> Product:
    """Twice as much, and once more when there is a flag."""
    if times < 0:
        raise ValueError("less than nothing")
    product = doubled(ingest(source), times=times)
    if flag:
        product.open()  # a plan ends here
        Path(flag + ".waits").touch()
        while not Path(flag).exists():
            time.sleep(0.05)
        product = doubled(product, times=times)
    return product
'''


def until[T](what: Callable[[], T], seconds: float = 90) -> T:
    """The first truthy answer; a test that waits for ever is no test."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"{what} has not come true in {seconds} s"
        time.sleep(0.1)
    return found


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PG"))}
    return kept | {"TERP_HOME": str(home), "TERP_AGENT": "A Tester"} | more


def call(home: Path, *words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The command, as a user types it who knows no other server."""
    command = [Path(sys.executable).with_name("terp"), *words]
    return subprocess.run(
        command, env=environment(home, **more), cwd=home.parent, capture_output=True, text=True, timeout=240
    )


def good(home: Path, *words: str | Path, **more: str) -> str:
    done = call(home, *words, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a persistent server at the interface that a site names, and a file with a flow beside it."""
    home = tmp_path_factory.mktemp("deploy") / "home"
    (home.parent / "mine.py").write_text(FLOW)
    good(home, "prefect", "start", "--site", "testbed", TERP_SITE_INTERFACE="lo")
    yield home
    persistent.stop(home)


def there(home: Path) -> Persistent:
    found = persistent.find(home)
    assert found is not None
    return found


def ask(home: Path, what: str, /, **words: Any) -> Any:
    server = there(home)
    auth, trust = httpx.BasicAuth(*server.word.split(":", 1)), ssl.create_default_context(cafile=server.certificate)
    with httpx.Client(verify=trust, auth=auth, timeout=30) as client:
        answer = client.post(f"{server.sign.url}/{what}", json=words)
    return answer.raise_for_status().json()


def runs_of(home: Path, deployment: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(home, "flow_runs/filter", deployments={"id": {"any_": [deployment]}})
    return found


def deploy(home: Path, *words: str) -> str:
    """The id of a deployment."""
    name: str = json.loads(good(home, "deploy", "mine.py:twice", "ostia", "--pool", "small", *words, "--json"))["id"]
    return name


@pytest.fixture(scope="module")
def worker(home: Path) -> Iterator[Path]:
    """A worker of the pool `small`; the log of what it and its flow runs say."""
    deploy(home, "--name", "makes-the-pool")
    log = home.parent / "worker.log"
    command = [Path(sys.executable).with_name("terp"), "prefect", "call", "worker", "start", "--pool", "small"]
    with log.open("w") as file:
        often = environment(home, PREFECT_WORKER_QUERY_SECONDS="1")
        worker = subprocess.Popen(command, env=often, stdout=file, stderr=file, start_new_session=True)
    yield log
    worker.send_signal(signal.SIGINT)
    assert worker.wait(30) is not None


def run_by_the_worker(home: Path, deployment: str, **settings: Any) -> str:
    """Ask for a run; its id."""
    words = {"parameters": {"settings": settings}} if settings else {"state": {"type": "SCHEDULED"}}
    asked: str = ask(home, f"deployments/{deployment}/create_flow_run", **words)["id"]
    return asked


def ended(home: Path, run: str) -> dict[str, Any]:
    def look() -> dict[str, Any]:
        (found,) = ask(home, "flow_runs/filter", flow_runs={"id": {"any_": [run]}})
        return found if found["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else {}

    return until(look, 120)


def last_record(home: Path) -> dict[str, Any]:
    newest = max((home / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    record: dict[str, Any] = json.loads(newest.read_text())
    return record


@pytest.fixture(scope="module")
def first(home: Path, worker: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A deployment, the first flow run of it, which the worker made, and the record of the run."""
    deployment = deploy(home)
    run = ended(home, run_by_the_worker(home, deployment))
    assert run["state_type"] == "COMPLETED", worker.read_text()
    return deployment, run, last_record(home)


type First = tuple[str, dict[str, Any], dict[str, Any]]


def test_a_worker_of_a_pool_makes_what_the_command_makes(home: Path, first: First) -> None:
    _, _, made = first
    assert [stage["reused"] for stage in made["stages"]] == [False, False]
    assert made["archived"]
    planned = json.loads(good(home, "plan", "mine.py:twice", "ostia", "--json"))
    assert planned["tasks"] == 0
    assert planned["results"] == made["results"]


def test_a_run_has_one_flow_run_under_the_name_of_its_flow_with_its_stages_in_it(home: Path, first: First) -> None:
    deployment, run, _ = first
    (flow,) = ask(home, "flows/filter", flows={"id": {"any_": [run["flow_id"]]}})
    assert flow["name"] == "twice"
    children = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    stages = until(lambda: [task["name"] for task in ask(home, "task_runs/filter", **children)])
    assert {name.rpartition("-")[0] for name in stages} == {"ingest", "doubled"}
    assert [one["id"] for one in ask(home, "flow_runs/filter", flows={"name": {"any_": ["twice"]}})] == [run["id"]]
    assert [one["id"] for one in runs_of(home, deployment)] == [run["id"]]


def test_the_second_run_finds_again_what_exists_and_what_it_says_is_kept(
    home: Path, worker: Path, first: First
) -> None:
    deployment, before, made = first
    run = ended(home, run_by_the_worker(home, deployment))
    assert run["state_type"] == "COMPLETED", worker.read_text()
    found = last_record(home)
    assert (run["id"] != before["id"], found["id"] != made["id"]) == (True, True)
    assert [stage["reused"] for stage in found["stages"]] == [True, True]
    assert found["results"] == made["results"]

    def said() -> list[str]:
        return [line["message"] for line in ask(home, "logs/filter", logs={"flow_run_id": {"any_": [run["id"]]}})]

    until(lambda: "twice: 0 regions to be made" in said())


def test_a_run_that_fails_is_told_as_failed_and_why(home: Path, worker: Path) -> None:
    run = ended(home, run_by_the_worker(home, deploy(home), times=-1))
    assert run["state_type"] == "FAILED", worker.read_text()
    assert "less than nothing" in run["state"]["message"]


def test_a_run_is_done_though_the_server_is_killed_and_the_worker_goes_on_when_it_is_back(
    home: Path, worker: Path
) -> None:
    deployment, flag = deploy(home), home.parent / "flag"
    run = run_by_the_worker(home, deployment, times=3, flag=str(flag))
    until(lambda: flag.with_name("flag.waits").exists())
    psutil.Process(Holder.from_json(there(home).sign.holder).pid).kill()
    flag.touch()
    until(lambda: (last := last_record(home))["parameters"]["times"] == 3 and last["archived"])
    good(home, "prefect", "start", "--site", "testbed", TERP_SITE_INTERFACE="lo")
    told = ended(home, run)
    assert told["state_type"] == "COMPLETED", worker.read_text()
    assert "told afterwards" in told["state"]["message"]
    assert ended(home, run_by_the_worker(home, deployment))["state_type"] == "COMPLETED", worker.read_text()


def test_a_schedule_is_kept_by_the_server_itself(home: Path) -> None:
    deployment = deploy(home, "--name", "nightly", "--cron", "30 6 * * *", "--timezone", "Europe/Amsterdam")
    planned = until(lambda: runs_of(home, deployment))
    assert {run["state_type"] for run in planned} == {"SCHEDULED"}
    assert {run["expected_start_time"][14:16] for run in planned} == {"30"}
    deploy(home, "--name", "nightly")
    (now,) = ask(home, "deployments/filter", deployments={"id": {"any_": [deployment]}})
    assert now["schedules"] == []


def test_an_audit_is_deployed_with_a_schedule(home: Path) -> None:
    words = ("deploy", "audit", "--pool", "small", "--every", "7d", "--set", "seconds=600", "--json")
    made = json.loads(good(home, *words))
    (now,) = ask(home, "deployments/filter", deployments={"id": {"any_": [made["id"]]}})
    assert (made["name"], now["parameters"]) == ("audit/default", {"places": [], "seconds": 600})
    assert [one["schedule"]["interval"] for one in now["schedules"]] == [7 * 86_400.0]
    assert until(lambda: runs_of(home, made["id"]))
    refused = call(home, *words[:5], "1d", "--cron", "0 6 * * *")
    assert (refused.returncode, "not both" in refused.stderr) == (64, True)


@pytest.mark.campaign
@pytest.mark.usefixtures("first")
def test_an_audit_that_prefect_runs_fails_where_something_is_damaged_and_says_what(home: Path, worker: Path) -> None:
    made = json.loads(good(home, "deploy", "audit", "--pool", "small", "--name", "asked-for", "--json"))
    [package] = (home / "archive").glob("*/*/*/*/v1/content/*.zarr.zip")
    table = json.loads(package.with_name(f"{package.name}.members.json").read_bytes())
    sound, where = package.read_bytes(), next(one["offset"] for one in table["members"] if "values" in one)
    package.chmod(0o644)
    package.write_bytes(sound[:where] + bytes([sound[where] ^ 1]) + sound[where + 1 :])
    run = ended(home, run_by_the_worker(home, made["id"]))
    assert (run["state_type"], "the array" in run["state"]["message"]) == ("FAILED", True), worker.read_text()
    package.write_bytes(sound)
    good(home, "audit")
    run = ended(home, run_by_the_worker(home, made["id"]))  # nothing is due
    assert run["state_type"] == "COMPLETED", worker.read_text()


def test_a_deployment_names_the_folder_the_home_and_the_python_but_no_secret(home: Path) -> None:
    (made,) = ask(home, "deployments/filter", deployments={"id": {"any_": [deploy(home)]}})
    assert made["entrypoint"] == "terp.workflows.prefect.scheduled.run"
    variables = made["job_variables"]
    assert (variables["working_dir"], variables["env"]["TERP_HOME"]) == (str(home.parent), str(home))
    assert there(home).word.partition(":")[2] not in json.dumps(made)


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["nothing.py:twice", "ostia"], 64, "there is no file"),
        (["mine.py:twice", "ostia", "--set", "much=3"], 64, "twice has no parameter much"),
        (["mine.py:twice", "ostia", "--cron", "often"], 64, 'Invalid cron string: "often"; as in --cron "30 6'),
        (["mine.py:twice", "ostia", "--cron", "0 6 * * *", "--timezone", "Mars"], 64, "--timezone Mars: "),
        (["mine.py:twice", "ostia", "--site", "nowhere"], 64, "nowhere"),
    ],
)
def test_what_can_not_run_is_refused_when_it_is_deployed(home: Path, words: list[str], code: int, why: str) -> None:
    done = call(home, "deploy", *words, "--pool", "small")
    assert (done.returncode, why in done.stderr) == (code, True), done.stderr


def test_without_a_server_that_stays_nothing_is_deployed(tmp_path: Path) -> None:
    done = call(tmp_path / "home", "deploy", "climatology", "--pool", "small")
    assert done.returncode == 69
    assert "has no persistent Prefect server; start one with `terp prefect start`" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["--host", "0.0.0.0"], 64, "0.0.0.0 is not one address"),
        (["--host", "192.0.2.77"], 64, "192.0.2.77 is no address of this machine"),
        (["--host", "no.such.host.invalid"], 64, "no.such.host.invalid has no address"),
        (["--site", "testbed"], 64, "this machine has no network interface 'ib7'"),
        (["--database", "postgresql+asyncpg://me:secret@db/prefect"], 64, "a command line is no place for a password"),
        (["--database", "mysql://db/prefect"], 64, "the database has to be postgresql+asyncpg://"),
        (["--host", "127.0.0.1", "--database", "postgresql+asyncpg://me@127.0.0.1:9/prefect"], 69, "can't be used"),
    ],
)
def test_what_can_not_be_is_refused_in_a_sentence(tmp_path: Path, words: list[str], code: int, why: str) -> None:
    done = call(tmp_path / "home", "prefect", "start", *words, TERP_SITE_INTERFACE="ib7")
    assert (done.returncode, why in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
    assert "secret" not in done.stderr.replace("no place for a password", "")
    assert good(tmp_path / "home", "prefect", "stop") == "none ran\n"


def test_without_a_choice_it_is_the_address_of_this_machines_name() -> None:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        pytest.skip("this machine's name has no address")
    with choices.bound("", "", 0) as listening:
        assert listening.getsockname()[0] in {address[0] for *_, address in found}


def test_a_server_whose_home_is_removed_ends(tmp_path: Path) -> None:
    home = tmp_path / "home"
    good(home, "prefect", "start", "--host", "127.0.0.1")
    process = psutil.Process(Holder.from_json(there(home).sign.holder).pid)
    shutil.rmtree(home)
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


@pytest.fixture
def postgresql() -> Iterator[int]:
    """A PostgreSQL of the test's own, whose user `terp` has the password "geheim"; its port."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres")) or [Path(shutil.which("postgres") or "")]
    if not found[-1].is_file():
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, socket.socket() as free:
        folder = Path(name)
        (folder / "word").write_text("geheim")
        if as_user:
            shutil.chown(folder, "postgres")
        folder.chmod(0o755)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        initdb = [found[-1].with_name("initdb"), "-D", folder / "data", "-U", "terp", "-A", "scram-sha-256"]
        subprocess.run([*as_user, *initdb, "--pwfile", folder / "word"], check=True, capture_output=True, cwd=folder)
        options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        server = subprocess.Popen(
            [*as_user, found[-1], "-D", folder / "data", *options], stderr=subprocess.DEVNULL, cwd=folder
        )
        ready = [found[-1].with_name("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        try:
            until(lambda: subprocess.run(ready).returncode == 0)
            yield port
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(30)


def test_with_postgresql_the_records_outlast_the_node_and_the_password_is_seen_by_nobody(
    postgresql: int, tmp_path: Path
) -> None:
    home, passwords = tmp_path / "home", tmp_path / "pgpass"
    passwords.write_text("127.0.0.1:*:*:terp:geheim\n")
    passwords.chmod(0o600)
    url = f"postgresql+asyncpg://terp@127.0.0.1:{postgresql}/postgres"
    start = ("prefect", "start", "--host", "127.0.0.1")
    assert "password authentication failed" in call(home, *start, "--database", url).stderr
    said = good(home, *start, "--database", url, PGPASSFILE=str(passwords))
    try:
        assert f"database: {url}" in said
        processes = psutil.process_iter(["cmdline"])
        assert all("geheim" not in " ".join(process.info["cmdline"] or ()) for process in processes)
        kept = ask(home, "flows/", name="kept")["id"]
        assert list((home / "prefect").rglob("*.db")) == []
        good(home, "prefect", "stop")
        shutil.rmtree(home)
        said = good(home, *start, TERP_PREFECT_DATABASE=url.replace("terp@", "terp:geheim@"))
        assert "geheim" not in said
        assert ask(home, "flows/", name="kept")["id"] == kept
        shown = "".join(path.read_text(errors="replace") for path in home.rglob("*") if path.is_file())
        assert "geheim" not in shown
    finally:
        persistent.stop(home)
