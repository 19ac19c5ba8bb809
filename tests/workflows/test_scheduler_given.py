"""A scheduler that is there already: its workers are used, over TLS only, with the keys that Dask is told of."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from terp.cluster.keys import Keys
from terp.cluster.launch import scheduler

Terp = Callable[..., subprocess.CompletedProcess[str]]
PREFIX = "DASK_DISTRIBUTED__COMM__TLS__"


def named(keys: Keys) -> dict[str, str]:
    """The environment that names keys to Dask."""
    files = {"CA_FILE": keys.certificate, "CLIENT__CERT": keys.certificate, "CLIENT__KEY": keys.key}
    return {f"{PREFIX}{name}": str(path) for name, path in files.items()}


def test_a_run_uses_the_workers_of_a_scheduler_that_is_given(terp: Terp, tmp_path: Path) -> None:
    keys = Keys.make(tmp_path / "keys")
    with scheduler(keys.security(), "127.0.0.1", {}, n_workers=1) as cluster:
        words = ("run", "climatology", "--no-archive", "--quiet", "--scheduler", cluster.scheduler_address)
        refused = terp(*words)
        assert refused.returncode == 69
        assert "no keys for" in refused.stderr
        stranger = terp(*words, **named(Keys.make(tmp_path / "others")))
        assert stranger.returncode == 69, stranger.stderr
        done = terp(*words, **named(keys))
        assert done.returncode == 0, done.stderr
        assert len(cluster.scheduler.workers) == 1, "they are not ours to end"


def test_a_scheduler_that_speaks_in_the_clear_is_refused(terp: Terp) -> None:
    done = terp("run", "climatology", "--quiet", "--scheduler", "tcp://127.0.0.1:9")
    assert done.returncode == 69
    assert "tls://" in done.stderr
