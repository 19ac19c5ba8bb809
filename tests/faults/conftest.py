"""What tests of faults share."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest

from terp.cluster.launch_here import launch_here
from terp.workflows.cli import main
from terp.workflows.running import where

sys.path.insert(0, str(Path(__file__).parent))
import runs
from saying import Said, Say, make_sources


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect: dict[str, str]) -> dict[str, bytes]:
    """The bytes of a run that nothing disturbs."""
    home = tmp_path_factory.mktemp("undisturbed")
    runs.run(home, prefect)
    return runs.products(home)


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sources, good and bad."""
    folder = tmp_path_factory.mktemp("sources")
    make_sources(folder)
    return folder


@pytest.fixture
def say(
    home: Path,
    to_prefect: Callable[[], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Say]:
    """The command line in this process, in a home of the test's own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(home.parent)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def connected() -> None:
        with to_prefect():
            main()

    def call(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["terp", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            Context().run(connected)  # which knows nothing of the connection that the tests have to Prefect
        return Said(int(end.value.code or 0), *capfd.readouterr())

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def worker() -> Iterator[Any]:
    """A worker that the runs of this process share, as to start one takes seconds."""
    with launch_here(1, preload=["terp.workflows.running.task"]) as crew:
        yield crew


@pytest.fixture
def run(say: Say, worker: Any, monkeypatch: pytest.MonkeyPatch) -> Say:
    """`terp run` in this process, with the worker that is there."""
    monkeypatch.setattr(where, "launch_here", lambda *_, **__: nullcontext(worker))
    return lambda *words: say("run", *words)
