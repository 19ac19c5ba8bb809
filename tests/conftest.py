"""What tests share: a home of their own, one Prefect server for all, the command as a user types it, shared data."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

Terp = Callable[..., subprocess.CompletedProcess[str]]


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
    from terp.workflows import prefect_server, prefect_watch

    home = tmp_path_factory.mktemp("prefect")
    with prefect_server.connect(home) as connection:
        state = prefect_watch.read(prefect_server.own_folder(home))
        assert state is not None
        yield {"PREFECT_API_URL": connection.api_url, "PREFECT_API_AUTH_STRING": state["auth"]}
    prefect_server.stop(home)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TERP_HOME of the test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TERP_HOME", str(folder))
    monkeypatch.setenv("TERP_AGENT", "A Tester")
    return folder


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
