"""What tests share: a home of their own, one Prefect server for all, the command as a user types it, shared data."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("TERP_POLICY", str(ROOT / "tests" / "policy.toml"))  # no decision, no archiving

settings.register_profile("here", deadline=None)  # how long one example takes tells of the machine's other work
settings.load_profile("here")

Terp = Callable[..., subprocess.CompletedProcess[str]]


_LONG = ("tests/workflows/test_replay.py", "tests/test_docs.py", "tests/faults/")  # after those that want SLURM


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: the tests that want the one SLURM, and so wait for each other; then long files."""

    def rank(item: pytest.Item) -> int:
        if item.get_closest_marker("slurm") is not None:
            return 0
        return next((place for place, name in enumerate(_LONG, 1) if item.nodeid.startswith(name)), len(_LONG) + 1)

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run side by side: a file on one of the processes, and all that want SLURM on one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return "tests/slurm" if path.startswith("tests/slurm/") else path

    return ByFile(config, log)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and schemas beside the project; what needs it is skipped where it is not."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs the data beside the project (../shared), which is not here")
    return folder


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """One Prefect server for the session, as environment variables for those who shall use it."""
    from terp.workflows.prefect import server as prefect_server
    from terp.workflows.prefect import watch as prefect_watch
    from terp.workflows.prefect.lease import OWN, Lease

    home = tmp_path_factory.mktemp("prefect")
    folder = prefect_server.own_folder(home)
    prefect_server.prepare(home)
    with contextlib.closing(Lease(folder / "leases", OWN)):  # no connection: runs in this process are others'
        state, _ = prefect_watch.reach(folder, prefect_server.IDLE, prefect_server.START)
        yield {"PREFECT_API_URL": prefect_watch.url(state), "PREFECT_API_AUTH_STRING": state["auth"]}
    prefect_server.stop(home)


@contextlib.contextmanager
def using(prefect: dict[str, str]) -> Iterator[None]:
    """Have runs in this very process use a server: it has read its settings long ago."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    url, secret = prefect["PREFECT_API_URL"], prefect["PREFECT_API_AUTH_STRING"]
    with temporary_settings({PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: secret}):
        yield


@pytest.fixture(scope="module")
def prefect_here(prefect: dict[str, str]) -> Iterator[dict[str, str]]:
    """The same server for runs in this very process."""
    with using(prefect):
        yield prefect


@pytest.fixture(scope="session")
def to_prefect(prefect: dict[str, str]) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """The same for what is run in a context of its own."""
    return lambda: using(prefect)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TERP_HOME of the test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TERP_HOME", str(folder))
    monkeypatch.setenv("TERP_AGENT", "A Tester")
    return folder


@pytest.fixture(scope="module")
def module_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TERP_HOME for all tests of a file, in a folder of its own."""
    return tmp_path_factory.mktemp("module") / "home"


@pytest.fixture
def one_home(module_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, named in the environment: what one test made another finds."""
    monkeypatch.setenv("TERP_HOME", str(module_home))
    monkeypatch.setenv("TERP_AGENT", "A Tester")
    return module_home


@pytest.fixture
def terp(home: Path, prefect: dict[str, str]) -> Terp:
    """The command line, in a process of its own, in the test's home."""

    def call(*words: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("terp"), *words],
            env={**os.environ, **prefect, **environment},
            cwd=cwd or home.parent,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return call


Validate = Callable[..., list[list[str]]]


@pytest.fixture(scope="session")
def primed(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a cache for roc-validator that holds the contexts which a crate names."""
    from benchmarks import validators

    return validators.primed(shared / "vectors/rocrate/contexts", tmp_path_factory.mktemp("roc") / "cache")


@pytest.fixture(scope="session")
def issues(primed: Path) -> Validate:
    """Give what roc-validator finds in each of some (crate, severity, whether without its files[, profile])."""
    from benchmarks import validators

    def validate(*crates: Any) -> list[list[str]]:
        return validators.issues(primed, [(*one, validators.PROFILE)[:4] for one in crates])

    return validate
